//! What a node takes over of another's slots, and what it leaves to it.

use lb_common::slot::Slot;

use super::*;
use crate::config::parse;
use crate::reconcile::census::Census;
use crate::reconcile::placed::{Standing, Standings, WEIGHT_SCALE};
use crate::scheduler::seed::Seed;

const START: Duration = Duration::from_secs(1000);
const LONG: Duration = Duration::from_secs(10_000);

struct Node {
    planner: Planner,
    image: Image,
    now: Duration,
}

impl Node {
    fn new(services: usize) -> Self {
        let mut text = String::from("dataplane.interfaces = [\"eth0\"]\n");
        for service in 0..services {
            text += &format!(
                "[[service]]\nname = \"s{service}\"\nlisten = [\"tcp://192.0.2.{service}:80\"]\nlookup_table_size = 32\n"
            );
            for backend in 1..=4 {
                text += &format!("[[service.backend]]\naddress = \"10.0.0.{backend}\"\n");
            }
        }
        let mut node =
            Self { planner: Planner::new(Seed::from_text("test"), 256, 256), image: Image::new(256, 256), now: START };
        let config = parse(&text, "host").unwrap().0;
        let plan = node.planner.configure(START, &node.image, &config).unwrap();
        node.apply(plan.writes);
        node
    }

    fn apply(&mut self, writes: Vec<Write>) -> usize {
        writes.iter().for_each(|write| self.image.apply(write));
        writes.len()
    }

    /// Gives services other weights.
    fn reweigh(&mut self, services: &[&str], weights: [u32; 4]) {
        let standing = |(at, weight): (usize, u32)| {
            (format!("10.0.0.{} direct", at + 1), Standing { weight: weight * WEIGHT_SCALE, up: true })
        };
        let standings: Standings = weights.into_iter().enumerate().map(standing).collect();
        let changed = services.iter().map(|name| ((*name).to_owned(), standings.clone())).collect();
        let writes = self.planner.reweigh(self.now, &self.image, &changed).writes;
        self.apply(writes);
    }

    fn sweep(&mut self) -> usize {
        self.now += LONG;
        let (writes, _) = self.planner.sweep(self.now, &self.image, &Census::new(self.now));
        self.apply(writes)
    }

    /// What this node as master says of a service's slots.
    fn told(&self, service: &str) -> Arc<ToldSlots> {
        let pool = &self.planner.tables().get(self.planner.services()[service].table).pool;
        let slot = |(slot, history): (u32, History)| {
            (slot, (Arc::from(pool.identity(history.previous).expect("it has one")), history.since))
        };
        let slots = Arc::new(pool.slots().history().map(slot).collect());
        Arc::new(ToldSlots { slots, extent: Extent::Whole(Some(pool.lookup_table_hash())) })
    }

    fn adopt(&mut self, told: &[(&str, Arc<ToldSlots>)]) -> (usize, usize) {
        let told = told.iter().map(|(name, told)| (Arc::from(*name), told.clone())).collect();
        let (writes, owed) = self.planner.adopt(self.now, &self.image, &told);
        (self.apply(writes), owed.len())
    }

    /// The words that packets of a service find.
    fn words(&self, service: &str) -> Vec<u32> {
        let listener = self.planner.services()[service].config.listeners[0];
        let entry = self.image.listener(listener.address.into(), 80u16.to_be(), 6).unwrap();
        let table = self.planner.tables().get(self.planner.services()[service].table);
        assert_eq!(entry.first_slot, table.first_slot);
        self.image.slots[table.first_slot as usize..][..table.size() as usize].to_vec()
    }
}

/// A master in the middle of a change of a pool, and a node that joins then and has the same weights.
fn joined(services: usize, changed: &[&str]) -> (Node, Node) {
    let (mut master, mut joins) = (Node::new(services), Node::new(services));
    master.reweigh(changed, [0, 100, 100, 100]);
    joins.reweigh(changed, [0, 100, 100, 100]);
    // What it has found out by itself is nothing: it has just begun.
    while joins.sweep() > 0 {}
    assert!(joins.planner.is_settled());
    assert_ne!(joins.words(changed[0]), master.words(changed[0]));
    (master, joins)
}

