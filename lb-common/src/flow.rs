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
            Signal::Closes => record_state::CLOSING,
        }
    }
}
