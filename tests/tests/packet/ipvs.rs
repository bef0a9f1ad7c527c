//! The packet path gives each scripted connection to the backend that IPVS gave it to, and counts as it does: for every record in
//! `tests/data/ipvs` of a rule that a service can have, natively and in the kernel. The rules alone are held to the same records
//! in `tests/ipvs`; here are the packets, the tables and the census around them.
//!
//! As in `fairway_ipvs::replay`, indices are counted down, so that whoever is added comes first, as in the list of IPVS.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use fairway::native::{NativePacket, NativeTables, process};
use fairway::reconcile::census::{Census, ConnectionFate};
use fairway::reconcile::half::publish;
use fairway::reconcile::image::Image;
use fairway::reconcile::write::Write;
use fairway_ipvs::records;
use fairway_ipvs::replay::NOBODY;
use fairway_ipvs::script::{Backend, Script, Step};
use fairway_tests::packet::{Frame, Ip, Payload, flag};
use lb_common::abi::{Chooser, FlowKey6, Load, Record, Root, Row, Service, Sources, method, row_state, service_flags};
use lb_common::connection::Counted;
use lb_common::counters::Reason;
use lb_common::packet::transport::ports_wire;
use lb_common::path::Verdict;
use lb_common::scheduler::Rule;
use lb_common::scheduler::turns::Passes;
use lb_common::slot::{NONE, Slot};

use super::build;
use super::check::action_of;
use super::kernel::{self, Kernel};
use super::state::{
    SLOTS, coarse_now, forget, kept, kernel_connections, kernel_loads, native_loads, native_tables, remove_connection,
    rename_destinations, seed_connection,
};
use super::world::{self, LAN, mac_head, own_mac, row_mac};

/// The rules that a service can have, by the names that IPVS has for them; each is recorded in so many scripts at least.
const RULES: [(&str, Rule); 10] = [
    ("rr", Rule::RoundRobin),
    ("wrr", Rule::WeightedRoundRobin),
    ("lc", Rule::LeastConnection),
    ("wlc", Rule::WeightedLeastConnection),
    ("sed", Rule::ShortestExpectedDelay),
    ("nq", Rule::NeverQueue),
    ("fo", Rule::WeightedFailover),
    ("ovf", Rule::WeightedOverflow),
    ("lblc", Rule::Locality),
    ("lblcr", Rule::ReplicatedLocality),
];
const SCRIPTS_PER_RULE: usize = 2;

/// Additions that one script may have.
const PLACES: u16 = 64;
/// Connections that the longest script has open, and more.
const CONNECTIONS: u32 = 4096;
const CHOOSER: u32 = 1;
const POOL: u32 = 1;
const PORT: u16 = 80;
/// Silence of more than this ends a flow, in seconds: longer than a script takes to run.
const TIMEOUT: u32 = 30;

#[test]
fn each_connection_goes_where_ipvs_sent_it() {
    let mut kernel = Kernel::with_connections(1 << 17, CONNECTIONS);
    kernel::enter(&kernel.namespace);
    let mut differences = Vec::new();
    let mut scripts: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, scheduler, script) in records::all().expect("the records lie there") {
        let Some((rule_name, rule)) = RULES.into_iter().find(|(name, _)| *name == scheduler) else { continue };
        // What IPVS lets be set, such as how soon lblcr forgets, is fixed here.
        if script.steps().any(|(_, step, _)| matches!(step, Step::Sysctl { .. })) {
            continue;
        }
        *scripts.entry(rule_name).or_default() += 1;
        differences.extend(differences_in(&mut kernel, &name, rule, &script));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    for (rule, _) in RULES {
        assert!(scripts.get(rule).is_some_and(|&count| count >= SCRIPTS_PER_RULE), "{rule}: {scripts:?}");
    }
}

