//! One random history, carried out write by write on plain memory, with packets in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fairway::controller::view::Totals;
use fairway::controller::{Controller, Effect, Event};
use fairway::health::pool::decide::Quorum;
use fairway::health::pool::state::State;
use fairway::health::pool::{Action, Order};
use fairway::health::spec::Spec;
use fairway::health::verdict::{FailureKind, Verdict};
use fairway::native::NativeTables;
use fairway::nexthop::tracker::Event as Network;
use fairway::nexthop::{Frame, Mac, NextHop};
use fairway::reconcile::census::{Census, Fate};
use fairway::reconcile::image::Image;
use fairway::reconcile::placed::identity_of;
use lb_common::abi::FlowKey6;

use crate::clients::{Flow, Kind};
use crate::fault::Fault;
use crate::model::{self, Desired, Model, SERVERS, SERVICES, SORRY, Wanted, server};
use crate::rng::Rng;

/// The hash of the table that some effective weights gave: the members with their weights.
pub type Hashes = BTreeMap<Vec<(String, u32)>, u64>;

const SWEEP_EVERY: Duration = Duration::from_secs(5);
const STEPS: u32 = 250;
const SLOTS: u32 = 512;
const ROWS: u32 = 512;
/// More than any history makes.
const RECORDS: usize = 100_000;

/// How much of what matters a history had in it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Coverage {
    pub packets: u64,
    pub unsettled: u64,
    pub looks: u64,
    pub found_again: u64,
    pub distrusts: u64,
    pub sorry: u64,
    pub backup_tiers: u64,
    pub lost: u64,
    pub ramps: u64,
    pub ended_drains: u64,
    pub reset_flows: u64,
    pub orders: u64,
    pub reloads: u64,
    pub verdicts: u64,
    pub shared: u64,
    pub held: u64,
    pub suspects: u64,
}

impl Coverage {
    pub fn add(&mut self, other: &Self) {
        let Self { packets, unsettled, looks, found_again, distrusts, sorry, backup_tiers, .. } = other;
        self.packets += packets;
        self.unsettled += unsettled;
        self.looks += looks;
        self.found_again += found_again;
        self.distrusts += distrusts;
        self.sorry += sorry;
        self.backup_tiers += backup_tiers;
        let Self { lost, ramps, ended_drains, reset_flows, orders, reloads, verdicts, shared, held, suspects, .. } =
            other;
        self.lost += lost;
        self.ramps += ramps;
        self.ended_drains += ended_drains;
        self.reset_flows += reset_flows;
        self.orders += orders;
        self.reloads += reloads;
        self.verdicts += verdicts;
        self.shared += shared;
        self.held += held;
        self.suspects += suspects;
    }
}

pub struct World {
    pub fault: Fault,
    pub rng: Rng,
    pub now: Duration,
    last_sweep: Duration,
    pub controller: Controller,
    pub tables: NativeTables,
    pub model: Model,
    pub flows: Vec<Flow>,
    /// Flows that have ended, whose ports are used again: number and service.
    pub closed: Vec<(u16, usize)>,
    pub next_flow: u16,
    /// New connections that were counted.
    counted: u64,
    pub coverage: Coverage,
    pub tell: bool,
    pub story: Vec<String>,
}

/// Adds a line to the story, if somebody reads it.
macro_rules! tell {
    ($world:expr, $($words:tt)*) => {
        if $world.tell {
            let line = format!($($words)*);
            $world.story.push(format!("{:9.3} {line}", $world.now.as_secs_f64()));
        }
    };
}
pub(crate) use tell;

impl World {
    pub fn new(seed: u64, fault: Fault, tell: bool) -> Self {
        let mut rng = Rng(seed);
        let mut desired: Vec<Desired> = SERVICES.iter().map(|_| Desired::random(&mut rng)).collect();
        if rng.one_in(2) {
            desired[1] = desired[0].clone();
        }
        let config = model::read(&desired);
        let controller = Controller::new(config, SLOTS, ROWS);
        let tables = NativeTables::new(Image::new(SLOTS as usize, ROWS as usize), RECORDS);
        Self {
            fault,
            rng,
            now: Duration::from_secs(1000),
            last_sweep: Duration::ZERO,
            controller,
            tables,
            model: Model::new(desired),
            flows: Vec::new(),
            closed: Vec::new(),
            next_flow: 0,
            counted: 0,
            coverage: Coverage::default(),
            tell,
            story: Vec::new(),
        }
    }

