//! Checks of real servers: a process that ends, a host that falls silent, and both come back; and what is said of it.

use fairway::playground::topology::{Replies, Role, router_port};
use serde_json::Value;

use crate::harness::{Bed, Fairway, Nginx, await_that, four_backends, ip, lab, usual_config};

/// Fast, so that the test is; the timeout is long enough for a busy machine.
const CHECK: &str = "[service.check]
type = \"tcp\"
via = \"address\"
interval = \"200ms\"
timeout = \"200ms\"
rise = 2
fall = 2
";

#[test]
fn a_dead_process_and_a_silent_host_are_found_and_told_apart_and_their_return_too() {
    let lab = lab(&four_backends(Replies::ThroughBalancer));
    let mut servers: Vec<Option<Nginx>> = (0..4).map(|index| Some(Nginx::start(&lab, index))).collect();
    let config =
        usual_config(&lab, &[0, 1, 2, 3]).replace("forwarding = \"nat\"\n", &format!("forwarding = \"nat\"\n{CHECK}"));
    let fairway = Fairway::start_with(&lab, &config);
    await_that("all are up", || (0..4).all(|index| check(&fairway, index)["state"] == "up"));

    servers[1] = None;
    await_that("the dead process is found", || check(&fairway, 1)["state"] == "down");
    let dead = check(&fairway, 1);
    assert!(dead["why"].as_str().is_some_and(|why| why.contains("refused")), "{dead}");
    assert_eq!((&dead["last"]["result"], &dead["flaps"]), (&Value::from("refused"), &Value::from(1)), "{dead}");

    ip(&lab.router(), &format!("link set {} down\n", router_port(Role::Backend(2))));
    await_that("the silent host is found", || check(&fairway, 2)["state"] == "down");
    let silent = check(&fairway, 2);
    assert_eq!(silent["last"]["result"], "silent", "{silent}");

    servers[1] = Some(Nginx::start(&lab, 1));
    ip(&lab.router(), &format!("link set {} up\n", router_port(Role::Backend(2))));
    await_that("both are back", || [1, 2].iter().all(|index| check(&fairway, *index)["state"] == "up"));
    for index in [0, 3] {
        let check = check(&fairway, index);
        assert_eq!((&check["state"], &check["flaps"]), (&Value::from("up"), &Value::from(0)), "{check}");
    }

    let changes = changes_of(&fairway, "b2");
    assert_eq!(changes, ["unknown → up", "up → down", "down → up"]);
    let line = "service web, backend b2: tcp check up → down, ";
    assert!(fairway.log().contains(line), "no line `{line}…` in the log:\n{}", fairway.log());
    let failures = |reason: &str| {
        let labels = format!("service=\"web\",backend=\"b2\",check=\"tcp\",reason=\"{reason}\"");
        fairway.metric(&format!("fairway_backend_check_failures_total{{{labels}}}"))
    };
    assert!(failures("refused").is_some_and(|count| count >= 2.0));
    assert_eq!(failures("wrong"), Some(0.0));
}

#[test]
fn a_reload_that_brings_checks_starts_them_and_one_that_takes_them_ends_them() {
    let bed = Bed::start(&four_backends(Replies::ThroughBalancer), &[0, 1]);
    assert_eq!(bed.fairway.show("checks")["checks"], Value::Array(Vec::new()));
    let unchecked = usual_config(&bed.lab, &[0, 1]);
    let checked = unchecked.replace("forwarding = \"nat\"\n", &format!("forwarding = \"nat\"\n{CHECK}"));
    assert!(bed.fairway.reload(&checked).status.success());
    await_that("they are made", || [0, 1].iter().all(|index| check(&bed.fairway, *index)["state"] == "up"));
    assert!(bed.fairway.reload(&unchecked).status.success());
    let prober = || bed.fairway.show("checks")["prober"].clone();
    await_that("there are none any more", || prober()["checks"] == 0);
    let started = prober()["started"].clone();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(prober()["started"], started);
}

/// The check of a backend of the web service, counted from 0; null before the prober knows it.
fn check(fairway: &Fairway, backend: usize) -> Value {
    let shown = fairway.show("checks");
    let name = format!("b{}", backend + 1);
    let checks = shown["checks"].as_array().expect("a list").iter();
    checks
        .filter(|check| check["service"] == "web")
        .find(|check| check["backend"] == name.as_str())
        .cloned()
        .unwrap_or_default()
}

/// The events about the check of a backend of the web service, in order.
fn changes_of(fairway: &Fairway, backend: &str) -> Vec<String> {
    let output = fairway.command(&["show", "events", "-o", "json"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours =
        events.filter(|event| event["kind"] == "check" && event["service"] == "web" && event["backend"] == backend);
    ours.map(|event| {
        format!("{} → {}", event["from"].as_str().expect("a state"), event["to"].as_str().expect("a state"))
    })
    .collect()
}
