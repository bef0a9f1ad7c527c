//! Known octets, and what a hostile peer can say.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::item::{Backend, FlowId, FlowRecord, Key, SlotNote, TranslationRecord, Value};
use super::machine::{Counters, DEADLINE, Direction, Effect, Event, Exchange, Limits, WINDOW};
use super::message::{Answer, Body, Message, Stand};
use super::rehearsal::Decision;
use super::seal::{self, Refusal, Session, Who};
use super::word::{Spoken, Word};
use crate::health::pool::intent::Out;
use crate::health::pool::intent::said::{About, Said};
use crate::health::pool::memory::Opinion;
use crate::health::verdict::{AgentWish, CheckState, FailureKind, Verdict};

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

#[test]
fn every_message_comes_back_as_it_went() {
    let backend = Backend { index: 3, weight: 100, up: true, leaving: false, identity: "10.0.0.1 direct".into() };
    let note = SlotNote { slot: 17, previous: 3, since: 12_345 };
    let mut v6 = [9; 40];
    v6[37..].fill(0);
    let all = vec![
        (Key::Backends("web".into(), 0), Some(Value::Backends(vec![backend]))),
        (Key::Slots("web".into(), 2), Some(Value::Slots(vec![note]))),
        (Key::Table("web".into()), Some(Value::Table(0xfeed))),
        (Key::Slots("web".into(), 1), None),
        (flow(1), Some(record(3))),
        (Key::Flow(FlowId(v6), true), Some(record(4))),
        (flow(2), None),
        (Key::Client("web".into(), [7; 16]), Some(Value::Client(3, 5_000))),
        (Key::Client("web".into(), [8; 16]), None),
        (translated(1), Some(becomes(3))),
        (
            Key::Translation(FlowId(v6)),
            Some(Value::Translation(TranslationRecord { becomes: FlowId(v6), state: 2, last_seen: 7 })),
        ),
        (translated(2), None),
    ];
    let stand = Stand { realm: realm(), master: true, epoch: 4 };
    for body in [
        Body::Stand { config: "0a0b".into(), realms: vec![stand.clone()] },
        Body::Begin { realm: realm(), epoch: 4 },
        items(4, all),
        Body::End { realm: realm(), epoch: 4 },
        Body::Words { words: vec![decision(), decision()], unknown: 0 },
        Body::Words { words: intents(), unknown: 0 },
        Body::Words { words: verdicts(), unknown: 0 },
    ] {
        let said = message(3, body);
        assert_eq!(Message::decode(&said.encode()), Ok(said));
    }
    let answer = Answer { taken: 8, refused: vec![stand] };
    assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
}

fn decision() -> Word {
    let (service, backend) = ("web".into(), "10.0.0.1 direct".into());
    let Key::Flow(flow, _) = flow(1) else { panic!("it is one") };
    Word::Decision(Decision { service, flow, opens: true, backend })
}

fn intents() -> Vec<Word> {
    let backend = |name: &str| About::Backend("web".to_owned(), name.to_owned());
    let addresses: [IpAddr; 2] = [[10, 0, 0, 1].into(), "2001:db8::1".parse().unwrap()];
    let said = |about, out, weight| Word::Intent(Said { about, out, weight, since: 1_234.5 });
    vec![
        said(backend("web1"), Some(Out::Drain), None),
        said(backend("web2"), Some(Out::Disable), Some(7)),
        said(backend("web3"), None, None),
        said(About::Address(addresses[0]), Some(Out::Drain), None),
        said(About::Address(addresses[1]), None, None),
    ]
}

fn verdicts() -> Vec<Word> {
    let said = |state, failure, percent, drain| {
        let agent = AgentWish { percent, drain };
        Word::Verdict(Opinion { check: 7, verdict: Verdict { state, why: "HTTP 503".to_owned(), failure, agent } })
    };
    let kinds = FailureKind::ALL.map(|kind| said(CheckState::Down, Some(kind), Some(50), Some(true)));
    [said(CheckState::Up, None, None, None), said(CheckState::Unknown, None, Some(0), Some(false))]
        .into_iter()
        .chain(kinds)
        .collect()
}

