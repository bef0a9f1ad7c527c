//! What operators want of backends: drained ones keep their connections and get no new ones, disabled ones are cut off, and
//! all of it holds over restarts. Who serves instead: the sorry server, the next tier.

use std::process::Output;

use fairway::playground::Lab;
use fairway::playground::topology::{Replies, backend_v4};
use serde_json::Value;

use crate::harness::{
    Bed, Fairway, HTTP, History, KeptConnections, Nginx, four_backends, lab, requests, service_v4, usual_config,
};

const CONNECTIONS: usize = 32;
/// Answers that each connection must get between two changes.
const ANSWERS: u64 = 3;
const REQUESTS: usize = 160;
const BAD_USAGE: i32 = 2;

#[test]
fn a_drained_backend_keeps_its_connections_and_gets_no_new_ones_under_direct() {
    drain(Replies::Direct);
}

#[test]
fn a_drained_backend_keeps_its_connections_and_gets_no_new_ones_under_nat() {
    drain(Replies::ThroughBalancer);
}

fn drain(replies: Replies) {
    let bed = Bed::start(&four_backends(replies), &[0, 1, 2, 3]);
    let kept = KeptConnections::open(&bed.lab.client(), service_v4(HTTP), CONNECTIONS);
    kept.wait_for_answers(ANSWERS);

    let said = order(&bed.fairway, &["drain", "web", "b1"]);
    assert_eq!(said, "backend b1 of web: drain, drained by an operator\n");
    assert!(!answering(&bed).contains(&"b1".to_owned()), "new connections go to a drained backend");
    kept.wait_for_answers(ANSWERS);
    let status = backend(&bed.fairway, "b1");
    assert_eq!((&status["state"], &status["effective_weight"]), (&"drain".into(), &0.0.into()));
    assert!(status["remaining"]["slots"].as_u64() > Some(0), "unrecorded flows may remain: {status}");

    order(&bed.fairway, &["undrain", "web", "b1"]);
    assert!(answering(&bed).contains(&"b1".to_owned()), "an undrained backend gets no new connections");
    kept.wait_for_answers(ANSWERS);
    let histories = kept.close();
    assert!(on(&histories, "b1") > 0, "no connection was on b1, so nothing was tested");
    for history in &histories {
        assert_eq!((history.backends.len(), &history.failure), (1, &None), "{history:?}\n{}", bed.traces());
    }
}

#[test]
fn a_disabled_backend_is_cut_off_and_nobody_else() {
    let bed = Bed::start(&four_backends(Replies::Direct), &[0, 1, 2, 3]);
    let kept = KeptConnections::open(&bed.lab.client(), service_v4(HTTP), CONNECTIONS);
    kept.wait_for_answers(ANSWERS);

    order(&bed.fairway, &["disable", "web", "b1"]);
    kept.wait_for_answers(ANSWERS);
    assert!(!answering(&bed).contains(&"b1".to_owned()));
    order(&bed.fairway, &["enable", "web", "b1"]);
    assert!(answering(&bed).contains(&"b1".to_owned()));
    kept.wait_for_answers(ANSWERS);

    let histories = kept.close();
    assert!(on(&histories, "b1") > 0, "no connection was on b1, so nothing was tested");
    for history in &histories {
        let was_cut_off = history.failure.is_some();
        assert_eq!(was_cut_off, history.backends[0] == "b1", "{history:?}");
        assert_eq!(history.backends.len(), 1, "{history:?}");
    }
}

#[test]
fn what_operators_want_holds_over_restarts_and_crashes() {
    let lab = lab(&four_backends(Replies::Direct));
    let _nginx: Vec<Nginx> = (0..4).map(|index| Nginx::start(&lab, index)).collect();
    let config = usual_config(&lab, &[0, 1, 2, 3]);
    let start = || {
        let fairway = Fairway::start_with(&lab, &config);
        fairway.wait_until_ready();
        fairway
    };
    let mut fairway = start();
    order(&fairway, &["drain", "web", "b1"]);
    order(&fairway, &["weight", "web", "b2", "7"]);
    order(&fairway, &["drain", "--everywhere", &backend_v4(2).to_string()]);

    fairway.kill();
    fairway = start();
    check_wanted(&fairway, &lab);
    assert!(fairway.stop().success());
    fairway = start();
    check_wanted(&fairway, &lab);

    let diff = fairway.diff(&config);
    let said = text(&diff.stdout);
    assert_eq!(diff.status.code(), Some(0), "{said}");
    assert!(said.contains("override in force: web/b1 drained\n"), "{said}");

    // One that leaves the configuration is remembered, and can be taken back.
    assert!(fairway.reload(&usual_config(&lab, &[1, 2, 3])).status.success());
    let status = text(&fairway.command(&["status"]).stdout);
    assert!(status.contains("web/b1 drained (not in the configuration)"), "{status}");
    order(&fairway, &["clear", "web", "b1"]);
    order(&fairway, &["clear", "web", "b2"]);
    order(&fairway, &["undrain", "--everywhere", &backend_v4(2).to_string()]);
    assert!(fairway.reload(&config).status.success());
    assert_eq!(fairway.status()["overrides"], Value::Array(vec![]));
    let answers = requests(&lab.client(), service_v4(HTTP), REQUESTS).answers;
    assert_eq!(answers.into_keys().collect::<Vec<_>>(), ["b1", "b2", "b3", "b4"]);
}

