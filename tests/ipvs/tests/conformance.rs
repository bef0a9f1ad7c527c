//! Fairway's rules give each scripted connection to the backend that IPVS gave it to: for every file in `tests/data/ipvs` of a
//! scheduler whose rule is the same.

use fairway_ipvs::records;
use fairway_ipvs::replay::Replay;
use fairway_ipvs::script::{Script, Step};

/// Hashing the flow is done another way here; see docs/schedulers.md.
const OTHERWISE: &[&str] = &["sh", "mh"];
/// The rules that must agree, each in so many scripts at least.
const RULES: &[&str] = &["rr", "wrr", "lc", "wlc", "sed", "nq", "fo", "ovf", "dh", "lblc", "lblcr"];
const SCRIPTS_PER_RULE: usize = 2;

#[test]
fn each_connection_goes_where_ipvs_sent_it() {
    let mut differences = Vec::new();
    for (name, scheduler, script) in scripts() {
        if !OTHERWISE.contains(&scheduler.as_str()) {
            differences.extend(differences_in(&name, &scheduler, &script));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn each_rule_is_recorded_in_several_scripts() {
    let all: Vec<String> = scripts().into_iter().map(|(_, scheduler, _)| scheduler).collect();
    for rule in RULES {
        let count = all.iter().filter(|scheduler| scheduler == rule).count();
        assert!(count >= SCRIPTS_PER_RULE, "{rule}: {count}");
    }
}

#[test]
fn each_step_that_ipvs_answers_has_its_answer() {
    for (name, _, script) in scripts() {
        for (line, step, answer) in script.steps() {
            let expected = match step {
                Step::Open(flows) | Step::Send(flows) => flows.ids.len(),
                Step::Counts => answer.len().max(1),
                _ => 0,
            };
            assert_eq!(answer.len(), expected, "{name}:{line}: run `cargo xtask record-ipvs`");
        }
    }
}

fn differences_in(name: &str, scheduler: &str, script: &Script) -> Vec<String> {
    let mut replay = Replay::new(scheduler).expect(name);
    let mut differences = Vec::new();
    for (line, step, recorded) in script.steps().skip(1) {
        let answer = replay.step(step).unwrap_or_else(|error| panic!("{name}:{line}: {error:#}"));
        if answer != recorded {
            differences.push(format!("{name}:{line}: {step}\n  IPVS {recorded:?}\n  here {answer:?}"));
        }
    }
    differences
}

/// Each file with its scheduler.
fn scripts() -> Vec<(String, String, Script)> {
    records::all().expect("the scripts lie there")
}
