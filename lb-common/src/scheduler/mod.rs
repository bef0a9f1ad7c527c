//! Which backend gets a new flow, by the rules of IPVS: pure, without allocation, recursion or unbounded loops, so that the
//! kernel program, `explain` and the tests run the same code.
//!
//! | name | IPVS | rule | file in `net/netfilter/ipvs/` | here |
//! |---|---|---|---|---|
//! | round-robin | rr | the next in turn | `ip_vs_rr.c` | [`turns`] |
//! | weighted-round-robin | wrr | the next in turn of those whose weight reaches the pass | `ip_vs_wrr.c` | [`turns`] |
//! | least-connection | lc | fewest connections | `ip_vs_lc.c` | [`least`] |
//! | weighted-least-connection | wlc | fewest connections for its weight | `ip_vs_wlc.c` | [`least`] |
//! | shortest-expected-delay | sed | least delay for this connection | `ip_vs_sed.c` | [`least`] |
//! | never-queue | nq | an idle one, else as sed | `ip_vs_nq.c` | [`least`] |
//! | weighted-failover | fo | the heaviest | `ip_vs_fo.c` | [`least`] |
//! | weighted-overflow | ovf | the heaviest that has room | `ip_vs_ovf.c` | [`least`] |
//! | weighted-random-twos | twos | the less loaded of two drawn by weight | `ip_vs_twos.c` | [`twos`] |
//! | locality-based-least-connection | lblc | the destination's own, unless crowded | `ip_vs_lblc.c` | [`locality`] |
//! | locality-based-least-connection-with-replication | lblcr | the least loaded of the destination's own | `ip_vs_lblcr.c` | [`locality`] |
//! | destination-hash | dh | by a hash of the destination | `ip_vs_dh.c` | [`destination`] |
//! | source-hash, maglev | sh, mh | by a hash of the flow | `ip_vs_sh.c`, `ip_vs_mh.c` | a lookup table, [`crate::path`] |
//!
//! [`thresholds`] says when a backend is full (`ip_vs_conn.c`). What differs from IPVS on purpose is in docs/schedulers.md;
//! that all else agrees is tested against what IPVS did (`tests/data/ipvs`).
//!
//! **Order.** Where IPVS walks its list of destinations, these rules walk the pool from index 0 up: equal candidates are
//! told apart by it. IPVS puts a destination that is added *before* all others, so its list is the order of addition
//! reversed.

pub mod destination;
pub mod least;
pub mod locality;
pub mod thresholds;
pub mod turns;
pub mod twos;

use crate::address::Address;
use least::Least;
use locality::{Plain, Servers};
use turns::Passes;

/// The backend's index for a new flow to `destination`; `None` if the rule finds nobody.
#[inline(always)]
pub fn pick<P: Pool>(rule: Rule, pool: &P, destination: Address) -> Option<u32> {
    match rule {
        Rule::RoundRobin => turns::pick(pool, Passes::SINGLE),
        Rule::WeightedRoundRobin => turns::pick(pool, pool.passes()),
        Rule::LeastConnection => Least::Connections.pick(pool),
        Rule::WeightedLeastConnection => Least::WeightedConnections.pick(pool),
        Rule::ShortestExpectedDelay => Least::ExpectedDelay.pick(pool),
        Rule::NeverQueue => Least::NeverQueue.pick(pool),
        Rule::WeightedFailover => Least::Failover.pick(pool),
        Rule::WeightedOverflow => Least::Overflow.pick(pool),
        Rule::WeightedRandomTwos => twos::pick(pool, [pool.random(), pool.random()]),
        Rule::Locality => locality::pick(&Plain { pool, destination, replicated: false }, false),
        Rule::ReplicatedLocality => locality::pick(&Plain { pool, destination, replicated: true }, true),
        Rule::DestinationHash => destination::pick(pool, destination),
    }
}

/// The rules, by the numbers that they have in the maps.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// rr
    RoundRobin = 1,
    /// wrr
    WeightedRoundRobin = 2,
    /// lc
    LeastConnection = 3,
    /// wlc
    WeightedLeastConnection = 4,
    /// sed
    ShortestExpectedDelay = 5,
    /// nq
    NeverQueue = 6,
    /// fo
    WeightedFailover = 7,
    /// ovf
    WeightedOverflow = 8,
    /// twos
    WeightedRandomTwos = 9,
    /// lblc
    Locality = 10,
    /// lblcr
    ReplicatedLocality = 11,
    /// dh
    DestinationHash = 12,
}

