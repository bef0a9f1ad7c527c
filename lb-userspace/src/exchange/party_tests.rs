//! What a node asks to be told again, and what it makes of last words.

use lb_common::abi::FlowKey6;
use lb_common::packet::transport::ports_wire;

use super::*;
use crate::config::parse;
use crate::exchange::item::{FlowRecord, SlotNote};
use crate::exchange::message::Body;
use crate::native::NativeTables;
use crate::reconcile::image::Image;
use crate::reconcile::planner::Planner;
use crate::scheduler::seed::Seed;

const NOW: Duration = Duration::from_secs(1000);

/// What the tables mean of so many services of one virtual router.
fn directory(services: usize) -> Arc<Directory> {
    let mut text =
        "[dataplane]\ninterfaces = [\"eth0\"]\n[[vrrp]]\nname = \"public\"\ninterface = \"eth0\"\nvrid = 51\n\
                    addresses = [\"203.0.113.10/32\"]\n"
            .to_owned();
    for service in 0..services {
        text += &format!(
            "[[service]]\nname = \"s{service}\"\nlisten = [\"tcp://203.0.113.10:{}\"]\nvrrp = \"public\"\n\
             lookup_table_size = 16\nbackend = [{{ address = \"10.0.0.1\" }}]\n",
            80 + service
        );
    }
    let config = parse(&text, "host").expect("a valid file").0;
    let (mut planner, image) = (Planner::new(Seed::from_text("test"), 64, 64), Image::new(64, 64));
    planner.configure(NOW, &image, &config).expect("there is room");
    Arc::new(Directory::new(&config, "hash", &planner, &Directory::default()))
}

#[test]
fn a_service_that_is_loaded_after_its_backends_were_told_has_them_told_again() {
    for (of, is_told_again) in [("s0", false), ("s1", true)] {
        let mut party = Party::new(1, Limits { waiting: 10, items: 10 });
        party.tables = Some(Tables::new(NativeTables::new(Image::new(64, 64), 10)));
        party.take_directory(NOW, directory(1));
        party.handle(NOW, Event::Connected(Direction::Following, 7));
        let identity = Arc::from("10.0.0.1 direct");
        let backend = Backend { index: 0, weight: 100, up: true, leaving: false, identity };
        let item = (Key::Backends(of.into(), 0), Some(Value::Backends(vec![backend])));
        let realm: Arc<str> = "public".into();
        let bodies = [
            Body::Begin { realm: realm.clone(), epoch: 1 },
            Body::Items { realm: realm.clone(), epoch: 1, items: vec![item], unknown: 0 },
            Body::End { realm, epoch: 1 },
        ];
        for (number, body) in (1..).zip(bodies) {
            party.handle(NOW, Event::Told(Message { number, now: 0, body }));
        }
        let deeds = party.take_directory(NOW, directory(2));
        let is_closed = deeds.iter().any(|deed| matches!(deed, Deed::Close(Direction::Following, _)));
        assert_eq!(is_closed, is_told_again, "the backends of {of}");
    }
}

/// A node that follows one service of one virtual router, of which all was told, and takes over; and what came next was said last by the
/// master before.
fn last_words(items: Vec<Item>) -> (Party<NativeTables>, Vec<Deed>) {
    let mut party = Party::new(1, Limits { waiting: 10, items: 10 });
    party.tables = Some(Tables::new(NativeTables::new(Image::new(64, 64), 10)));
    party.take_directory(NOW, directory(1));
    party.handle(NOW, Event::Connected(Direction::Following, 7));
    let realm: Arc<str> = "public".into();
    let body = |items| Body::Items { realm: realm.clone(), epoch: 1, items, unknown: 0 };
    party.handle(NOW, Event::Told(Message { number: 1, now: 0, body: Body::Begin { realm: realm.clone(), epoch: 1 } }));
    party.handle(NOW, Event::Told(Message { number: 2, now: 0, body: Body::End { realm: realm.clone(), epoch: 1 } }));
    party.handle(NOW, Event::Mastership(realm.clone(), true));
    let deeds = party.handle(NOW, Event::Told(Message { number: 3, now: 5_000, body: body(items) }));
    (party, deeds)
}

fn last_backends() -> Item {
    let backend = Backend { index: 9, weight: 100, up: true, leaving: false, identity: "10.0.0.1 direct".into() };
    (Key::Backends("s0".into(), 0), Some(Value::Backends(vec![backend])))
}

#[test]
fn last_words_name_backends_that_they_have_explained_and_no_table_is_made_from_that() {
    let octets = "198.51.100.7".parse::<IpAddr>().expect("literal");
    let flow = FlowKey6 {
        source: octets.into(),
        destination: "203.0.113.10".parse::<IpAddr>().expect("literal").into(),
        ports_wire: ports_wire(4242u16.to_be(), 80u16.to_be()),
        protocol: 6,
    };
    let record = FlowRecord { backend: 9, state: 2, last_seen: 5_000 };
    let of_flow = (Key::Flow((&flow).into(), false), Some(Value::Flow(record)));
    let (party, deeds) = last_words(vec![last_backends(), of_flow]);
    let tables = &party.tables.as_ref().expect("it has some").records;
    assert_eq!(tables.flows.borrow().get(&flow).map(|it| it.backend), Some(0), "under our index");
    assert!(!deeds.iter().any(|deed| matches!(deed, Deed::Follow(_))), "{deeds:?}");
}

#[test]
fn last_words_say_which_slots_are_not_settled_under_the_names_of_their_owners() {
    let note = |previous| SlotNote { slot: 3, previous, since: 2_000 };
    let slots = |previous| (Key::Slots("s0".into(), 0), Some(Value::Slots(vec![note(previous)])));
    let (_, deeds) = last_words(vec![last_backends(), slots(9)]);
    let since = NOW - Duration::from_nanos(3_000);
    let of_service = BTreeMap::from([(3, ("10.0.0.1 direct".into(), since))]);
    assert_eq!(deeds[0], Deed::AddSlots(BTreeMap::from([("s0".into(), of_service)])));
    let (_, deeds) = last_words(vec![last_backends(), slots(8)]);
    assert!(!deeds.iter().any(|deed| matches!(deed, Deed::AddSlots(_))), "nobody knows who that is");
}
