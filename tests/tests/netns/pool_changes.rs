//! Adding a backend and removing another, under load, breaks no connection to the others.

use fairway::playground::topology::Replies;

use crate::harness::{Bed, HTTP, KeptConnections, four_backends, requests, service_v4};

const CONNECTIONS: usize = 60;
/// Answers that each connection must get between two changes.
const ANSWERS: u64 = 10;

#[test]
fn a_changed_pool_breaks_no_connection_of_direct() {
    check(Replies::Direct);
}

#[test]
fn a_changed_pool_breaks_no_connection_of_nat() {
    check(Replies::ThroughBalancer);
}

fn check(replies: Replies) {
    let bed = Bed::start(&four_backends(replies), &[0, 1, 2]);
    let kept = KeptConnections::open(&bed.lab.client(), service_v4(HTTP), CONNECTIONS);
    kept.wait_for_answers(ANSWERS);

    bed.fairway.reload_backends(&bed.lab, &[0, 1, 2, 3]);
    kept.wait_for_answers(ANSWERS);
    let with_four = requests(&bed.lab.client(), service_v4(HTTP), 400);
    bed.fairway.reload_backends(&bed.lab, &[1, 2, 3]);
    kept.wait_for_answers(ANSWERS);
    let without_b1 = requests(&bed.lab.client(), service_v4(HTTP), 400);
    let histories = kept.close();

    for history in histories.iter().filter(|history| history.backends.first().is_some_and(|name| name != "b1")) {
        assert_eq!(history.backends.len(), 1, "a connection changed backend: {history:?}");
        assert_eq!(history.failure, None, "a connection to a backend that stayed broke: {history:?}");
    }
    let first_backends: Vec<_> = histories.iter().filter_map(|history| history.backends.first()).collect();
    for name in ["b1", "b2", "b3"] {
        assert!(
            first_backends.iter().any(|first| *first == name),
            "no connection went to {name}, so nothing was tested"
        );
    }
    assert_eq!(with_four.failures, [""; 0]);
    assert!(with_four.answers.contains_key("b4"), "the added backend gets no connection: {:?}", with_four.answers);
    assert_eq!(without_b1.failures, [""; 0]);
    assert!(!without_b1.answers.contains_key("b1"), "the removed backend got new connections");
}
