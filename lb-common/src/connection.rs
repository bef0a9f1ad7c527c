//! The connections of stateful services: in which state one is, when it is forgotten, and what it counts as.
//!
//! States, transitions and timeouts are those of IPVS for a connection of which it sees the client's side only, as under direct
//! routing (`INPUT-ONLY` in `net/netfilter/ipvs/ip_vs_proto_tcp.c`), so that counts mean what its users know. They are the
//! same for every forwarding method: replies are not looked at.
//!
//! An SCTP association goes through the same states, where IPVS has more of them for the same moments (`ip_vs_proto_sctp.c`).
//!
//! A connection is *active* while it is established; all others, those that open or close and those of datagrams, are
//! *inactive* (`ip_vs_bind_dest` in `ip_vs_conn.c`).

use crate::abi::{Chooser, Record, connection_state as state};
use crate::flow::SECOND;
use crate::packet::transport::Signal;

/// A SYN that is not followed by anything is forgotten after this long where the service does not say, in seconds.
pub const SYN_TIMEOUT: u32 = 60;
/// A connection that the client has reset is forgotten after this long where the service does not say, in seconds.
pub const CLOSED_TIMEOUT: u32 = 10;
/// One that the client has ended is forgotten after this long where the service does not say, in seconds.
pub const FIN_TIMEOUT: u32 = 120;

/// Connections, by what they count as; or by how much these numbers change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counted {
    /// Established ones.
    pub active: i32,
    /// All others.
    pub inactive: i32,
}

impl Counted {
    /// One connection in this state.
    #[inline(always)]
    pub const fn one(state: u16) -> Self {
        match state {
            state::ESTABLISHED => Self { active: 1, inactive: 0 },
            _ => Self { active: 0, inactive: 1 },
        }
    }

    /// What changes when one goes over from a state to another.
    #[inline(always)]
    pub const fn change(from: u16, to: u16) -> Self {
        let (from, to) = (Self::one(from), Self::one(to));
        Self { active: to.active - from.active, inactive: to.inactive - from.inactive }
    }

    /// These and others together.
    #[inline(always)]
    pub const fn plus(self, other: Self) -> Self {
        Self { active: self.active + other.active, inactive: self.inactive + other.inactive }
    }

    /// What changes when they end.
    #[inline(always)]
    pub const fn ended(self) -> Self {
        Self { active: -self.active, inactive: -self.inactive }
    }
}

/// How long connections of a service may be silent, in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// Established ones, and those of datagrams.
    pub idle: u32,
    /// Those that the client has ended.
    pub fin: u32,
    /// Those of which only a SYN was seen.
    pub syn: u32,
    /// Those that the client has reset.
    pub closed: u32,
}

impl Timeouts {
    /// Of a service with a chooser.
    #[inline(always)]
    pub const fn new(idle: u32, chooser: &Chooser) -> Self {
        Self { idle, fin: chooser.fin_timeout, syn: chooser.syn_timeout, closed: chooser.closed_timeout }
    }

    /// Where a service says nothing but the first.
    pub const fn usual(idle: u32) -> Self {
        Self { idle, fin: FIN_TIMEOUT, syn: SYN_TIMEOUT, closed: CLOSED_TIMEOUT }
    }

    /// How long one in this state may be silent, in seconds.
    #[inline(always)]
    pub const fn of(self, state: u16) -> u32 {
        match state {
            state::SYN_RECEIVED => self.syn,
            state::FIN_WAIT | state::TIME_WAIT => self.fin,
            state::CLOSED => self.closed,
            _ => self.idle,
        }
    }
}

/// The state of a new connection; `has_openings`: of a protocol whose flows begin with a packet that says so.
#[inline(always)]
pub const fn first_state(has_openings: bool) -> u16 {
    if has_openings { state::SYN_RECEIVED } else { state::DATAGRAMS }
}

