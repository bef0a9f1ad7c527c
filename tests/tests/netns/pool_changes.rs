//! Backends, weights and services come and go under load, and no connection to a backend that stays breaks.

use fairway::playground::Lab;
use fairway::playground::topology::{Replies, SERVICE_V4};

use crate::harness::{
    Bed, HTTP, HTTP_TOO, History, KeptConnections, four_backends, lab, requests, service_v4, service_v6, usual_config,
};

/// To each service, or a hundred in all.
const CONNECTIONS: [usize; 3] = [50, 25, 25];
/// Answers that each connection must get between two changes.
const ANSWERS: u64 = 5;
const SAME: i32 = 0;
const DIFFERS: i32 = 6;

#[test]
fn a_changed_pool_breaks_no_connection_of_direct() {
    check(Replies::Direct);
}

#[test]
fn a_changed_pool_breaks_no_connection_of_nat() {
    check(Replies::ThroughBalancer);
}

fn check(replies: Replies) {
    let lab = lab(&four_backends(replies));
    let bed = Bed::in_lab(lab, |lab| with_shop(lab, &[0, 1, 2]));
    let client = bed.lab.client();
    let services = [service_v4(HTTP), service_v6(HTTP), service_v4(HTTP_TOO)];
    let kept: Vec<KeptConnections> = services
        .iter()
        .zip(CONNECTIONS)
        .map(|(service, count)| KeptConnections::open(&client, *service, count))
        .collect();
    let all_are_answered = || kept.iter().for_each(|kept| kept.wait_for_answers(ANSWERS));
    all_are_answered();

    change(&bed, &with_shop(&bed.lab, &[0, 1, 2, 3]), "b4");
    all_are_answered();
    for service in services {
        let results = requests(&client, service, 200);
        assert_eq!(results.failures, [""; 0]);
        assert!(results.answers.contains_key("b4"), "the added backend gets no connection: {:?}", results.answers);
    }
    change(&bed, &with_shop(&bed.lab, &[1, 2, 3]), "b1");
    all_are_answered();
    for service in services {
        let results = requests(&client, service, 200);
        assert_eq!(results.failures, [""; 0]);
        assert!(!results.answers.contains_key("b1"), "the removed backend gets new connections");
    }
    let b2 = "name = \"b2\"\n";
    change(&bed, &with_shop(&bed.lab, &[1, 2, 3]).replace(b2, &format!("{b2}weight = 20\n")), "b2");
    all_are_answered();
    change(&bed, &usual_config(&bed.lab, &[1, 2, 3]), "shop");
    // The connections to the removed service end; all others do not.
    kept[..2].iter().for_each(|kept| kept.wait_for_answers(ANSWERS));
    change(&bed, &with_shop(&bed.lab, &[1, 2, 3]), "shop");
    kept[..2].iter().for_each(|kept| kept.wait_for_answers(ANSWERS));

    let mut histories: Vec<Vec<History>> = kept.into_iter().map(KeptConnections::close).collect();
    histories.pop();
    judge(&histories.concat());
}

/// Reloads; before that `diff` says what changes, and after it that nothing does.
fn change(bed: &Bed, config: &str, named: &str) {
    let diff = bed.fairway.diff(config);
    let said = String::from_utf8_lossy(&diff.stdout);
    assert_eq!(diff.status.code(), Some(DIFFERS), "{said}");
    assert!(said.contains(named), "diff does not name {named}: {said}");
    let reload = bed.fairway.reload(config);
    assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
    assert_eq!(bed.fairway.diff(config).status.code(), Some(SAME));
}

fn judge(histories: &[History]) {
    for history in histories {
        assert_eq!(history.backends.len(), 1, "a connection changed backend: {history:?}");
        assert_eq!(history.failure, None, "a connection broke: {history:?}");
    }
    for name in ["b1", "b2", "b3"] {
        let on_it = histories.iter().filter(|history| history.backends[0] == name).count();
        assert!(on_it > 0, "no connection went to {name}, so nothing was tested");
    }
}

/// The usual configuration, and a second service on another port that has the same pool as the first.
fn with_shop(lab: &Lab, backends: &[usize]) -> String {
    let usual = usual_config(lab, backends);
    let services: Vec<&str> = usual.split("\n[[service]]\n").collect();
    let web = services.iter().find(|text| text.contains("name = \"web\"\n")).expect("there is a service web");
    let listen = web.lines().find(|line| line.starts_with("listen")).expect("it listens");
    let shop = web
        .replace("name = \"web\"\n", "name = \"shop\"\n")
        .replace(listen, &format!("listen = [\"tcp://{SERVICE_V4}:{HTTP_TOO}\"]"));
    format!("{usual}\n[[service]]\n{shop}")
}