fn differences_in(kernel: &mut Kernel, name: &str, rule: Rule, script: &Script) -> Vec<String> {
    let mut path = Path::new(kernel, rule, script);
    let mut differences = Vec::new();
    for (line, step, recorded) in script.steps().skip(1) {
        let answer = path.step(step);
        if answer != recorded {
            differences.push(format!("{name}:{line}: {step}\n  IPVS {recorded:?}\n  here {answer:?}"));
        }
        if let Some(difference) = path.difference_of_homes() {
            differences.push(format!("{name}:{line}: {step}\n  {difference}"));
        }
    }
    differences
}

/// A service of a rule, in both homes.
struct Path<'a> {
    kernel: &'a mut Kernel,
    native: NativeTables,
    rule: Rule,
    /// The index last given away.
    next: u16,
    backends: Vec<Listed>,
    flows: BTreeMap<u16, Flow>,
}

struct Listed {
    settings: Backend,
    index: u16,
    /// Removed ones keep their connections.
    is_listed: bool,
}

#[derive(Clone, Copy)]
struct Flow {
    client: Ipv4Addr,
    service: Ipv4Addr,
    port: u16,
    is_tcp: bool,
    backend: u16,
}

impl<'a> Path<'a> {
    fn new(kernel: &'a mut Kernel, rule: Rule, script: &Script) -> Self {
        forget(kernel);
        let mut native = native_tables(Image::new(SLOTS as usize, world::ROWS as usize));
        native.connection_capacity = CONNECTIONS as usize;
        let mut path = Self { kernel, native, rule, next: PLACES, backends: Vec::new(), flows: BTreeMap::new() };
        // No slot has an owner: what is not given by the rule finds nobody.
        path.apply(Write::Slots(0, vec![Slot::settled(NONE).0; 16]));
        (0..PLACES).for_each(|index| path.apply(Write::Row(index.into(), row(index))));
        path.apply(Write::ClearLoads(0, PLACES.into()));
        path.apply(Write::Chooser(CHOOSER, path.chooser()));
        // The kernel's tables have another half live, with other services.
        let published =
            publish(&Root::default(), &services(script), &[], &Sources::default()).expect("few entries, all different");
        published.into_iter().for_each(|write| path.apply(write));
        path
    }

    fn apply(&mut self, write: Write) {
        self.native.apply(&write);
        self.kernel.maps.apply(&write).expect("a write");
    }

    fn chooser(&self) -> Chooser {
        let weights = self.backends.iter().filter(|it| it.is_listed).map(|it| it.settings.weight);
        let Passes { step, top, .. } = Passes::of(weights.filter(|&weight| weight > 0));
        Chooser {
            places: Chooser::pair(0, PLACES.into()),
            passes: Chooser::pair(top, step),
            rule: self.rule as u32,
            fin_timeout: TIMEOUT,
            syn_timeout: lb_common::connection::SYN_TIMEOUT,
            closed_timeout: lb_common::connection::CLOSED_TIMEOUT,
            ..Chooser::default()
        }
    }

    fn step(&mut self, step: &Step) -> Vec<String> {
        match step {
            Step::Scheduler { .. } | Step::Sysctl { .. } => unreachable!("not in the middle of these scripts"),
            Step::Add(settings) => self.add(settings),
            Step::Edit(settings) => {
                let backend = self.backends.iter_mut().find(|it| it.settings.name == settings.name);
                backend.expect("it is listed").settings = settings.clone();
                self.changed(&settings.name);
            }
            Step::Remove(name) => {
                let backend = self.backends.iter_mut().find(|it| it.settings.name == *name);
                backend.expect("it is listed").is_listed = false;
                self.changed(name);
            }
            Step::Open(flows) => return flows.iter().map(|(id, from, to)| self.begin(id, from, to, true)).collect(),
            Step::Send(flows) => return flows.iter().map(|(id, from, to)| self.begin(id, from, to, false)).collect(),
            Step::Close(ids) => self.close(ids),
            Step::End(ids) => self.end(ids),
            // Nothing here waits for anything.
            Step::Wait(_) => {}
            Step::Counts => return self.counts(),
        }
        Vec::new()
    }

