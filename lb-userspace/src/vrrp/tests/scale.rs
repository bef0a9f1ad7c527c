//! A thousand routers: an event costs what the routers it concerns cost.

use super::bench::{Bench, ETH0, advertisement, ms, nets, router, words};
use crate::config::VirtualRouter;
use crate::vrrp::codec::encode;
use crate::vrrp::effect::Effect;
use crate::vrrp::engine::MOST_ROUTERS;
use crate::vrrp::event::{Event, Link, Received};
use crate::vrrp::router::advertise::GROUP_V4;
use crate::vrrp::view::State;

/// As many as may be, 255 on an interface.
fn many() -> Vec<VirtualRouter> {
    let one = |n: usize| {
        let (interface, vrid) = (n / 255, (n % 255 + 1) as u8);
        VirtualRouter {
            interface: format!("eth{interface}"),
            addresses: nets(&[&format!("10.1{interface}.0.{vrid}/32")]),
            ..router(&format!("r{n}"), vrid)
        }
    };
    (0..MOST_ROUTERS).map(one).collect()
}

fn bench() -> Bench {
    let mut bench = Bench::new(&many());
    for interface in 1..=4 {
        let own = nets(&[&format!("10.{interface}.1.1/24")]);
        let link = Link { addresses: own, ..super::bench::link(&format!("eth{interface}"), ETH0 + interface) };
        bench.give(Event::Link(link));
    }
    bench.done.clear();
    bench
}

#[test]
fn a_thousand_routers_take_over_advertisements_first_and_announce_within_100_milliseconds() {
    let mut bench = bench();
    bench.pass(ms(3609));
    bench.pass(ms(1));
    let order: Vec<Effect> = bench.done.iter().map(|(_, effect)| effect.clone()).collect();
    let order = words(&order);
    let last_advertisement = order.iter().rposition(|word| *word == "advertise").unwrap();
    let first_announcement = order.iter().position(|word| *word == "announce").unwrap();
    assert!(last_advertisement < first_announcement);
    assert_eq!(order.iter().filter(|word| **word == "advertise").count(), MOST_ROUTERS);
    assert_eq!(order.iter().filter(|word| **word == "testament").count(), 1);
    bench.pass(ms(98));
    let announced = bench.done.iter().filter_map(|(_, effect)| match effect {
        Effect::Announce { addresses, .. } => Some(addresses.clone()),
        _ => None,
    });
    let announced: std::collections::BTreeSet<_> = announced.flatten().collect();
    assert_eq!(announced.len(), MOST_ROUTERS);
    assert_eq!(bench.states(), vec![State::Master; MOST_ROUTERS]);
}

#[test]
fn one_packet_looks_at_one_router() {
    let mut bench = bench();
    let said = advertisement(&many()[300], 200);
    let source = super::bench::ip("10.1.1.2");
    let payload = encode(&said, source, GROUP_V4);
    let packet = Received { interface: ETH0 + 1, source, destination: GROUP_V4, ttl: 255, payload: &payload };
    bench.pass(ms(1000));
    bench.give(Event::Received(packet));
    assert_eq!(bench.view_of(300).counters.received, 1);
    bench.pass(ms(3000));
    let waiting = bench.states().into_iter().filter(|state| *state == State::Backup).count();
    assert_eq!(waiting, 1);
}

#[test]
fn more_than_may_be_are_refused_with_a_warning() {
    let mut routers = many();
    routers.push(router("one too many", 255));
    let mut bench = Bench::bare();
    let effects = bench.give(Event::Configure(Box::new(super::bench::settings(&routers, false))));
    assert!(words(&effects).contains(&"warning"));
    assert_eq!(bench.states().len(), MOST_ROUTERS);
}
