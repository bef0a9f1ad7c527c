//! The rules that keep the flows to one destination together, so that its content lies in few caches: lblc and lblcr
//! (`ip_vs_lblc.c`, `ip_vs_lblcr.c`).
//!
//! lblc remembers one backend for each destination, lblcr several and takes the least loaded of them. When that one is crowded
//! (more active connections than weight, while elsewhere there are fewer than half the weight), or cannot be used, whoever the
//! rule of wlc names is taken, and remembered. Under lblcr the most loaded of several is forgotten when nothing has changed for
//! a while.
//!
//! Who is full by its thresholds keeps its destination under lblc, as in IPVS; under lblcr it does not.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::least::Least;
use super::{Candidate, Candidates, Cost, Go, Pool, Visitor};
use crate::address::Address;

/// How many backends are remembered for one destination; IPVS knows no limit. The one longest there makes room.
pub const MEMBERS: usize = 16;

/// After how long without change lblcr forgets one of several, in nanoseconds: the `lblcr_expiration` of IPVS, a day.
pub const EXPIRATION: u64 = 86_400 * crate::flow::SECOND;

/// Who is remembered for one destination.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Servers {
    /// When one was last added or forgotten: coarse monotonic time in nanoseconds.
    pub changed: u64,
    /// Indices in the pool, the newest first, then [`NONE`].
    pub members: [u16; MEMBERS],
}

/// No member.
pub const NONE: u16 = u16::MAX;

impl Servers {
    /// Nobody.
    pub const NOBODY: Self = Self { changed: 0, members: [NONE; MEMBERS] };
}

impl Default for Servers {
    fn default() -> Self {
        Self::NOBODY
    }
}

/// What the rules do, step by step. The kernel does each in a function of its own: together they need more stack than there is.
pub trait Steps {
    /// Of the remembered ones: under lblc the one, if it has weight; under lblcr the one that costs least of those that may have
    /// a flow.
    fn remembered(&self) -> Option<u32>;
    /// lblcr: forgets the most loaded of several, if nothing has changed for long enough.
    fn shrink(&self);
    /// See [`is_crowded`].
    fn is_crowded(&self, index: u32) -> bool;
    /// Whom the rule of wlc names.
    fn lightest(&self) -> Option<u32>;
    /// Remembers one: under lblc in the place of the other, under lblcr beside the others.
    fn remember(&self, index: u32);
}

/// The backend for a new flow; `None` if all are full or without weight.
#[inline(always)]
pub fn pick<S: Steps>(steps: &S, replicated: bool) -> Option<u32> {
    let own = steps.remembered();
    if replicated {
        steps.shrink();
    }
    if let Some(own) = own
        && !steps.is_crowded(own)
    {
        return Some(own);
    }
    let found = steps.lightest()?;
    steps.remember(found);
    Some(found)
}

/// The steps, for a pool and a destination of it.
pub struct Plain<'a, P> {
    /// Whose backends these are.
    pub pool: &'a P,
    /// Where the flow goes.
    pub destination: Address,
    /// lblcr.
    pub replicated: bool,
}

impl<P: Pool> Steps for Plain<'_, P> {
    #[inline(always)]
    fn remembered(&self) -> Option<u32> {
        let (pool, replicated) = (self.pool, self.replicated);
        let find = |servers: &mut Servers| if replicated { servers.least(pool) } else { servers.first(pool) };
        pool.with_servers(self.destination, find)
    }

    #[inline(always)]
    fn shrink(&self) {
        self.pool.with_servers(self.destination, |servers| {
            servers.shrink(self.pool, self.pool.now(), self.pool.expiration());
            None
        });
    }

    #[inline(always)]
    fn is_crowded(&self, index: u32) -> bool {
        is_crowded(self.pool, index)
    }

    #[inline(always)]
    fn lightest(&self) -> Option<u32> {
        Least::WeightedConnections.pick(self.pool)
    }

    #[inline(always)]
    fn remember(&self, index: u32) {
        let (now, replicated) = (self.pool.now(), self.replicated);
        self.pool.with_servers(self.destination, |servers| {
            servers.remember(index as u16, replicated, now);
            None
        });
    }
}

