//! A program of the operator's is told of every event, in order.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use fairway_tests::harness::await_that;
use serde_json::Value;

use super::{FIRST, Pair, SECOND, priority, router};

const ADDRESS: &str = "10.2.0.175";

#[test]
fn the_hook_is_told_of_every_event_in_order() {
    let mut pair = Pair::new();
    let directory = pair.lab.directory();
    let (script, told) = (directory.join("hook"), directory.join("told"));
    // Slower than events come, so that two at a time would be seen.
    let text = format!("#!/bin/sh\nread -r event\nsleep 0.1\nprintf '%s\\n' \"$event\" >> '{}'\n", told.display());
    fs::write(&script, text).expect("the lab's directory is writable");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let hook = format!("[hook]\ncommand = [\"{}\"]\nuser = \"root\"\n", script.display());

    let three = |node| -> String {
        (1..=3).map(|vrid| router(&format!("v{vrid}"), vrid, priority(node), &address(vrid), "")).collect()
    };
    pair.start(SECOND, &(hook + &three(SECOND)));
    pair.await_holder("it is master, alone as it is", ADDRESS, SECOND);
    pair.start(FIRST, &three(FIRST));
    pair.await_holder("a better one comes", ADDRESS, FIRST);
    pair.stop(FIRST);
    pair.await_holder("and goes", ADDRESS, SECOND);

    let events = || -> Vec<Value> {
        let text = fs::read_to_string(&told).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    };
    let states = |name: &str| -> Vec<String> {
        let of_router = |event: &Value| event["kind"] == "transition" && event["router"] == name;
        let to = |event: &Value| event["to"].as_str().expect("a state").to_owned();
        events().iter().filter(|event| of_router(event)).map(to).collect()
    };
    for vrid in 1..=3 {
        await_that("it was told", || states(&format!("v{vrid}")) == ["backup", "master", "backup", "master"]);
    }
    let numbers: Vec<u64> = events().iter().map(|event| event["sequence"].as_u64().expect("a number")).collect();
    assert!(numbers.windows(2).all(|two| two[0] + 1 == two[1]), "not all, or not in order: {numbers:?}");
}

fn address(vrid: u8) -> String {
    format!("10.2.0.{}", 174 + u16::from(vrid))
}