#[test]
fn who_joins_in_the_middle_of_a_change_has_the_masters_words_and_leaves_settling_to_it() {
    let (mut master, mut joins) = joined(1, &["s0"]);
    joins.planner.leave_settling(["s0".into()].into());
    let (writes, owed) = joins.adopt(&[("s0", master.told("s0"))]);
    assert!(writes > 0 && owed == 0);
    assert_eq!(joins.words("s0"), master.words("s0"));
    for _ in 0..4 {
        assert_eq!(joins.sweep(), 0, "it settles nothing by itself");
    }
    // Its flows' slots are exceptions first.
    assert!(master.sweep() > 0);
    assert!(joins.adopt(&[("s0", master.told("s0"))]).0 > 0);
    assert_eq!(joins.words("s0"), master.words("s0"));
    while master.sweep() > 0 {}
    joins.adopt(&[("s0", master.told("s0"))]);
    assert!(joins.planner.is_settled());
    assert_eq!(joins.words("s0"), master.words("s0"));
}

#[test]
fn who_becomes_master_gives_flows_back_to_whom_they_belonged_to() {
    let (master, mut joins) = joined(1, &["s0"]);
    let undisturbed = Node::new(1).words("s0");
    joins.adopt(&[("s0", master.told("s0"))]);
    joins.reweigh(&["s0"], [100; 4]);
    let (now, first) = (joins.words("s0"), lb_common::slot::Slot::new(0, 0).0);
    let of_first = undisturbed.iter().zip(&now).filter(|(before, _)| lb_common::slot::Slot(**before).current() == 0);
    assert!(of_first.clone().count() >= 7 && of_first.into_iter().all(|(_, now)| *now == first));
    while joins.sweep() > 0 {}
    assert!(joins.planner.is_settled(), "it settles them as its own");
}

#[test]
fn nothing_is_settled_while_the_tables_differ_and_all_is_once_they_do_not() {
    let (mut master, mut joins) = (Node::new(1), Node::new(1));
    joins.planner.leave_settling(["s0".into()].into());
    joins.reweigh(&["s0"], [0, 100, 100, 100]);
    let words = joins.words("s0");
    assert_eq!(joins.adopt(&[("s0", master.told("s0"))]), (0, 1), "the master has still all backends");
    assert_eq!(joins.words("s0"), words);
    master.reweigh(&["s0"], [0, 100, 100, 100]);
    while master.sweep() > 0 {}
    let (writes, owed) = joins.adopt(&[("s0", master.told("s0"))]);
    assert!(writes > 0 && owed == 0);
    assert!(joins.planner.is_settled());
}

#[test]
fn of_what_is_half_told_nothing_is_settled() {
    let (master, mut joins) = joined(1, &["s0"]);
    joins.adopt(&[("s0", master.told("s0"))]);
    let words = joins.words("s0");
    let part = |extent| Arc::new(ToldSlots { slots: Arc::default(), extent });
    assert_eq!(joins.adopt(&[("s0", part(Extent::Part))]), (0, 0));
    assert_eq!(joins.adopt(&[("s0", part(Extent::Unknown))]), (0, 0));
    assert_eq!(joins.words("s0"), words);
}

#[test]
fn services_of_one_table_that_are_told_different_things_part() {
    let (master, mut joins) = joined(3, &["s0", "s1", "s2"]);
    let table = |node: &Node, name: &str| node.planner.services()[name].table;
    assert_eq!(table(&joins, "s0"), table(&joins, "s2"));
    let settled = joins.words("s2");
    joins.adopt(&[("s0", master.told("s0")), ("s1", master.told("s1"))]);
    assert_eq!((joins.words("s0"), joins.words("s1")), (master.words("s0"), master.words("s1")));
    assert_eq!(joins.words("s2"), settled, "of which nothing was told");
    assert_eq!(table(&joins, "s0"), table(&joins, "s1"));
    joins.adopt(&[("s2", master.told("s2"))]);
    assert_eq!(joins.words("s2"), master.words("s2"));
}

