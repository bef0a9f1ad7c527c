//! What plans promise: who shares a table and when it is copied, what keeps its place, and in which order things are
//! written.

use lb_common::abi::{ALWAYS_LIVE, HALF_ENTRIES, method, reverse_flags};
use lb_common::address::Address;
use lb_common::packet::protocol::TCP;
use lb_common::slot::Slot;

use super::*;
use crate::config::parse;
use crate::nexthop::{Frame, Mac, NextHop};

const START: Duration = Duration::from_secs(1000);
/// Long enough for anything to settle.
const LONG: Duration = Duration::from_secs(10_000);

/// A planner and the maps that its plans are carried out on.
struct Bench {
    planner: Planner,
    image: Image,
    now: Duration,
}

impl Bench {
    fn new(config: &str) -> Self {
        Self::sized(config, 256, 256)
    }

    fn sized(config: &str, slots: u32, rows: u32) -> Self {
        let planner = Planner::new(Seed::from_text("test"), slots, rows);
        let mut bench = Self { planner, image: Image::new(slots as usize, rows as usize), now: START };
        bench.reload(config);
        bench
    }

    fn reload(&mut self, config: &str) -> Plan {
        let plan = self.try_reload(config).unwrap();
        plan.writes.iter().for_each(|write| self.image.apply(write));
        plan
    }

    fn try_reload(&mut self, config: &str) -> Result<Plan, PlanError> {
        self.planner.configure(self.now, &self.image, &read(config))
    }

    /// As [`Self::reload`], with services that follow virtual routers: (service, router).
    fn reload_following(&mut self, config: &str, routers: &[(&str, &str)]) -> Plan {
        let mut config = read(config);
        for service in &mut config.services {
            let router = routers.iter().find(|(name, _)| *name == service.name);
            service.vrrp = router.map(|(_, router)| (*router).to_owned());
        }
        let plan = self.planner.configure(self.now, &self.image, &config).unwrap();
        plan.writes.iter().for_each(|write| self.image.apply(write));
        plan
    }

    /// The live word of a service's entry.
    fn live_word(&self, address: &str) -> u32 {
        let address: IpAddr = address.parse().unwrap();
        self.image.listener(address.into(), 80u16.to_be(), TCP).unwrap().live
    }

    fn sweep(&mut self) -> Vec<Write> {
        self.now += LONG;
        let (writes, _) = self.planner.sweep(self.now, &self.image, &Census::new(self.now));
        writes.iter().for_each(|write| self.image.apply(write));
        writes
    }

    fn settle(&mut self) {
        (0..4).for_each(|_| drop(self.sweep()));
        assert!(self.planner.is_settled());
    }

    fn placed(&self, service: &str) -> &Placed {
        &self.planner.services()[service]
    }

    fn index(&self, service: &str, address: &str) -> u16 {
        let pool = &self.planner.tables().get(self.placed(service).table).pool;
        pool.member(&format!("{address} direct")).unwrap().index
    }

    fn words(&self, service: &str) -> Vec<u32> {
        let table = self.planner.tables().get(self.placed(service).table);
        self.image.slots[table.first_slot as usize..][..table.size() as usize].to_vec()
    }

    /// What a reply of a server's port 80 is turned back into.
    fn reverse(&self, server: &str) -> Option<(IpAddr, u16)> {
        let server: Address = server.parse::<IpAddr>().unwrap().into();
        let half = (self.image.root.word & 1) as usize;
        let live = &self.image.reverse[half * HALF_ENTRIES..][..HALF_ENTRIES];
        let entry = live
            .iter()
            .find(|entry| entry.flags & reverse_flags::USED != 0 && entry.backend == server && entry.protocol == TCP)?;
        Some((entry.service.into(), u16::from_be(entry.service_port_wire)))
    }

    /// The methods of the rows of a server that somebody has.
    fn methods(&self, server: &str) -> Vec<u8> {
        let server: Address = server.parse::<IpAddr>().unwrap().into();
        let rows = (0..).zip(&self.image.rows).filter(|(index, _)| self.planner.rows().get(*index).is_some());
        rows.filter(|(_, row)| row.address == server).map(|(_, row)| row.method).collect()
    }
}

fn read(config: &str) -> Config {
    parse(config, "host").unwrap_or_else(|problems| panic!("{problems:#?}")).0
}

