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
use super::{Candidate, Candidates, Cost, Go, Visitor};

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

impl Default for Servers {
    fn default() -> Self {
        Self { changed: 0, members: [NONE; MEMBERS] }
    }
}

/// The backend for a new flow by lblc; `None` if all are full or without weight.
#[inline(always)]
pub fn single<C: Candidates>(candidates: &C, servers: &mut Servers, now: u64) -> Option<u32> {
    let own = servers.members[0];
    if own != NONE
        && let Some(candidate) = candidates.candidate(own as u32)
        && candidate.weight > 0
        && !is_crowded(candidates, &candidate)
    {
        return Some(own as u32);
    }
    let found = Least::WeightedConnections.pick(candidates)?;
    servers.members[0] = found as u16;
    servers.changed = now;
    Some(found)
}

/// The backend for a new flow by lblcr; `None` if all are full or without weight. `expiration` is [`EXPIRATION`] but in tests.
#[inline(always)]
pub fn replicated<C: Candidates>(candidates: &C, servers: &mut Servers, now: u64, expiration: u64) -> Option<u32> {
    let least = servers.least(candidates);
    if servers.is_several() && now.saturating_sub(servers.changed) > expiration {
        servers.forget_most_loaded(candidates, now);
    }
    if let Some((index, candidate)) = least
        && !is_crowded(candidates, &candidate)
    {
        return Some(index);
    }
    let found = Least::WeightedConnections.pick(candidates)?;
    servers.add(found as u16, now);
    Some(found)
}

impl Servers {
    #[inline(always)]
    const fn is_several(&self) -> bool {
        self.members[1] != NONE
    }

    /// The one that costs least of those that may have a flow.
    #[inline(always)]
    fn least<C: Candidates>(&self, candidates: &C) -> Option<(u32, Candidate)> {
        let mut best: Option<(u32, Candidate)> = None;
        for member in self.members {
            if member == NONE {
                break;
            }
            if let Some(candidate) = candidates.candidate(member as u32)
                && candidate.is_open()
                && best.is_none_or(|(_, other)| load(&other).is_above(load(&candidate)))
            {
                best = Some((member as u32, candidate));
            }
        }
        best
    }

    #[inline(always)]
    fn forget_most_loaded<C: Candidates>(&mut self, candidates: &C, now: u64) {
        let mut most: Option<(usize, Cost)> = None;
        for (place, &member) in self.members.iter().enumerate() {
            if member == NONE {
                break;
            }
            if let Some(candidate) = candidates.candidate(member as u32)
                && candidate.weight > 0
                && most.is_none_or(|(_, cost)| load(&candidate).is_above(cost))
            {
                most = Some((place, load(&candidate)));
            }
        }
        if let Some((forgotten, _)) = most {
            for place in 0..MEMBERS {
                if place >= forgotten {
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

#[inline(always)]
const fn load(candidate: &Candidate) -> Cost {
    Cost { load: candidate.overhead(), weight: candidate.weight }
}

/// Whether it has more than its share while another has much room.
#[inline(always)]
fn is_crowded<C: Candidates>(candidates: &C, candidate: &Candidate) -> bool {
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
