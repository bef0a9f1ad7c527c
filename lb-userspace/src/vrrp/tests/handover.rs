//! Make before break: resigning and stopping without a moment in which nobody serves.

use std::time::Duration;

use super::bench::{Bench, advertisement, advertises, ip, ms, router, settings, words};
use super::pair::{Pair, peer};
use crate::config::VirtualRouter;
use crate::vrrp::codec::encode;
use crate::vrrp::effect::Effect;
use crate::vrrp::event::{Event, Received, Settings};
use crate::vrrp::router::advertise::GROUP_V4;
use crate::vrrp::view::State;

fn removes(effect: &Effect) -> bool {
    matches!(effect, Effect::RemoveAddresses { .. })
}

fn adds(effect: &Effect) -> bool {
    matches!(effect, Effect::AddAddresses { .. })
}

#[test]
fn a_resigned_master_serves_until_the_other_has_taken_over() {
    let mut pair = Pair::settled(&router("a", 51));
    pair.give(0, Event::Resign(None));
    assert_eq!(pair.states()[0], State::Master);
    pair.pass(ms(50));
    assert_eq!(pair.states(), [State::Backup, State::Master]);
    let (taken, left) = (pair.when(1, adds).unwrap(), pair.when(0, removes).unwrap());
    assert!(taken <= left && left - taken < ms(1), "taken at {taken:?}, left at {left:?}");
    assert!(pair.views()[0].resigned);
    pair.pass(ms(200_000));
    assert_eq!(pair.states(), [State::Backup, State::Master], "a resign holds until resume");
    pair.give(0, Event::Resume(None));
    pair.pass(ms(5000));
    assert_eq!(pair.states(), [State::Master, State::Backup]);
}

#[test]
fn without_a_peer_link_priority_zero_and_the_skew_do_the_same() {
    let of = |priority| settings(&[VirtualRouter { priority, ..router("a", 51) }], false);
    let mut pair = Pair::with([of(254), of(250)]);
    pair.pass(ms(10_000));
    pair.done.clear();
    pair.give(0, Event::Resign(Some("a".into())));
    let waited = pair.until(1, State::Master);
    assert!((ms(23)..=ms(25)).contains(&waited), "skew of priority 250: {waited:?}");
    pair.pass(ms(10));
    assert!(pair.when(1, adds).unwrap() <= pair.when(0, removes).unwrap());
}

#[test]
fn where_nobody_takes_over_a_resigned_router_serves_on_and_says_so() {
    let mut bench = Bench::master(&router("a", 51));
    assert_eq!(words(&bench.give(Event::Resign(None))), ["farewell"]);
    bench.pass(ms(2200));
    assert_eq!(bench.state(), State::Master);
    assert_eq!(bench.view().why, "resigned, but nobody took over");
    let effects: Vec<Effect> = bench.done.iter().map(|(_, effect)| effect.clone()).collect();
    assert!(!effects.iter().any(removes));
    assert!(words(&effects).starts_with(&["farewell", "advertise", "announce", "warning"]), "{:?}", words(&effects));
    bench.hear(&advertisement(&router("a", 51), 1));
    assert_eq!(bench.state(), State::Backup, "to whoever comes");
}

#[test]
fn a_resigned_router_takes_over_only_where_nobody_is_master() {
    let a = router("a", 51);
    let mut bench = Bench::backup_of(&a, 50);
    bench.give(Event::Resign(None));
    for _ in 0..20 {
        bench.hear(&advertisement(&a, 50));
        bench.pass(ms(1000));
    }
    assert_eq!(bench.state(), State::Backup);
    assert_eq!(bench.view().held_back.as_deref(), Some("resigned"));
    bench.pass(ms(4000));
    assert_eq!(bench.state(), State::Master);
}

#[test]
fn a_resigned_master_that_nobody_relieved_hands_over_when_the_peer_comes() {
    let a = router("a", 51);
    let mut pair = Pair::settled(&a);
    pair.kill(1);
    pair.pass(ms(1000));
    pair.give(0, Event::Resign(None));
    pair.pass(ms(5000));
    assert_eq!(pair.states()[0], State::Master);
    pair.restart(1, &[VirtualRouter { priority: 250, ..a }]);
    pair.pass(ms(1000));
    assert_eq!(pair.states(), [State::Backup, State::Master]);
}

