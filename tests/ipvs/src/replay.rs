//! What IPVS keeps around its schedulers: the list of destinations, their connections, who is full. Around Fairway's rules it
//! must give the same answers as IPVS.
//!
//! The pool counts its indices down, so that whoever is added comes before all others, as in the list of IPVS.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use anyhow::{Context, Result, bail};
use lb_common::address::Address;
use lb_common::flow::SECOND;
use lb_common::scheduler::locality::{EXPIRATION, Servers};
use lb_common::scheduler::thresholds::Thresholds;
use lb_common::scheduler::turns::{Passes, Turn};
use lb_common::scheduler::{Candidate, Candidates, Go, Pool, Rule, Visitor, pick, show};

use crate::script::{self, Step};

/// How long the recorder waits for connections to be forgotten, in seconds.
pub const END: u64 = 11;

/// What stands for a connection that nobody got.
pub const NOBODY: &str = "none";

/// A service.
pub struct Replay {
    rule: Rule,
    backends: Backends,
    /// Backends that were removed, and their indices. One that comes back has its connections still, and its destinations.
    removed: Vec<(usize, Backend)>,
    connections: BTreeMap<u16, Connection>,
}

/// Additions that one script may have.
const CAPACITY: usize = 64;

impl Replay {
    /// A service without backends, by the name that IPVS has for its scheduler.
    pub fn new(scheduler: &str) -> Result<Self> {
        let rule = rule(scheduler).with_context(|| format!("`{scheduler}` is not replayed"))?;
        Ok(Self { rule, backends: Backends::default(), removed: Vec::new(), connections: BTreeMap::new() })
    }

    /// Does a step, and answers as IPVS would.
    pub fn step(&mut self, step: &Step) -> Result<Vec<String>> {
        match step {
            Step::Scheduler { .. } => bail!("the scheduler is chosen once, at the beginning"),
            Step::Sysctl { name, value } if name == "lblcr_expiration" => {
                self.backends.expiration = u64::from(*value) * SECOND;
            }
            Step::Sysctl { name, .. } => bail!("`{name}` has no influence here"),
            Step::Add(settings) => self.add(settings)?,
            Step::Edit(settings) => self.edit(settings)?,
            Step::Remove(name) => self.remove(name)?,
            Step::Open(flows) => return Ok(flows.iter().map(|(id, _, to)| self.begin(id, to, true)).collect()),
            Step::Send(flows) => return Ok(flows.iter().map(|(id, _, to)| self.begin(id, to, false)).collect()),
            Step::Close(ids) => self.close(ids),
            Step::End(ids) => self.end(ids)?,
            Step::Wait(seconds) => self.backends.now += seconds * SECOND,
            Step::Counts => return Ok(self.counts()),
        }
        Ok(Vec::new())
    }

    fn add(&mut self, settings: &script::Backend) -> Result<()> {
        let removed = self.removed.iter().position(|(_, backend)| backend.name == settings.name);
        self.backends.next = self.backends.next.checked_sub(1).context("too many additions")?;
        let index = self.backends.next;
        let mut backend = Backend::default();
        if let Some(place) = removed {
            let (index_before, removed) = self.removed.swap_remove(place);
            backend = removed;
            self.backends.rename(index_before, index);
        }
        backend.set(settings);
        self.backends.all[index] = Some(backend);
        self.changed();
        Ok(())
    }