#[test]
fn where_the_previous_owner_is_nobody_here_records_count_all_the_same() {
    let mut joins = Node::new(1);
    let settled = joins.words("s0");
    let slots = Arc::new(BTreeMap::from([(5, (Arc::from("10.0.0.9 direct"), START))]));
    let hash = joins.planner.tables().get(joins.planner.services()["s0"].table).pool.lookup_table_hash();
    let told = Arc::new(ToldSlots { slots, extent: Extent::Whole(Some(hash)) });
    assert_eq!(joins.adopt(&[("s0", told)]), (1, 0));
    let owner = lb_common::slot::Slot(settled[5]).current();
    assert_eq!(joins.words("s0")[5], lb_common::slot::Slot::new(owner, owner).0, "not settled: exceptions");
}

#[test]
fn who_takes_over_with_another_table_than_the_master_begins_to_count_then() {
    for (is_alike, settles) in [(true, true), (false, false)] {
        let mut joins = Node::new(1);
        joins.planner.leave_settling(["s0".into()].into());
        joins.reweigh(&["s0"], [0, 100, 100, 100]);
        let mut master = Node::new(1);
        if is_alike {
            master.reweigh(&["s0"], [0, 100, 100, 100]);
        }
        let told = master.told("s0");
        joins.adopt(&[("s0", told.clone())]);
        joins.now += LONG;
        joins.planner.settle_again(joins.now, &BTreeMap::from([("s0".into(), told)]));
        joins.planner.leave_settling(BTreeSet::new());
        let (writes, _) = joins.planner.sweep(joins.now, &joins.image, &Census::new(joins.now));
        assert_eq!(!writes.is_empty(), settles, "the tables are alike: {is_alike}");
    }
}

#[test]
fn last_words_make_no_slot_another_owners_but_have_records_looked_for() {
    let (mut master, mut next) = (Node::new(1), Node::new(1));
    let before = next.words("s0");
    master.reweigh(&["s0"], [4, 1, 1, 1]);
    let told = |extent| Arc::new(ToldSlots { slots: Arc::clone(&master.told("s0").slots), extent });
    let changed = master.told("s0").slots.len();
    assert!(changed > 0);
    assert_eq!(next.adopt(&[("s0", told(Extent::LastWords))]).0, changed);
    for (slot, (is, was)) in next.words("s0").into_iter().zip(&before).enumerate() {
        let is_told = master.told("s0").slots.contains_key(&(slot as u32));
        let owner = Slot(*was).current();
        let expected = if is_told { Slot::new(owner, owner).0 } else { *was };
        assert_eq!(is, expected, "slot {slot}");
    }
    // What this node has changed itself by then is known better here.
    let mut own = Node::new(1);
    own.reweigh(&["s0"], [4, 1, 1, 1]);
    let words = own.words("s0");
    own.adopt(&[("s0", told(Extent::LastWords))]);
    assert_eq!(own.words("s0"), words);
}

#[test]
fn last_words_of_a_slot_without_an_owner_say_whose_it_was() {
    let (mut master, mut next) = (Node::new(1), Node::new(1));
    next.reweigh(&["s0"], [0; 4]);
    while next.sweep() > 0 {}
    assert!(next.words("s0").iter().all(|word| *word == Slot::settled(NONE).0));
    master.reweigh(&["s0"], [0; 4]);
    let owners = master.words("s0");
    let last = Arc::new(ToldSlots { slots: Arc::clone(&master.told("s0").slots), extent: Extent::LastWords });
    next.adopt(&[("s0", last)]);
    assert_eq!(next.words("s0"), owners);
}