/// A file of services: name, listeners, more keys, backends as `address` or `address*weight`.
fn file(services: &[(&str, &str, &str, &str)]) -> String {
    let mut text = String::from("dataplane.interfaces = [\"eth0\"]\n");
    for (name, listeners, keys, backends) in services {
        let listeners: Vec<String> = listeners.split(' ').map(|at| format!("\"tcp://{at}\"")).collect();
        let listeners = listeners.join(", ");
        text += &format!("[[service]]\nname = \"{name}\"\nlisten = [{listeners}]\nlookup_table_size = 32\n{keys}\n");
        for backend in backends.split_whitespace() {
            let (address, weight) = backend.split_once('*').unwrap_or((backend, "1"));
            text += &format!("[[service.backend]]\naddress = \"{address}\"\nweight = {weight}\n");
        }
    }
    text
}

fn three(red: &str, green: &str, blue: &str) -> String {
    let (a, b, c) = ("192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80");
    file(&[("red", a, "", red), ("green", b, "", green), ("blue", c, "", blue)])
}

fn position(writes: &[Write], what: impl Fn(&Write) -> bool) -> usize {
    writes.iter().position(what).unwrap()
}

#[test]
fn services_that_want_the_same_share_a_table_and_change_it_together() {
    let mut bench = Bench::new(&three("10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2", "10.0.0.1"));
    assert_eq!(bench.placed("red").table, bench.placed("green").table);
    assert_ne!(bench.placed("red").table, bench.placed("blue").table);
    let plan = bench.reload(&three("10.0.0.2", "10.0.0.2", "10.0.0.1"));
    assert_eq!(bench.placed("red").table, bench.placed("green").table);
    assert_eq!((plan.slots_moved, plan.slots), (16, 32));
}

#[test]
fn a_service_that_diverges_gets_a_copy_with_its_pool_number_and_indices() {
    let both = "10.0.0.1 10.0.0.2";
    let mut bench = Bench::new(&three(both, both, both));
    let (pool, index, others) = (bench.placed("red").pool, bench.index("red", "10.0.0.2"), bench.words("green"));
    let plan = bench.reload(&three("10.0.0.2", both, both));
    assert_ne!(bench.placed("red").table, bench.placed("green").table);
    assert_eq!((bench.placed("red").pool, bench.index("red", "10.0.0.2")), (pool, index));
    assert_eq!(bench.words("green"), others);
    assert!(!plan.writes.iter().any(|write| matches!(write, Write::Slot(..))), "nothing that is live changes");
    assert!(bench.placed("red").leaving.contains_key("10.0.0.1 direct"));
}

#[test]
fn all_services_of_a_table_may_leave_it_in_one_reload() {
    let both = "10.0.0.1 10.0.0.2";
    let mut bench = Bench::new(&three(both, both, both));
    let before = bench.words("red");
    bench.reload(&three("10.0.0.1", "10.0.0.2", "10.0.0.1*2 10.0.0.2*1"));
    let tables: BTreeSet<u32> = ["red", "green", "blue"].map(|name| bench.placed(name).table).into();
    assert_eq!(tables.len(), 3);
    for (name, owner) in [("red", "10.0.0.1"), ("green", "10.0.0.2")] {
        let owner = bench.index(name, owner);
        for (word, was) in bench.words(name).into_iter().zip(&before) {
            let (word, was) = (Slot(word), Slot(*was).current());
            let previous = if was == owner { lb_common::slot::NONE } else { was };
            assert_eq!((word.current(), word.previous()), (owner, previous));
        }
    }
}

#[test]
fn an_unsettled_table_is_copied_with_its_history_and_waits_from_the_copy_on() {
    let mut bench = Bench::new(&three("10.0.0.1", "10.0.0.1", "10.0.0.9"));
    bench.reload(&three("10.0.0.2", "10.0.0.2", "10.0.0.9"));
    bench.now += Duration::from_secs(800);
    bench.reload(&three("10.0.0.2", "10.0.0.3", "10.0.0.9"));
    let first = bench.index("green", "10.0.0.1");
    assert!(bench.words("green").iter().all(|word| Slot(*word).previous() == first));
    bench.now += Duration::from_secs(200);
    let (_, report) = bench.planner.sweep(bench.now, &bench.image, &Census::new(bench.now));
    assert_eq!(report.settled, 0);
    let table = |name: &str| &bench.planner.tables().get(bench.placed(name).table).pool;
    let copied = ["red", "green"].map(|name| table(name).slots().unsettled());
    assert_eq!(copied.iter().filter(|unsettled| **unsettled > 0).count(), 1, "only the copy waits longer");
}

