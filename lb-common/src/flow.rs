//! A flow as the client sees it, and what is remembered of one.

use crate::abi::{FlowKey4, FlowKey6, Record, record_state};
use crate::address::Address;
use crate::packet::transport::Signal;

/// An opening flow that sends nothing more is forgotten after this long, in nanoseconds.
pub const OPENING_TIMEOUT: u64 = 60 * SECOND;
/// A closing flow that sends nothing more is forgotten after this long, in nanoseconds.
pub const CLOSING_TIMEOUT: u64 = 60 * SECOND;
/// One second in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;

/// A flow towards a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow {
    /// The client.
    pub source: Address,
    /// The service.
    pub destination: Address,
    /// The client's port and the service's, as they lie in a packet.
    pub ports_wire: u32,
    /// IP protocol number.
    pub protocol: u8,
}

impl Flow {
    /// The flow table's key, for an IPv4 flow.
    #[inline(always)]
    pub const fn key4(&self) -> FlowKey4 {
        FlowKey4 {
            source_wire: self.source.v4_wire(),
            destination_wire: self.destination.v4_wire(),
            ports_wire: self.ports_wire,
            protocol: self.protocol as u32,
        }
    }

    /// The flow table's key, for an IPv6 flow.
    #[inline(always)]
    pub const fn key6(&self) -> FlowKey6 {
        FlowKey6 {
            source: self.source,
            destination: self.destination,
            ports_wire: self.ports_wire,
            protocol: self.protocol as u32,
        }
    }
}

impl From<FlowKey6> for Flow {
    fn from(key: FlowKey6) -> Self {
        let FlowKey6 { source, destination, ports_wire, protocol } = key;
        Self { source, destination, ports_wire, protocol: protocol as u8 }
    }
}

impl Record {
    /// The record of a flow that is first seen with `signal`.
    #[inline(always)]
    pub const fn new(pool: u32, backend: u16, signal: Signal, now: u64) -> Self {
        Self { last_seen: now, pool, backend, state: Self::state_after(signal) }
    }

    /// Whether the flow has not been idle for longer than its state allows. `idle_timeout` in seconds.
    #[inline(always)]
    pub const fn is_fresh(&self, now: u64, idle_timeout: u32) -> bool {
        let timeout = match self.state {
            record_state::OPENING => OPENING_TIMEOUT,
            record_state::CLOSING => CLOSING_TIMEOUT,
            _ => idle_timeout as u64 * SECOND,
        };
        // A clock a tick behind another CPU's must not look like centuries of silence.
        now.saturating_sub(self.last_seen) <= timeout
    }

    /// Notes a packet of the flow. A packet after a FIN or RST reopens it; a late SYN does not make an open flow young.
    #[inline(always)]
    pub const fn touch(&mut self, signal: Signal, now: u64) {
        self.last_seen = now;
        if !(self.state == record_state::OPEN && matches!(signal, Signal::Opens)) {
            self.state = Self::state_after(signal);
        }
    }

    const fn state_after(signal: Signal) -> u16 {
        match signal {
            Signal::Opens => record_state::OPENING,
            Signal::Continues => record_state::OPEN,
            Signal::Closes | Signal::Resets => record_state::CLOSING,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000 * SECOND;

    fn aged(state: u16, seconds: u64) -> Record {
        Record { last_seen: NOW - seconds * SECOND, pool: 1, backend: 2, state }
    }

    #[test]
    fn each_state_has_its_own_timeout() {
        let idle_timeout = 300;
        for (state, timeout) in
            [(record_state::OPENING, 60), (record_state::OPEN, idle_timeout), (record_state::CLOSING, 60)]
        {
            assert!(aged(state, u64::from(timeout)).is_fresh(NOW, idle_timeout), "state {state}");
            assert!(!aged(state, u64::from(timeout) + 1).is_fresh(NOW, idle_timeout), "state {state}");
        }
    }

    #[test]
    fn a_record_from_a_moment_in_the_future_is_fresh() {
        let ahead = Record { last_seen: NOW + 1, ..aged(record_state::OPEN, 0) };
        assert!(ahead.is_fresh(NOW, 1));
    }

    #[test]
    fn a_packet_moves_the_state_as_the_table_says() {
        use record_state::{CLOSING, OPEN, OPENING};
        for (before, signal, after) in [
            (OPENING, Signal::Opens, OPENING),
            (OPENING, Signal::Continues, OPEN),
            (OPENING, Signal::Closes, CLOSING),
            (OPEN, Signal::Opens, OPEN),
            (OPEN, Signal::Continues, OPEN),
            (OPEN, Signal::Closes, CLOSING),
            (CLOSING, Signal::Opens, OPENING),
            (CLOSING, Signal::Continues, OPEN),
            (CLOSING, Signal::Closes, CLOSING),
        ] {
            let mut record = aged(before, 5);
            record.touch(signal, NOW);
            assert_eq!((record.state, record.last_seen), (after, NOW), "{before} and {signal:?}");
        }
    }
}
