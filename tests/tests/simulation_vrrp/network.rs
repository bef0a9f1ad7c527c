//! The network: who hears whom, how late, and how much is lost.

use std::time::Duration;

use crate::rng::Rng;
use crate::scenario::SEGMENTS;

/// What travels apart from the rest, so that it can fail apart from the rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// VRRP on a segment.
    Vrrp(usize),
    /// Heartbeats on a path: the first shares the first segment's cable, the second has its own.
    Path(usize),
}

pub const LANES: [Lane; 4] = [Lane::Vrrp(0), Lane::Vrrp(1), Lane::Path(0), Lane::Path(1)];

impl Lane {
    fn index(self) -> usize {
        match self {
            Self::Vrrp(segment) => segment,
            Self::Path(path) => SEGMENTS + path,
        }
    }

    /// The segment whose cable it runs over; `None`: a cable of its own.
    pub fn segment(self) -> Option<usize> {
        match self {
            Self::Vrrp(segment) => Some(segment),
            Self::Path(0) => Some(0),
            Self::Path(_) => None,
        }
    }
}

/// One direction between two nodes on a lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way {
    pub cut: bool,
    /// In percent.
    pub loss: u64,
    /// Packets take up to twenty times as long.
    pub slow: bool,
}

/// How many times as long packets take at most where it is slow.
pub const SLOW: u32 = 20;

const CLEAN: Way = Way { cut: false, loss: 0, slow: false };

impl Way {
    pub fn is_clean(self) -> bool {
        self == CLEAN
    }
}

pub struct Network {
    nodes: usize,
    ways: Vec<Way>,
    /// When the last packet arrives on each way: none overtakes another.
    arrivals: Vec<Duration>,
}

impl Network {
    pub fn new(nodes: usize) -> Self {
        let ways = LANES.len() * nodes * nodes;
        Self { nodes, ways: vec![CLEAN; ways], arrivals: vec![Duration::ZERO; ways] }
    }

    pub fn way(&self, lane: Lane, from: usize, to: usize) -> Way {
        self.ways[self.place(lane, from, to)]
    }

    pub fn way_mut(&mut self, lane: Lane, from: usize, to: usize) -> &mut Way {
        let place = self.place(lane, from, to);
        &mut self.ways[place]
    }

    fn place(&self, lane: Lane, from: usize, to: usize) -> usize {
        (lane.index() * self.nodes + from) * self.nodes + to
    }

    /// When a packet that is sent now arrives; `None`: it is lost. `delay` is the longest that is usual.
    pub fn carry(
        &mut self,
        rng: &mut Rng,
        now: Duration,
        delay: Duration,
        (lane, from, to): (Lane, usize, usize),
    ) -> Option<Duration> {
        let place = self.place(lane, from, to);
        let way = self.ways[place];
        if way.cut || rng.percent(way.loss) {
            return None;
        }
        let arrival = now + rng.up_to(if way.slow { delay * SLOW } else { delay });
        self.arrivals[place] = self.arrivals[place].max(arrival);
        Some(self.arrivals[place])
    }

    pub fn heal(&mut self) {
        self.ways.fill(CLEAN);
    }
}