#[test]
fn a_service_that_comes_back_is_another_one_to_the_records() {
    let mut bench = Bench::new(&three("10.0.0.1", "10.0.0.2", "10.0.0.3"));
    let pool = bench.placed("red").pool;
    bench.reload(&file(&[("green", "192.0.2.2:80", "", "10.0.0.2")]));
    bench.reload(&three("10.0.0.1", "10.0.0.2", "10.0.0.3"));
    assert_ne!(bench.placed("red").pool, pool);
}

#[test]
fn another_table_size_rehomes_and_says_so() {
    let mut bench = Bench::new(&file(&[("red", "192.0.2.1:80", "", "10.0.0.1 10.0.0.2")]));
    let pool = bench.placed("red").pool;
    let larger = file(&[("red", "192.0.2.1:80", "", "10.0.0.2")]).replace("size = 32", "size = 64");
    let plan = bench.reload(&larger);
    assert_eq!(plan.rehomed, ["red"]);
    assert_ne!(bench.placed("red").pool, pool, "no record is right any more");
    assert!(bench.placed("red").leaving.is_empty());
    assert!(plan.changes[0].contains("lookup_table_size 32 → 64, which re-homes"), "{:?}", plan.changes);
}

#[test]
fn rows_come_before_the_flip_and_words_of_live_tables_after_its_grace() {
    let mut bench = Bench::new(&three("10.0.0.1", "10.0.0.1", "10.0.0.1"));
    let many: String = (1..=20).map(|number| format!("10.0.0.{number} ")).collect();
    let outgrown = bench.placed("red").rows.clone();
    let plan = bench.reload(&three(&many, &many, &many));
    assert_ne!(bench.placed("red").rows, outgrown);
    let flip = position(&plan.writes, |write| matches!(write, Write::Flip(_)));
    let grace = position(&plan.writes, |write| matches!(write, Write::Grace));
    let words = position(&plan.writes, |write| matches!(write, Write::Slot(..)));
    let last_row = plan.writes.iter().rposition(|write| matches!(write, Write::Row(..))).unwrap();
    assert!(last_row < flip && flip < grace && grace < words);
}

#[test]
fn rows_and_slots_given_up_are_not_used_again_by_the_same_plan() {
    let mut bench = Bench::new(&three("10.0.0.1", "10.0.0.2", "10.0.0.3"));
    let given_up: Vec<(u32, u32)> =
        ["red", "green"].iter().flat_map(|name| bench.placed(name).rows.clone().into_values()).collect();
    let slots: Vec<u32> =
        ["red", "green"].map(|name| bench.planner.tables().get(bench.placed(name).table).first_slot).into();
    let plan =
        bench.reload(&file(&[("blue", "192.0.2.3:80", "", "10.0.0.3"), ("white", "192.0.2.4:80", "", "10.0.0.5")]));
    for write in &plan.writes {
        match write {
            Write::Row(number, _) => {
                assert!(given_up.iter().all(|(first, room)| !(*first..first + room).contains(number)))
            }
            Write::Slots(first, _) => assert!(!slots.contains(first)),
            _ => {}
        }
    }
}

#[test]
fn a_listener_that_is_added_gets_rows_of_its_own_and_the_others_keep_theirs() {
    let mut bench = Bench::new(&file(&[("red", "192.0.2.1:80", "", "10.0.0.1 10.0.0.2")]));
    let before = bench.placed("red").clone();
    let plan = bench.reload(&file(&[("red", "192.0.2.1:80 192.0.2.1:81", "", "10.0.0.1 10.0.0.2")]));
    let after = bench.placed("red");
    assert_eq!((after.table, after.pool, plan.slots_moved), (before.table, before.pool, 0));
    assert!(before.rows.iter().all(|(listener, rows)| after.rows[listener] == *rows));
    assert_eq!(after.rows.len(), 2);
    bench.reload(&file(&[("red", "192.0.2.1:81", "", "10.0.0.1 10.0.0.2")]));
    assert_eq!(bench.placed("red").pool, before.pool);
    assert!(bench.image.listener("192.0.2.1".parse::<IpAddr>().unwrap().into(), 80u16.to_be(), TCP).is_none());
}

