//! A program exits with 0. The last line of its output is the reason.
//!
//! It runs as the user that is configured, and is killed at the deadline with its children
//! ([`crate::effects::program`]). Its environment says whom it is to judge: `FAIRWAY_SERVICE`, `FAIRWAY_BACKEND`,
//! `FAIRWAY_ADDRESS`, `FAIRWAY_PORT`, `FAIRWAY_SERVICE_ADDRESS`.

use super::attempt::Attempt;
use crate::effects::program::{End, Outcome, Program, own_binary};
use crate::health::spec::Spec;
use crate::health::verdict::{Failure, FailureKind, Success};

/// As a shell says that there is no such program, and `run-as` that there is no such user.
const NOT_STARTED: i32 = 127;
/// As a shell says that a program may not be run.
const NOT_PERMITTED: i32 = 126;

/// The program.
#[derive(Debug)]
pub(super) struct Script {
    program: Program,
}

impl Script {
    pub(super) fn new(command: &[String], user: &str) -> Self {
        Self { program: Program { command: command.to_vec(), user: user.to_owned(), fairway: own_binary() } }
    }

    /// Ends by itself at the deadline, or the tenth of a second later that it takes to see its processes die.
    pub(super) async fn run(&self, attempt: &Attempt<'_>) -> Result<Success, Failure> {
        let environment = environment(attempt.spec);
        judge(self.program.run(b"", &environment, attempt.spec.timing.timeout).await)
    }
}

fn environment(spec: &Spec) -> Vec<(String, String)> {
    let mut environment = vec![("FAIRWAY_ADDRESS".to_owned(), spec.target.address.to_string())];
    if spec.target.port != 0 {
        environment.push(("FAIRWAY_PORT".to_owned(), spec.target.port.to_string()));
    }
    if let Some(named) = &spec.named {
        environment.push(("FAIRWAY_SERVICE".to_owned(), named.service.clone()));
        environment.push(("FAIRWAY_BACKEND".to_owned(), named.backend.clone()));
        if let Some(address) = named.service_address {
            environment.push(("FAIRWAY_SERVICE_ADDRESS".to_owned(), address.to_string()));
        }
    }
    environment
}

fn judge(outcome: Outcome) -> Result<Success, Failure> {
    let kind = match outcome.end {
        End::Code(0) if outcome.last_line.is_empty() => {
            return Ok(Success { detail: "exit code 0".to_owned(), ..Success::default() });
        }
        End::Code(0) => return Ok(Success { detail: outcome.last_line, ..Success::default() }),
        End::Code(NOT_PERMITTED | NOT_STARTED) | End::NotStarted(_) => FailureKind::Local,
        End::Code(_) | End::Signal(_) => FailureKind::Wrong,
        End::TimedOut(_) => FailureKind::Hung,
    };
    Err(Failure::new(kind, outcome.to_string()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use nix::unistd::{User, geteuid};

    use super::super::tests::{ask, fails, spec, succeeds, wait_until_dead};
    use super::*;
    use crate::config::check::Probe;
    use crate::health::spec::Named;

    #[tokio::test]
    async fn exit_code_0_is_up_and_the_environment_says_who_is_meant() {
        let mut spec = spec(
            sh(
                "echo first; echo $FAIRWAY_SERVICE $FAIRWAY_BACKEND $FAIRWAY_ADDRESS $FAIRWAY_PORT $FAIRWAY_SERVICE_ADDRESS",
            ),
            8080,
        );
        let service_address = Some(Ipv4Addr::new(203, 0, 113, 10).into());
        spec.named = Some(Named { service: "web".into(), backend: "web1".into(), service_address });
        assert_eq!(succeeds(ask(&spec).await).detail, "web web1 127.0.0.1 8080 203.0.113.10");
    }

    #[tokio::test]
    async fn another_exit_code_is_wrong_and_the_last_line_says_why() {
        let spec = spec(sh("echo looking; echo disk full >&2; exit 1"), 0);
        fails(ask(&spec).await, FailureKind::Wrong, "exit code 1: disk full");
    }

    #[tokio::test]
    async fn at_the_deadline_it_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let note = directory.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", note.display());
        let mut spec = spec(sh(&script), 0);
        spec.timing.timeout = Duration::from_secs(2);
        fails(ask(&spec).await, FailureKind::Hung, "killed after 2s");
        wait_until_dead(&note).await;
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_our_own_trouble() {
        let probe = Probe::Script { command: vec!["/nowhere/to/be/found".into()], user: own_name() };
        let failure = ask(&spec(probe, 0)).await.result.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Local, "{}", failure.why);
        assert!(failure.why.contains("No such file"), "{}", failure.why);
    }

    fn sh(script: &str) -> Probe {
        Probe::Script { command: vec!["/bin/sh".into(), "-c".into(), script.into()], user: own_name() }
    }

    fn own_name() -> String {
        User::from_uid(geteuid()).unwrap().unwrap().name
    }
}