#[test]
fn a_reason_that_is_too_long_is_cut_between_its_letters() {
    let verdict = Verdict { why: "ß".repeat(200), ..Verdict::default() };
    let said = message(3, Body::Words { words: vec![Word::Verdict(Opinion { check: 7, verdict })], unknown: 0 });
    let Ok(Message { body: Body::Words { words, .. }, .. }) = Message::decode(&said.encode()) else { panic!("read") };
    assert!(matches!(&words[..], [Word::Verdict(it)] if it.verdict.why == "ß".repeat(127)), "{words:?}");
}

#[test]
fn only_what_is_new_is_said_again() {
    let all = Spoken {
        intents: intents().into_iter().map(|it| if let Word::Intent(it) = it { it } else { panic!() }).collect(),
        verdicts: verdicts()
            .into_iter()
            .take(1)
            .map(|it| if let Word::Verdict(it) = it { it } else { panic!() })
            .collect(),
    };
    assert_eq!(all.since(&Spoken::default()).len(), 6);
    assert!(all.since(&all).is_empty());
    let mut next = all.clone();
    next.intents[2].since += 1.0;
    next.verdicts[0].verdict.state = CheckState::Down;
    assert_eq!(next.since(&all), [Word::Intent(next.intents[2].clone()), Word::Verdict(next.verdicts[0].clone())]);
}

#[test]
fn a_word_of_a_later_version_is_passed_over_and_counted() {
    let mut octets = message(3, Body::Words { words: vec![decision(), decision()], unknown: 0 }).encode();
    octets[19] = 200;
    let Ok(Message { body: Body::Words { words, unknown }, .. }) = Message::decode(&octets) else {
        panic!("it is no mistake")
    };
    assert_eq!((words.len(), unknown), (1, 1));
}

#[test]
fn a_flow_of_ipv4_takes_thirty_octets() {
    let empty = message(1, items(1, vec![])).encode().len();
    assert_eq!(message(1, items(1, vec![(flow(1), Some(record(3)))])).encode().len() - empty, 30);
}

#[test]
fn octets_that_are_cut_or_changed_are_refused_or_read_but_never_a_panic() {
    let said = message(
        3,
        items(
            4,
            vec![
                (translated(1), Some(becomes(2))),
                (flow(1), Some(record(3))),
                (Key::Table("web".into()), Some(Value::Table(1))),
            ],
        ),
    );
    let octets = said.encode();
    for length in 0..octets.len() {
        assert!(Message::decode(&octets[..length]).is_err(), "{length} octets");
    }
    let words = message(3, Body::Words { words: vec![decision()], unknown: 0 }).encode();
    for length in 0..words.len() {
        assert!(Message::decode(&words[..length]).is_err(), "{length} octets");
    }
    for at in 0..octets.len() {
        for bit in 0..8 {
            let mut changed = octets.clone();
            changed[at] ^= 1 << bit;
            drop(Message::decode(&changed));
        }
    }
}

#[test]
fn an_item_of_a_later_version_is_passed_over_and_counted() {
    let mut octets = message(3, items(4, vec![(flow(1), Some(record(3)))])).encode();
    let at = octets.len() - 30;
    octets[at] = 200;
    let Ok(Message { body: Body::Items { items, unknown, .. }, .. }) = Message::decode(&octets) else {
        panic!("it is no mistake")
    };
    assert_eq!((items.len(), unknown), (0, 1));
}

fn greeted() -> (Session, Session) {
    let (one, other) = (who(1), who(2));
    let opening = seal::open(KEY, &one, [1; 16]);
    let (_, answer, answerer) = seal::answer(KEY, &other, [2; 16], &opening).unwrap();
    let (peer, opener) = seal::conclude(KEY, &one, &opening, &answer).unwrap();
    assert_eq!(peer, other);
    (opener, answerer)
}