#[test]
fn a_removed_backend_keeps_its_row_until_it_is_released_and_only_then_its_index_is_reused() {
    let mut bench = Bench::new(&file(&[("red", "192.0.2.1:80", "", "10.0.0.1 10.0.0.2")]));
    let index = bench.index("red", "10.0.0.1");
    bench.reload(&file(&[("red", "192.0.2.1:80", "", "10.0.0.2")]));
    assert!(!bench.planner.is_settled());
    bench.reload(&file(&[("red", "192.0.2.1:80", "", "10.0.0.2 10.0.0.3*0")]));
    assert_ne!(bench.index("red", "10.0.0.3"), index);
    let last = loop {
        let writes = bench.sweep();
        if bench.planner.is_settled() {
            break writes;
        }
    };
    assert!(matches!(last.last(), Some(Write::Grace)), "{last:?}");
    bench.reload(&file(&[("red", "192.0.2.1:80", "", "10.0.0.2 10.0.0.3*0 10.0.0.4")]));
    assert_eq!(bench.index("red", "10.0.0.4"), index);
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let small = file(&[("red", "192.0.2.1:80", "", "10.0.0.1")]);
    let mut bench = Bench::sized(&small, 64, 32);
    let before = format!("{:?}", bench.planner);
    let cases = [
        three("10.0.0.1", "10.0.0.2", "10.0.0.3"),
        file(&[("red", "192.0.2.1:80 192.0.2.1:81 192.0.2.1:82", "", "10.0.0.1")]),
        small.replace("size = 32", "size = 128"),
    ];
    for case in cases {
        let error = bench.try_reload(&case).unwrap_err();
        assert!(matches!(error, PlanError::Table { .. } | PlanError::NoRows { .. }), "{error}");
        assert_eq!(format!("{:?}", bench.planner), before);
    }
}

#[test]
fn the_same_file_again_is_no_plan() {
    let config = three("10.0.0.1 10.0.0.2", "10.0.0.1", "10.0.0.3");
    let mut bench = Bench::new(&config);
    let plan = bench.reload(&config);
    assert!(plan.writes.is_empty() && plan.changes.is_empty(), "{plan:?}");
}

fn hop(mac: u8, interface: u32) -> Hop {
    let ending = |last| Mac([2, 0, 0, 0, 0, last]);
    Ok(NextHop::Frame(Frame {
        interface,
        source_mac: ending(99),
        destination_mac: ending(mac),
        tags: Vec::new(),
        mtu: 1500,
        source: None,
    }))
}