fn check_wanted(fairway: &Fairway, lab: &Lab) {
    let state = |name| backend(fairway, name)["state"].clone();
    assert_eq!(["b1", "b2", "b3", "b4"].map(state), ["drain", "unchecked", "drain", "unchecked"]);
    assert_eq!(backend(fairway, "b2")["effective_weight"], 7.0);
    let results = requests(&lab.client(), service_v4(HTTP), REQUESTS);
    assert_eq!(results.failures, [""; 0]);
    assert!(results.answers.keys().all(|name| name == "b2" || name == "b4"), "{:?}", results.answers);
}

#[test]
fn without_quorum_the_sorry_server_serves() {
    let lab = lab(&four_backends(Replies::Direct));
    let bed = Bed::in_lab(lab, |lab| {
        let sorry = format!("quorum = 2\nsorry = {{ address = \"{}\" }}\n", backend_v4(3));
        web_with(&usual_config(lab, &[0, 1, 2]), &sorry)
    });
    let kept = KeptConnections::open(&bed.lab.client(), service_v4(HTTP), CONNECTIONS);
    kept.wait_for_answers(ANSWERS);
    assert_eq!(answering(&bed), ["b1", "b2", "b3"]);
    assert_eq!(bed.fairway.metric("fairway_service_quorum_ok{service=\"web\"}"), Some(1.0));

    order(&bed.fairway, &["drain", "web", "b1"]);
    assert_eq!(answering(&bed), ["b2", "b3"]);
    order(&bed.fairway, &["drain", "web", "b2"]);
    assert_eq!(answering(&bed), ["b4"]);
    assert_eq!(bed.fairway.metric("fairway_service_quorum_ok{service=\"web\"}"), Some(0.0));
    let warnings = bed.fairway.warnings();
    assert!(warnings.contains("service web has no quorum: 1 of 1 enabled backends are up, quorum is 2"), "{warnings}");
    kept.wait_for_answers(ANSWERS);

    order(&bed.fairway, &["undrain", "web", "b1"]);
    assert_eq!(answering(&bed), ["b1", "b3"]);
    kept.wait_for_answers(ANSWERS);
    for history in kept.close() {
        assert_eq!((history.backends.len(), &history.failure), (1, &None), "{history:?}");
    }
    let events = bed.fairway.command(&["show", "events"]);
    let events = text(&events.stdout);
    for told in ["backend b1: an operator drains it", "web has no quorum", "web has its quorum"] {
        assert!(events.contains(told), "{told} is not among the events:\n{events}");
    }
}

#[test]
fn the_next_tier_serves_when_the_first_is_out() {
    let lab = lab(&four_backends(Replies::Direct));
    let bed = Bed::in_lab(lab, |lab| {
        let third = format!("address = \"{}\"\n", backend_v4(2));
        usual_config(lab, &[0, 1, 2]).replace(&third, &format!("{third}priority = 1\n"))
    });
    assert_eq!(answering(&bed), ["b1", "b2"]);
    order(&bed.fairway, &["drain", "web", "b1"]);
    assert_eq!(answering(&bed), ["b2"]);
    order(&bed.fairway, &["disable", "web", "b2"]);
    assert_eq!(answering(&bed), ["b3"]);
    order(&bed.fairway, &["undrain", "web", "b1"]);
    assert_eq!(answering(&bed), ["b1"]);
}

#[test]
fn orders_that_make_no_sense_are_refused_with_what_would() {
    let bed = Bed::start(&four_backends(Replies::Direct), &[0, 1]);
    for (arguments, said) in [
        (vec!["drain", "web", "b11"], "service web has no backend b11; did you mean b1?"),
        (vec!["drain", "web7", "b1"], "no service is called web7; did you mean web"),
        (vec!["drain", "--everywhere", "192.0.2.77"], "no backend has the address 192.0.2.77"),
        (vec!["weight", "web", "b1", "100000"], "100000"),
        (vec!["drain", "web"], "BACKEND"),
        (vec!["explode", "web", "b1"], "explode"),
    ] {
        let output = bed.fairway.command(&[&["backend"], &arguments[..]].concat());
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(BAD_USAGE), "{arguments:?}: {errors}");
        assert!(errors.contains(said), "{arguments:?}: {errors}");
    }
}

/// Carries out an order, which must succeed; what it says.
fn order(fairway: &Fairway, arguments: &[&str]) -> String {
    let output: Output = fairway.command(&[&["backend"], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Who answers new connections, by name; none may fail.
fn answering(bed: &Bed) -> Vec<String> {
    let results = requests(&bed.lab.client(), service_v4(HTTP), REQUESTS);
    assert_eq!(results.failures, [""; 0], "{}", bed.traces());
    results.answers.into_keys().collect()
}

/// The status of a backend of the service `web`.
fn backend(fairway: &Fairway, name: &str) -> Value {
    let status = fairway.status();
    let services = status["services"].as_array().expect("there are services");
    let web = services.iter().find(|service| service["name"] == "web").expect("there is a service web");
    let mut backends = web["backends"].as_array().expect("it has backends").iter();
    backends.find(|backend| backend["name"] == name).expect("it has that backend").clone()
}

/// The same configuration with further keys for the service `web`.
fn web_with(config: &str, keys: &str) -> String {
    config.replace("name = \"web\"\n", &format!("name = \"web\"\n{keys}"))
}

fn on(histories: &[History], backend: &str) -> usize {
    histories.iter().filter(|history| history.backends.first().is_some_and(|first| first == backend)).count()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
