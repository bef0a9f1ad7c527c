//! What a node tells and takes, and what a hostile peer can say.

mod hand_over;
mod messages;

use std::sync::Arc;
use std::time::Duration;

use super::item::{FlowId, FlowRecord, Key, TranslationRecord, Value};
use super::machine::{Counters, DEADLINE, Direction, Effect, Event, Exchange, Limits, WINDOW};
use super::message::{Answer, Body, Message, Stand};
use super::rehearsal::Decision;
use super::word::Word;

const KEY: &[u8] = b"the key of this pair";
const LIMITS: Limits = Limits { waiting: 10_000, items: 100 };
const PEER: u64 = 7;

fn realm() -> Arc<str> {
    "public".into()
}

fn flow(number: u8) -> Key {
    let mut octets = [0; 40];
    octets[10..12].fill(255);
    octets[12] = number;
    octets[26..28].fill(255);
    Key::Flow(FlowId(octets), number == 2)
}

fn record(backend: u16) -> Value {
    Value::Flow(FlowRecord { backend, state: 2, last_seen: 5_000 })
}

fn translated(number: u8) -> Key {
    let Key::Flow(flow, _) = flow(number) else { unreachable!("it is one") };
    Key::Translation(flow)
}

fn becomes(number: u8) -> Value {
    let Key::Translation(becomes) = translated(number) else { unreachable!("it is one") };
    Value::Translation(TranslationRecord { becomes, state: 1, last_seen: 6_000 })
}

fn message(number: u64, body: Body) -> Message {
    Message { number, now: 9, body }
}

fn items(epoch: u64, items: Vec<(Key, Option<Value>)>) -> Body {
    Body::Items { realm: realm(), epoch, items, unknown: 0 }
}

fn decision() -> Word {
    let (service, backend) = ("web".into(), "10.0.0.1 direct".into());
    let Key::Flow(flow, _) = flow(1) else { panic!("it is one") };
    Word::Decision(Decision { service, flow, opens: true, backend })
}

fn node() -> Exchange {
    let mut node = Exchange::new(1, LIMITS);
    node.handle(Duration::ZERO, Event::Realms(vec![realm()]));
    node
}

fn follower() -> Exchange {
    let mut node = node();
    node.handle(Duration::ZERO, Event::Connected(Direction::Following, PEER));
    node
}

fn tell(node: &mut Exchange, number: u64, body: Body) -> Vec<Effect> {
    node.handle(Duration::ZERO, Event::Told(message(number, body)))
}

#[test]
fn nothing_is_stored_of_a_realm_that_was_not_claimed_or_of_another_epoch() {
    let mut node = follower();
    let stores = |effects: &[Effect]| effects.iter().any(|it| matches!(it, Effect::Store { .. } | Effect::Keep(..)));
    assert!(!stores(&tell(&mut node, 1, items(1, vec![(flow(1), None)]))), "not claimed");
    assert!(!stores(&tell(&mut node, 2, Body::End { realm: realm(), epoch: 1 })), "not begun");
    assert!(!stores(&tell(&mut node, 3, Body::Begin { realm: "other".into(), epoch: 1 })), "no such realm");
    assert!(!stores(&tell(&mut node, 4, Body::Begin { realm: realm(), epoch: u64::MAX })), "an epoch that leaps");
    tell(&mut node, 5, Body::Begin { realm: realm(), epoch: 5 });
    assert!(!stores(&tell(&mut node, 6, items(4, vec![(flow(1), None)]))), "another epoch");
    assert!(stores(&tell(&mut node, 7, items(5, vec![(flow(1), Some(record(1)))]))), "as it should be");
    assert_eq!(node.counters().refused, 5);
}

#[test]
fn a_master_takes_nothing_and_says_so() {
    let mut node = follower();
    node.handle(Duration::ZERO, Event::Mastership(realm(), true));
    let effects = tell(&mut node, 1, Body::Begin { realm: realm(), epoch: 9 });
    let refused = vec![Stand { realm: realm(), master: true, epoch: 9 }];
    assert_eq!(effects, [Effect::Answer(Answer { taken: 1, refused })]);
    assert!(!node.follows(&realm()));
}

