//! `fairway demo` shows every backend serving, and leaves nothing behind, however it ends.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{CLEANING, fairway_binary};

#[test]
fn the_demo_serves_and_tidies_up() {
    let _alone = CLEANING.lock().unwrap_or_else(PoisonError::into_inner);
    for method in [&[][..], &["--nat"]] {
        let output = Command::new(fairway_binary())
            .args(["demo", "--seconds", "4"])
            .args(method)
            .output()
            .expect("fairway starts");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let last = text.lines().rfind(|line| line.contains("failed")).expect("it says what failed");
        assert!(last.contains(" 0 failed"), "{last}");
    }
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    let _alone = CLEANING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut demo = Command::new(fairway_binary()).arg("demo").stdout(Stdio::null()).spawn().expect("fairway starts");
    await_namespaces(&demo);

    kill(Pid::from_raw(demo.id() as i32), Signal::SIGINT).expect("the demo runs");
    demo.wait().expect("the demo can be waited for");

    assert!(!client_of(&demo).exists());
    assert!(!Path::new(&format!("/run/fairway-lab/fw{}", demo.id())).exists());
}

fn await_namespaces(demo: &Child) {
    for _ in 0..100 {
        if client_of(demo).exists() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("the demo makes no namespaces");
}

fn client_of(demo: &Child) -> std::path::PathBuf {
    format!("/run/netns/fw{}-client", demo.id()).into()
}
