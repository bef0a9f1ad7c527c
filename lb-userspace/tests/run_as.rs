//! How hooks and scripts are started: as another user, with nothing left of root. Asserts as root and otherwise.

use std::path::PathBuf;
use std::time::Duration;

use fairway::effects::program::{Outcome, Program};
use nix::unistd::{User, geteuid};

#[tokio::test]
async fn a_program_runs_as_the_user_named_with_its_groups_only() {
    let nobody = User::from_name("nobody").unwrap().expect("every system has it");
    let outcome = run("nobody", "echo $(id -u) $(id -g) $(id -G)").await;
    if geteuid().is_root() {
        let (uid, gid) = (nobody.uid, nobody.gid);
        assert_eq!((outcome.is_success(), outcome.last_line), (true, format!("{uid} {gid} {gid}")));
    } else {
        assert_eq!(
            outcome.to_string(),
            "exit code 127: fairway: taking on the groups of nobody: EPERM: Operation not permitted"
        );
    }
}

#[tokio::test]
async fn there_is_no_way_back_to_root() {
    let outcome = run("nobody", "grep CapEff /proc/self/status").await;
    let allowed = if geteuid().is_root() { "CapEff:0000000000000000" } else { "Operation not permitted" };
    assert!(outcome.to_string().replace('\t', "").contains(allowed), "{outcome}");
}

#[tokio::test]
async fn a_user_that_does_not_exist_is_said() {
    let outcome = run("no-such-user", "true").await;
    assert_eq!(outcome.to_string(), "exit code 127: fairway: there is no user no-such-user");
}

async fn run(user: &str, script: &str) -> Outcome {
    let program = Program {
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        user: user.to_owned(),
        fairway: PathBuf::from(env!("CARGO_BIN_EXE_fairway")),
    };
    program.run(b"", &[], Duration::from_secs(20)).await
}