#[test]
fn a_flood_of_items_ends_the_session() {
    let mut node = follower();
    tell(&mut node, 1, Body::Begin { realm: realm(), epoch: 1 });
    let many = (0..=u8::try_from(LIMITS.items).unwrap()).map(|number| (flow(number), Some(record(1)))).collect();
    let effects = tell(&mut node, 2, items(1, many));
    assert_eq!(effects, [Effect::Close(Direction::Following, "more items than there can be")]);
}

#[test]
fn an_answer_to_what_was_never_said_ends_the_session() {
    let mut node = node();
    node.handle(Duration::ZERO, Event::Connected(Direction::Telling, PEER));
    let effects = node.handle(Duration::ZERO, Event::Answered(Answer { taken: 1, refused: vec![] }));
    assert_eq!(effects, [Effect::Close(Direction::Telling, "what was never said was answered")]);
    assert_eq!(node.counters(), Counters { refused: 1, ..Counters::default() });
}

#[test]
fn a_half_open_connection_ends_by_itself_on_both_ends() {
    let mut node = follower();
    node.handle(Duration::ZERO, Event::Connected(Direction::Telling, PEER));
    let late = DEADLINE + Duration::from_millis(1);
    let closed: Vec<Direction> = node
        .handle(late, Event::Tick)
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Close(direction, _) => Some(direction),
            _ => None,
        })
        .collect();
    assert_eq!(closed, [Direction::Following, Direction::Telling]);
}

#[test]
fn a_follower_that_does_not_answer_is_told_only_so_much() {
    let mut node = node();
    node.handle(Duration::ZERO, Event::Mastership(realm(), true));
    node.handle(Duration::ZERO, Event::Connected(Direction::Telling, PEER));
    node.handle(Duration::ZERO, Event::Tick);
    let all: Vec<(Key, Value)> = (0..200_000u32)
        .map(|number| {
            let mut octets = [0; 40];
            octets[..4].copy_from_slice(&number.to_be_bytes());
            (Key::Flow(FlowId(octets), false), record(1))
        })
        .collect();
    let mut effects = node.handle(Duration::ZERO, Event::Gathered(realm(), all, false));
    (0..100).for_each(|_| effects.extend(node.handle(Duration::ZERO, Event::Tick)));
    let told = |effect: &Effect| matches!(effect, Effect::Tell(Message { body: Body::Items { .. }, .. }));
    assert_eq!(effects.iter().filter(|it| told(it)).count(), WINDOW);
    assert_eq!(node.at_risk(), 200_000);
}

fn master() -> Exchange {
    let mut node = node();
    node.handle(Duration::ZERO, Event::Mastership(realm(), true));
    node.handle(Duration::ZERO, Event::Connected(Direction::Telling, PEER));
    node.handle(Duration::ZERO, Event::Tick);
    node
}

fn told_items(effects: &[Effect]) -> Vec<Key> {
    let items = effects.iter().filter_map(|effect| match effect {
        Effect::Tell(Message { body: Body::Items { items, .. }, .. }) => Some(items),
        _ => None,
    });
    items.flatten().map(|(key, _)| key.clone()).collect()
}

fn changed(node: &mut Exchange, number: u8) {
    assert!(node.handle(Duration::ZERO, Event::Changed(realm(), vec![(flow(number), Some(record(1)))])).is_empty());
}

/// A master that follows the peer's word besides, and of whose realm all is told.
fn master_in_a_pair() -> Exchange {
    let mut node = master();
    node.handle(Duration::ZERO, Event::Gathered(realm(), vec![], false));
    node.handle(Duration::ZERO, Event::Connected(Direction::Following, PEER));
    node
}

fn stand(master: bool, epoch: u64) -> Body {
    Body::Stand { config: "".into(), realms: vec![Stand { realm: realm(), master, epoch }] }
}

