//! The backend by a hash of the destination: dh (`ip_vs_dh.c`).
//!
//! IPVS deals 256 buckets out to its destinations one by one, whatever their weights, and hashes the address to a bucket. Who is
//! full or without weight keeps its buckets: their flows find nobody. That wants a service of many addresses, as LVS has them by
//! firewall mark; all flows to one address have the same backend.

use super::{Candidate, Candidates, Go, Visitor};
use crate::address::Address;

/// Buckets that are dealt out.
const BUCKETS: u32 = 256;

/// The backend for flows to an address; `None` if the one that it belongs to is full or without weight.
#[inline(always)]
pub fn pick<C: Candidates>(candidates: &C, destination: Address) -> Option<u32> {
    let mut present = Present { wanted: u32::MAX, seen: 0, found: None };
    candidates.walk(0, &mut present);
    if present.seen == 0 {
        return None;
    }
    let mut owner = Present { wanted: bucket(destination) % present.seen, seen: 0, found: None };
    candidates.walk(0, &mut owner);
    owner.found
}

/// The bucket of an address: the top bits of its 32 (of an IPv6 address, all its words folded) times the golden ratio
/// (`hash_32`, `include/linux/hash.h`).
#[inline(always)]
const fn bucket(address: Address) -> u32 {
    const GOLDEN_RATIO: u32 = 0x61c8_8647;
    let wire = if address.is_v4() {
        address.v4_wire()
    } else {
        let folded = address.high ^ address.low;
        folded as u32 ^ (folded >> 32) as u32
    };
    u32::from_be(wire).wrapping_mul(GOLDEN_RATIO) >> (32 - BUCKETS.ilog2())
}

/// Looks for the `wanted`th of those there are.
struct Present {
    wanted: u32,
    seen: u32,
    found: Option<u32>,
}

impl Visitor for Present {
    #[inline(always)]
    fn visit(&mut self, index: u32, candidate: &Candidate) -> Go {
        if self.seen == self.wanted {
            self.found = candidate.is_open().then_some(index);
            return Go::Stop;
        }
        self.seen += 1;
        Go::On
    }
}