impl Rule {
    /// By its number; `None` for any other.
    #[inline(always)]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::RoundRobin,
            2 => Self::WeightedRoundRobin,
            3 => Self::LeastConnection,
            4 => Self::WeightedLeastConnection,
            5 => Self::ShortestExpectedDelay,
            6 => Self::NeverQueue,
            7 => Self::WeightedFailover,
            8 => Self::WeightedOverflow,
            9 => Self::WeightedRandomTwos,
            10 => Self::Locality,
            11 => Self::ReplicatedLocality,
            12 => Self::DestinationHash,
            _ => return None,
        })
    }
}

/// A pool with what the rules that remember something keep for it.
pub trait Pool: Candidates {
    /// rr, wrr: the word of the turns, which all CPUs share; see [`turns::Turn`]. 0 at first.
    fn turn(&self) -> u64;
    /// rr, wrr: replaces the word by `after` if it is `before` still; whether it was.
    fn take_turn(&self, before: u64, after: u64) -> bool;
    /// wrr: its passes.
    fn passes(&self) -> Passes;
    /// twos: any number.
    fn random(&self) -> u32;
    /// lblc, lblcr: coarse monotonic time in nanoseconds.
    fn now(&self) -> u64;
    /// lblcr: see [`locality::EXPIRATION`].
    fn expiration(&self) -> u64 {
        locality::EXPIRATION
    }
    /// lblc, lblcr: acts on who is remembered for a destination, at first on [`Servers::default`]; on one that is forgotten again
    /// where there is no room for more.
    fn with_servers(&self, destination: Address, act: impl FnOnce(&mut Servers) -> Option<u32>) -> Option<u32>;
}

/// A backend as the rules see it, at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Candidate {
    /// Its effective weight, at most [`MAX_WEIGHT`]; 0 gets no new flow.
    pub weight: u32,
    /// Connections that are being opened or are open.
    pub active: u32,
    /// Connections that are closing, and all that are not TCP.
    pub inactive: u32,
    /// It is full, by [`thresholds`].
    pub overloaded: bool,
}

/// The largest weight that the rules compute with: what `ipvsadm` takes. It keeps every product within 64 bits.
pub const MAX_WEIGHT: u32 = 65_535;

impl Candidate {
    /// Whether a new flow may go there at all.
    #[inline(always)]
    pub const fn is_open(&self) -> bool {
        self.weight > 0 && !self.overloaded
    }

    /// Its connections, active ones counting 256 times as much as those that only wait to be forgotten
    /// (`ip_vs_dest_conn_overhead`, `include/net/ip_vs.h`).
    #[inline(always)]
    pub const fn overhead(&self) -> u64 {
        ((self.active as u64) << 8) + self.inactive as u64
    }
}

/// What a flow costs: a load shared by so much weight, which is never 0. Compared crosswise, as IPVS does, in 64 bits throughout.
#[repr(C)]
#[derive(Clone, Copy)]
struct Cost {
    load: u64,
    weight: u32,
}

impl Cost {
    #[inline(always)]
    const fn is_above(self, other: Self) -> bool {
        self.load * other.weight as u64 > other.load * self.weight as u64
    }
}

/// The backends of one pool. In the kernel a view of its maps, elsewhere plain memory.
pub trait Candidates {
    /// How many indices there are, holes included; at most [`crate::limits::MAX_BACKENDS_PER_SERVICE`].
    fn count(&self) -> u32;
    /// The backend at `index`; `None` if there is none or it is leaving.
    fn candidate(&self, index: u32) -> Option<Candidate>;
    /// Shows `visitor` every backend once, from `first` up, then from 0 up to `first`, until it has seen enough.
    /// The kernel does this in `bpf_loop`, whose callback calls [`show`].
    fn walk<V: Visitor>(&self, first: u32, visitor: &mut V);
    /// Runs `step` with 0, 1, … up to below `times`, until it says to stop. In the kernel this is `bpf_loop` too.
    fn repeat<F: FnMut(u32) -> Go>(&self, times: u32, step: F);
}

/// One step of a rule that looks at many candidates.
pub trait Visitor {
    /// Looks at one; whether the walk shall go on.
    fn visit(&mut self, index: u32, candidate: &Candidate) -> Go;
}

/// Whether a walk goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Go {
    /// Show the next one.
    On,
    /// Enough.
    Stop,
}

/// One step of [`Candidates::walk`]: shows what is the `step`th from `first`. The body of the kernel's loop and of a plain one.
#[inline(always)]
pub fn show<C: Candidates, V: Visitor>(candidates: &C, first: u32, step: u32, visitor: &mut V) -> Go {
    let count = candidates.count();
    let mut index = first.wrapping_add(step);
    if index >= count {
        index = index.wrapping_sub(count);
    }
    match candidates.candidate(index) {
        Some(candidate) => visitor.visit(index, &candidate),
        None => Go::On,
    }
}
