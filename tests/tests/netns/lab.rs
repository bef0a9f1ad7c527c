//! The lab itself: packets get through it, links to balancers are ready for XDP, and nothing outlives it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::PoisonError;

use fairway::playground::topology::{Replies, Role, Spec, backend_v4, backend_v6, router_port};
use fairway::playground::{Lab, clean};

use crate::harness::{CLEANING, HTTP, Nginx, fetch, four_backends, lab, link};

#[test]
fn client_and_backends_reach_each_other() {
    for replies in [Replies::Direct, Replies::ThroughBalancer] {
        let lab = lab(&four_backends(replies));
        let _nginx = Nginx::start(&lab, 3);
        for address in [(backend_v4(3), HTTP).into(), (backend_v6(3), HTTP).into()] {
            let answer = fetch(&lab.client(), address, "/", None).unwrap_or_else(|error| panic!("{address}: {error}"));
            assert_eq!(answer, b"b4\n");
        }
    }
}

#[test]
fn the_routers_end_of_every_balancers_link_runs_a_program() {
    for mtu in [1500, 9000] {
        let lab = lab(&Spec { balancers: 2, backends: 1, mtu, ..Spec::default() });
        for index in 0..2 {
            let port = link(&lab.router(), &router_port(Role::Balancer(index)));
            assert_eq!(port["xdp"]["prog"]["name"], "lab_pass", "{port}");
            assert_eq!(port["mtu"], mtu);
        }
    }
}

#[test]
fn a_dropped_lab_leaves_nothing_and_its_neighbour_alone() {
    let neighbour = lab(&Spec { backends: 1, ..Spec::default() });
    let gone = lab(&Spec { backends: 1, ..Spec::default() });
    let (prefix, directory) = (gone.prefix().to_owned(), gone.directory());
    let process = gone.client().spawn(Command::new("sleep").arg("60")).expect("sleep starts");
    let pid = process.pid();
    drop((process, gone));

    assert_eq!(namespaces_of(&prefix), [""; 0]);
    assert!(!directory.exists());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(neighbour.client().path().exists());
}

#[test]
fn clean_removes_what_the_dead_left_and_nothing_else() {
    let _alone = CLEANING.lock().unwrap_or_else(PoisonError::into_inner);
    let alive = lab(&Spec { backends: 1, ..Spec::default() });
    let crashed = lab(&Spec { backends: 1, ..Spec::default() });
    let mut sleeper = crashed.client().spawn(Command::new("sleep").arg("60")).expect("sleep starts");
    let prefix = pretend_that_its_maker_died(crashed);

    let removed = clean().expect("cleaning works");

    assert!(removed.contains(&prefix), "{removed:?}");
    assert_eq!(namespaces_of(&prefix), [""; 0]);
    assert!(alive.client().path().exists());
    assert!(sleeper.ended().expect("sleep can be waited for").is_some(), "the dead lab's process still runs");
}

/// Signs the lab with a process that is not there and forgets it, as a crash would.
fn pretend_that_its_maker_died(lab: Lab) -> String {
    let prefix = lab.prefix().to_owned();
    fs::write(lab.directory().join("owner"), "1 1").expect("the lab's directory is writable");
    std::mem::forget(lab);
    prefix
}

fn namespaces_of(prefix: &str) -> Vec<String> {
    let names = fs::read_dir("/run/netns").expect("there are namespaces");
    names
        .map(|entry| entry.expect("the directory is readable").file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(&format!("{prefix}-")))
        .collect()
}
