//! One random history: a pool whose backends come, go, change weight, drain, die and recover, floods that fill the flow
//! table, and clients that watch which backend answers them.
//!
//! Everything follows from the seed, so a history that breaks the promise can be told again, line by line.

use std::time::Duration;

use fairway::scheduler::pool::{Pool, PoolChange};
use fairway::scheduler::seed::Seed;
use fairway::scheduler::slots::SlotWrite;
use lb_common::slot::{Slot, SlotState};

use crate::fault::{Fault, FaultySurvey};
use crate::packet_side::{Kind, Model, PacketSide, SHORT_IDLE, Survey};
use crate::rng::Rng;

pub const IDLE_TIMEOUT: Duration = Duration::from_secs(200);
const SWEEP_EVERY: Duration = Duration::from_secs(5);
const SLOTS: u32 = 32;
/// Few, so that floods fill the flow table and that indices are used again.
const RECORDS: usize = 60;
const INDICES: u16 = 7;
const IDENTITIES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
const STEPS: u32 = 1200;

/// How much of what matters a history had in it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Coverage {
    pub packets_judged: u64,
    pub judged_unsettled: u64,
    pub judged_exceptions: u64,
    pub refusals: u64,
    pub slots_settled: u64,
    pub slots_forced: u64,
    pub indices_reused: u64,
    pub downs: u64,
}

impl Coverage {
    pub fn add(&mut self, other: Coverage) {
        self.packets_judged += other.packets_judged;
        self.judged_unsettled += other.judged_unsettled;
        self.judged_exceptions += other.judged_exceptions;
        self.refusals += other.refusals;
        self.slots_settled += other.slots_settled;
        self.slots_forced += other.slots_forced;
        self.indices_reused += other.indices_reused;
        self.downs += other.downs;
    }
}

/// The history of this seed; `Err` says which flow moved.
pub fn run(seed: u64, fault: Fault) -> Result<Coverage, String> {
    World::new(model(), seed, fault, false).run().map_err(|(violation, _)| violation)
}

/// The history of this seed in words, up to its end or its violation.
pub fn story(seed: u64, fault: Fault) -> Vec<String> {
    let mut world = World::new(model(), seed, fault, true);
    match world.run() {
        Ok(_) => world.story,
        Err((violation, mut story)) => {
            story.push(violation);
            story
        }
    }
}

fn model() -> Model {
    Model::new(SLOTS, RECORDS, IDLE_TIMEOUT)
}

/// A flow as its client sees it.
struct Flow {
    id: u64,
    backend: String,
    last: Kind,
    last_packet: Duration,
}

struct World<P> {
    fault: Fault,
    rng: Rng,
    now: Duration,
    last_sweep: Duration,
    flood_until: Duration,
    pool: Pool,
    side: P,
    /// What the packet side has been told, to break it where a fault wants that.
    stored: Vec<Slot>,
    flows: Vec<Flow>,
    /// Addresses and ports of flows that have ended.
    closed: Vec<u64>,
    ids: u64,
    released: Vec<u16>,
    coverage: Coverage,
    tell: bool,
    story: Vec<String>,
}

macro_rules! tell {
    ($world:expr, $($words:tt)*) => {
        if $world.tell {
            let line = format!($($words)*);
            $world.story.push(format!("{:9.3} {line}", $world.now.as_secs_f64()));
        }
    };
}

type Violation = (String, Vec<String>);