#[test]
fn another_mac_address_is_one_store_a_row_and_another_path_waits_for_packets_in_flight() {
    let mut bench = Bench::new(&three("10.0.0.1", "10.0.0.1", "10.0.0.2"));
    let to: IpAddr = "10.0.0.1".parse().unwrap();
    let mut change = |hop| {
        let writes = bench.planner.next_hop(&bench.image, to, hop);
        writes.iter().for_each(|write| bench.image.apply(write));
        writes.iter().map(kind).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(change(hop(1, 5)), "row mac row mac", "no packet could be sent by them yet");
    assert_eq!(change(hop(2, 5)), "mac mac");
    assert_eq!(change(hop(2, 5)), "");
    assert_eq!(change(hop(2, 6)), "unknown unknown grace row mac row mac");
    assert_eq!(change(Ok(NextHop::Local)), "unknown unknown grace row unknown row unknown");
    let mut rows = bench.image.rows.iter().filter(|row| row.address == to.into());
    assert!(rows.all(|row| row.method == lb_common::abi::method::LOCAL));
}

#[test]
fn what_fits_into_a_tunnel_is_one_store_and_another_source_waits_for_packets_in_flight() {
    let config = three("10.0.0.1", "10.0.0.1", "10.0.0.2").replace("listen =", "forwarding = \"tunnel\"\nlisten =");
    let mut bench = Bench::new(&config);
    let to: IpAddr = "10.0.0.1".parse().unwrap();
    let by = |mtu, source: &str| {
        let Ok(NextHop::Frame(frame)) = hop(1, 5) else { unreachable!("it is a frame") };
        let source = Some(source.parse().unwrap());
        Ok(NextHop::Frame(Frame { mtu, source, ..frame }))
    };
    let mut change = |hop| {
        let writes = bench.planner.next_hop(&bench.image, to, hop);
        writes.iter().for_each(|write| bench.image.apply(write));
        writes.iter().map(kind).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(change(hop(1, 5)), "", "with no address to send from");
    assert_eq!(change(by(1500, "10.0.0.100")), "tunnel row mac tunnel row mac");
    assert_eq!(change(by(1500, "10.0.0.100")), "");
    assert_eq!(change(by(1400, "10.0.0.100")), "room room");
    assert_eq!(change(by(1400, "10.0.0.101")), "unknown unknown grace tunnel row mac tunnel row mac");
    assert_eq!(
        change(Err(crate::nexthop::Unresolved::NoRoute { destination: to })),
        "unknown unknown grace row unknown row unknown"
    );
    assert_eq!(change(by(1400, "10.0.0.101")), "row mac row mac");
    let tunnels: Vec<_> =
        bench.image.tunnels.values().map(|tunnel| (tunnel.room, IpAddr::from(tunnel.source))).collect();
    assert_eq!(tunnels, [(1380, "10.0.0.101".parse().unwrap()); 2]);
    let mut rows = bench.image.rows.iter().filter(|row| row.address == to.into());
    assert!(rows.all(|row| row.method == lb_common::abi::method::TUNNEL));
}

fn kind(write: &Write) -> &'static str {
    match write {
        Write::Tunnel(..) => "tunnel",
        Write::TunnelRoom(..) => "room",
        Write::RowMac(_, 0) => "unknown",
        Write::RowMac(..) => "mac",
        Write::Row(_, row) => {
            assert_eq!(row.mac_head, 0, "a row is written while nothing can be sent by it");
            "row"
        }
        Write::Grace => "grace",
        _ => "other",
    }
}

#[test]
fn a_next_hop_that_is_known_before_its_backend_is_in_the_rows_from_the_start() {
    let mut bench = Bench::new(&three("10.0.0.1", "10.0.0.1", "10.0.0.1"));
    let to: IpAddr = "10.0.0.7".parse().unwrap();
    assert!(bench.planner.next_hop(&bench.image, to, hop(7, 5)).is_empty());
    bench.reload(&three("10.0.0.1 10.0.0.7", "10.0.0.1", "10.0.0.1"));
    assert!(bench.image.rows.iter().any(|row| row.address == to.into() && row.mac_head != 0));
}

const NAT: &str = "forwarding = \"nat\"";

#[test]
fn replies_of_a_removed_backend_are_translated_until_it_is_released() {
    let mut bench = Bench::new(&file(&[("red", "192.0.2.1:80", NAT, "10.0.0.1 10.0.0.2")]));
    bench.reload(&file(&[("red", "192.0.2.1:80", NAT, "10.0.0.2")]));
    assert_eq!(bench.reverse("10.0.0.1"), Some(("192.0.2.1".parse().unwrap(), 80)));
    bench.settle();
    assert_eq!(bench.reverse("10.0.0.1"), None);
    assert!(bench.reverse("10.0.0.2").is_some());
}

#[test]
fn a_server_that_goes_over_to_another_service_keeps_the_replies_of_both() {
    let services =
        |red: &str, green: &str| file(&[("green", "192.0.2.2:80", NAT, green), ("red", "192.0.2.1:80", NAT, red)]);
    let (red, green) = (Some(("192.0.2.1".parse().unwrap(), 80)), Some(("192.0.2.2".parse().unwrap(), 80)));
    let mut bench = Bench::new(&services("10.0.0.9", "10.0.0.1 10.0.0.2"));
    assert_eq!((bench.reverse("10.0.0.1"), bench.methods("10.0.0.1")), (green, vec![method::NAT]));
    let plan = bench.reload(&services("10.0.0.9 10.0.0.1", "10.0.0.2"));
    assert_eq!(bench.reverse("10.0.0.1"), green, "what has no record is of a flow from before");
    assert_eq!(bench.methods("10.0.0.1"), [method::RECORDED_NAT, method::RECORDED_NAT]);
    let flip = position(&plan.writes, |write| matches!(write, Write::Flip(_)));
    let recorded = position(&plan.writes, |write| matches!(write, Write::RowMethod(_, method::RECORDED_NAT)));
    assert!(recorded < flip, "records are made before anybody looks for them");
    bench.settle();
    bench.settle();
    assert_eq!((bench.reverse("10.0.0.1"), bench.methods("10.0.0.1")), (red, vec![method::NAT]));
}

#[test]
fn only_a_server_that_is_shared_has_its_flows_recorded() {
    let services = file(&[
        ("green", "192.0.2.2:80", NAT, "10.0.0.1 10.0.0.2"),
        ("red", "192.0.2.1:80", NAT, "10.0.0.1 10.0.0.3"),
        ("wide", "192.0.2.3:*", "forwarding = \"full-nat\"", "10.0.0.4"),
    ]);
    let mut bench = Bench::new(&format!("dataplane.source_nat_addresses = [\"10.0.1.1\"]\n{services}"));
    let methods = |address: &str| bench.methods(address);
    assert_eq!(methods("10.0.0.1"), [method::RECORDED_NAT, method::RECORDED_NAT]);
    assert_eq!((methods("10.0.0.2"), methods("10.0.0.3")), (vec![method::NAT], vec![method::NAT]));
    assert_eq!(methods("10.0.0.4"), [method::FULL_NAT]);
    bench.reload(&file(&[("red", "192.0.2.1:80", NAT, "10.0.0.1 10.0.0.3")]));
    assert_eq!(bench.methods("10.0.0.1"), [method::RECORDED_NAT], "until no flow has another port than its own");
    bench.settle();
    bench.settle();
    assert_eq!(bench.methods("10.0.0.1"), [method::NAT]);
}

#[test]
fn ranges_that_meet_on_a_server_have_their_flows_recorded_and_one_entry_if_they_begin_alike() {
    let ports = |bench: &Bench| -> Vec<(u16, u16, bool)> {
        let half = (bench.image.root.word & 1) as usize;
        let live = bench.image.reverse[half * HALF_ENTRIES..][..HALF_ENTRIES].iter();
        let of = |entry: &Reverse| {
            (u16::from_be(entry.backend_port_wire), entry.last_port, entry.flags & reverse_flags::RECORDED != 0)
        };
        live.filter(|entry| entry.flags & reverse_flags::USED != 0)
            .map(of)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    };
    let red = ("red", "192.0.2.1:8000-8099", NAT, "10.0.0.1");
    let mut bench = Bench::new(&file(&[red, ("green", "192.0.2.2:8100-8199", NAT, "10.0.0.1")]));
    assert_eq!(ports(&bench), [(8000, 8099, false), (8100, 8199, false)]);
    assert_eq!(bench.methods("10.0.0.1"), [method::NAT, method::NAT]);
    bench.reload(&file(&[red, ("green", "192.0.2.2:8000-8199", NAT, "10.0.0.1")]));
    assert_eq!(ports(&bench), [(8000, 8199, true)]);
    assert_eq!(bench.reverse("10.0.0.1"), Some(("192.0.2.1".parse().unwrap(), 0)), "red had the server first");
    assert_eq!(bench.methods("10.0.0.1"), [method::RECORDED_NAT, method::RECORDED_NAT]);
    bench.reload(&file(&[red, ("green", "192.0.2.2:8050-8199", NAT, "10.0.0.1")]));
    assert_eq!(ports(&bench), [(8000, 8099, true), (8050, 8199, true)]);
}

#[test]
fn exclusions_come_before_the_entries_that_name_them_and_go_after() {
    let with = |prefixes: &str| {
        let keys = format!("{NAT}\nnat_exclude = [{prefixes}]");
        file(&[("red", "192.0.2.1:80", &keys, "10.0.0.1")])
    };
    let mut bench = Bench::new(&with(""));
    let plan = bench.reload(&with("\"10.0.0.0/8\""));
    let flip = position(&plan.writes, |write| matches!(write, Write::Flip(_)));
    assert!(position(&plan.writes, |write| matches!(write, Write::Exclude(..))) < flip);
    assert_eq!(plan.changes, ["~ service red: nat_exclude [] → [10.0.0.0/8]"]);
    let plan = bench.reload(&with(""));
    let flip = position(&plan.writes, |write| matches!(write, Write::Flip(_)));
    assert!(position(&plan.writes, |write| matches!(write, Write::Include(..))) > flip);
    assert!(bench.image.excluded.is_empty());
}

#[test]
fn a_plan_reads_like_what_an_operator_did() {
    let mut bench = Bench::new(&three("10.0.0.1 10.0.0.2", "10.0.0.1", "10.0.0.1"));
    let plan = bench.reload(&file(&[
        ("red", "192.0.2.1:80 192.0.2.1:81", "idle_timeout = \"5m\"", "10.0.0.1*3 10.0.0.3"),
        ("blue", "192.0.2.3:80", "", "10.0.0.1"),
        ("white", "192.0.2.4:80", "", "10.0.0.1"),
    ]));
    assert_eq!(
        plan.changes,
        [
            "~ service red: listener tcp://192.0.2.1:81 added; weight of 10.0.0.1 1 → 3; \
             backend 10.0.0.3 (10.0.0.3) added; backend 10.0.0.2 (10.0.0.2) removed, drains; idle_timeout default → 5m",
            "+ service white (1 listeners, 1 backends)",
            "- service green",
        ]
    );
}

#[test]
fn a_service_names_the_live_word_of_the_router_that_it_follows() {
    let text = three("10.0.0.1", "10.0.0.1", "10.0.0.1");
    let mut bench = Bench::new(&text);
    assert_eq!(bench.live_word("192.0.2.1"), ALWAYS_LIVE);
    bench.reload_following(&text, &[("red", "public"), ("green", "inside"), ("blue", "public")]);
    let words = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|address| bench.live_word(address));
    assert_eq!(words[0], words[2]);
    assert!(words[0] != words[1] && !words.contains(&ALWAYS_LIVE), "{words:?}");
    assert_eq!(
        (Some(words[0]), Some(words[1])),
        (bench.planner.live().get("public"), bench.planner.live().get("inside"))
    );
}