#[test]
fn a_master_that_stops_is_relieved_first_and_forwards_a_while_longer() {
    let of = |index, priority| Settings {
        peer: Some((peer(index), vec![7; 32])),
        ..settings(&[VirtualRouter { priority, ..router("a", 51) }], true)
    };
    let mut pair = Pair::with([of(0, 254), of(1, 250)]);
    pair.give(0, Event::Ready(Ok(())));
    pair.give(1, Event::Ready(Ok(())));
    pair.pass(ms(70_000));
    pair.done.clear();
    pair.give(0, Event::Stop);
    pair.pass(ms(1000));
    let dead = |effect: &Effect| matches!(effect, Effect::SetLive { live: false, .. });
    let left = pair.when(0, removes).unwrap();
    assert!(pair.when(1, adds).unwrap() <= left);
    assert_eq!(pair.when(0, dead).unwrap() - left, ms(200));
    assert_eq!(pair.when(0, |effect| *effect == Effect::HandedOver).unwrap() - left, ms(200));
    assert_eq!(pair.states(), [State::Init, State::Master]);
}

#[test]
fn a_stop_that_nobody_takes_up_ends_all_the_same() {
    let mut bench = Bench::master(&router("a", 51));
    bench.give(Event::Stop);
    let waited = bench.until(|effect| *effect == Effect::HandedOver);
    let skew_of_1 = Duration::from_nanos(996_093_750);
    assert_eq!(waited, ms(1000) + skew_of_1 + ms(100));
    assert!(bench.done.iter().any(|(_, effect)| removes(effect)));
    assert_eq!(bench.engine.deadline(), None);
    assert!(bench.give(Event::Tick).is_empty());
}

#[test]
fn no_hand_over_takes_longer_than_4_seconds() {
    let a = VirtualRouter { advertisement_interval: ms(40_000), ..router("a", 51) };
    let mut bench = Bench::new(std::slice::from_ref(&a));
    bench.until(|effect| advertises(effect, 100));
    bench.give(Event::Stop);
    assert_eq!(bench.until(|effect| *effect == Effect::HandedOver), ms(4000));
}

#[test]
fn the_live_word_lingers_a_minute_and_a_return_keeps_it() {
    let a = router("a", 51);
    let mut bench = Bench::with(settings(std::slice::from_ref(&a), true));
    bench.give(Event::Ready(Ok(())));
    bench.until(|effect| advertises(effect, 100));
    bench.done.clear();
    let set = |live| move |effect: &Effect| matches!(effect, Effect::SetLive { live: set, .. } if *set == live);
    let left = bench.now;
    while bench.now < left + ms(59_000) {
        bench.hear(&advertisement(&a, 200));
        bench.pass(ms(1000));
    }
    assert!(!bench.done.iter().any(|(_, effect)| set(false)(effect)));
    bench.hear(&advertisement(&a, 200));
    bench.pass(ms(1000));
    let off = bench.done.iter().find(|(_, effect)| set(false)(effect)).unwrap();
    assert_eq!(off.0 - left, ms(60_000));

    bench.until(|effect| advertises(effect, 100));
    bench.hear(&advertisement(&a, 200));
    bench.done.clear();
    bench.until(|effect| advertises(effect, 100));
    bench.pass(ms(120_000));
    assert!(!bench.done.iter().any(|(_, effect)| set(false)(effect) || set(true)(effect)));
}

#[test]
fn an_advertisement_that_the_offer_overtook_does_not_undo_the_hand_over() {
    let mut pair = Pair::settled(&router("a", 51));
    pair.give(0, Event::Resign(None));
    for wanted in [(1, State::Master), (0, State::Backup)] {
        pair.until(wanted.0, wanted.1);
        pair.pass(ms(1) / 4);
        overtaken(&mut pair);
        assert_eq!(pair.states()[1], State::Master, "{wanted:?}");
    }
    pair.pass(ms(5000));
    assert_eq!(pair.states(), [State::Backup, State::Master]);
}

/// Node 1 hears now what node 0 said when it was master.
fn overtaken(pair: &mut Pair) {
    let (source, destination) = (ip("10.0.0.1"), GROUP_V4);
    let payload = encode(&advertisement(&router("a", 51), 254), source, destination);
    pair.give(1, Event::Received(Received { interface: 2, source, destination, ttl: 255, payload: &payload }));
}

#[test]
fn the_parting_word_of_one_who_yields_to_us_is_no_takeover() {
    let a = router("a", 51);
    let mut bench = Bench::master(&a);
    bench.give(Event::Stop);
    bench.hear(&advertisement(&a, 1));
    assert_eq!(bench.state(), State::Master);
    bench.pass(ms(10));
    bench.hear(&advertisement(&a, 1));
    assert_eq!(bench.state(), State::Init, "later it is somebody of that priority");
}
