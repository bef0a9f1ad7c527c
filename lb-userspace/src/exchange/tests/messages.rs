//! What goes over the wire, and who is believed.

use std::net::IpAddr;

use super::{KEY, becomes, decision, flow, items, message, realm, record, translated};
use crate::exchange::item::{Backend, FlowId, Key, SlotNote, TranslationRecord, Value};
use crate::exchange::message::{Answer, Body, Message, Stand};
use crate::exchange::seal::{self, Refusal, Session, Who};
use crate::exchange::word::{Spoken, Word};
use crate::health::pool::intent::Out;
use crate::health::pool::intent::said::{About, Said};
use crate::health::pool::memory::Opinion;
use crate::health::verdict::{AgentWish, CheckState, FailureKind, Verdict};

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
