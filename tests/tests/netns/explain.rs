//! `explain` names the backend that serves a client; what programs read parses, and exit codes are those of the manual.

use fairway::playground::Lab;
use fairway::playground::topology::Replies;
use serde_json::Value;

use crate::harness::{Bed, Connection, Fairway, HTTP, four_backends, lab, service_v4, service_v6, usual_config};

#[test]
fn explain_names_the_backend_that_serves_in_direct() {
    check(Replies::Direct);
}

#[test]
fn explain_names_the_backend_that_serves_in_nat() {
    check(Replies::ThroughBalancer);
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let lab: Lab = lab(&four_backends(Replies::Direct));
    let mut fairway = Fairway::start(&lab, &[0, 1, 2, 3]);
    let status = |arguments: &[&str]| fairway.command(arguments).status.code();
    assert_eq!(status(&["status"]), Some(0));
    assert_eq!(status(&["show", "backends"]), Some(0));
    assert_eq!(status(&["explain", "--from", "[fd01::1]:1", "10.2.0.100:80"]), Some(2), "two families");
    assert_eq!(status(&["no-such-command"]), Some(2));
    assert_eq!(fairway.diff("no = [").status.code(), Some(2));
    assert_eq!(fairway.diff(&usual_config(&lab, &[0, 1, 2])).status.code(), Some(6));
    assert_eq!(fairway.diff(&usual_config(&lab, &[0, 1, 2, 3])).status.code(), Some(0));

    fairway.stop();
    for question in [&["status"][..], &["show", "backends"], &["diff"], &["reload"]] {
        assert_eq!(fairway.command(question).status.code(), Some(3), "{question:?} of a daemon that is gone");
    }
}

fn check(replies: Replies) {
    let bed = Bed::start(&four_backends(replies), &[0, 1, 2, 3]);
    for service in [service_v4(HTTP), service_v6(HTTP)] {
        for _ in 0..8 {
            let mut connection = Connection::open_from(&bed.lab.client(), service).expect("the service answers");
            let (from, to) = (connection.local().to_string(), service.to_string());
            let serving = connection.ask_name().expect("the service answers");
            for more in [&[][..], &["--established"]] {
                let arguments = [&["explain", "--from", &from, &to, "-o", "json"], more].concat();
                let output = bed.fairway.command(&arguments);
                let said = String::from_utf8_lossy(&output.stdout);
                assert!(output.status.success(), "{said}");
                let explanation: Value = serde_json::from_str(&said).expect("it is JSON");
                assert_eq!(explanation["backend"], Value::from(&*serving), "{from}: {said}");
            }
        }
    }

    let backends = bed.fairway.show("backends").to_string();
    let status = bed.fairway.status();
    for name in ["b1", "b2", "b3", "b4"] {
        assert!(backends.contains(&format!("\"{name}\"")), "{backends}");
        assert!(status["services"].to_string().contains(&format!("\"{name}\"")), "{status}");
    }
}