#[test]
fn following_another_router_flips_the_half_and_moves_no_flow() {
    let text = three("10.0.0.1 10.0.0.2", "10.0.0.1", "10.0.0.1");
    let mut bench = Bench::new(&text);
    let (pool, words) = (bench.placed("red").pool, bench.words("red"));
    for (routers, change) in
        [(&[("red", "public")][..], "none → public"), (&[("red", "inside")], "public → inside"), (&[], "inside → none")]
    {
        let plan = bench.reload_following(&text, routers);
        assert_eq!(plan.changes, [format!("~ service red: vrrp {change}")]);
        assert!(matches!(plan.writes[..], [Write::Half(_), Write::Flip(_), Write::Grace]), "{:?}", plan.writes.len());
        assert_eq!((plan.slots_moved, bench.placed("red").pool, bench.words("red")), (0, pool, words.clone()));
    }
}

#[test]
fn replies_follow_the_router_of_their_service_also_of_backends_that_leave() {
    let text = |backends| file(&[("red", "192.0.2.1:80", "forwarding = \"nat\"", backends)]);
    let mut bench = Bench::new(&text("10.0.0.1 10.0.0.2"));
    bench.reload_following(&text("10.0.0.1"), &[("red", "public")]);
    let word = bench.live_word("192.0.2.1");
    let half = (bench.image.root.word & 1) as usize;
    let used = bench.image.reverse[half * HALF_ENTRIES..][..HALF_ENTRIES].iter().filter(|entry| entry.flags != 0);
    assert_eq!(used.map(|entry| entry.live).collect::<Vec<_>>(), [word, word], "the one that drains too");
}

