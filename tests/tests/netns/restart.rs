//! A daemon that is killed and started again begins with the verdicts of before: no connection notices, though its own first
//! probes take their time.

use fairway::playground::topology::{Replies, SERVICE_V4, Spec, backend_v4};
use fairway_tests::vrrp::preamble;

use crate::harness::{Fairway, HTTP, KeptConnections, Nginx, await_that, lab, service_v4};

const CONNECTIONS: usize = 32;
const ANSWERS: u64 = 5;

#[test]
fn no_connection_notices_that_the_daemon_is_started_again_while_its_first_probes_are_under_way() {
    let lab = lab(&Spec { backends: 2, replies: Replies::Direct, ..Spec::default() });
    let _nginx = [Nginx::start(&lab, 0), Nginx::start(&lab, 1)];
    let backend =
        |index| format!("[[service.backend]]\nname = \"b{}\"\naddress = \"{}\"\n", index + 1, backend_v4(index));
    // The virtual router is beside the point: for its sake there is a supervisor, which keeps the program attached. The service
    // is always live. A probe that takes seconds: until it ends nobody knows anything but by heart.
    let config = format!(
        "{}[dataplane]\ninterfaces = [\"eth0\"]\n\
         [[vrrp]]\nname = \"public\"\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"10.2.0.200/32\"]\n\
         [[service]]\nname = \"web\"\nlisten = [\"tcp://{SERVICE_V4}:80\"]\nforwarding = \"direct\"\n\
         [service.check]\ntype = \"script\"\ncommand = [\"/bin/sleep\", \"2\"]\ninterval = \"5s\"\ntimeout = \"4s\"\n{}{}",
        preamble(&lab, 0),
        backend(0),
        backend(1)
    );
    let mut fairway = Fairway::start_with(&lab, &config);
    let up = |fairway: &Fairway| fairway.metric_sum("fairway_service_quorum_ok") == 1.0;
    // Both have their share of the table. Flows that were there before one of them joined would be known by their records, and
    // those die with the daemon.
    await_that("its backends are up and in the table", || shares(&fairway).iter().all(|slots| *slots > 0));
    let kept = KeptConnections::open(&lab.client(), service_v4(HTTP), CONNECTIONS);
    kept.wait_for_answers(ANSWERS);
    let file = lab.directory().join("state-lb1/verdicts.json");
    await_that("the verdicts are written", || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.matches("up").count() == 2)
    });

    fairway.kill();
    fairway = Fairway::start_with(&lab, &config);
    assert!(up(&fairway), "it begins with what was known");
    kept.wait_for_answers(ANSWERS);
    let why = fairway.show("checks")["checks"][0]["why"].clone();
    assert_eq!(why, "no probe has ended yet", "the test would prove nothing: its first probes were too fast");
    await_that("it has found out for itself", || fairway.show("checks")["checks"][0]["state"] == "up");
    kept.wait_for_answers(ANSWERS);
    for history in kept.close() {
        assert_eq!((history.backends.len(), &history.failure), (1, &None), "{history:?}\n{}", fairway.fates());
    }
    let fates = fairway.fates();
    assert!(!fates.contains("next-hop-unknown"), "the old program went on until the new one knew the way:\n{fates}");
}

/// Slots that each backend of the service has.
fn shares(fairway: &Fairway) -> Vec<u64> {
    let services = fairway.show("services");
    let backends = services["services"][0]["backends"].as_array().cloned().unwrap_or_default();
    let shares: Vec<u64> = backends.iter().filter_map(|backend| backend["slots"].as_u64()).collect();
    if shares.is_empty() { vec![0] } else { shares }
}