impl Servers {
    /// The newest, if it has weight.
    #[inline(always)]
    fn first<C: Candidates>(&self, candidates: &C) -> Option<u32> {
        let own = self.members[0];
        if own == NONE {
            return None;
        }
        let candidate = candidates.candidate(own as u32)?;
        if candidate.weight > 0 { Some(own as u32) } else { None }
    }

    #[inline(always)]
    fn shrink<C: Candidates>(&mut self, candidates: &C, now: u64, expiration: u64) {
        if self.is_several() && now.saturating_sub(self.changed) > expiration {
            self.forget_most_loaded(candidates, now);
        }
    }

    #[inline(always)]
    fn remember(&mut self, index: u16, replicated: bool, now: u64) {
        if replicated {
            self.add(index, now);
        } else {
            self.members[0] = index;
            self.changed = now;
        }
    }

    #[inline(always)]
    const fn is_several(&self) -> bool {
        self.members[1] != NONE
    }

    /// The one that costs least of those that may have a flow.
    #[inline(always)]
    fn least<C: Candidates>(&self, candidates: &C) -> Option<u32> {
        let found = self.extreme(candidates, |candidate| candidate.is_open(), |best, other| best.is_above(other))?;
        Some(self.members[found as usize % MEMBERS] as u32)
    }

    /// The place of the first of the eligible members that no later one beats.
    #[inline(always)]
    fn extreme<C: Candidates>(
        &self,
        candidates: &C,
        is_eligible: impl Fn(&Candidate) -> bool,
        is_beaten: impl Fn(Cost, Cost) -> bool,
    ) -> Option<u32> {
        let mut best = Best { cost: Cost { load: 0, weight: 0 }, place: NOWHERE };
        candidates.repeat(MEMBERS as u32, |place| {
            let Some(&member) = self.members.get(place as usize) else { return Go::Stop };
            if member == NONE {
                return Go::Stop;
            }
            if let Some(candidate) = candidates.candidate(member as u32)
                && is_eligible(&candidate)
                && (best.place == NOWHERE || is_beaten(best.cost, load(&candidate)))
            {
                best.cost = load(&candidate);
                best.place = place;
            }
            Go::On
        });
        if best.place == NOWHERE { None } else { Some(best.place) }
    }

    #[inline(always)]
    fn forget_most_loaded<C: Candidates>(&mut self, candidates: &C, now: u64) {
        let most = self.extreme(candidates, |candidate| candidate.weight > 0, |best, other| other.is_above(best));
        if let Some(forgotten) = most {
            for place in 0..MEMBERS {
                if place as u32 >= forgotten {
                    self.members[place] = if place + 1 < MEMBERS { self.members[place + 1] } else { NONE };
                }
            }
            self.changed = now;
        }
    }

    /// Puts one before all others, unless it is there.
    #[inline(always)]
    fn add(&mut self, added: u16, now: u64) {
        for member in self.members {
            if member == added {
                return;
            }
        }
        for place in (1..MEMBERS).rev() {
            self.members[place] = self.members[place - 1];
        }
        self.members[0] = added;
        self.changed = now;
    }
}

/// The best so far of a walk over the members.
#[repr(C, align(8))]
struct Best {
    cost: Cost,
    place: u32,
}

/// No place of a member.
const NOWHERE: u32 = u32::MAX;

#[inline(always)]
const fn load(candidate: &Candidate) -> Cost {
    Cost { load: candidate.overhead(), weight: candidate.weight }
}

/// Whether a backend has more than its share while another has much room, or is gone.
#[inline(always)]
fn is_crowded<C: Candidates>(candidates: &C, index: u32) -> bool {
    let Some(candidate) = candidates.candidate(index) else { return true };
    if candidate.active <= candidate.weight {
        return false;
    }
    let mut room = Room(false);
    candidates.walk(0, &mut room);
    room.0
}

/// Whether anybody has fewer active connections than half its weight.
struct Room(bool);

impl Visitor for Room {
    #[inline(always)]
    fn visit(&mut self, _index: u32, candidate: &Candidate) -> Go {
        if (candidate.active as u64) * 2 < candidate.weight as u64 {
            self.0 = true;
            return Go::Stop;
        }
        Go::On
    }
}

const _: () = assert!(size_of::<Servers>() == 40);
