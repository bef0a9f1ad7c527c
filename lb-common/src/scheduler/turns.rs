//! The rules that give everybody a turn: rr and wrr (`ip_vs_rr.c`, `ip_vs_wrr.c`).
//!
//! wrr goes through the pool in passes. The first pass takes whom has the largest weight, each further one asks for less by
//! the greatest common divisor of the weights, the last takes everyone; then it begins again. rr is the same with all weights
//! equal, hence a single pass. The state is one word: which weight the pass asks for, and how far it has come.
//!
//! IPVS looks pass by pass, which may be ten thousand walks for one decision. Here one walk decides, from where the pass
//! stands: whoever comes next in this pass ends it; else the heaviest, for the next pass that takes anybody is theirs.
//!
//! CPUs share the state by compare-and-exchange: each turn is taken once. One that lost [`ATTEMPTS`] races keeps the last
//! backend it found and leaves the state to the others: a backend gets one more now and then, and no packet waits.

use super::{Candidate, Candidates, Go, Pool, Visitor};

/// How often a CPU tries to take a turn before it shares one. The kernel's verifier walks each try.
pub const ATTEMPTS: u32 = 2;

/// The backend whose turn it is, by the passes given: [`Passes::SINGLE`] for rr, those of the weights for wrr. `None` if all are
/// full or without weight.
#[inline(always)]
pub fn pick<P: Pool>(pool: &P, passes: Passes) -> Option<u32> {
    let mut found = None;
    for _ in 0..ATTEMPTS {
        let before = pool.turn();
        let (index, after) = passes.next(pool, Turn::from_word(before));
        found = index;
        if pool.take_turn(before, after.word()) {
            break;
        }
    }
    found
}

/// What the weights of a pool make of its passes. Computed when they change, by [`Passes::of`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passes {
    /// By how much each pass asks for less: the greatest common divisor of the weights, 1 if there are none.
    pub step: u32,
    /// What the first pass asks for: the largest weight, less `step - 1` so that the last pass asks for 1; 0 if there are no
    /// weights.
    pub top: u32,
    /// rr: whoever has weight counts as 1.
    pub level: bool,
}

impl Passes {
    /// Those of rr, whatever the weights.
    pub const SINGLE: Self = Self { step: 1, top: 1, level: true };

    /// Those of wrr.
    pub fn of(weights: impl Iterator<Item = u32> + Clone) -> Self {
        let step = weights.clone().fold(0, greatest_common_divisor).max(1);
        let largest = weights.max().unwrap_or(0);
        Self { step, top: largest.saturating_sub(step - 1), level: false }
    }

    /// Whose turn it is after `turn`, and the state after that.
    #[inline(always)]
    fn next<C: Candidates>(self, candidates: &C, turn: Turn) -> (Option<u32>, Turn) {
        if self.top == 0 {
            return (None, turn);
        }
        let turn = if turn.asks == 0 { Turn { asks: self.top, ..turn } } else { turn };
        let first = if turn.passed >= candidates.count() { 0 } else { turn.passed };
        let mut search = Search::new(self, turn, turn.passed == first);
        candidates.walk(first, &mut search);
        match search.found(self) {
            Some((index, asks)) => (Some(index), Turn { asks, passed: index + 1 }),
            None => (None, self.after_nobody(turn)),
        }
    }

    /// Where IPVS stands after it has found nobody: rr where it stood. wrr too if that was in the last pass, for then it gives up on
    /// coming by again; else at the beginning.
    #[inline(always)]
    const fn after_nobody(self, turn: Turn) -> Turn {
        if turn.passed > 0 && turn.asks <= self.step { turn } else { Turn { asks: self.top, passed: 0 } }
    }
}

/// The state of the turns: one word, shared by all CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Turn {
    /// The weight that the pass asks for; 0 before the first turn.
    pub asks: u32,
    /// How many indices the pass has behind it: one more than that of whom the last turn was, 0 at its beginning.
    pub passed: u32,
}

impl Turn {
    /// From the shared word.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self { asks: (word >> 32) as u32, passed: word as u32 }
    }

    /// As the shared word.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        (self.asks as u64) << 32 | self.passed as u64
    }

    /// After a change of the pool or of a weight, under wrr: the pass begins anew, asking for what it asked for as nearly as the
    /// new weights have it (`ip_vs_wrr_dest_changed`). rr goes on where it is.
    pub const fn restarted(self, passes: Passes) -> Self {
        let asks = if self.asks == 0 || self.asks > passes.top {
            passes.top
        } else if passes.step > 1 {
            self.asks / passes.step * passes.step + 1
        } else {
            self.asks
        };
        Self { asks, passed: 0 }
    }
}

/// The state of one walk: the best that a later pass would take, unless one is met that this pass takes.
///
/// The order matters to the kernel: what is zero at first comes first, at a multiple of eight, since the compiler joins these stores, and
/// the verifier takes only aligned ones.
#[repr(C, align(8))]
struct Search {
    index: u32,
    reach: u32,
    /// The best so far lies behind where the walk began, so that one of equal weight before it comes first.
    is_late: bool,
    /// It is of this pass.
    is_this_pass: bool,
    level: bool,
    /// Whether the pass has any left.
    unfinished: bool,
    /// What this pass asks for.
    asks: u32,
    /// Whom it has not come to yet are at this index and above.
    passed: u32,
    /// What weight suffices for the next pass: more is no advantage. After the last pass that is the first, for the heaviest.
    cap: u32,
}

impl Search {
    #[inline(always)]
    const fn new(passes: Passes, turn: Turn, unfinished: bool) -> Self {
        let largest = passes.top + (passes.step - 1);
        let cap = if turn.asks > passes.step { turn.asks - 1 } else { largest };
        Self {
            asks: turn.asks,
            passed: turn.passed,
            cap,
            level: passes.level,
            unfinished,
            index: 0,
            reach: 0,
            is_late: false,
            is_this_pass: false,
        }
    }

    /// Who was found, and what the pass that takes it asks for.
    #[inline(always)]
    const fn found(&self, passes: Passes) -> Option<(u32, u32)> {
        if self.is_this_pass {
            return Some((self.index, self.asks));
        }
        if self.reach == 0 {
            return None;
        }
        let asks = self.reach.saturating_sub(passes.step - 1);
        Some((self.index, if asks == 0 { 1 } else { asks }))
    }
}

impl Visitor for Search {
    #[inline(always)]
    fn visit(&mut self, index: u32, candidate: &Candidate) -> Go {
        if !candidate.is_open() {
            return Go::On;
        }
        let weight = if self.level { 1 } else { candidate.weight };
        let is_ahead = self.unfinished && index >= self.passed;
        if is_ahead && weight >= self.asks {
            self.index = index;
            self.is_this_pass = true;
            return Go::Stop;
        }
        let reach = if weight < self.cap { weight } else { self.cap };
        if reach > self.reach || (reach == self.reach && self.is_late && !is_ahead) {
            self.index = index;
            self.reach = reach;
            self.is_late = is_ahead;
        }
        if !is_ahead && self.reach == self.cap && !self.is_late { Go::Stop } else { Go::On }
    }
}

const fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