    pub fn run(&mut self, hashes: &mut Hashes) -> Result<(), String> {
        self.find_ways()?;
        self.reload()?;
        self.judge_tables(hashes)?;
        for _ in 0..STEPS {
            self.step()?;
            self.judge_tables(hashes)?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        let limit = [0, 100, 1000, 3000, 10_000, 30_000][self.rng.below(6) as usize];
        let passes = Duration::from_millis(self.rng.below(limit + 1));
        self.pass(passes)?;
        if self.now >= self.last_sweep + SWEEP_EVERY {
            self.sweep()?;
        }
        match self.rng.below(100) {
            0..3 => {
                let changes = 1 + self.rng.below(3);
                for _ in 0..changes {
                    let at = self.rng.below(SERVICES.len() as u64) as usize;
                    self.model.desired[at].change(&mut self.rng);
                }
                if self.rng.one_in(6) {
                    self.model.desired[1] = self.model.desired[0].clone();
                }
                self.reload()
            }
            3..9 => self.order(),
            9..28 => self.say(),
            28 => self.cut(),
            29 => self.count(),
            30..50 => self.open(),
            50..55 => self.packet(Kind::Closes),
            _ => self.packet(Kind::Data),
        }
    }

    /// Time passes; what is due is done when it is due.
    fn pass(&mut self, passes: Duration) -> Result<(), String> {
        let end = self.now + passes;
        while let Some(due) = self.controller.deadline().filter(|due| *due <= end) {
            self.set_time(due.max(self.now));
            self.model.settle(self.now);
            let effects = self.controller.handle(self.now, Event::Tick);
            self.perform(effects)?;
            if self.controller.deadline().is_some_and(|next| next <= self.now) {
                return Err("what is due is due again at once".to_owned());
            }
        }
        self.set_time(end);
        self.model.settle(self.now);
        Ok(())
    }

    fn set_time(&mut self, now: Duration) {
        self.now = now;
        self.tables.clock.set(u64::try_from(now.as_nanos()).expect("histories are short"));
    }

    fn reload(&mut self) -> Result<(), String> {
        let config = model::read(&self.model.desired);
        tell!(self, "reload: {:#?}", self.model.desired);
        self.coverage.reloads += 1;
        self.model.configured(self.now, &config);
        let (_, effects) =
            self.controller.configure(self.now, config).map_err(|error| format!("it does not fit: {error}"))?;
        self.forget_services();
        self.perform(effects)
    }

    /// Checks say something: of a server all that ask it, or those that have not said anything yet.
    fn say(&mut self) -> Result<(), String> {
        let config = self.controller.config();
        let specs: Vec<Spec> = config.services.iter().flat_map(model::specs).map(|(_, spec)| spec).collect();
        let number = 1 + self.rng.below(u64::from(SERVERS)) as u8;
        let only_new = self.rng.one_in(2);
        let is_meant = |spec: &Spec| {
            let is_new = !self.model.verdicts.contains_key(spec);
            if only_new { is_new } else { spec.target.address == server(number) }
        };
        let meant: Vec<Arc<Spec>> = specs.into_iter().filter(is_meant).map(Arc::new).collect();
        let up = !self.rng.one_in(3);
        let mut said = Vec::new();
        for spec in meant {
            let verdict = model::verdict(&mut self.rng, up);
            tell!(self, "{} is {}: {:?}, {:?}", spec.target, verdict.state, verdict.agent, verdict.failure);
            said.push((spec, verdict));
        }
        self.hear(said)
    }

    /// The cable is cut: every check, or all but one, says that nothing comes back; one after the other within a round, or at
    /// once.
    fn cut(&mut self) -> Result<(), String> {
        let config = self.controller.config();
        let specs: BTreeSet<Spec> = config.services.iter().flat_map(model::specs).map(|(_, spec)| spec).collect();
        tell!(self, "the cable is cut");
        let at_once = self.rng.one_in(2);
        let spared = self.rng.one_in(4).then(|| self.rng.below(specs.len().max(1) as u64) as usize);
        let cut = specs.into_iter().enumerate().filter(|(at, _)| Some(*at) != spared);
        let said: Vec<_> = cut.map(|(_, spec)| (Arc::new(spec), model::silent())).collect();
        if at_once {
            return self.hear(said);
        }
        for one in said {
            let passes = Duration::from_millis(self.rng.below(400));
            self.pass(passes)?;
            self.hear(vec![one])?;
        }
        Ok(())
    }

    /// Takes what checks say to the model and to the controller, which now and then does not hear it.
    fn hear(&mut self, said: Vec<(Arc<Spec>, Verdict)>) -> Result<(), String> {
        self.model.say(self.now, &said);
        let mut heard = said;
        match self.fault {
            Fault::LoseVerdicts => heard.retain(|_| !self.rng.one_in(10)),
            Fault::SilenceIsRefusal => {
                heard.iter_mut().filter(|(_, verdict)| verdict.failure.is_some()).for_each(|(_, verdict)| {
                    verdict.failure = Some(FailureKind::Refused);
                });
            }
            _ => {}
        }
        self.coverage.verdicts += heard.len() as u64;
        let effects = self.controller.handle(self.now, Event::Verdicts(heard));
        let held = self.controller.pools().uplinks().held().next().is_some();
        tell!(self, "held: {held}, by what was said: {}", self.model.silence.is_held());
        self.perform(effects)
    }

    /// What was forwarded is counted, and looks bad for some backend: that has its checks made, and does nothing else.
    fn count(&mut self) -> Result<(), String> {
        let mut counted = BTreeMap::new();
        for service in &self.controller.config().services {
            for backend in &service.backends {
                self.counted += 20;
                let (connections, again) = (self.counted, if self.rng.one_in(3) { self.counted / 2 } else { 0 });
                let totals = Totals { connections, syn_retransmissions: again, ..Totals::default() };
                counted.insert((service.name.clone(), identity_of(backend)), totals);
            }
        }
        let effects = self.controller.handle(self.now, Event::Counted(counted));
        for effect in &effects {
            match effect {
                Effect::CheckNow(_) => self.coverage.suspects += 1,
                Effect::Tell(_) => {}
                other => return Err(format!("a suspicion led to {other:?}")),
            }
        }
        Ok(())
    }

    /// An operator says something.
    fn order(&mut self) -> Result<(), String> {
        let at = self.rng.below(SERVICES.len() as u64) as usize;
        let number = 1 + self.rng.below(u64::from(SERVERS)) as u8;
        let action = match self.rng.below(10) {
            0..2 => Action::Drain,
            2..4 => Action::Undrain,
            4 => Action::Disable,
            5..7 => Action::Enable,
            7 => Action::Weight([0, 1, 3, 9][self.rng.below(4) as usize]),
            _ => Action::Clear,
        };
        let everywhere = self.rng.one_in(6).then_some(server(number));
        let order = match (everywhere, self.model.everywhere.contains_key(&number)) {
            (Some(address), false) => Order::DrainEverywhere(address),
            (Some(address), true) => Order::UndrainEverywhere(address),
            (None, _) => Order::Backend { service: SERVICES[at].0.to_owned(), backend: format!("b{number}"), action },
        };
        match self.controller.operate(self.now, self.now.as_secs_f64(), &order) {
            Ok((lines, effects)) => {
                tell!(self, "{order:?}: {lines:?}");
                self.coverage.orders += 1;
                self.note_order(at, number, &order);
                self.model.settle(self.now);
                self.perform(effects)
            }
            Err(refused) => {
                tell!(self, "{order:?}: {refused}");
                Ok(())
            }
        }
    }

    fn note_order(&mut self, at: usize, number: u8, order: &Order) {
        let Order::Backend { action, .. } = order else {
            match order {
                Order::DrainEverywhere(_) => drop(self.model.everywhere.insert(number, self.now)),
                _ => drop(self.model.everywhere.remove(&number)),
            }
            return;
        };
        let wanted = self.model.wanted.entry((at, number)).or_default();
        let before = *wanted;
        match action {
            Action::Drain => (wanted.drained, wanted.disabled) = (true, false),
            Action::Disable => (wanted.drained, wanted.disabled) = (false, true),
            Action::Undrain | Action::Enable => (wanted.drained, wanted.disabled) = (false, false),
            Action::Weight(weight) => wanted.weight = Some(*weight),
            Action::Clear => *wanted = Wanted { since: wanted.since, ..Wanted::default() },
        }
        if *wanted != before || matches!(action, Action::Weight(_)) {
            wanted.since = self.now;
        }
    }

    /// Carries out effects, with packets in between.
    pub fn perform(&mut self, effects: Vec<Effect>) -> Result<(), String> {
        self.give_up_on_the_dead();
        for effect in effects {
            let Effect::Write(writes) = effect else { continue };
            for write in writes {
                if self.fault.carries_out(&mut self.rng, &write) {
                    self.tables.apply(&write);
                }
                if self.rng.one_in(8) {
                    self.open()?;
                    self.packet(Kind::Data)?;
                }
            }
        }
        // Also on those that were opened to them while they died.
        self.give_up_on_the_dead();
        self.cover();
        Ok(())
    }

    fn sweep(&mut self) -> Result<(), String> {
        self.last_sweep = self.now;
        let mut census = Census::new(self.now);
        let (image, clock) = (&self.tables.image, self.tables.clock.get());
        let count = |key: &FlowKey6, record: &mut _| census.add(image, key, record, clock) == Fate::Keep;
        self.tables.flows.borrow_mut().retain(count);
        let effects = self.controller.handle(self.now, Event::Census(Box::new(census)));
        self.perform(effects)
    }

    fn find_ways(&mut self) -> Result<(), String> {
        for number in (1..=SERVERS).chain([SORRY]) {
            let mac = |last| Mac([2, 0xbb, 0, 0, 0, last]);
            let frame = Frame {
                interface: 2,
                source_mac: mac(0),
                destination_mac: mac(number),
                tags: Vec::new(),
                mtu: 1500,
                source: None,
            };
            let found = Network::NextHop { destination: server(number), result: Ok(NextHop::Frame(frame)) };
            let effects = self.controller.handle(self.now, Event::Network(found));
            self.perform(effects)?;
        }
        Ok(())
    }

    fn cover(&mut self) {
        for (at, (name, _)) in SERVICES.iter().enumerate() {
            let Some(pool) = self.controller.pools().get(name) else { continue };
            let (summary, members) = (pool.summary(), pool.members());
            self.coverage.distrusts += u64::from(summary.distrusts);
            self.coverage.sorry += u64::from(summary.sorry);
            self.coverage.lost += u64::from(summary.quorum == Quorum::Lost);
            self.coverage.ramps += members.iter().filter(|it| it.part.state == State::Starting).count() as u64;
            let serves = |tier: bool| {
                members.iter().any(|it| it.part.standing.weight > 0 && (self.tier_of(at, &it.name) > 0) == tier)
            };
            self.coverage.backup_tiers += u64::from(serves(true));
            let ended =
                |it: &&fairway::health::pool::service::Member| it.part.state == State::Drain && !it.part.standing.up;
            self.coverage.ended_drains += members.iter().filter(ended).count() as u64;
        }
        self.coverage.held += u64::from(self.model.silence.is_held());
        let table = |name: &str| Some(self.controller.planner().services().get(name)?.table);
        let (red, green) = (table("red"), table("green"));
        self.coverage.shared += u64::from(red.is_some() && red == green);
    }

    fn tier_of(&self, at: usize, name: &str) -> u8 {
        let number = name.trim_start_matches('b').parse().expect("backends are called b1, b2, …");
        self.model.tier(at, number)
    }
}
