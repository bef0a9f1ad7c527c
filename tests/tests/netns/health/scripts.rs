//! `script`: whose it is, what it is told, and that nothing of it stays.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use super::{Checked, await_down, await_up, fairway, one_backend};
use crate::harness::await_that;

/// Seconds that nobody else sleeps.
const SLEEP: &str = "98765.5";

#[test]
fn a_script_runs_as_nobody_and_at_the_deadline_dies_with_its_children() {
    let lab = one_backend();
    let place = tempfile::tempdir().expect("a directory can be made");
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).expect("it is ours");
    let (full, hang) = (place.path().join("full"), place.path().join("hang"));
    let script = format!(
        "test -e {hang} && {{ sleep {SLEEP} & wait; }}; test -e {full} && {{ echo disk full >&2; exit 1; }}; \
         echo $(id -un) $FAIRWAY_SERVICE $FAIRWAY_BACKEND $FAIRWAY_ADDRESS $FAIRWAY_PORT $FAIRWAY_SERVICE_ADDRESS",
        hang = hang.display(),
        full = full.display(),
    );
    let check = format!("type = \"script\"\ncommand = ['/bin/sh', '-c', '{script}']");
    let fairway = fairway(&lab, &[Checked::new("web", 80, check)]);
    let told = "nobody web b1 10.2.0.21 80 10.2.0.100";
    await_up(&fairway, "web", told);
    fs::write(&full, "").expect("it is writable");
    await_down(&fairway, "web", "exit code 1: disk full");
    fs::remove_file(&full).expect("it is there");
    await_up(&fairway, "web", told);
    fs::write(&hang, "").expect("it is writable");
    await_down(&fairway, "web", "killed after 500ms");
    fs::remove_file(&hang).expect("it is there");
    await_up(&fairway, "web", told);
    await_that("none of its children is left", || sleepers() == 0);
}

fn sleepers() -> usize {
    let processes = fs::read_dir("/proc").expect("there is a /proc").filter_map(Result::ok);
    let command = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("cmdline")).ok();
    let wanted = format!("sleep\0{SLEEP}\0");
    processes.filter_map(command).filter(|command| *command == wanted).count()
}
