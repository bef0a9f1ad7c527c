//! Schedulers that keep state, with real clients and servers: turns are exact, and open connections count.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway::playground::topology::Replies;

use crate::harness::{Bed, Connection, HTTP, await_that, fetch, four_backends, service_v4, service_v6, usual_config};

#[test]
fn in_turn_everybody_gets_exactly_as_many_connections_under_direct() {
    takes_turns(Replies::Direct);
}

#[test]
fn in_turn_everybody_gets_exactly_as_many_connections_under_nat() {
    takes_turns(Replies::ThroughBalancer);
}

#[test]
fn who_has_open_connections_gets_no_more_until_the_others_have_as_many() {
    let bed = bed(Replies::Direct, "least-connection");
    let service = service_v4(HTTP);
    let mut held: Vec<Connection> =
        (0..2).map(|_| Connection::open_from(&bed.lab.client(), service).expect("nginx accepts")).collect();
    let holders: Vec<String> = held.iter_mut().map(|it| it.ask_name().expect("nginx answers")).collect();
    assert_eq!(holders, ["b1", "b2"]);

    assert_eq!(answers(&bed, 6), BTreeMap::from([("b3".to_owned(), 3), ("b4".to_owned(), 3)]));

    let active = |backend: &str| {
        bed.fairway.metric(&format!("fairway_backend_active_connections{{service=\"web\",backend=\"{backend}\"}}"))
    };
    assert_eq!(["b1", "b2", "b3", "b4"].map(active), [Some(1.0), Some(1.0), Some(0.0), Some(0.0)]);
    drop(held);
    await_that("nobody has an open connection", || ["b1", "b2"].map(active) == [Some(0.0); 2]);
}

#[test]
fn a_change_of_the_scheduler_moves_no_connection() {
    let bed = bed(Replies::Direct, "round-robin");
    let mut held: Vec<Connection> =
        (0..4).map(|_| Connection::open_from(&bed.lab.client(), service_v4(HTTP)).expect("nginx accepts")).collect();
    let names =
        |held: &mut Vec<Connection>| held.iter_mut().map(|it| it.ask_name().expect("it answers")).collect::<Vec<_>>();
    let before = names(&mut held);
    assert_eq!(before, ["b1", "b2", "b3", "b4"]);

    for scheduler in ["maglev", "weighted-least-connection", "source-hash", "round-robin"] {
        let output = bed.fairway.reload(&config(&bed.lab, scheduler));
        assert!(output.status.success(), "{scheduler}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(names(&mut held), before, "{scheduler}");
    }
}

#[test]
fn a_client_that_is_remembered_stays_until_it_has_been_silent_for_long_enough() {
    let bed = Bed::in_lab(crate::harness::lab(&four_backends(Replies::Direct)), |lab| {
        config(lab, "round-robin")
            .replace("\nforwarding = ", "\nfin_timeout = \"1s\"\npersistence = { timeout = \"3s\" }\nforwarding = ")
    });
    let first = answers(&bed, 5);
    assert_eq!(first.len(), 1, "{first:?}");
    let mut held = Connection::open_from(&bed.lab.client(), service_v4(HTTP)).expect("nginx accepts");
    assert_eq!(Some(&held.ask_name().expect("it answers")), first.keys().next());

    // While it has a connection it is not forgotten, however long that is silent.
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(answers(&bed, 1).keys().next(), first.keys().next());
    drop(held);
    let remembered = || bed.fairway.metric("fairway_stateful_clients");
    assert_eq!(remembered(), Some(1.0));
    await_that("the client is forgotten", || remembered() == Some(0.0));
    let later = answers(&bed, 5);
    assert_eq!(later.len(), 1, "{later:?}");
    assert_ne!(later.keys().next(), first.keys().next(), "it is another's turn");
}

fn takes_turns(replies: Replies) {
    let bed = bed(replies, "round-robin");
    let twice: BTreeMap<String, usize> = ["b1", "b2", "b3", "b4"].map(|name| (name.to_owned(), 2)).into();
    assert_eq!(answers(&bed, 8), twice);
    assert_eq!(answers_of(&bed, service_v6(HTTP), 8), twice);
}

fn bed(replies: Replies, scheduler: &str) -> Bed {
    Bed::in_lab(crate::harness::lab(&four_backends(replies)), |lab| config(lab, scheduler))
}

fn config(lab: &fairway::playground::Lab, scheduler: &str) -> String {
    let usual = usual_config(lab, &[0, 1, 2, 3]);
    usual.replace("\nforwarding = ", &format!("\nscheduler = \"{scheduler}\"\nforwarding = "))
}

/// Who answered so many requests, one after the other, each on a connection of its own.
fn answers(bed: &Bed, count: usize) -> BTreeMap<String, usize> {
    answers_of(bed, service_v4(HTTP), count)
}

fn answers_of(bed: &Bed, service: std::net::SocketAddr, count: usize) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for _ in 0..count {
        let answer = fetch(&bed.lab.client(), service, "/", None).expect("nginx answers");
        *answers.entry(String::from_utf8_lossy(&answer).trim().to_owned()).or_default() += 1;
    }
    answers
}