/// The state after a packet.
#[inline(always)]
pub const fn next_state(before: u16, signal: Signal) -> u16 {
    match (before, signal) {
        (state::DATAGRAMS, _) => state::DATAGRAMS,
        (state::ESTABLISHED, Signal::Opens) => state::ESTABLISHED,
        (_, Signal::Opens) => state::SYN_RECEIVED,
        (state::ESTABLISHED, Signal::Closes) => state::FIN_WAIT,
        (state::SYN_RECEIVED, Signal::Closes) => state::TIME_WAIT,
        (state::SYN_RECEIVED, Signal::Resets) => state::SYN_RECEIVED,
        (_, Signal::Resets) => state::CLOSED,
        (state::SYN_RECEIVED, Signal::Continues) => state::ESTABLISHED,
        (_, Signal::Closes | Signal::Continues) => before,
    }
}

/// Whether a SYN in this state begins another connection with the same ports, for which a backend is chosen anew
/// (`is_new_conn_expected` in `ip_vs_core.c`).
#[inline(always)]
pub const fn is_over(state: u16) -> bool {
    matches!(state, state::TIME_WAIT | state::CLOSED)
}

/// Whether a connection has not been silent for longer than its state allows.
#[inline(always)]
pub const fn is_fresh(record: &Record, now: u64, timeouts: Timeouts) -> bool {
    // A clock a tick behind another CPU's must not look like centuries of silence.
    now.saturating_sub(record.last_seen) <= timeouts.of(record.state) as u64 * SECOND
}

#[cfg(test)]
mod tests {
    use super::state::{CLOSED, DATAGRAMS, ESTABLISHED, FIN_WAIT, SYN_RECEIVED, TIME_WAIT};
    use super::*;

    #[test]
    fn states_follow_one_another_as_in_the_kernels_table() {
        use Signal::{Closes, Continues, Opens, Resets};
        for (signal, after) in [
            (Opens, [ESTABLISHED, SYN_RECEIVED, SYN_RECEIVED, SYN_RECEIVED, SYN_RECEIVED]),
            (Closes, [FIN_WAIT, TIME_WAIT, FIN_WAIT, TIME_WAIT, CLOSED]),
            (Continues, [ESTABLISHED, ESTABLISHED, FIN_WAIT, TIME_WAIT, CLOSED]),
            (Resets, [CLOSED, SYN_RECEIVED, CLOSED, CLOSED, CLOSED]),
        ] {
            for (before, after) in [ESTABLISHED, SYN_RECEIVED, FIN_WAIT, TIME_WAIT, CLOSED].into_iter().zip(after) {
                assert_eq!(next_state(before, signal), after, "{before} and {signal:?}");
            }
            assert_eq!(next_state(DATAGRAMS, signal), DATAGRAMS);
        }
    }

    #[test]
    fn only_established_connections_are_active() {
        let active = |state| Counted::one(state).active;
        assert_eq!([SYN_RECEIVED, ESTABLISHED, FIN_WAIT, TIME_WAIT, CLOSED, DATAGRAMS].map(active), [0, 1, 0, 0, 0, 0]);
        assert_eq!(Counted::change(SYN_RECEIVED, ESTABLISHED), Counted { active: 1, inactive: -1 });
        assert_eq!(Counted::change(FIN_WAIT, TIME_WAIT), Counted::default());
    }

    #[test]
    fn each_state_has_its_own_timeout() {
        let timeouts = Timeouts { idle: 900, fin: 120, syn: 60, closed: 10 };
        assert_eq!(timeouts, Timeouts::usual(900));
        for (state, seconds) in
            [(SYN_RECEIVED, 60), (ESTABLISHED, 900), (FIN_WAIT, 120), (TIME_WAIT, 120), (CLOSED, 10), (DATAGRAMS, 900)]
        {
            let record = Record { last_seen: 7, pool: 1, backend: 1, state };
            let end = 7 + seconds * SECOND;
            assert!(is_fresh(&record, end, timeouts) && !is_fresh(&record, end + 1, timeouts), "state {state}");
        }
    }
}
