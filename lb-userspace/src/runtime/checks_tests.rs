//! Between prober and controller.

use std::sync::Arc;
use std::time::Duration;

use super::Checks;
use crate::config::Config;
use crate::config::check::{Check, Initial, Probe, Timing, Via};
use crate::effects::prober::Changes;
use crate::health::spec::Spec;
use crate::health::verdict::{CheckState, Failure, FailureKind, Verdict};
use crate::reconcile::changes::Unchanged;

#[test]
fn a_change_is_told_of_every_backend_that_shares_the_check() {
    let mut checks = checks();
    checks.configure(&config(&["a", "b"]), &Unchanged::default()).unwrap();
    let (verdicts, happenings) = checks.take(vec![changes(&checks, 1, CheckState::Up)]);
    assert_eq!(verdicts.len(), 1);
    let told: Vec<String> = happenings.iter().map(ToString::to_string).collect();
    let expected = ["a", "b"].map(|name| format!("service {name}, backend 10.0.0.11: tcp check unknown → up, because"));
    assert_eq!(told, expected);
}

#[test]
fn a_verdict_whose_state_is_the_old_one_goes_to_the_controller_and_is_not_told() {
    let mut checks = checks();
    checks.configure(&config(&["a"]), &Unchanged::default()).unwrap();
    let up = changes(&checks, 1, CheckState::Up);
    checks.take(vec![up.clone()]);
    let (verdicts, happenings) = checks.take(vec![up]);
    assert_eq!((verdicts.len(), happenings.len()), (1, 0));
}

#[test]
fn what_was_found_before_a_check_was_configured_anew_is_ignored() {
    let mut checks = checks();
    checks.configure(&config(&["a"]), &Unchanged::default()).unwrap();
    let early = changes(&checks, 1, CheckState::Up);
    checks.configure(&config(&[]), &Unchanged::default()).unwrap();
    assert_eq!(checks.take(vec![early.clone()]).0, [], "gone");
    checks.configure(&config(&["a"]), &Unchanged::default()).unwrap();
    assert_eq!(checks.take(vec![early]).0, [], "of a check before this one");
    let (verdicts, _) = checks.take(vec![changes(&checks, 3, CheckState::Up)]);
    assert_eq!(verdicts.len(), 1);
}

/// Checks whose probes cannot be made, so that the prober has nothing to tell.
fn checks() -> Checks {
    Checks::new("lb1", Box::new(|_| Err(Failure::new(FailureKind::Local, "a test"))))
}

fn changes(checks: &Checks, generation: u64, state: CheckState) -> Changes {
    let spec: Option<&Arc<Spec>> = checks.uses.specs().next();
    let verdict = Verdict { state, why: "because".to_owned(), ..Verdict::default() };
    Changes { generation, verdicts: vec![(Arc::clone(spec.expect("something is checked")), verdict)] }
}

/// Services with one backend, checked alike.
fn config(services: &[&str]) -> Config {
    let mut text = "[dataplane]\ninterfaces = [\"eth0\"]\n".to_owned();
    for (place, name) in services.iter().enumerate() {
        text.push_str(&format!(
            "[[service]]\nname = \"{name}\"\nlisten = [\"tcp://203.0.113.{}:80\"]\nforwarding = \"direct\"\n\
             [[service.backend]]\naddress = \"10.0.0.11\"\n",
            place + 1
        ));
    }
    let (mut config, _) = crate::config::parse(&text, "lb1").expect("the sample is valid");
    let second = Duration::from_secs(1);
    let timing = Timing { interval: second, fast_interval: second, timeout: second, rise: 2, fall: 3 };
    let check = Check { probe: Probe::Tcp, port: None, via: Via::Address, timing, initial: Initial::Down };
    config.services.iter_mut().for_each(|service| service.checks = vec![check.clone()]);
    config
}