/// A service with these keys, and its access rules as the packet path finds them.
fn with_access(keys: &str) -> String {
    file(&[("red", "192.0.2.1:80", keys, "10.0.0.1")])
}

impl Bench {
    fn access(&self) -> Option<(u32, lb_common::abi::Access)> {
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let index = self.image.listener(address.into(), 80u16.to_be(), TCP).unwrap().access;
        (index != 0).then(|| (index.into(), self.image.access[usize::from(index)]))
    }

    fn admissions(&self) -> Vec<(u32, String, bool)> {
        let of_set = self.image.admissions.iter();
        of_set.map(|((set, prefix), allowed)| (*set, prefix.to_string(), *allowed)).collect()
    }
}

#[test]
fn access_rules_are_there_before_the_entry_that_names_them_and_are_forgotten_after() {
    let mut bench = Bench::new(&with_access(""));
    assert_eq!(bench.access(), None);
    let plan = bench.reload(&with_access("allow = [\"10.0.0.0/8\"]\ndeny = [\"10.6.0.0/16\"]"));
    let flip = position(&plan.writes, |write| matches!(write, Write::Flip(_)));
    let last = |what: fn(&Write) -> bool| plan.writes.iter().rposition(what).unwrap();
    assert!(last(|write| matches!(write, Write::Admit(..))) < flip);
    assert!(last(|write| matches!(write, Write::Access(..))) < flip);
    assert_eq!(plan.changes, ["~ service red: access open to all → allow 1, deny 1"]);
    let (_, entry) = bench.access().unwrap();
    assert!(entry.refuses_others());
    let set = entry.set();
    assert_eq!(bench.admissions(), [(set, "10.0.0.0/8".into(), true), (set, "10.6.0.0/16".into(), false)]);

    let plan = bench.reload(&with_access(""));
    let flip = position(&plan.writes, |write| matches!(write, Write::Flip(_)));
    let first = position(&plan.writes, |write| matches!(write, Write::Unadmit(..)));
    assert!(plan.writes[flip..first].iter().any(|write| matches!(write, Write::Grace)));
    assert_eq!((bench.access(), bench.admissions()), (None, vec![]));
}