#[test]
fn what_changes_while_all_is_told_is_told_in_between_and_not_undone() {
    let mut node = master();
    let many = |number: u32| {
        let mut octets = [0; 40];
        octets[..4].copy_from_slice(&number.to_be_bytes());
        Key::Flow(FlowId(octets), false)
    };
    let all = (0..20_000u32).map(|number| (many(number), record(1))).collect();
    let first = node.handle(Duration::ZERO, Event::Gathered(realm(), all, false));
    assert!(
        node.handle(Duration::ZERO, Event::Changed(realm(), vec![(many(0), None)])).is_empty(),
        "the last to be told is gone"
    );
    node.handle(Duration::ZERO, Event::Answered(Answer { taken: 10, refused: vec![] }));
    let next = node.handle(Duration::ZERO, Event::Tick);
    assert!(told_items(&next).contains(&many(0)), "before thousands of others");
    let mut rest = Vec::new();
    for _ in 0..10 {
        rest.extend(node.handle(Duration::ZERO, Event::Tick));
    }
    assert!(rest.iter().any(|it| matches!(it, Effect::Tell(Message { body: Body::End { .. }, .. }))));
    assert!(!told_items(&rest).contains(&many(0)), "what was gathered of it is old");
    assert_eq!(told_items(&first).len() + told_items(&next).len() + told_items(&rest).len(), 20_000);
}

#[test]
fn a_refusal_that_arrives_after_the_change_of_mind_does_not_hold_a_claim_up() {
    let mut old = follower();
    old.handle(Duration::ZERO, Event::Connected(Direction::Telling, PEER));
    old.handle(Duration::ZERO, Event::Mastership(realm(), true));
    old.handle(Duration::ZERO, Event::Tick);
    old.handle(Duration::ZERO, Event::Mastership(realm(), false));
    let stands = |effects: &[Effect]| {
        let is_stand = |it: &&Effect| matches!(it, Effect::Tell(Message { body: Body::Stand { .. }, .. }));
        effects.iter().filter(is_stand).count()
    };
    let said: Vec<u64> =
        (0..300u64).filter(|&at| stands(&old.handle(Duration::from_millis(at), Event::Tick)) > 0).collect();
    assert_eq!(said, [0, 10, 30, 70, 150], "how it stands, again and again, ever more seldom");
}

#[test]
fn a_realm_that_the_other_node_does_not_know_does_not_count_as_followed() {
    let mut other = Exchange::new(2, LIMITS);
    other.handle(Duration::ZERO, Event::Connected(Direction::Following, 1));
    let mut node = master();
    let told = node.handle(Duration::ZERO, Event::Gathered(realm(), vec![], false));
    let last = message(1, Body::Begin { realm: realm(), epoch: 1 });
    let answered = other.handle(Duration::ZERO, Event::Told(last));
    let refused = vec![Stand { realm: realm(), master: true, epoch: 1 }];
    assert_eq!(answered, [Effect::Answer(Answer { taken: 1, refused: refused.clone() })]);
    assert!(told.len() > 1 && node.is_followed_by_peer(&realm()), "it was told, and nothing answered yet");
    node.handle(Duration::ZERO, Event::Answered(Answer { taken: 1, refused }));
    assert!(!node.is_followed_by_peer(&realm()));
}

#[test]
fn what_has_an_earlier_number_is_said_before_anything_is_gathered() {
    let mut node = Exchange::new(1, LIMITS);
    let inside: Arc<str> = "inside".into();
    node.handle(Duration::ZERO, Event::Realms(vec![realm(), inside.clone()]));
    node.handle(Duration::ZERO, Event::Mastership(realm(), true));
    node.handle(Duration::ZERO, Event::Connected(Direction::Telling, PEER));
    node.handle(Duration::ZERO, Event::Tick);
    node.handle(Duration::ZERO, Event::Gathered(realm(), vec![], false));
    node.handle(Duration::ZERO, Event::Mastership(inside.clone(), true));
    changed(&mut node, 1);
    node.handle(Duration::ZERO, Event::Say(vec![decision()]));
    let effects = node.handle(Duration::ZERO, Event::Tick);
    let (last, before) = effects.split_last().unwrap();
    assert_eq!(*last, Effect::Gather(inside));
    let bodies: Vec<&Body> =
        before.iter().filter_map(|it| if let Effect::Tell(it) = it { Some(&it.body) } else { None }).collect();
    assert!(matches!(bodies[..], [Body::Stand { .. }, Body::Items { .. }, Body::Words { .. }]), "{bodies:?}");
}

