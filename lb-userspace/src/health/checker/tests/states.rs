//! From outcomes to verdicts.

use super::*;
use crate::health::verdict::{AgentWish, CheckState};

/// States after each of a row of outcomes: `+` success, `-` failure, `.` could not be made.
fn check(outcomes: &str, states: &str) {
    let mut judge = judge::Judge::new(Duration::ZERO);
    let timing = spec(1, SECOND).timing;
    let mut seen = String::new();
    for (second, outcome) in outcomes.chars().enumerate() {
        let result = match outcome {
            '+' => up(),
            '-' => down(FailureKind::Wrong),
            _ => down(FailureKind::Local),
        };
        judge.hear(Duration::from_secs(second as u64), &timing, &result);
        seen.push(match judge.verdict().state {
            CheckState::Unknown => '?',
            CheckState::Up => 'U',
            CheckState::Down => 'D',
        });
    }
    assert_eq!(seen, states, "after {outcomes}");
}

#[test]
fn the_first_outcome_decides_alone_and_then_rise_and_fall_in_a_row() {
    check("+", "U");
    check("-", "D");
    check("+--+---", "UUUUUUD");
    check("-+-++", "DDDDU");
    check("+---++", "UUUDDU");
}

#[test]
fn a_probe_that_could_not_be_made_neither_counts_nor_breaks_a_row() {
    check("...+", "???U");
    check("+-.-.-", "UUUUUD");
    check("-+.+", "DDDU");
    check("+...", "UUUU");
}

#[test]
fn going_down_is_never_delayed_and_coming_up_takes_longer_after_many_changes() {
    // Three flaps; the third time it takes four successes.
    check("+---++---++---++++", "UUUDDUUUDDUUUDDDDU");
    // And goes down by three failures all the same.
    check("+---++---++---++++---", "UUUDDUUUDDUUUDDDDUUUD");
}

#[test]
fn agents_words_add_up_and_each_change_is_told() {
    let wish = |percent, drain| AgentWish { percent, drain };
    let lines = [wish(Some(50), None), wish(None, Some(true)), wish(None, None), wish(Some(100), Some(false))];
    let mut answers = lines.into_iter();
    let spec = spec(1, SECOND);
    let mut world = World::of_one(&spec, move |_| {
        Ok(Success { agent: Some(answers.next().unwrap_or_default()), ..Success::default() })
    });
    let mut told = Vec::new();
    for _ in 0..5 {
        world.run(SECOND);
        let agent = world.known[&spec].agent;
        if told.last() != Some(&agent) {
            told.push(agent);
        }
    }
    assert_eq!(told.last(), Some(&wish(Some(100), Some(false))));
    assert!(told.contains(&wish(Some(50), Some(true))), "{told:?}");
}

#[test]
fn a_change_is_told_by_state_and_while_down_by_kind_but_not_by_words() {
    let mut checker = Checker::new(1, 10);
    checker.configure(Duration::ZERO, [Arc::new(spec(1, SECOND))]);
    let failure = |kind, why: &str| Err(Failure::new(kind, why));
    let cases: [(Result<Success, Failure>, bool); 7] = [
        (failure(FailureKind::Wrong, "HTTP 503"), true),
        (failure(FailureKind::Wrong, "HTTP 500"), false),
        (failure(FailureKind::Silent, "connect timed out"), true),
        (failure(FailureKind::Local, "no descriptor"), false),
        (up(), false),
        (up(), true),
        (up(), false),
    ];
    for (second, (result, is_told)) in cases.into_iter().enumerate() {
        let now = Duration::from_secs(2 * second as u64);
        let start = checker.poll(now).pop().expect("a probe a second");
        checker.finished(now, start.id, &Outcome { result, took: millis(1) });
        assert_eq!(checker.has_changes(), is_told, "at {second}");
        assert_eq!(checker.take_changes().len(), usize::from(is_told), "at {second}");
    }
}

#[test]
fn who_takes_changes_late_gets_the_latest_of_each_check_or_nothing() {
    let mut checker = Checker::new(1, 10);
    let spec = Arc::new(spec(1, SECOND));
    checker.configure(Duration::ZERO, [Arc::clone(&spec)]);
    let mut probe = |second: u64, result| {
        let now = Duration::from_secs(second);
        let start = checker.poll(now).pop().expect("a probe a second");
        checker.finished(now, start.id, &Outcome { result, took: millis(1) });
        if second % 10 == 9 { checker.take_changes() } else { Vec::new() }
    };
    let results = |second| if (1..=3).contains(&second) { down(FailureKind::Refused) } else { up() };
    let first: Vec<_> = (0..10).flat_map(|second| probe(second, results(second))).collect();
    assert_eq!((first.len(), first[0].1.state), (1, CheckState::Up), "down and up again in between");
    let second: Vec<_> = (10..20).flat_map(|second| probe(second, results(second - 9))).collect();
    assert!(second.is_empty(), "{second:?}: as it was when it was taken before");
}

#[test]
fn the_view_says_since_when_why_and_what_speaks_against_it() {
    let spec = spec(1, SECOND);
    let mut results = [up(), down(FailureKind::Wrong), down(FailureKind::Local)].into_iter();
    let mut world = World::of_one(&spec, move |_| results.next().unwrap_or_else(|| down(FailureKind::Silent)));
    let configured = world.now;
    assert_eq!((world.view().state, world.view().why), (CheckState::Unknown, "no probe has ended yet".to_owned()));
    world.run(millis(1));
    let view = world.view();
    assert_eq!((view.state, &*view.why, view.since), (CheckState::Up, "connected", configured + millis(1)));
    while world.view().record.failures[FailureKind::Local as usize] == 0 {
        world.run(millis(10));
    }
    assert_eq!(world.view().why, "connected; then 1 of 3: Wrong; the last probe could not be made: Local");
    world.run(SECOND);
    let view = world.view();
    assert_eq!((view.state, &*view.why, view.flaps), (CheckState::Down, "Silent", 1));
    let silent = view.record.failures[FailureKind::Silent as usize];
    assert_eq!((view.record.successes, view.record.durations.count()), (1, 2 + silent));
    assert_eq!(view.record.last.map(|last| last.result), Some(Err(FailureKind::Silent)));
    assert!(view.next.is_some_and(|next| next > world.now));
}

#[test]
fn the_places_of_kinds_are_those_of_their_list() {
    let places: Vec<usize> = FailureKind::ALL.iter().map(|kind| *kind as usize).collect();
    assert_eq!(places, [0, 1, 2, 3, 4]);
}
