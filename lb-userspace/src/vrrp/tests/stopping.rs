//! Once told to stop, a daemon stops, whatever it is told besides.

use super::bench::{Bench, ms, router, words};
use crate::config::{OnCrash, VirtualRouter};
use crate::vrrp::event::Event;

#[test]
fn a_daemon_that_stops_does_not_resign_instead() {
    let mut bench = Bench::master(&router("a", 51));
    bench.give(Event::Stop);
    bench.give(Event::Resign(None));
    bench.give(Event::Resume(None));
    bench.pass(ms(10_000));
    let effects: Vec<_> = bench.done.iter().map(|(_, effect)| effect.clone()).collect();
    assert_eq!(words(&effects), ["farewell", "remove", "testament", "transition", "handed over"]);
}

#[test]
fn a_daemon_that_stops_does_not_begin_anew_when_it_stalls_or_is_deposed() {
    for event in [Event::Stalled { gap: ms(60_000) }, Event::Deposed] {
        let mut bench = Bench::master(&router("a", 51));
        bench.give(Event::Stop);
        bench.give(event);
        bench.pass(ms(10_000));
        let effects: Vec<_> = bench.done.iter().map(|(_, effect)| effect.clone()).collect();
        let words = words(&effects);
        assert_eq!(words.iter().filter(|word| **word == "transition").count(), 1, "{words:?}");
        assert_eq!(words.last(), Some(&"handed over"), "{words:?}");
    }
}

/// It may hold what an earlier run was to keep over its death, and has not heard yet who is master.
#[test]
fn a_daemon_that_stops_leaves_nothing_of_an_earlier_run() {
    let mut bench = Bench::new(&[VirtualRouter { on_crash: OnCrash::Keep, ..router("a", 51) }]);
    let effects = bench.give(Event::Stop);
    assert_eq!(words(&effects), ["remove", "transition", "handed over"]);
}
