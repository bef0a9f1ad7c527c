//! One random history: reloads, next hops that change, floods that fill the flow table, and clients that watch which
//! backend answers them, over the packet path that runs in the kernel.
//!
//! Plans are carried out write by write with packets in between, some of which loaded a table before it was replaced;
//! a row that is being written over is read torn. Everything follows from the seed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use fairway::native::NativeTables;
use fairway::nexthop::{Frame, Mac, NextHop, Unresolved};
use fairway::reconcile::census::{Census, ConnectionFate, Fate};
use fairway::reconcile::image::Image;
use fairway::reconcile::planner::Planner;
use fairway::reconcile::recount::Recount;
use fairway::reconcile::write::Write;
use fairway::scheduler::seed::Seed;
use lb_common::abi::{Row, method, row_state};
use lb_common::connection::Counted;
use lb_common::packet::ethernet::Exit;
use lb_common::path::Route;
use lb_common::slot::Slot;

use crate::desired::{self, Desired, SERVICES};
use crate::fault::Fault;
use crate::in_flight::Replaced;
use crate::rng::Rng;
use clients::{Flow, Kind, client};

#[path = "clients.rs"]
mod clients;

const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// A record whose flow has sent only a SYN, or has sent a FIN, lives this long without packets.
const SHORT_IDLE: Duration = Duration::from_secs(60);
/// When histories begin.
const START: Duration = Duration::from_secs(1000);
/// Few, so that floods fill the flow table, and that places are used again.
const RECORDS: usize = 80;
const SLOTS: usize = 512;
const ROWS: usize = 512;
const STEPS: u32 = 350;
/// So many censuses find what was counted at the old place while loads moved.
const SWEEPS_AFTER_MOVE: u32 = 12;
/// Frames come in here.
const CLIENT_SIDE: u32 = 1;

/// How much of what matters a history had in it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Coverage {
    pub packets_judged: u64,
    pub judged_unsettled: u64,
    pub judged_exceptions: u64,
    pub judged_in_flight: u64,
    pub replies_judged: u64,
    pub udp_judged: u64,
    pub reloads: u64,
    pub refused_plans: u64,
    pub diverged: u64,
    pub grown: u64,
    pub rows_reused: u64,
    pub released: u64,
    pub refusals: u64,
    pub slots_settled: u64,
    pub slots_forced: u64,
    pub counts_judged: u64,
    pub connections_ended: u64,
    pub unrecorded: u64,
}

impl Coverage {
    pub fn add(&mut self, other: Coverage) {
        self.packets_judged += other.packets_judged;
        self.judged_unsettled += other.judged_unsettled;
        self.judged_exceptions += other.judged_exceptions;
        self.judged_in_flight += other.judged_in_flight;
        self.replies_judged += other.replies_judged;
        self.udp_judged += other.udp_judged;
        self.reloads += other.reloads;
        self.refused_plans += other.refused_plans;
        self.diverged += other.diverged;
        self.grown += other.grown;
        self.rows_reused += other.rows_reused;
        self.released += other.released;
        self.refusals += other.refusals;
        self.slots_settled += other.slots_settled;
        self.slots_forced += other.slots_forced;
        self.counts_judged += other.counts_judged;
        self.connections_ended += other.connections_ended;
        self.unrecorded += other.unrecorded;
    }
}

/// The history of this seed; `Err` says what broke the promise.
pub fn run(seed: u64, fault: Fault) -> Result<Coverage, String> {
    let mut world = World::new(seed, fault, false);
    world.run().map(|()| Coverage { unrecorded: world.tables.unrecorded.get(), ..world.coverage })
}

/// The history of this seed in words, up to its end or its violation.
pub fn story(seed: u64, fault: Fault) -> Vec<String> {
    let mut world = World::new(seed, fault, true);
    if let Err(violation) = world.run() {
        world.story.push(violation);
    }
    world.story
}

/// A row torn in the middle of being written.
pub fn poison() -> Row {
    Row { mac_head: u64::MAX, state: row_state::ALIVE, method: method::DIRECT, ..Row::default() }
}

/// How a server is reached: which of its MAC addresses, and by which of our interfaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Way {
    mac: u16,
    path: u16,
}