#[test]
fn another_list_of_clients_is_another_set_which_one_store_puts_in_force() {
    let mut bench = Bench::new(&with_access("deny = [\"10.6.0.0/16\"]"));
    let (index, before) = bench.access().unwrap();
    let plan = bench.reload(&with_access("allow = [\"10.6.0.0/16\"]"));
    let (same, after) = bench.access().unwrap();
    assert_eq!(same, index);
    assert_ne!(after.set(), before.set());
    let change = position(&plan.writes, |write| matches!(write, Write::ChangeAccess(..)));
    assert!(position(&plan.writes, |write| matches!(write, Write::Admit(..))) < change);
    let gone = position(&plan.writes, |write| matches!(write, Write::Unadmit(..)));
    assert!(plan.writes[change..gone].iter().any(|write| matches!(write, Write::Grace)));
    assert_eq!(bench.admissions(), [(after.set(), "10.6.0.0/16".into(), true)]);
    assert!(!plan.writes.iter().any(|write| matches!(write, Write::Half(_))), "no entry of the service changed");
}

#[test]
fn the_buckets_of_clients_stay_until_the_limit_is_another() {
    let limit = |rate: u32, deny: &str| {
        with_access(&format!("rate_limit = {{ client_connections = {rate}, client_burst = 3 }}\ndeny = [{deny}]"))
    };
    let mut bench = Bench::new(&limit(5, ""));
    let (_, before) = bench.access().unwrap();
    assert_eq!((before.set(), before.client_limit), (0, lb_common::access::Limit::new(5, 3)));
    bench.reload(&limit(5, "\"10.0.0.0/8\""));
    let (_, denying) = bench.access().unwrap();
    assert_eq!(denying.clients, before.clients);
    bench.reload(&limit(6, "\"10.0.0.0/8\""));
    let (_, after) = bench.access().unwrap();
    assert_ne!(after.clients, before.clients);
    assert_eq!((after.set(), after.clients >> 32), (denying.set(), 128));
}

#[test]
fn a_place_for_access_rules_is_not_given_on_by_the_plan_that_takes_it_away() {
    let two = |red: &str, green: &str| {
        file(&[("red", "192.0.2.1:80", red, "10.0.0.1"), ("green", "192.0.2.2:80", green, "10.0.0.1")])
    };
    let rule = "deny = [\"10.6.0.0/16\"]";
    let mut bench = Bench::new(&two(rule, ""));
    let (first, _) = bench.access().unwrap();
    bench.reload(&two("", rule));
    assert_ne!(u32::from(bench.placed("green").access.unwrap().index), first);
    bench.reload(&two(rule, rule));
    assert_eq!(u32::from(bench.placed("red").access.unwrap().index), first);
}
