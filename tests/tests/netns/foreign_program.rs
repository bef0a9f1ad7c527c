//! Somebody else's XDP program is named, left alone, and not gone around.

use fairway::playground::topology::{Replies, Role, balancer_v4};

use crate::harness::{Bed, await_that, fetch, four_backends, lab, link, usual_config};

#[test]
fn a_foreign_program_is_named_and_left_alone_and_the_hosts_traffic_flows() {
    let lab = lab(&four_backends(Replies::Direct));
    let foreign = lab.occupy(Role::Balancer(0), "eth0").expect("a program can be attached");
    let id = program(&link(&lab.balancer(0), "eth0"));
    let bed = Bed::begin(lab, |lab| usual_config(lab, &[0, 1, 2, 3]));
    await_that("it has tried", || bed.fairway.warnings().contains("interface eth0"));

    let warnings = bed.fairway.warnings();
    assert!(warnings.contains("another XDP program is attached"), "{warnings}");
    assert!(warnings.contains(&format!("id {id}")), "the program {id} is not named: {warnings}");
    assert_eq!(program(&link(&bed.lab.balancer(0), "eth0")), id);
    for mode in ["native", "generic"] {
        let series = format!("fairway_xdp_attached{{interface=\"eth0\",mode=\"{mode}\"}}");
        assert_eq!(bed.fairway.metric(&series), Some(0.0));
    }
    let answer = fetch(&bed.lab.client(), (balancer_v4(0), 9).into(), "/", None).expect_err("nobody listens there");
    assert_eq!(answer.kind(), std::io::ErrorKind::ConnectionRefused, "the host answers for itself: {answer}");
    drop(foreign);
}

fn program(link: &serde_json::Value) -> u64 {
    link["xdp"]["prog"]["id"].as_u64().unwrap_or_else(|| panic!("no program on {link}"))
}
