//! What a master says when it is one no more, and who waits for that.

use std::time::Duration;

use super::{
    PEER, changed, flow, follower, items, master, master_in_a_pair, message, node, realm, record, stand, tell,
    told_items,
};
use crate::exchange::machine::{Direction, Effect, Event, Exchange};
use crate::exchange::message::{Body, Message};

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
