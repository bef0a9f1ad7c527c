//! The rules that take whichever candidate costs least: lc, wlc, sed, nq, fo, ovf.
//!
//! Each is one formula for a cost, a fraction of load over weight; the first of equals wins. The walk is theirs in common.
//! IPVS keeps an overhead in 32 bits, which overflow at eight million active connections to one backend; here they do not.

use super::{Candidate, Candidates, Cost, Go, Visitor};

/// Which formula.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Least {
    /// lc: its overhead, whatever its weight (`ip_vs_lc.c`).
    Connections,
    /// wlc: its overhead over its weight (`ip_vs_wlc.c`).
    WeightedConnections,
    /// sed: active connections with the new one, over its weight (`ip_vs_sed.c`).
    ExpectedDelay,
    /// nq: nothing while idle, else as sed (`ip_vs_nq.c`).
    NeverQueue,
    /// fo: the heavier, the cheaper (`ip_vs_fo.c`).
    Failover,
    /// ovf: as fo, while it has no more active connections than weight (`ip_vs_ovf.c`).
    Overflow,
}

impl Least {
    /// The backend for a new flow; `None` if all are full or without weight.
    #[inline(always)]
    pub fn pick<C: Candidates>(self, candidates: &C) -> Option<u32> {
        let mut search = Search::new(self);
        candidates.walk(0, &mut search);
        search.found()
    }

    /// What the next connection would cost there; `None` if it may not go there.
    #[inline(always)]
    fn cost(self, candidate: &Candidate) -> Option<Cost> {
        if !candidate.is_open() {
            return None;
        }
        let with_this_one = candidate.active as u64 + 1;
        Some(match self {
            Self::Connections => Cost { load: candidate.overhead(), weight: 1 },
            Self::WeightedConnections => Cost { load: candidate.overhead(), weight: candidate.weight },
            Self::NeverQueue if candidate.active == 0 => Cost { load: 0, weight: candidate.weight },
            Self::ExpectedDelay | Self::NeverQueue => Cost { load: with_this_one, weight: candidate.weight },
            Self::Overflow if candidate.active > candidate.weight => return None,
            Self::Failover | Self::Overflow => Cost { load: 1, weight: candidate.weight },
        })
    }
}

/// The state of one walk: the cheapest so far. Its order keeps the kernel's stores aligned.
#[repr(C, align(8))]
pub struct Search {
    best: Cost,
    index: u32,
    rule: Least,
}

/// No candidate was found yet: no pool has such an index.
const NOBODY: u32 = u32::MAX;

impl Search {
    /// Before the first candidate.
    #[inline(always)]
    pub const fn new(rule: Least) -> Self {
        Self { rule, index: NOBODY, best: Cost { load: 0, weight: 1 } }
    }

    /// After the last one.
    #[inline(always)]
    pub const fn found(&self) -> Option<u32> {
        if self.index == NOBODY { None } else { Some(self.index) }
    }
}

impl Visitor for Search {
    #[inline(always)]
    fn visit(&mut self, index: u32, candidate: &Candidate) -> Go {
        if let Some(cost) = self.rule.cost(candidate)
            && (self.index == NOBODY || self.best.is_above(cost))
        {
            self.index = index;
            self.best = cost;
        }
        Go::On
    }
}
