//! What is made anew, and what counts as a place for records that had none.

use std::time::Duration;

use lb_common::limits::SLOTS_PER_ELEMENT;
use lb_common::packet::transport::ports_wire;

use super::super::foreign::Foreign;
use super::super::stored::Lookups;
use super::*;
use crate::config::parse;
use crate::reconcile::census::Census;
use crate::reconcile::image::Image;
use crate::reconcile::placed::{Standing, Standings};
use crate::scheduler::seed::Seed;

/// Services `s0`, `s1`, … with so many backends each, and more keys for the last one.
fn config(services: usize, backends: usize, last: &str) -> Config {
    let mut text = "[dataplane]\ninterfaces = [\"eth0\"]\n".to_owned();
    for (vrid, router) in [(6, "public"), (7, "inside")] {
        text += &format!("[[vrrp]]\nname = \"{router}\"\ninterface = \"eth0\"\n");
        text += &format!("vrid = {vrid}\naddresses = [\"203.0.113.{vrid}/32\"]\n");
    }
    for service in 0..services {
        let more = if service + 1 == services { last } else { "" };
        let vrrp = if more.contains("vrrp") { "" } else { "vrrp = \"public\"\n" };
        let port = 1000 + service;
        text += &format!("[[service]]\nname = \"s{service}\"\nlookup_table_size = 32\n{vrrp}{more}\n");
        let address = if more.contains("vrrp") { 7 } else { 6 };
        text += &format!("listen = [\"tcp://203.0.113.{address}:{port}\"]\n");
        for backend in 1..=backends {
            text += &format!("[[service.backend]]\naddress = \"10.0.{service}.{backend}\"\n");
        }
    }
    parse(&text, "host").unwrap_or_else(|problems| panic!("{problems:#?}")).0
}

struct Bench {
    planner: Planner,
    image: Image,
    config: Config,
    directory: Directory,
    now: Duration,
}

impl Bench {
    fn new(config: Config) -> Self {
        let (planner, image) = (Planner::new(Seed::from_text("test"), 4096, 4096), Image::new(4096, 4096));
        let now = Duration::from_secs(1000);
        let mut bench = Self { planner, image, config, directory: Directory::default(), now };
        bench.reload();
        bench
    }

    fn reload(&mut self) -> usize {
        let unchanged = self.planner.unchanged_by(&self.config);
        let config = self.config.clone();
        let plan = self.planner.configure_with(self.now, &self.image, &config, &BTreeMap::new(), &unchanged).unwrap();
        plan.writes.iter().for_each(|write| self.image.apply(write));
        self.publish()
    }

    /// How many services have another entry than before; all are what they would be if they were made anew.
    fn publish(&mut self) -> usize {
        let next = Directory::new(&self.config, "hash", &self.planner, &self.directory);
        let anew = Directory::new(&self.config, "hash", &self.planner, &Directory::default());
        assert_eq!(next.services, anew.services);
        let before = std::mem::replace(&mut self.directory, next);
        let is_other = |(name, entry): &(&Arc<str>, &Arc<Entry>)| {
            before.services.get(*name).is_none_or(|known| !Arc::ptr_eq(known, entry))
        };
        self.directory.services.iter().filter(is_other).count()
    }
}

#[test]
fn whatever_changes_is_seen_and_nothing_else_is_made_anew() {
    let mut bench = Bench::new(config(4, 3, ""));
    assert_eq!(bench.publish(), 0);
    let standings: Standings = [("10.0.1.1 direct".to_owned(), Standing { weight: 0, up: true })].into();
    let writes = bench.planner.reweigh(bench.now, &bench.image, &[("s1".to_owned(), standings)].into()).writes;
    writes.iter().for_each(|write| bench.image.apply(write));
    assert_eq!(bench.publish(), 1, "another weight");
    for sweep in 0..2 {
        bench.now += Duration::from_secs(10_000);
        bench.planner.sweep(bench.now, &bench.image, &Census::new(bench.now));
        assert_eq!(bench.publish(), 1, "slots that move on, {sweep}");
    }
    assert_eq!(bench.publish(), 0);
    for last in ["vrrp = \"inside\"", "vrrp = \"inside\"\nidle_timeout = \"77s\"", "scheduler = \"round-robin\""] {
        bench.config = config(4, 3, last);
        assert_eq!(bench.reload(), 1, "{last}");
    }
    bench.config = config(3, 3, "");
    assert_eq!(bench.reload(), 0, "one is gone");
}

