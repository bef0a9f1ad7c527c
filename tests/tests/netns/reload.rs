//! A reload with a bad file says so and changes nothing, whichever way it is asked for.

use std::process::Output;

use fairway::playground::topology::Replies;

use crate::harness::{Bed, HTTP, KeptConnections, four_backends, service_v4, usual_config};

const BAD_CONFIG: i32 = 2;

#[test]
fn a_file_that_is_not_toml_changes_nothing() {
    check("[[service]\nname = ");
}

#[test]
fn a_file_with_an_impossible_value_changes_nothing() {
    check("[dataplane]\ninterfaces = [\"eth0\"]\n[[service]]\nname = \"web\"\nlisten = [\"tcp://nowhere:80\"]\n");
}

#[test]
fn a_file_with_an_unknown_key_changes_nothing() {
    check("[dataplane]\ninterfaces = [\"eth0\"]\nno_such_key = 1\n");
}

#[test]
fn a_hang_up_signal_reloads_the_file_and_keeps_the_old_configuration_if_it_is_bad() {
    let mut bed = Bed::start(&four_backends(Replies::Direct), &[0, 1, 2, 3]);
    let kept = KeptConnections::open(&bed.lab.client(), service_v4(HTTP), 8);
    kept.wait_for_answers(3);
    let three = usual_config(&bed.lab, &[0, 1, 2]);

    bed.fairway.hang_up(&three);
    assert_eq!(bed.fairway.metric("fairway_config_last_reload_successful"), Some(1.0));
    assert_eq!(bed.fairway.diff(&three).status.code(), Some(0));
    let before = names_of_backends(&bed);

    bed.fairway.hang_up("[[service]]\nname = ");
    assert_eq!(bed.fairway.metric("fairway_config_last_reload_successful"), Some(0.0));
    assert_eq!(bed.fairway.diff(&three).status.code(), Some(0));
    assert_eq!(names_of_backends(&bed), before);
    kept.wait_for_answers(3);
    for history in kept.close() {
        assert_eq!((history.backends.len(), history.failure), (1, None));
    }
}

fn check(bad: &str) {
    let bed = Bed::start(&four_backends(Replies::Direct), &[0, 1, 2, 3]);
    let kept = KeptConnections::open(&bed.lab.client(), service_v4(HTTP), 8);
    kept.wait_for_answers(3);
    let before = names_of_backends(&bed);

    let output = bed.fairway.reload(bad);
    kept.wait_for_answers(3);

    assert_eq!(output.status.code(), Some(BAD_CONFIG), "{}", said(&output));
    assert!(said(&output).contains("reload.toml"), "the message does not name the file: {}", said(&output));
    assert_eq!(names_of_backends(&bed), before);
    assert_eq!(bed.fairway.metric("fairway_config_last_reload_successful"), Some(0.0));
    for history in kept.close() {
        assert_eq!((history.backends.len(), history.failure), (1, None));
    }
}

/// Names and addresses of all backends: what stays the same while counters move.
fn names_of_backends(bed: &Bed) -> Vec<String> {
    let mut lines = Vec::new();
    collect(&bed.fairway.show("backends"), &mut lines);
    lines.sort();
    assert!(!lines.is_empty(), "show backends names no address");
    lines
}

fn collect(value: &serde_json::Value, addresses: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(object) => {
            addresses.extend(object.get("address").map(ToString::to_string));
            object.values().for_each(|value| collect(value, addresses));
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| collect(value, addresses)),
        _ => {}
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