struct World {
    fault: Fault,
    rng: Rng,
    now: Duration,
    last_sweep: Duration,
    flood_until: Duration,
    /// The file, and the one in force.
    desired: Vec<Desired>,
    in_force: Vec<Desired>,
    planner: Planner,
    tables: NativeTables,
    replaced: Replaced,
    /// Carried out so far.
    writes: u64,
    /// Between the moment when refusals were read and the last store of what follows from them.
    sweeping: bool,
    recount: Recount,
    /// Sweeps until counts must be right again, after loads have moved.
    moved: u32,
    ways: BTreeMap<IpAddr, Way>,
    /// By which path a server's MAC address was given.
    paths: BTreeMap<(bool, u8, u16), u16>,
    flows: Vec<Flow>,
    /// Flows that have ended, whose addresses and ports may be used again: number, service, listener.
    closed: Vec<(u64, usize, usize)>,
    ids: u64,
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

impl World {
    fn new(seed: u64, fault: Fault, tell: bool) -> Self {
        let mut rng = Rng(seed);
        let mut tables = NativeTables::new(Image::new(SLOTS, ROWS), RECORDS);
        tables.clock.set(START.as_nanos() as u64);
        let exit = Exit { mac_head: 1, mac_tail: 1, interface: CLIENT_SIDE, tags_wire: [0; 2] };
        for v4 in [true, false] {
            tables.routes.insert(client(v4, 0).address, Route::Forward(exit));
        }
        Self {
            fault,
            desired: desired::first(&mut rng),
            in_force: Vec::new(),
            rng,
            now: START,
            last_sweep: Duration::ZERO,
            flood_until: Duration::ZERO,
            planner: Planner::new(Seed::from_text("simulation"), SLOTS as u32, ROWS as u32),
            tables,
            replaced: Replaced::default(),
            writes: 0,
            sweeping: false,
            recount: Recount::default(),
            moved: 0,
            ways: BTreeMap::new(),
            paths: BTreeMap::new(),
            flows: Vec::new(),
            closed: Vec::new(),
            ids: 0,
            coverage: Coverage::default(),
            tell,
            story: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<(), String> {
        self.reload()?;
        (0..STEPS).try_for_each(|_| self.step())
    }

    fn step(&mut self) -> Result<(), String> {
        self.let_time_pass();
        if self.now >= self.last_sweep + SWEEP_EVERY {
            self.sweep()?;
        }
        if self.now < self.flood_until {
            self.flood();
        }
        match self.rng.below(100) {
            0..4 => {
                (0..=self.rng.below(3)).for_each(|_| desired::change(&mut self.rng, &mut self.desired));
                self.reload()
            }
            4 => self.another_way(),
            5 if self.rng.one_in(3) => {
                self.flood_until = self.now + Duration::from_secs(self.rng.below(300));
                tell!(self, "a SYN flood starts and lasts until {:.3}", self.flood_until.as_secs_f64());
                Ok(())
            }
            5..35 => self.open(),
            35..43 => self.packet(Kind::Closes),
            _ => self.packet(Kind::Data),
        }
    }

    fn let_time_pass(&mut self) {
        let limit = [0, 100, 1000, 3000, 10_000, 40_000][self.rng.below(6) as usize];
        let milliseconds = self.rng.below(limit + 1);
        self.advance(milliseconds);
    }

    fn advance(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.tables.clock.set(self.now.as_nanos() as u64);
        if milliseconds > 0 {
            // A packet takes microseconds.
            self.replaced.clear();
        }
    }

    /// Puts the desired configuration in force, if it fits.
    fn reload(&mut self) -> Result<(), String> {
        self.forget_idle();
        let config = desired::read(&self.desired);
        let tables_before: BTreeMap<String, u32> = self.tables_by_service();
        let rows_before: BTreeMap<_, _> = self.rows_by_listener();
        let plan = match self.planner.configure(self.now, &self.tables.image, &config) {
            Ok(plan) => plan,
            Err(error) => {
                tell!(self, "refused: {error}");
                self.coverage.refused_plans += 1;
                // The operator takes the file back.
                self.desired = self.in_force.clone();
                return Ok(());
            }
        };
        tell!(self, "reload: {:#?}\n  {:?}", plan.changes, self.desired);
        self.coverage.reloads += 1;
        let apart = |(one, other): (&str, &str)| {
            let table = |tables: &BTreeMap<String, u32>, name| tables.get(name).copied();
            let after = self.tables_by_service();
            table(&tables_before, one).is_some()
                && table(&tables_before, one) == table(&tables_before, other)
                && table(&after, one) != table(&after, other)
        };
        self.coverage.diverged += u64::from(apart(("red", "green")));
        let grown =
            self.rows_by_listener().into_iter().filter(|(at, rows)| rows_before.get(at).is_some_and(|was| was != rows));
        self.coverage.grown += grown.count() as u64;
        self.perform(plan.writes)?;
        self.forget_lost();
        self.in_force = self.desired.clone();
        self.fault.aftermath(&mut self.tables, &self.planner);
        self.find_ways()
    }

    /// Gives up on flows that the reload in progress ends or re-homes: nothing was promised to them.
    pub fn forget_lost(&mut self) {
        if self.in_force == self.desired || self.in_force.is_empty() {
            return;
        }
        let (before, after) = (&self.in_force, &self.desired);
        self.flows.retain(|flow| {
            let (before, after) = (&before[flow.service], &after[flow.service]);
            let is_udp = SERVICES[flow.service].2[flow.listener].0 == "udp";
            after.exists
                && before.exists
                && (flow.listener == 0 || after.both_listeners && before.both_listeners)
                && before.slots == after.slots
                && (!is_udp || before.udp_flows && after.udp_flows)
        });
    }

    /// Carries out a plan as a busy machine would: at times a little late, always with packets in between.
    fn perform(&mut self, writes: Vec<Write>) -> Result<(), String> {
        if self.rng.one_in(3) {
            for _ in 0..3 {
                let late = self.rng.below(250);
                self.advance(late);
                self.packet(Kind::Data)?;
            }
        }
        for write in self.fault.bend(writes, &self.tables, &self.planner) {
            tell!(self, "  {}", words(&write));
            self.store(&write)?;
            if self.rng.one_in(6) {
                self.open()?;
                self.packet(Kind::Data)?;
            }
        }
        Ok(())
    }

    fn store(&mut self, write: &Write) -> Result<(), String> {
        self.replaced.note(&self.tables.image, write, self.writes);
        self.writes += 1;
        if let Write::Row(index, _) = write {
            let row = &mut self.tables.image.rows[*index as usize];
            self.coverage.rows_reused += u64::from(row.method != method::NONE);
            if row.mac_head != 0 {
                *row = poison();
                self.packet(Kind::Data)?;
            }
        }
        if matches!(write, Write::MoveLoads { .. }) {
            self.moved = SWEEPS_AFTER_MOVE;
        }
        self.tables.apply(write);
        Ok(())
    }

    /// Takes the census, which takes a while, and moves on what may be moved.
    fn sweep(&mut self) -> Result<(), String> {
        self.last_sweep = self.now;
        let mut census = Census::new(self.now);
        let (image, clock) = (&self.tables.image, self.tables.clock.get());
        let count = |key: &_, record: &mut _| census.add(image, key, record, clock) == Fate::Keep;
        self.tables.flows.borrow_mut().retain(count);
        self.count_connections(&mut census);
        if self.rng.one_in(3) {
            for _ in 0..6 {
                let passed = self.rng.below(400);
                self.advance(passed);
                match self.rng.below(15) {
                    0 => {
                        desired::change(&mut self.rng, &mut self.desired);
                        self.reload()?;
                    }
                    1..4 => self.open()?,
                    _ => self.packet(Kind::Data)?,
                }
            }
        }
        let refusals = self.tables.refusals.borrow();
        census.refusals = refusals.iter().map(|(&element, &at)| (element, Duration::from_nanos(at))).collect();
        drop(refusals);
        let leaving = self.leaving();
        let (ahead, mut census) = (if self.fault == Fault::SettleEarly { 150 } else { 0 }, self.fault.lie(census));
        let now = self.now + Duration::from_secs(ahead);
        let before = self.tables.loads.borrow().clone();
        census.loads.iter_mut().for_each(|(load, [_, after])| *after = before.get(load).copied().unwrap_or_default().0);
        let (mut writes, report) = self.planner.sweep(now, &self.tables.image, &census);
        writes.extend(self.recount.observe(self.planner.services().values(), &census));
        self.coverage.slots_settled += u64::from(report.settled);
        self.coverage.slots_forced += u64::from(report.forced);
        self.coverage.released += (leaving - self.leaving()) as u64;
        if !writes.is_empty() {
            tell!(self, "sweep: {report:?}");
        }
        if report.forced > 0 {
            // The promise is given up for these slots, and says so.
            let places: Vec<u32> = self.flows.iter().map(|flow| self.slot_of(flow).unwrap_or(u32::MAX)).collect();
            let forced = |place: u32| writes.iter().any(|write| matches!(write, Write::Slot(at, _) if *at == place));
            let mut places = places.into_iter();
            self.flows.retain(|_| places.next().is_some_and(|place| !forced(place)));
        }
        self.sweeping = true;
        let done = self.perform(writes);
        self.sweeping = false;
        done?;
        self.moved = self.moved.saturating_sub(1);
        self.judge_counts()
    }

    /// Counts the records of stateful services, and takes those off that have had their time.
    fn count_connections(&mut self, census: &mut Census) {
        let (image, clock) = (&self.tables.image, self.tables.clock.get());
        let mut over = Vec::new();
        self.tables.connections.borrow_mut().retain(|key, record| {
            match census.add_connection(image, key, record, clock) {
                ConnectionFate::Keep => true,
                ConnectionFate::Delete(load) => {
                    over.extend(load.map(|load| Write::Recount(load, Counted::one(record.state).ended())));
                    false
                }
            }
        });
        over.iter().for_each(|write| self.tables.apply(write));
        self.coverage.connections_ended += over.len() as u64;
        // Also of those that nothing was counted at: what lies there was counted elsewhere, while loads moved.
        let loads = self.tables.loads.borrow();
        let counted = |load: u32| loads.get(&load).map_or(Counted::default(), |&(counted, _)| counted);
        census.loads = (0..ROWS as u32).map(|load| (load, [counted(load); 2])).collect();
    }

    /// What backends count is what is recorded. Not for a while after loads have moved with packets in between.
    fn judge_counts(&mut self) -> Result<(), String> {
        if self.moved > 0 {
            return Ok(());
        }
        let (records, loads) = (self.tables.connections.borrow(), self.tables.loads.borrow());
        for (name, placed) in self.planner.services() {
            let Some(seat) = placed.seat else { continue };
            for index in 0..seat.room as u16 {
                let of_backend = records.values().filter(|it| it.pool == placed.pool && it.backend == index);
                let recorded = of_backend.fold(Counted::default(), |sum, it| sum.plus(Counted::one(it.state)));
                let (counted, _) = loads.get(&seat.load(index)).copied().unwrap_or_default();
                if counted != recorded {
                    return Err(format!("backend {index} of {name} counts {counted:?}, recorded are {recorded:?}"));
                }
                self.coverage.counts_judged += u64::from(recorded != Counted::default());
            }
        }
        Ok(())
    }

    fn leaving(&self) -> usize {
        self.planner.services().values().map(|placed| placed.leaving.len()).sum()
    }

    fn tables_by_service(&self) -> BTreeMap<String, u32> {
        self.planner.services().iter().map(|(name, placed)| (name.clone(), placed.table)).collect()
    }

    fn rows_by_listener(&self) -> BTreeMap<String, (u32, u32)> {
        let services = self.planner.services().values();
        services.flat_map(|placed| placed.rows.iter().map(|(at, rows)| (at.to_string(), *rows))).collect()
    }

    /// Resolves the next hops that are not known yet.
    fn find_ways(&mut self) -> Result<(), String> {
        for destination in self.planner.destinations().clone() {
            let known = matches!(self.planner.hops().get(&destination), Some(Ok(_)));
            if !known {
                self.change_way(destination, self.ways.get(&destination).copied().unwrap_or_default())?;
            }
        }
        Ok(())
    }

    /// A server gets another MAC address, moves to another interface, or is away for a moment.
    fn another_way(&mut self) -> Result<(), String> {
        let destinations: Vec<IpAddr> = self.planner.destinations().iter().copied().collect();
        if destinations.is_empty() {
            return Ok(());
        }
        let destination = destinations[self.rng.below(destinations.len() as u64) as usize];
        let Way { mac, path } = self.ways[&destination];
        match self.rng.below(4) {
            0 => self.change_way(destination, Way { mac: mac + 1, path: path + 1 }),
            1 => {
                tell!(self, "the way to {destination} is not known");
                let unknown = Err(Unresolved::NoRoute { destination });
                let writes = self.planner.next_hop(&self.tables.image, destination, unknown);
                self.perform(writes)?;
                self.change_way(destination, Way { mac: mac + 1, path })
            }
            _ => self.change_way(destination, Way { mac: mac + 1, path }),
        }
    }

    fn change_way(&mut self, destination: IpAddr, way: Way) -> Result<(), String> {
        tell!(self, "{destination} is reached by {way:?}");
        let (v4, number) = (destination.is_ipv4(), last_octet(destination) - 1);
        let ([m0, m1], [p0, p1]) = (way.mac.to_be_bytes(), way.path.to_be_bytes());
        self.ways.insert(destination, way);
        self.paths.insert((v4, number, way.mac), way.path);
        let frame = Frame {
            interface: interface(way.path),
            source_mac: Mac([2, 0xee, 0, 0, p0, p1]),
            destination_mac: Mac([2, 0xbb, u8::from(v4), number, m0, m1]),
            tags: Vec::new(),
            mtu: 1500,
            source: None,
        };
        let writes = self.planner.next_hop(&self.tables.image, destination, Ok(NextHop::Frame(frame)));
        self.perform(writes)
    }
}

fn interface(path: u16) -> u32 {
    2 + u32::from(path % 2)
}

fn last_octet(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    }
}

fn words(write: &Write) -> String {
    match write {
        Write::Slot(index, word) => {
            format!("slot {index} is {} before {}", Slot(*word).current(), Slot(*word).previous())
        }
        Write::Half(half) => format!("{half:?}"),
        Write::Row(index, row) => format!("row {index} leads to {}", IpAddr::from(row.address)),
        other => {
            let mut words = format!("{other:?}");
            words.truncate(words.floor_char_boundary(300));
            words
        }
    }
}