fn who(boot: u64) -> Who {
    Who { boot, node: format!("lb{boot}").into() }
}

#[test]
fn frames_are_of_their_session_direction_and_place() {
    let (mut opener, mut answerer) = greeted();
    let frames = [opener.seal.seal(vec![1]), opener.seal.seal(vec![2])];
    assert_eq!(answerer.unseal.open(&frames[0]), Ok(&[1][..]));
    assert_eq!(answerer.unseal.open(&frames[0]), Err(Refusal::Authentication), "again");
    let (mut opener, mut answerer) = greeted();
    let frames = [opener.seal.seal(vec![1]), opener.seal.seal(vec![2])];
    assert_eq!(answerer.unseal.open(&frames[1]), Err(Refusal::Authentication), "out of its place");
    assert_eq!(opener.unseal.open(&frames[0]), Err(Refusal::Authentication), "its own");
    let opening = seal::open(KEY, &who(1), [1; 16]);
    let (_, _, mut other) = seal::answer(KEY, &who(2), [3; 16], &opening).unwrap();
    assert_eq!(other.unseal.open(&frames[0]), Err(Refusal::Authentication), "of another session");
}

#[test]
fn a_greeting_that_is_not_the_peers_is_refused_with_its_reason() {
    let own = who(2);
    let opening = seal::open(KEY, &who(1), [1; 16]);
    let refused = |octets: &[u8]| seal::answer(KEY, &own, [2; 16], octets).err();
    let changed = |at: usize| {
        let mut octets = opening.clone();
        octets[at] ^= 1;
        octets
    };
    assert_eq!(refused(&opening), None);
    for (octets, why) in [
        (opening[..20].to_vec(), Refusal::Length),
        (changed(0), Refusal::Magic),
        (changed(4), Refusal::Version),
        (changed(9), Refusal::Authentication),
        (changed(opening.len() - 1), Refusal::Authentication),
        (seal::open(b"the key of another pair", &who(1), [1; 16]), Refusal::Authentication),
        (seal::open(KEY, &own, [1; 16]), Refusal::Reflection),
    ] {
        assert_eq!(refused(&octets), Some(why));
    }
    let (_, answer, _) = seal::answer(KEY, &own, [2; 16], &opening).unwrap();
    let another = seal::open(KEY, &who(1), [9; 16]);
    assert_eq!(seal::conclude(KEY, &who(1), &another, &answer).err(), Some(Refusal::Authentication), "a recording");
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
fn who_hands_over_says_what_waits_until_a_second_after_another_has_claimed_it() {
    let mut node = master_in_a_pair();
    changed(&mut node, 1);
    node.handle(Duration::ZERO, Event::Mastership(realm(), false));
    assert!(node.notes_changes(&realm()), "its last packets are on their way");
    changed(&mut node, 2);
    let effects = node.handle(Duration::ZERO, Event::Tick);
    assert_eq!(told_items(&effects), [flow(2), flow(1)]);
    let at = |node: &mut Exchange, millisecond| node.handle(Duration::from_millis(millisecond), Event::Tick);
    at(&mut node, 1_900);
    assert!(node.notes_changes(&realm()), "nobody has taken over, and clients come here still");
    node.handle(Duration::from_millis(2_000), Event::Told(message(1, stand(true, 2))));
    at(&mut node, 2_999);
    assert!(node.notes_changes(&realm()));
    at(&mut node, 3_000);
    assert!(!node.notes_changes(&realm()), "not for ever");
}

#[test]
fn who_hands_over_says_once_that_this_was_all_when_clients_know_who_has_taken_over() {
    let ends = |node: &mut Exchange, milliseconds: std::ops::Range<u64>| {
        let mut ends = Vec::new();
        for millisecond in milliseconds {
            let effects = node.handle(Duration::from_millis(millisecond), Event::Tick);
            let is_end = |it: &Effect| matches!(it, Effect::Tell(Message { body: Body::End { epoch: 1, .. }, .. }));
            ends.extend(effects.iter().filter(|it| is_end(it)).map(|_| millisecond));
        }
        ends
    };
    let told = |node: &mut Exchange, millisecond, number, body| {
        node.handle(Duration::from_millis(millisecond), Event::Told(message(number, body)));
    };
    for (claim, is_one) in [
        (stand(true, 2), true),
        (Body::Begin { realm: realm(), epoch: 2 }, true),
        (stand(true, 1), false),
        (stand(false, 2), false),
    ] {
        let mut node = master_in_a_pair();
        node.handle(Duration::ZERO, Event::Mastership(realm(), false));
        assert_eq!(ends(&mut node, 0..40), [] as [u64; 0], "it was given up, and nobody has taken over");
        told(&mut node, 40, 1, claim);
        assert_eq!(ends(&mut node, 40..200), if is_one { &[65][..] } else { &[] });
        changed(&mut node, 1);
        let late = node.handle(Duration::from_millis(200), Event::Tick);
        assert_eq!(told_items(&late), [flow(1)], "begun late, and told");
    }

    // The other was first.
    let mut node = master_in_a_pair();
    told(&mut node, 0, 1, stand(true, 2));
    node.handle(Duration::from_millis(10), Event::Mastership(realm(), false));
    assert_eq!(ends(&mut node, 10..200), [35]);
}

#[test]
fn records_are_gathered_when_the_master_before_has_said_all_and_what_it_said_last_is_told_back_before_the_end() {
    let taken_over = || {
        let mut node = node();
        node.handle(Duration::ZERO, Event::Connected(Direction::Telling, PEER));
        node.handle(Duration::ZERO, Event::Connected(Direction::Following, PEER));
        tell(&mut node, 1, Body::Begin { realm: realm(), epoch: 3 });
        tell(&mut node, 2, Body::End { realm: realm(), epoch: 3 });
        node.handle(Duration::ZERO, Event::Mastership(realm(), true));
        node.handle(Duration::ZERO, Event::Tick);
        node.handle(Duration::ZERO, Event::Gathered(realm(), vec![], true));
        node
    };
    let gathers = |node: &Exchange, millisecond| node.gathers(&realm(), Duration::from_millis(millisecond));
    let mut node = taken_over();
    changed(&mut node, 1);
    let effects = node.handle(Duration::ZERO, Event::Tick);
    assert_eq!((gathers(&node, 5), told_items(&effects)), (Some(false), vec![flow(1)]), "what is new is told at once");
    changed(&mut node, 2);
    tell(&mut node, 3, Body::End { realm: realm(), epoch: 3 });
    assert_eq!(gathers(&node, 5), Some(true));
    let effects = node.handle(Duration::ZERO, Event::Gathered(realm(), vec![], false));
    let is_end = |it: &Effect| matches!(it, Effect::Tell(Message { body: Body::End { .. }, .. }));
    assert_eq!(told_items(&effects), [flow(2)]);
    assert!(effects.last().is_some_and(is_end), "{effects:?}");

    let silent = taken_over();
    assert_eq!([1_000, 1_001].map(|at| gathers(&silent, at)), [false, true].map(Some), "it is waited for no longer");
    let mut gone = taken_over();
    gone.handle(Duration::ZERO, Event::Lost(Direction::Following));
    assert_eq!(gathers(&gone, 5), Some(true), "nobody is left to say anything");
}

#[test]
fn last_words_are_said_to_the_end_under_the_old_claim_though_another_claims_by_then() {
    let mut node = master();
    node.handle(Duration::ZERO, Event::Gathered(realm(), vec![], false));
    node.handle(Duration::ZERO, Event::Connected(Direction::Following, PEER));
    node.handle(Duration::ZERO, Event::Mastership(realm(), false));
    changed(&mut node, 1);
    tell(&mut node, 1, Body::Begin { realm: realm(), epoch: 2 });
    changed(&mut node, 2);
    assert!(node.notes_changes(&realm()), "clients come here until they have heard of the other");
    assert!(node.walks_for_changes(&realm()), "when flows were heard of last is told still");
    let effects = node.handle(Duration::from_millis(5), Event::Tick);
    assert_eq!(told_items(&effects), [flow(2), flow(1)]);
    let is_of = |epoch| {
        move |it: &Effect| match it {
            Effect::Tell(Message { body: Body::Items { epoch: told, .. } | Body::End { epoch: told, .. }, .. }) => {
                *told == epoch
            }
            _ => false,
        }
    };
    assert!(effects.iter().any(is_of(1)));
    assert!(node.handle(Duration::from_millis(25), Event::Tick).iter().any(is_of(1)), "that this was all");
    assert!(node.notes_changes(&realm()));
    assert!(!node.walks_for_changes(&realm()), "which would find what the other has told");
}

#[test]
fn records_are_awaited_from_before_the_takeover_until_the_other_has_said_all() {
    let end = |epoch| Body::End { realm: realm(), epoch };
    let followed = || {
        let mut node = follower();
        tell(&mut node, 1, Body::Begin { realm: realm(), epoch: 3 });
        assert!(!node.awaits_records(&realm(), Duration::ZERO), "it has nothing yet");
        tell(&mut node, 2, Body::End { realm: realm(), epoch: 3 });
        node
    };
    let mut node = followed();
    let awaits = |node: &Exchange, millisecond| node.awaits_records(&realm(), Duration::from_millis(millisecond));
    assert!(awaits(&node, 1_000_000));
    node.handle(Duration::from_millis(1_000), Event::Mastership(realm(), true));
    assert!(awaits(&node, 2_000) && !awaits(&node, 2_001), "not for long");
    tell(&mut node, 3, end(2));
    assert!(awaits(&node, 1_001), "another claim");
    tell(&mut node, 4, end(3));
    assert!(!awaits(&node, 1_001));

    let mut early = followed();
    tell(&mut early, 3, end(3));
    assert!(!awaits(&early, 0));
    early.handle(Duration::ZERO, Event::Mastership(realm(), true));
    assert!(!awaits(&early, 1), "it was said before the takeover");

    let mut cut = followed();
    cut.handle(Duration::ZERO, Event::Mastership(realm(), true));
    cut.handle(Duration::ZERO, Event::Lost(Direction::Following));
    assert!(!awaits(&cut, 1), "nobody is left to say anything");

    let mut half = follower();
    tell(&mut half, 1, Body::Begin { realm: realm(), epoch: 3 });
    half.handle(Duration::ZERO, Event::Mastership(realm(), true));
    assert!(!awaits(&half, 1), "what is not all here is not waited for");
}

#[test]
fn last_words_reach_whoever_has_taken_over_as_additions_only_and_only_for_a_while() {
    let followed = || {
        let mut node = follower();
        tell(&mut node, 1, Body::Begin { realm: realm(), epoch: 3 });
        tell(&mut node, 2, Body::End { realm: realm(), epoch: 3 });
        node.handle(Duration::ZERO, Event::Mastership(realm(), true));
        node
    };
    let last = || message(3, items(3, vec![(flow(1), Some(record(1)))]));
    let is_late = |effects: &[Effect]| effects.iter().any(|it| matches!(it, Effect::Store { late: true, .. }));
    let stores = |effects: &[Effect]| effects.iter().any(|it| matches!(it, Effect::Store { .. }));
    assert!(is_late(&followed().handle(Duration::from_secs(1), Event::Told(last()))));
    assert!(!stores(&followed().handle(Duration::from_millis(1_001), Event::Told(last()))), "too late");
    let of_another = message(3, items(2, vec![(flow(1), Some(record(1)))]));
    assert!(!stores(&followed().handle(Duration::ZERO, Event::Told(of_another))), "another claim");
    let mut half = follower();
    tell(&mut half, 1, Body::Begin { realm: realm(), epoch: 3 });
    half.handle(Duration::ZERO, Event::Mastership(realm(), true));
    assert!(!stores(&tell(&mut half, 2, items(3, vec![(flow(1), Some(record(1)))]))), "of what was never all here");
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
