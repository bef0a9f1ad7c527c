//! What other weights change, and what they leave alone.

use std::net::IpAddr;

use lb_common::abi::row_state;
use lb_common::packet::protocol::TCP;

use super::*;
use crate::config::{Config, parse};
use crate::reconcile::census::Census;
use crate::reconcile::changes::Unchanged;
use crate::reconcile::placed::{Standing, WEIGHT_SCALE};
use crate::scheduler::seed::Seed;

const START: Duration = Duration::from_secs(1000);
const LONG: Duration = Duration::from_secs(10_000);

struct Bench {
    planner: Planner,
    image: Image,
    now: Duration,
}

impl Bench {
    fn new(config: &str, slots: u32) -> Self {
        let mut planner = Planner::new(Seed::from_text("test"), slots, 256);
        let mut image = Image::new(slots as usize, 256);
        let plan = planner.configure(START, &image, &read(config)).unwrap();
        plan.writes.iter().for_each(|write| image.apply(write));
        Self { planner, image, now: START }
    }

    /// Puts standings in force: service, and for each backend weight and whether it is up.
    fn reweigh(&mut self, changed: &[(&str, &[(u32, bool)])]) -> Reweighed {
        let changed = changed.iter().map(|(service, backends)| ((*service).to_owned(), standings(backends))).collect();
        let done = self.planner.reweigh(self.now, &self.image, &changed);
        done.writes.iter().for_each(|write| self.image.apply(write));
        done
    }

    fn settle(&mut self) {
        for _ in 0..4 {
            self.now += LONG;
            let (writes, _) = self.planner.sweep(self.now, &self.image, &Census::new(self.now));
            writes.iter().for_each(|write| self.image.apply(write));
        }
        assert!(self.planner.is_settled());
    }

    fn table(&self, service: &str) -> u32 {
        self.planner.services()[service].table
    }

    fn hash(&self, service: &str) -> u64 {
        self.planner.tables().get(self.table(service)).pool.lookup_table_hash()
    }

    /// Whether what packets find is what the planner holds.
    fn check(&self) {
        for placed in self.planner.services().values() {
            let listener = placed.config.listeners[0];
            let entry = self.image.listener(listener.address.into(), 80u16.to_be(), TCP).unwrap();
            let table = self.planner.tables().get(placed.table);
            assert_eq!(entry.first_slot, table.first_slot);
            let words: Vec<u32> = table.pool.slots().words().iter().map(|word| word.0).collect();
            assert_eq!(self.image.slots[table.first_slot as usize..][..words.len()], words);
            for (_, member) in table.pool.members() {
                let row = &self.image.rows[entry.first_row as usize + usize::from(member.index)];
                assert_eq!(row.state == row_state::ALIVE, member.up);
            }
        }
    }
}

fn read(config: &str) -> Config {
    parse(config, "host").unwrap_or_else(|problems| panic!("{problems:#?}")).0
}

/// Services `s0`, `s1`, … with these backends.
fn file(services: usize, backends: &[u8]) -> String {
    let mut text = String::from("dataplane.interfaces = [\"eth0\"]\n");
    for service in 0..services {
        text += &format!(
            "[[service]]\nname = \"s{service}\"\nlisten = [\"tcp://192.0.2.{service}:80\"]\nlookup_table_size = 32\n"
        );
        for backend in backends {
            text += &format!("[[service.backend]]\naddress = \"10.0.0.{backend}\"\n");
        }
    }
    text
}

/// Those of the backends 10.0.0.1, 10.0.0.2, …
fn standings(backends: &[(u32, bool)]) -> Standings {
    let standing = |(at, &(weight, up)): (usize, &(u32, bool))| {
        (format!("10.0.0.{} direct", at + 1), Standing { weight: weight * WEIGHT_SCALE, up })
    };
    backends.iter().enumerate().map(standing).collect()
}

fn place(writes: &[Write], is_it: impl Fn(&Write) -> bool) -> usize {
    writes.iter().position(is_it).unwrap_or_else(|| panic!("it is not among {writes:?}"))
}

#[test]
fn who_differs_from_then_on_leaves_the_shared_table() {
    let mut bench = Bench::new(&file(3, &[1, 2, 3]), 256);
    assert_eq!(bench.table("s0"), bench.table("s2"));
    let before = bench.hash("s0");
    bench.reweigh(&[("s1", &[(1, true), (0, true), (1, true)])]);
    bench.check();
    assert_eq!((bench.table("s0"), bench.hash("s0")), (bench.table("s2"), before));
    assert_ne!(bench.table("s1"), bench.table("s0"));
}

#[test]
fn whom_the_same_happens_one_after_the_other_share_a_table_again() {
    let mut bench = Bench::new(&file(3, &[1, 2, 3]), 256);
    for service in ["s0", "s1", "s2"] {
        bench.now += Duration::from_millis(700);
        bench.reweigh(&[(service, &[(1, true), (0, true), (1, true)])]);
        bench.check();
    }
    assert_eq!(bench.planner.tables().iter().count(), 1);
    bench.settle();
    for service in ["s2", "s0", "s1"] {
        bench.now += Duration::from_millis(700);
        bench.reweigh(&[(service, &[(1, true), (1, true), (1, true)])]);
        bench.check();
    }
    assert_eq!(bench.planner.tables().iter().count(), 1);
}