    fn add(&mut self, settings: &Backend) {
        self.next -= 1;
        let index = self.next;
        match self.backends.iter_mut().find(|it| it.settings.name == settings.name) {
            None => self.backends.push(Listed { settings: settings.clone(), index, is_listed: true }),
            Some(removed) => {
                let before = std::mem::replace(&mut removed.index, index);
                removed.is_listed = true;
                removed.settings = settings.clone();
                self.rename(before, index);
            }
        }
        self.changed(&settings.name);
    }

    /// Here a backend that comes back has the index that it had. In the list of IPVS it comes first.
    fn rename(&mut self, before: u16, after: u16) {
        self.apply(Write::MoveLoads { from: before.into(), to: after.into(), count: 1 });
        self.apply(Write::ClearLoads(before.into(), 1));
        for (key, record) in self.records() {
            if record.backend == before {
                self.store(&key, Record { backend: after, ..record });
            }
        }
        rename_destinations(self.kernel, &self.native, before, after);
        self.flows.values_mut().filter(|flow| flow.backend == before).for_each(|flow| flow.backend = after);
    }

    /// Puts a backend's settings in force.
    fn changed(&mut self, name: &str) {
        let backend = self.backends.iter().find(|it| it.settings.name == name).expect("it is known");
        let Backend { weight, upper, lower, .. } = backend.settings;
        let weight = if backend.is_listed { weight } else { 0 };
        self.apply(Write::Load(backend.index.into(), Load { weight, upper, lower, ..Load::default() }));
        self.apply(Write::ChangeChooser(CHOOSER, self.chooser()));
        if self.rule == Rule::WeightedRoundRobin {
            self.apply(Write::RestartTurns(CHOOSER));
        }
    }

    fn begin(&mut self, id: u16, client: Ipv4Addr, service: Ipv4Addr, is_tcp: bool) -> String {
        let mut flow = Flow { client, service, port: 20_000 + id, is_tcp, backend: NONE };
        let Some(backend) = self.send(flow, flag::SYN) else { return NOBODY.to_owned() };
        flow.backend = backend;
        if is_tcp {
            assert_eq!(self.send(flow, flag::ACK), Some(backend), "the connection stays");
        }
        self.flows.insert(id, flow);
        let name = |it: &Listed| (it.index == backend).then(|| it.settings.name.clone());
        self.backends.iter().find_map(name).unwrap_or_else(|| format!("backend {backend}"))
    }

    fn close(&mut self, ids: &RangeInclusive<u16>) {
        for flow in self.flows.range(ids.clone()).map(|(_, flow)| *flow).collect::<Vec<_>>() {
            // IPVS drops packets to a backend that was removed.
            if flow.is_tcp && self.is_listed(flow.backend) {
                assert_eq!(self.send(flow, flag::FIN | flag::ACK), Some(flow.backend), "the connection stays");
            }
        }
    }

    fn end(&mut self, ids: &RangeInclusive<u16>) {
        for (id, flow) in self.flows.range(ids.clone()).map(|(id, flow)| (*id, *flow)).collect::<Vec<_>>() {
            if flow.is_tcp {
                assert_eq!(self.send(flow, flag::RST), Some(flow.backend), "the connection stays");
            } else if !self.is_listed(flow.backend) {
                continue;
            }
            // It is silent for as long as it takes.
            let key = flow.key();
            let record = self.records().into_iter().find(|(other, _)| *other == key);
            let (_, record) = record.expect("what was begun is recorded");
            self.store(&key, Record { last_seen: 0, ..record });
            self.flows.remove(&id);
        }
        self.census();
    }

    fn census(&mut self) {
        let now = coarse_now();
        let mut census = Census::new(std::time::Duration::from_nanos(now));
        for (key, record) in self.records() {
            if let ConnectionFate::Delete(load) = census.add_connection(&self.native.image, &key, &record, now) {
                remove_connection(self.kernel, &self.native, &key);
                let load = load.expect("its service counts");
                self.apply(Write::Recount(load, Counted::one(record.state).ended()));
            }
        }
    }

    fn is_listed(&self, index: u16) -> bool {
        self.backends.iter().any(|it| it.index == index && it.is_listed)
    }