    fn edit(&mut self, settings: &script::Backend) -> Result<()> {
        self.listed(&settings.name)?.set(settings);
        self.changed();
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<()> {
        let is_it = |place: &Option<Backend>| place.as_ref().is_some_and(|backend| backend.name == name);
        let index =
            self.backends.all.iter().position(is_it).with_context(|| format!("there is no backend `{name}`"))?;
        self.removed.extend(self.backends.all[index].take().map(|backend| (index, backend)));
        self.changed();
        Ok(())
    }

    /// A change begins a pass of wrr anew; rr goes on.
    fn changed(&mut self) {
        if self.rule == Rule::WeightedRoundRobin {
            let turn = Turn::from_word(self.backends.turn.get()).restarted(self.backends.passes());
            self.backends.turn.set(turn.word());
        }
    }

    fn begin(&mut self, id: u16, to: Ipv4Addr, is_tcp: bool) -> String {
        let Some(index) = pick(self.rule, &self.backends, to.into()) else { return NOBODY.to_owned() };
        let backend = self.backends.all[index as usize].as_mut().expect("a rule picks whom it was shown");
        let connection = Connection { backend: backend.name.clone(), is_tcp, is_active: is_tcp };
        *backend.count(is_tcp) += 1;
        backend.update();
        self.connections.insert(id, connection);
        backend.name.clone()
    }

    fn close(&mut self, ids: &RangeInclusive<u16>) {
        for id in ids.clone() {
            let Some(connection) = self.connections.get_mut(&id).filter(|connection| connection.is_active) else {
                continue;
            };
            // IPVS drops packets to a backend that was removed.
            let mut listed = self.backends.all.iter_mut().flatten();
            if let Some(backend) = listed.find(|backend| backend.name == connection.backend) {
                connection.is_active = false;
                backend.active -= 1;
                backend.inactive += 1;
            }
        }
    }

    fn end(&mut self, ids: &RangeInclusive<u16>) -> Result<()> {
        self.backends.now += END * SECOND;
        let listed = |name: &str| self.backends.all.iter().flatten().any(|backend| backend.name == name);
        let can_end = |_: &u16, connection: &mut Connection| connection.is_tcp || listed(&connection.backend);
        let ended: Vec<Connection> = self.connections.extract_if(ids.clone(), can_end).map(|(_, it)| it).collect();
        for connection in ended {
            let backend = self.known(&connection.backend)?;
            *backend.count(connection.is_active) -= 1;
            backend.update();
        }
        Ok(())
    }

    fn counts(&self) -> Vec<String> {
        let listed = self.backends.all.iter().flatten();
        let mut counts: Vec<String> =
            listed.map(|backend| format!("{} {}+{}", backend.name, backend.active, backend.inactive)).collect();
        counts.sort();
        counts.iter().flat_map(|count| count.split(' ')).map(str::to_owned).collect()
    }

    fn listed(&mut self, name: &str) -> Result<&mut Backend> {
        let listed = self.backends.all.iter_mut().flatten().find(|backend| backend.name == name);
        listed.with_context(|| format!("there is no backend `{name}`"))
    }

    /// One that is listed or was.
    fn known(&mut self, name: &str) -> Result<&mut Backend> {
        let listed = self.backends.all.iter_mut().flatten();
        let mut known = listed.chain(self.removed.iter_mut().map(|(_, backend)| backend));
        known.find(|backend| backend.name == name).with_context(|| format!("there was no backend `{name}`"))
    }
}

/// The rule that IPVS calls so, if it is one of those that decide for each flow.
fn rule(scheduler: &str) -> Option<Rule> {
    Some(match scheduler {
        "rr" => Rule::RoundRobin,
        "wrr" => Rule::WeightedRoundRobin,
        "lc" => Rule::LeastConnection,
        "wlc" => Rule::WeightedLeastConnection,
        "sed" => Rule::ShortestExpectedDelay,
        "nq" => Rule::NeverQueue,
        "fo" => Rule::WeightedFailover,
        "ovf" => Rule::WeightedOverflow,
        "lblc" => Rule::Locality,
        "lblcr" => Rule::ReplicatedLocality,
        "dh" => Rule::DestinationHash,
        _ => return None,
    })
}

struct Connection {
    backend: String,
    is_tcp: bool,
    is_active: bool,
}

#[derive(Default)]
struct Backend {
    name: String,
    weight: u32,
    thresholds: Thresholds,
    active: u32,
    inactive: u32,
    is_full: bool,
}

impl Backend {
    fn set(&mut self, settings: &script::Backend) {
        self.name.clone_from(&settings.name);
        self.weight = settings.weight;
        self.thresholds = Thresholds { upper: settings.upper, lower: settings.lower };
        self.update();
    }

    /// Its connections or its thresholds have changed.
    fn update(&mut self) {
        self.is_full = self.thresholds.is_full(self.is_full, self.active + self.inactive);
    }

    fn count(&mut self, is_active: bool) -> &mut u32 {
        if is_active { &mut self.active } else { &mut self.inactive }
    }
}

struct Backends {
    all: [Option<Backend>; CAPACITY],
    /// The index last given away.
    next: usize,
    turn: Cell<u64>,
    now: u64,
    expiration: u64,
    servers: RefCell<HashMap<Address, Servers>>,
}

impl Backends {
    /// A backend has another index: where it is remembered, too.
    fn rename(&self, before: usize, after: usize) {
        let mut servers = self.servers.borrow_mut();
        let members = servers.values_mut().flat_map(|servers| &mut servers.members);
        members.filter(|member| usize::from(**member) == before).for_each(|member| *member = after as u16);
    }
}

impl Default for Backends {
    fn default() -> Self {
        Self {
            all: [const { None }; CAPACITY],
            next: CAPACITY,
            turn: Cell::default(),
            now: SECOND,
            expiration: EXPIRATION,
            servers: RefCell::default(),
        }
    }
}

impl Candidates for Backends {
    fn count(&self) -> u32 {
        CAPACITY as u32
    }

    fn candidate(&self, index: u32) -> Option<Candidate> {
        self.all[index as usize].as_ref().map(|backend| Candidate {
            weight: backend.weight,
            active: backend.active,
            inactive: backend.inactive,
            overloaded: backend.is_full,
        })
    }

    fn walk<V: Visitor>(&self, first: u32, visitor: &mut V) {
        let mut steps = 0..self.count();
        while steps.next().is_some_and(|step| show(self, first, step, visitor) == Go::On) {}
    }

    fn repeat<F: FnMut(u32) -> Go>(&self, times: u32, step: F) {
        (0..times).map(step).find(|go| *go == Go::Stop);
    }
}

impl Pool for Backends {
    fn turn(&self) -> u64 {
        self.turn.get()
    }

    fn take_turn(&self, _before: u64, after: u64) -> bool {
        self.turn.set(after);
        true
    }

    fn passes(&self) -> Passes {
        Passes::of(self.all.iter().flatten().map(|backend| backend.weight))
    }

    fn random(&self) -> u32 {
        unreachable!("what is drawn at random is not replayed")
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn expiration(&self) -> u64 {
        self.expiration
    }

    fn with_servers(&self, destination: Address, act: impl FnOnce(&mut Servers) -> Option<u32>) -> Option<u32> {
        let mut servers = self.servers.borrow().get(&destination).copied().unwrap_or_default();
        let found = act(&mut servers);
        self.servers.borrow_mut().insert(destination, servers);
        found
    }
}