#[test]
fn who_learns_of_a_realm_has_all_of_it_told_again() {
    let mut node = follower();
    tell(&mut node, 1, Body::Begin { realm: "inside".into(), epoch: 1 });
    let effects = node.handle(Duration::ZERO, Event::Realms(vec![realm(), "inside".into()]));
    assert_eq!(effects, [Effect::Close(Direction::Following, "there are other virtual routers now")]);
    let effects = node.handle(Duration::ZERO, Event::Realms(vec![realm()]));
    assert!(effects.is_empty(), "nobody tells any more");
}

#[test]
fn who_gave_a_realm_up_is_not_caught_up_before_the_peer_has_said_how_it_stands() {
    let stand = |master| Body::Stand { config: "".into(), realms: vec![Stand { realm: realm(), master, epoch: 1 }] };
    let mut node = follower();
    tell(&mut node, 1, stand(false));
    assert_eq!(node.caught_up(), Ok(()));
    node.handle(Duration::ZERO, Event::Mastership(realm(), true));
    assert_eq!(node.caught_up(), Ok(()));
    node.handle(Duration::ZERO, Event::Mastership(realm(), false));
    assert!(node.caught_up().is_err(), "what it said before is of another time");
    tell(&mut node, 2, stand(true));
    assert!(node.caught_up().is_err(), "its state is to come");
    tell(&mut node, 3, stand(false));
    assert_eq!(node.caught_up(), Ok(()));
}

#[test]
fn only_a_claim_that_is_taken_begins_a_realm_anew() {
    let begins = |effects: &[Effect]| effects.contains(&Effect::Begin(realm()));
    let begin = |epoch| Body::Begin { realm: realm(), epoch };
    let mut node = follower();
    assert!(begins(&tell(&mut node, 1, begin(3))));
    assert!(!begins(&tell(&mut node, 2, begin(2))), "an older one, in the midst of what is told");
    assert!(begins(&tell(&mut node, 3, begin(4))));
    node.handle(Duration::ZERO, Event::Mastership(realm(), true));
    assert!(!begins(&tell(&mut node, 4, begin(4))), "a master takes none");
}

#[test]
fn of_what_is_gathered_in_pieces_the_latest_is_told_last_and_the_end_comes_after_all() {
    let state = |state| Value::Flow(FlowRecord { backend: 1, state, last_seen: 1 });
    let mut node = master();
    let mut told = node.handle(Duration::ZERO, Event::Gathered(realm(), vec![], true));
    assert_eq!(node.gathers(&realm(), Duration::ZERO), Some(true));
    let note = |node: &mut Exchange, number, value| {
        node.handle(Duration::ZERO, Event::Changed(realm(), vec![(flow(number), value)]))
    };
    // One that is told, then gathered as it is by then; one that waits while it is gathered; one that ends after that.
    note(&mut node, 1, Some(state(1)));
    told.extend(node.handle(Duration::ZERO, Event::Tick));
    note(&mut node, 3, Some(state(1)));
    let piece = [1, 3, 4].map(|number| (flow(number), state(2))).to_vec();
    let is_end = |it: &Effect| matches!(it, Effect::Tell(Message { body: Body::End { .. }, .. }));
    told.extend(node.handle(Duration::ZERO, Event::Gathered(realm(), piece, true)));
    note(&mut node, 4, None);
    told.extend(node.handle(Duration::ZERO, Event::Tick));
    assert!(!told.iter().any(is_end), "there is more to come");
    told.extend(node.handle(Duration::ZERO, Event::Gathered(realm(), vec![(flow(5), state(2))], false)));
    told.extend(node.handle(Duration::ZERO, Event::Tick));
    assert!(told.last().is_some_and(is_end), "{told:?}");
    assert_eq!(node.gathers(&realm(), Duration::ZERO), None);
    let mut known = std::collections::BTreeMap::new();
    for effect in told {
        let Effect::Tell(Message { body: Body::Items { items, .. }, .. }) = effect else { continue };
        known.extend(items);
    }
    let now = Some(state(2));
    let all = [(flow(1), now.clone()), (flow(3), now.clone()), (flow(4), None), (flow(5), now)];
    assert_eq!(known, all.into_iter().collect());
}