    fn counts(&self) -> Vec<String> {
        let mut listed: Vec<&Listed> = self.backends.iter().filter(|it| it.is_listed).collect();
        listed.sort_by(|a, b| a.settings.name.cmp(&b.settings.name));
        let counted = |it: &&Listed| {
            let load = self.kernel.maps.choosers.load(it.index.into()).expect("a load");
            [it.settings.name.clone(), format!("{}+{}", load.active_count, load.inactive_count)]
        };
        listed.iter().flat_map(counted).collect()
    }

    /// A packet of a flow, in both homes; which backend has it.
    fn send(&mut self, flow: Flow, flags: u8) -> Option<u16> {
        let octets = flow.packet(flags).octets();
        let mut frame = NativePacket::new(&octets, LAN);
        let verdict = process(&mut frame, &self.native);
        let (action, out) = self.kernel.run(&octets, LAN);
        assert_eq!((action, out.as_slice()), (action_of(verdict), frame.frame()), "in the kernel, and natively");
        match verdict {
            Verdict::Transmit => (0..PLACES).find(|&index| frame.frame()[..6] == row_mac(index.into())),
            Verdict::Pass(Reason::NoBackendPassed) => None,
            other => panic!("{other:?}"),
        }
    }

    fn records(&self) -> Vec<(FlowKey6, Record)> {
        self.native.connections.borrow().iter().map(|(key, record)| (*key, *record)).collect()
    }

    fn store(&mut self, key: &FlowKey6, record: Record) {
        seed_connection(self.kernel, &mut self.native, key, record, None);
    }

    fn difference_of_homes(&self) -> Option<String> {
        let natively: Vec<_> = self.records().iter().map(|(key, record)| (*key, kept(record))).collect();
        let in_kernel = (kernel_connections(self.kernel), kernel_loads(self.kernel));
        let natively = (natively, native_loads(&self.native));
        (in_kernel != natively).then(|| format!("the kernel has {in_kernel:?}\n  natively it is {natively:?}"))
    }
}

impl Flow {
    fn packet(&self, flags: u8) -> Frame {
        let ports = (self.port, PORT);
        let payload = match self.is_tcp {
            true => Payload::Tcp { ports, flags, data: vec![] },
            false => Payload::Udp { ports, summed: true, data: vec![] },
        };
        build::frame(Ip::new(self.client.into(), self.service.into(), payload))
    }

    fn key(&self) -> FlowKey6 {
        FlowKey6 {
            source: self.client.into(),
            destination: self.service.into(),
            ports_wire: ports_wire(self.port.to_be(), PORT.to_be()),
            protocol: if self.is_tcp { 6 } else { 17 },
        }
    }
}

/// A listener for each address of the script, for TCP and for UDP.
fn services(script: &Script) -> Vec<Service> {
    let to = |step: &Step| match step {
        Step::Open(flows) | Step::Send(flows) => flows.iter().map(|(_, _, to)| to).collect(),
        _ => vec![],
    };
    let mut addresses: Vec<Ipv4Addr> = script.steps().flat_map(|(_, step, _)| to(step)).collect();
    addresses.sort();
    addresses.dedup();
    let service = |(address, protocol): (Ipv4Addr, u8)| Service {
        address: address.into(),
        port_wire: PORT.to_be(),
        protocol,
        flags: service_flags::USED,
        pool: POOL,
        shift: 64 - 4,
        idle_timeout: TIMEOUT,
        chooser: CHOOSER,
        ..Service::default()
    };
    addresses.into_iter().flat_map(|address| [(address, 6), (address, 17)]).map(service).collect()
}

/// A backend by direct routing.
pub fn row(index: u16) -> Row {
    let from = own_mac(LAN);
    Row {
        mac_head: mac_head(row_mac(index.into()), from),
        mac_tail: u32::from_ne_bytes([from[2], from[3], from[4], from[5]]),
        interface: LAN,
        state: row_state::ALIVE,
        method: method::DIRECT,
        ..Row::default()
    }
}