#[test]
fn a_table_that_is_joined_waits_from_then_on() {
    let mut bench = Bench::new(&file(2, &[1, 2]), 256);
    let drained: &[(u32, bool)] = &[(1, true), (0, true)];
    bench.reweigh(&[("s0", drained)]);
    bench.now += Duration::from_secs(15 * 60 - 1);
    bench.reweigh(&[("s1", drained)]);
    assert_eq!(bench.table("s0"), bench.table("s1"));
    bench.now += Duration::from_secs(60);
    let (writes, _) = bench.planner.sweep(bench.now, &bench.image, &Census::new(bench.now));
    assert!(writes.is_empty(), "flows of the second have not had their idle timeout: {writes:?}");
}

#[test]
fn nobody_joins_a_table_whose_words_are_still_to_be_stored() {
    let mut bench = Bench::new(&file(2, &[1, 2, 3]), 256);
    // Two tables with different histories that become the same at once.
    bench.reweigh(&[("s0", &[(1, true), (0, true), (1, true)])]);
    let wish: &[(u32, bool)] = &[(1, true), (2, true), (1, true)];
    let done = bench.reweigh(&[("s0", wish), ("s1", wish)]);
    bench.check();
    let flip = done.writes.iter().position(|write| matches!(write, Write::Flip(_)));
    let word = done.writes.iter().position(|write| matches!(write, Write::Slot(..)));
    assert!(flip.is_none() || word.is_none_or(|word| word > flip.unwrap()));
    assert_ne!(bench.table("s0"), bench.table("s1"));
}

#[test]
fn a_change_that_all_users_share_is_made_in_place() {
    let mut bench = Bench::new(&file(2, &[1, 2]), 64);
    let (table, half): (&[(u32, bool)], u64) = (&[(1, true), (3, true)], bench.image.root.word);
    let done = bench.reweigh(&[("s0", table), ("s1", table)]);
    bench.check();
    assert!(done.writes.iter().all(|write| matches!(write, Write::Slot(..))), "{:?}", done.writes);
    assert_eq!(bench.image.root.word, half);
}

#[test]
fn the_dead_lose_slots_then_rows_then_records() {
    let mut bench = Bench::new(&file(2, &[1, 2]), 256);
    let pool = bench.planner.services()["s1"].pool;
    let done = bench.reweigh(&[("s1", &[(1, true), (1, false)])]);
    bench.check();
    let flip = place(&done.writes, |write| matches!(write, Write::Flip(_)));
    let row = place(&done.writes, |write| matches!(write, Write::RowState(_, 0)));
    assert!(flip < row);
    let [.., Write::Grace, Write::Forget(forget)] = &done.writes[..] else { panic!("{:?}", done.writes) };
    assert_eq!(forget, &BTreeSet::from([(pool, 1)]));
    let words = bench.planner.tables().get(bench.table("s1")).pool.slots().words().to_vec();
    assert!(words.iter().all(|word| word.current() == 0));

    let back = bench.reweigh(&[("s1", &[(1, true), (1, true)])]);
    bench.check();
    assert!(!back.writes.iter().any(|write| matches!(write, Write::Forget(_))));
    let alive = place(&back.writes, |write| matches!(write, Write::RowState(_, row_state::ALIVE)));
    let slot = place(&back.writes, |write| matches!(write, Write::Slot(..) | Write::Flip(_)));
    assert!(alive < slot, "a slot names a dead backend");
}

#[test]
fn one_who_only_drains_keeps_rows_and_records() {
    let mut bench = Bench::new(&file(1, &[1, 2]), 64);
    let done = bench.reweigh(&[("s0", &[(1, true), (0, true)])]);
    assert!(done.writes.iter().all(|write| matches!(write, Write::Slot(..))), "{:?}", done.writes);
    // What is over after a while: nothing of the table changes but who is dead.
    let over = bench.reweigh(&[("s0", &[(1, true), (0, false)])]);
    bench.check();
    assert!(
        matches!(over.writes[..], [.., Write::RowState(_, 0), Write::Grace, Write::Forget(_)]),
        "{:?}",
        over.writes
    );
    assert!(bench.planner.tables().get(bench.table("s0")).pool.slots().words().iter().all(|word| word.previous() != 1));
}

#[test]
fn the_same_standings_again_change_nothing() {
    let mut bench = Bench::new(&file(2, &[1, 2]), 256);
    bench.reweigh(&[("s1", &[(5, true), (1, false)])]);
    assert!(bench.reweigh(&[("s1", &[(5, true), (1, false)])]).writes.is_empty());
    assert!(bench.reweigh(&[("nobody", &[(5, true)])]).writes.is_empty());
}

