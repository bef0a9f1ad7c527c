//! `fairway service`: services that are added, changed and removed while Fairway runs serve real clients, outlive a restart, and
//! give way to the file.

use std::process::Output;

use fairway::playground::topology::{Replies, backend_v4};

use crate::harness::{Bed, Connection, Fairway, HTTP, HTTP_TOO, four_backends, requests, service_v4, usual_config};

const LISTEN: &str = "tcp://10.2.0.100:81";

#[test]
fn a_service_that_is_added_serves_and_its_backends_change_without_breaking_connections() {
    let mut bed = bed();
    add(&bed, &["--backend", &to(0), "--backend", &format!("{},weight=2,name=heavy", to(1))]);
    assert_eq!(served_by(&bed), ["b1", "b2"]);
    let services = bed.fairway.show("services");
    let runtime = |name: &str| {
        let services = services["services"].as_array().expect("it is a list");
        services.iter().find(|it| it["name"] == name).map(|it| it["runtime"].as_bool())
    };
    assert_eq!((runtime("more"), runtime("web")), (Some(Some(true)), Some(Some(false))));
    let status = succeeds(&bed, &["status"]);
    assert!(
        status.contains("service more: tcp://10.2.0.100:81, nat, weighted-least-connection, added at run time"),
        "{status}"
    );

    let mut held: Vec<Connection> = (0..8)
        .map(|_| Connection::open_from(&bed.lab.client(), service_v4(HTTP_TOO)).expect("nginx accepts"))
        .collect();
    let names =
        |held: &mut Vec<Connection>| held.iter_mut().map(|it| it.ask_name().expect("it answers")).collect::<Vec<_>>();
    let before = names(&mut held);
    succeeds(&bed, &["service", "edit", "more", "--remove-backend", "heavy", "--backend", &to(2), "--scheduler", "rr"]);
    assert_eq!(served_by(&bed), ["b1", "b3"]);
    assert_eq!(names(&mut held), before, "connections stay with a backend that was removed");

    // Over a restart, and over a reload of the file.
    bed.fairway.stop();
    bed.fairway = Fairway::start_with(&bed.lab, &config(&bed));
    bed.fairway.wait_until_ready();
    assert_eq!(served_by(&bed), ["b1", "b3"]);
    bed.fairway.reload_backends(&bed.lab, &[0, 1]);
    assert_eq!(served_by(&bed), ["b1", "b3"]);

    succeeds(&bed, &["service", "remove", "more"]);
    assert!(requests(&bed.lab.client(), service_v4(HTTP_TOO), 8).answers.is_empty());
    assert_eq!(requests(&bed.lab.client(), service_v4(HTTP), 8).failures, [""; 0]);
}

#[test]
fn what_makes_no_sense_is_refused_whole_and_changes_nothing() {
    let bed = bed();
    add(&bed, &["--backend", &to(0)]);
    let listed = succeeds(&bed, &["service", "list", "--toml"]);
    let wrong: [(&[&str], &[&str]); 6] = [
        (&["add", "web", "--listen", "tcp://10.2.0.100:99"], &["service web is in", "fairway.toml"]),
        (&["edit", "web", "--scheduler", "rr"], &["service web is in", "change it there"]),
        (
            &["add", "other", "--listen", "tcp://10.2.0.100:80"],
            &["FW0105", "services.toml:", "fairway.toml:", "first here"],
        ),
        (
            &["add", "other", "--listen", "tcp://10.2.0.100", "--scheduler", "best", "--set", "quorun=1"],
            &["FW0005", "FW0008", "FW0002", "services.toml:"],
        ),
        (&["edit", "more", "--backend", "10.2.0.99,weight=many"], &["FW0003", "services.toml:"]),
        (&["remove", "nosuch"], &["no service called nosuch was added at run time"]),
    ];
    for (arguments, words) in wrong {
        let output = command(&bed, &[&["service"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{arguments:?}: {said}");
    }
    assert_eq!(succeeds(&bed, &["service", "list", "--toml"]), listed);
    assert_eq!(served_by(&bed), ["b1"]);
    assert_eq!(bed.fairway.metric("fairway_config_last_reload_successful"), Some(1.0), "the file is as it was");
}

#[test]
fn a_service_moves_into_the_file_and_others_are_cleared() {
    let bed = bed();
    add(&bed, &["--backend", &to(0)]);
    let pasted = succeeds(&bed, &["service", "list", "--toml"]);
    let third = ["service", "add", "third", "--listen", "tcp://10.2.0.100:82", "--forwarding", "nat"];
    succeeds(&bed, &[&third[..], &["--backend", &to(1)]].concat());

    let mut held = Connection::open_from(&bed.lab.client(), service_v4(HTTP_TOO)).expect("nginx accepts");
    assert_eq!(held.ask_name().expect("it answers"), "b1");
    let output = bed.fairway.reload(&format!("{}\n{pasted}", config(&bed)));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("FW0217") && said.contains("no changes"), "{said}");
    assert_eq!(held.ask_name().expect("it answers"), "b1");
    let list = succeeds(&bed, &["service", "list"]);
    assert!(list.contains("third") && !list.contains("more"), "{list}");

    succeeds(&bed, &["service", "clear"]);
    assert_eq!(succeeds(&bed, &["service", "list", "--toml"]), "");
    let services = bed.fairway.show("services");
    let mut names: Vec<&str> =
        services["services"].as_array().expect("a list").iter().filter_map(|it| it["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["more", "web", "web6"]);
    assert!(!succeeds(&bed, &["show", "services"]).contains("run time"));
    assert_eq!(served_by(&bed), ["b1"]);
}

fn bed() -> Bed {
    Bed::start(&four_backends(Replies::ThroughBalancer), &[0, 1, 2, 3])
}

fn config(bed: &Bed) -> String {
    usual_config(&bed.lab, &[0, 1, 2, 3])
}

/// Adds the service `more` at another port, to the port of the servers that no other service is at.
fn add(bed: &Bed, arguments: &[&str]) {
    let add = ["service", "add", "more", "--listen", LISTEN, "--forwarding", "nat", "--scheduler", "wlc"];
    let said = succeeds(bed, &[&add, arguments].concat());
    assert!(said.contains("+ service more (1 listeners, "), "{said}");
}

/// A server, as a backend is typed.
fn to(index: usize) -> String {
    format!("{}:{HTTP_TOO}", backend_v4(index))
}

/// Who answers clients of the service that was added.
fn served_by(bed: &Bed) -> Vec<String> {
    let results = requests(&bed.lab.client(), service_v4(HTTP_TOO), 40);
    assert_eq!(results.failures, [""; 0], "{}", bed.traces());
    results.answers.into_keys().collect()
}

fn succeeds(bed: &Bed, arguments: &[&str]) -> String {
    let output = command(bed, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn command(bed: &Bed, arguments: &[&str]) -> Output {
    bed.fairway.command(arguments)
}
