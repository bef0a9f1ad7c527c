//! Two drawn at random, the less loaded one taken: twos (`ip_vs_twos.c`, after Mitzenmacher, "The Power of Two Random Choices").
//!
//! A backend is drawn as often as its share of the weights says; the same one may be drawn twice. Of the two the one with the
//! lower overhead for its weight is taken, of equals the first drawn. IPVS draws from one value more than there is weight, all of
//! it for the first backend of its list; this does not.

use super::{Candidate, Candidates, Cost, Go, Visitor};

/// The backend for a new flow, by two random numbers; `None` if all are full or without weight.
#[inline(always)]
pub fn pick<C: Candidates>(candidates: &C, random: [u32; 2]) -> Option<u32> {
    let mut total = Total(0);
    candidates.walk(0, &mut total);
    if total.0 == 0 {
        return None;
    }
    let mut draw = Draw { lots: random.map(|number| share(number, total.0)), passed: 0, drawn: [None; 2] };
    candidates.walk(0, &mut draw);
    // Weights may have changed between the walks, so that a lot lies beyond them all.
    match draw.drawn {
        [Some(first), Some(second)] if first.cost.is_above(second.cost) => Some(second.index),
        [Some(one), _] | [None, Some(one)] => Some(one.index),
        [None, None] => None,
    }
}

/// `number` scaled down from 32 bits to below `total`.
#[inline(always)]
const fn share(number: u32, total: u32) -> u32 {
    ((number as u64 * total as u64) >> 32) as u32
}

/// The sum of the weights: 8,192 of 65,535 fit.
struct Total(u32);

impl Visitor for Total {
    #[inline(always)]
    fn visit(&mut self, _index: u32, candidate: &Candidate) -> Go {
        if candidate.is_open() {
            self.0 = self.0.wrapping_add(candidate.weight);
        }
        Go::On
    }
}

/// Its order keeps the kernel's stores aligned.
#[repr(C, align(8))]
struct Draw {
    drawn: [Option<Drawn>; 2],
    /// The weight of those seen.
    passed: u64,
    lots: [u32; 2],
}

#[derive(Clone, Copy)]
struct Drawn {
    index: u32,
    cost: Cost,
}

impl Visitor for Draw {
    #[inline(always)]
    fn visit(&mut self, index: u32, candidate: &Candidate) -> Go {
        if !candidate.is_open() {
            return Go::On;
        }
        self.passed += candidate.weight as u64;
        let cost = Cost { load: candidate.overhead(), weight: candidate.weight };
        if self.drawn[0].is_none() && (self.lots[0] as u64) < self.passed {
            self.drawn[0] = Some(Drawn { index, cost });
        }
        if self.drawn[1].is_none() && (self.lots[1] as u64) < self.passed {
            self.drawn[1] = Some(Drawn { index, cost });
        }
        if self.drawn[0].is_some() && self.drawn[1].is_some() { Go::Stop } else { Go::On }
    }
}