impl<P: PacketSide> World<P> {
    fn new(side: P, seed: u64, fault: Fault, tell: bool) -> Self {
        Self {
            fault,
            rng: Rng(seed),
            now: Duration::from_secs(1000),
            last_sweep: Duration::ZERO,
            flood_until: Duration::ZERO,
            pool: Pool::new(SLOTS, INDICES, Seed::from_text("simulation")),
            side,
            stored: vec![Slot::settled(lb_common::slot::NONE); SLOTS as usize],
            flows: Vec::new(),
            closed: Vec::new(),
            ids: 0,
            released: Vec::new(),
            coverage: Coverage::default(),
            tell,
            story: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<Coverage, Violation> {
        self.change_members()?;
        for _ in 0..STEPS {
            self.step().map_err(|violation| (violation.0, std::mem::take(&mut self.story)))?;
        }
        Ok(self.coverage)
    }

    fn step(&mut self) -> Result<(), Violation> {
        self.let_time_pass();
        if self.now >= self.last_sweep + SWEEP_EVERY {
            self.sweep()?;
        }
        if self.now < self.flood_until {
            self.flood();
        }
        match self.rng.below(100) {
            0..3 => self.change_members()?,
            3..5 => self.fail_or_recover()?,
            5 if self.rng.one_in(4) => self.start_flood(),
            5..35 => self.open(),
            35..45 => self.packet(Kind::Fin)?,
            _ => self.packet(Kind::Data)?,
        }
        Ok(())
    }

    fn let_time_pass(&mut self) {
        let limit = [0, 100, 1000, 3000, 10_000, 40_000][self.rng.below(6) as usize];
        self.now += Duration::from_millis(self.rng.below(limit + 1));
    }

    /// Adds, removals, drains and other weights, of several backends at once.
    fn change_members(&mut self) -> Result<(), Violation> {
        let mut desired: Vec<(&str, u32)> = Vec::new();
        for identity in IDENTITIES {
            let is_member = self.pool.member(identity).is_some_and(|member| !member.leaving);
            let stays = if is_member { !self.rng.one_in(4) } else { self.rng.one_in(5) };
            if stays {
                desired.push((identity, [0, 1, 1, 1, 2, 3][self.rng.below(6) as usize]));
            }
        }
        tell!(self, "members become {desired:?}");
        match self.pool.set_members(self.now, &desired) {
            Ok(change) => {
                self.coverage.indices_reused +=
                    change.added.iter().filter(|index| self.released.contains(index)).count() as u64;
                self.perform(change)
            }
            Err(full) => {
                tell!(self, "refused: {full}");
                Ok(())
            }
        }
    }

    fn fail_or_recover(&mut self) -> Result<(), Violation> {
        let members: Vec<(String, u16, bool)> =
            self.pool.members().map(|(identity, member)| (identity.to_owned(), member.index, member.up)).collect();
        if members.is_empty() {
            return Ok(());
        }
        let (identity, index, up) = members[self.rng.below(members.len() as u64) as usize].clone();
        tell!(self, "{identity} ({index}) goes {}", if up { "down" } else { "up" });
        self.set_up(&identity, index, !up)?;
        if up && self.rng.one_in(2) {
            tell!(self, "{identity} ({index}) is back before the next sweep, but some clients did not wait");
            (0..6).for_each(|_| self.open());
            self.set_up(&identity, index, true)?;
        }
        Ok(())
    }

    fn set_up(&mut self, identity: &str, index: u16, up: bool) -> Result<(), Violation> {
        if !up {
            self.coverage.downs += 1;
            let lost = self.flows.extract_if(.., |flow| flow.backend == identity);
            self.closed.extend(lost.map(|flow| flow.id));
        }
        self.side.set_up(index, up);
        let change = self.pool.set_up(self.now, identity, up);
        self.perform(change)
    }

    /// Sends a change to the packet side as a busy machine would: at times a little late, with packets in between.
    fn perform(&mut self, change: PoolChange) -> Result<(), Violation> {
        if self.rng.one_in(3) {
            for _ in 0..3 {
                self.now += Duration::from_millis(self.rng.below(300));
                self.packet(Kind::Data)?;
            }
        }
        change.writes.into_iter().for_each(|write| self.store(write));
        if self.fault != Fault::KeepRecordsOfTheDead {
            change.forget.into_iter().for_each(|index| self.side.forget(index));
        }
        Ok(())
    }

    fn store(&mut self, mut write: SlotWrite) {
        let stored = &mut self.stored[write.slot as usize];
        let changes_owner = stored.state() == SlotState::Unsettled && stored.current() != write.word.current();
        if self.fault == Fault::MovePrevious && changes_owner {
            write.word = Slot::new(write.word.current(), stored.current());
        }
        *stored = write.word;
        self.side.store(write);
        tell!(self, "  slot {} is {} before {}", write.slot, write.word.current(), write.word.previous());
    }

    fn sweep(&mut self) -> Result<(), Violation> {
        self.last_sweep = self.now;
        self.side.expire(self.now);
        let survey = FaultySurvey { survey: self.survey()?, fault: self.fault };
        let timeout = if self.fault == Fault::SettleEarly { IDLE_TIMEOUT / 4 } else { IDLE_TIMEOUT };
        let (writes, report) = self.pool.sweep(self.now, timeout, &survey);
        self.coverage.slots_settled += u64::from(report.settled);
        self.coverage.slots_forced += u64::from(report.forced);
        if !writes.is_empty() {
            tell!(self, "sweep: {report:?}");
        }
        if report.forced > 0 {
            // The promise is given up for these slots, and says so: their flows are not judged any more.
            self.flows.retain(|flow| writes.iter().all(|write| write.slot != self.side.slot_of(flow.id)));
        }
        writes.into_iter().for_each(|write| self.store(write));
        self.release();
        Ok(())
    }

    /// A survey of many records takes a while, and the world does not stand still.
    fn survey(&mut self) -> Result<Survey, Violation> {
        let mut survey = self.side.survey(self.now);
        if self.rng.one_in(3) {
            for _ in 0..6 {
                self.now += Duration::from_millis(self.rng.below(300));
                match self.rng.below(4) {
                    0 => self.change_members()?,
                    1 => self.open(),
                    _ => self.packet(Kind::Data)?,
                }
            }
            survey.refusals = self.side.survey(self.now).refusals;
        }
        Ok(survey)
    }

    fn release(&mut self) {
        let hasty = self.fault == Fault::ReuseIndexEarly;
        let surveyed = if hasty { Duration::MAX } else { self.now };
        let released = self.pool.release(self.now, surveyed, |index| !hasty && self.side.recorded(index));
        for (identity, index) in released {
            tell!(self, "{identity} ({index}) is gone");
            self.side.set_up(index, true);
            self.released.push(index);
        }
    }

    fn start_flood(&mut self) {
        self.flood_until = self.now + IDLE_TIMEOUT.mul_f64(self.rng.below(1500) as f64 / 1000.0);
        tell!(self, "a SYN flood starts and lasts until {:.3}", self.flood_until.as_secs_f64());
    }

    fn flood(&mut self) {
        for _ in 0..RECORDS {
            let id = self.rng.next() | 1 << 63;
            self.side.packet(self.now, id, Kind::Syn);
        }
        if self.side.survey(self.now).refusals.contains(&Some(self.now)) {
            self.coverage.refusals += 1;
        }
    }

    /// A client connects; at times from addresses and ports that an earlier flow had.
    fn open(&mut self) {
        let mut id = self.ids;
        self.ids += 1;
        if self.rng.one_in(2) && !self.closed.is_empty() {
            id = self.closed.swap_remove(self.rng.below(self.closed.len() as u64) as usize);
        }
        if let Some(backend) = self.answer(id, Kind::Syn) {
            tell!(self, "flow {id} (slot {}) opens to {backend}", self.side.slot_of(id));
            self.flows.push(Flow { id, backend, last: Kind::Syn, last_packet: self.now });
        }
    }

    /// A packet of some flow, and the judgement: it goes where the flow's first one went.
    fn packet(&mut self, kind: Kind) -> Result<(), Violation> {
        let now = self.now;
        self.flows.retain(|flow| {
            let limit = if flow.last == Kind::Data { IDLE_TIMEOUT } else { SHORT_IDLE };
            now <= flow.last_packet + limit
        });
        if self.flows.is_empty() {
            return Ok(());
        }
        let at = self.rng.below(self.flows.len() as u64) as usize;
        let id = self.flows[at].id;
        self.cover(id);
        let answer = self.answer(id, kind);
        let flow = &mut self.flows[at];
        if answer.as_ref() != Some(&flow.backend) {
            let from = &flow.backend;
            return Err((format!("flow {id} moved from {from} to {answer:?} at {now:?}"), Vec::new()));
        }
        (flow.last, flow.last_packet) = (kind, now);
        tell!(self, "flow {id} {kind:?}");
        if kind == Kind::Fin && self.rng.one_in(2) {
            self.closed.push(self.flows.swap_remove(at).id);
        }
        Ok(())
    }

    fn cover(&mut self, id: u64) {
        self.coverage.packets_judged += 1;
        match self.stored[self.side.slot_of(id) as usize].state() {
            SlotState::Settled => {}
            SlotState::Unsettled => self.coverage.judged_unsettled += 1,
            SlotState::Exceptions => self.coverage.judged_exceptions += 1,
        }
    }

    fn answer(&mut self, id: u64, kind: Kind) -> Option<String> {
        let index = self.side.packet(self.now, id, kind)?;
        Some(self.pool.identity(index).unwrap_or("nobody").to_owned())
    }
}