#[test]
fn a_reload_keeps_standings_in_force() {
    let mut bench = Bench::new(&file(2, &[1, 2]), 256);
    let standing = standings(&[(7, true), (1, false)]);
    bench.reweigh(&[("s1", &[(7, true), (1, false)])]);
    let before = bench.hash("s1");
    let all = BTreeMap::from([("s1".to_owned(), standing)]);
    let plan = bench
        .planner
        .configure_with(bench.now, &bench.image, &read(&file(2, &[1, 2, 3])), &all, &Unchanged::default())
        .unwrap();
    plan.writes.iter().for_each(|write| bench.image.apply(write));
    bench.check();
    let plan = bench
        .planner
        .configure_with(bench.now, &bench.image, &read(&file(2, &[1, 2])), &all, &Unchanged::default())
        .unwrap();
    plan.writes.iter().for_each(|write| bench.image.apply(write));
    bench.check();
    assert_eq!(bench.hash("s1"), before);
    let pool = &bench.planner.tables().get(bench.table("s1")).pool;
    assert!(!pool.member("10.0.0.2 direct").unwrap().up);
}

#[test]
fn a_reload_that_makes_a_backend_dead_forgets_its_records() {
    let mut bench = Bench::new(&file(1, &[1, 2]), 256);
    let all = BTreeMap::from([("s0".to_owned(), standings(&[(1, true), (1, false)]))]);
    let plan = bench
        .planner
        .configure_with(bench.now, &bench.image, &read(&file(1, &[1, 2])), &all, &Unchanged::default())
        .unwrap();
    let row = place(&plan.writes, |write| matches!(write, Write::RowState(_, 0)));
    assert!(place(&plan.writes, |write| matches!(write, Write::Slot(..))) < row);
    assert!(matches!(plan.writes[row..], [_, Write::Grace, Write::Forget(_)]), "{:?}", plan.writes);
    plan.writes.iter().for_each(|write| bench.image.apply(write));
    bench.check();
}

#[test]
fn without_room_for_a_copy_nothing_changes_and_it_is_said() {
    let mut bench = Bench::new(&file(2, &[1, 2]), 32);
    let before = bench.hash("s0");
    let done = bench.reweigh(&[("s0", &[(1, true), (0, true)])]);
    assert!(done.writes.is_empty());
    assert!(matches!(&done.failed[..], [(name, TableError::NoSlots { .. })] if name == "s0"), "{:?}", done.failed);
    assert_eq!(bench.hash("s0"), before);
    bench.check();
}

#[test]
fn next_hops_that_change_leave_the_dead_dead() {
    let mut bench = Bench::new(&file(1, &[1, 2]), 64);
    bench.reweigh(&[("s0", &[(1, true), (1, false)])]);
    let hop = crate::nexthop::Frame {
        interface: 2,
        source_mac: crate::nexthop::Mac([2; 6]),
        destination_mac: crate::nexthop::Mac([4; 6]),
        tags: Vec::new(),
        mtu: 1500,
        source: None,
    };
    let address: IpAddr = "10.0.0.2".parse().unwrap();
    let writes = bench.planner.next_hop(&bench.image, address, Ok(crate::nexthop::NextHop::Frame(hop)));
    writes.iter().for_each(|write| bench.image.apply(write));
    bench.check();
}

/// 2,000 services of 20 backends each, of which one fails in one service.
#[test]
fn one_of_forty_thousand_backends_is_a_matter_of_its_own_table() {
    let size = 2048;
    let mut text = String::from("dataplane.interfaces = [\"eth0\"]\n");
    for service in 0..2000 {
        let (high, low) = (service / 200, service % 200);
        text += &format!(
            "[[service]]\nname = \"s{service}\"\nlisten = [\"tcp://192.0.{high}.{low}:80\"]\nlookup_table_size = {size}\n"
        );
        for backend in 0..20 {
            text += &format!("[[service.backend]]\naddress = \"10.{backend}.{high}.{low}\"\n");
        }
    }
    let config = read(&text);
    let mut planner = Planner::new(Seed::from_text("test"), 2000 * size, 262_144);
    let mut image = Image::new(2000 * size as usize, 262_144);
    let plan = planner.configure(START, &image, &config).unwrap();
    plan.writes.iter().for_each(|write| image.apply(write));

    let dead = Standing { weight: 0, up: true };
    let changed = BTreeMap::from([("s77".to_owned(), Standings::from([("10.3.0.77 direct".to_owned(), dead)]))]);
    #[expect(clippy::disallowed_methods, reason = "a measurement")]
    let began = std::time::Instant::now();
    let done = planner.reweigh(START, &image, &changed);
    let took = began.elapsed();
    println!("{} writes in {took:?}", done.writes.len());
    let table = planner.tables().get(planner.services()["s77"].table);
    let own = table.first_slot..table.first_slot + size;
    assert!(done.writes.iter().all(|write| matches!(write, Write::Slot(at, _) if own.contains(at))));
    assert!((90..200).contains(&done.writes.len()), "a twentieth of the slots, and few more: {}", done.writes.len());
    // The promise is 50 ms; a machine that has other things to do is granted ten times as much.
    assert!(took < Duration::from_millis(500), "{took:?}");
}