#[test]
fn a_slot_of_which_records_were_refused_is_told_anew_with_the_time_of_the_last() {
    let mut bench = Bench::new(config(1, 3, ""));
    let standings: Standings = [("10.0.0.1 direct".to_owned(), Standing { weight: 0, up: true })].into();
    bench.planner.reweigh(bench.now, &bench.image, &[("s0".to_owned(), standings)].into());
    bench.publish();
    let changed = bench.now;
    let element = bench.directory.service("s0").expect("it is there").slots[0].slot / SLOTS_PER_ELEMENT as u32;
    let mut sweep = |refused: Duration| {
        bench.now = refused + Duration::from_secs(1);
        let mut census = Census::new(bench.now);
        census.refusals.insert(element, refused);
        bench.planner.sweep(bench.now, &bench.image, &census);
        let before = bench.directory.clone();
        bench.publish();
        bench.directory.changes_since(&before)
    };
    assert!(sweep(changed - Duration::from_secs(1)).is_empty(), "a refusal before the slot had two owners");
    for seconds in [5, 7] {
        let refused = changed + Duration::from_secs(seconds);
        let told = sweep(refused);
        let [(_, Key::Slots(..), Some(Value::Slots(notes)))] = &told[..] else { panic!("{told:?}") };
        let (waiting, others): (Vec<&SlotNote>, Vec<&SlotNote>) =
            notes.iter().partition(|note| note.slot / SLOTS_PER_ELEMENT as u32 == element);
        assert!(!waiting.is_empty() && waiting.iter().all(|note| note.since == nanoseconds(refused)), "{notes:?}");
        assert!(others.iter().all(|note| note.since == nanoseconds(changed)), "{notes:?}");
    }
}

#[test]
fn only_services_and_backends_that_were_not_there_are_places_for_more_records() {
    let of = |config: Config| Bench::new(config).directory;
    let before = of(config(2, 3, ""));
    for (services, backends, last, has_more) in [
        (2, 3, "", false),
        (2, 3, "idle_timeout = \"77s\"", false),
        (2, 2, "", false),
        (1, 3, "", false),
        (2, 4, "", true),
        (3, 3, "", true),
        (2, 3, "vrrp = \"inside\"", true),
        (2, 3, "scheduler = \"round-robin\"", true),
    ] {
        let has = of(config(services, backends, last)).has_more_places_than(&before);
        assert_eq!(has, has_more, "{services} services, {backends} backends, {last}");
    }
}

#[test]
fn what_was_looked_up_for_a_message_is_what_would_be_found_again() {
    let bench = Bench::new(config(2, 2, ""));
    let mut lookups = Lookups::default();
    for (address, port) in [("203.0.113.6", 1000), ("203.0.113.6", 1001), ("203.0.113.6", 1002), ("203.0.113.7", 1000)]
    {
        let destination = address.parse::<std::net::IpAddr>().unwrap().into();
        let ports_wire = ports_wire(5_u16.to_be(), u16::to_be(port));
        let flow = FlowKey6 { source: destination, destination, ports_wire, protocol: 6 };
        for flow in [flow, flow, FlowKey6 { protocol: 17, ..flow }] {
            assert_eq!(lookups.of_flow(&bench.directory, &flow), bench.directory.of_flow(&flow), "{address} {port}");
        }
    }
}

#[test]
fn what_the_peer_says_of_its_backends_counts_from_there_on() {
    let bench = Bench::new(config(1, 2, ""));
    let entry = bench.directory.service("s0").expect("it is configured");
    let own = |(_, value)| if let Value::Backends(backends) = value { Some(backends) } else { None };
    let own = entry.items().into_iter().find_map(own).expect("it has backends");
    let (mut foreign, mut lookups) = (Foreign::default(), Lookups::default());
    for (at, backend) in [(0, &own[0]), (1, &own[1])] {
        foreign.note(&entry.realm, &entry.name, 0, Some(vec![Backend { index: 7, ..backend.clone() }]));
        lookups.forget_backends();
        for _ in 0..2 {
            assert_eq!(lookups.backend(&foreign, entry, 7), Ok(backend.index), "backend {at}");
        }
        assert_eq!(lookups.backend(&foreign, entry, 8), Err("unknown-index"));
    }
    foreign.note(
        &entry.realm,
        &entry.name,
        0,
        Some(vec![Backend { index: 7, identity: "stranger".into(), ..own[0].clone() }]),
    );
    lookups.forget_backends();
    assert_eq!(lookups.backend(&foreign, entry, 7), Err("no-backend"));
}
