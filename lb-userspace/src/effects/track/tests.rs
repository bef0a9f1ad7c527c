//! Tracks at work: verdicts of real scripts, processes and files.

use std::fs;
use std::process::{Child, Command, Stdio};

use nix::unistd::{User, geteuid};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::config::{Consequence, Track};
use crate::effects::program::own_binary;

const PATIENCE: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_script_falls_and_rises_with_its_last_line_as_detail() {
    let directory = tempfile::tempdir().unwrap();
    let flag = directory.path().join("broken");
    let mut bed = Bed::new();
    let command = format!("if test -e {}; then echo disk full; exit 3; fi", flag.display());
    bed.track(&[("check", script(&command, 2, 2))]);
    assert_eq!(bed.until(Some(true)).await.detail, "exit code 0");
    fs::write(&flag, "").unwrap();
    assert_eq!(bed.until(Some(false)).await.detail, "exit code 3: disk full");
    fs::remove_file(&flag).unwrap();
    assert_eq!(bed.until(Some(true)).await.detail, "exit code 0");
}

#[tokio::test]
async fn a_script_that_hangs_does_not_hold() {
    let mut bed = Bed::new();
    bed.track(&[("check", script("sleep 1000", 1, 1))]);
    assert_eq!(bed.until(Some(false)).await.detail, "killed after 300ms");
}

#[tokio::test]
async fn what_is_tracked_as_before_keeps_its_history_and_is_reported_again() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let mut bed = Bed::new();
    let slow = Condition::Script {
        command: sh(&format!("echo x >> {}", log.display())),
        interval: Duration::from_secs(3600),
        timeout: PATIENCE,
        rise: 1,
        fall: 1,
        user: me(),
    };
    bed.track(&[("slow", slow.clone())]);
    bed.until(Some(true)).await;
    bed.track(&[("slow", slow.clone()), ("load", Condition::Load { maximum: 1e9 })]);
    let (mut again, mut added) = (false, false);
    while !(again && added) {
        let (track, verdict) = bed.next().await;
        assert_eq!(verdict.holds, Some(true));
        again |= &*track == "slow";
        added |= &*track == "load";
    }
    assert_eq!(fs::read_to_string(&log).unwrap(), "x\n", "it did not run again");
}

#[tokio::test]
async fn what_is_tracked_no_more_is_not_reported() {
    let mut bed = Bed::new();
    bed.track(&[("check", script("true", 1, 1))]);
    bed.until(Some(true)).await;
    bed.track(&[]);
    assert!(bed.runners.running.is_empty());
    while let Ok(Some(_)) = timeout(Duration::from_millis(100), bed.verdicts.recv()).await {}
    assert!(timeout(Duration::from_millis(300), bed.verdicts.recv()).await.is_err());
}

#[tokio::test]
async fn what_others_watch_is_left_to_them() {
    let mut bed = Bed::new();
    let interface = Condition::Interface { interface: "eth0".into() };
    bed.track(&[("uplink", interface), ("quorum", Condition::Service { service: "web".into() })]);
    assert!(bed.runners.running.is_empty());
}

#[tokio::test]
async fn a_file_is_seen_when_it_appears_changes_and_goes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weight");
    let mut bed = Bed::new();
    bed.track(&[("file", Condition::File { path: path.clone() })]);
    assert_eq!(bed.until(Some(true)).await.factor, 0);
    fs::write(&path, "7\n").unwrap();
    assert_eq!(bed.until(Some(false)).await.factor, 7);
    let other = directory.path().join("other");
    fs::write(&other, "-3\n").unwrap();
    fs::rename(&other, &path).unwrap();
    assert_eq!(bed.until(Some(false)).await.factor, -3);
    fs::remove_file(&path).unwrap();
    assert_eq!(bed.until(Some(true)).await.detail, "no such file");
}

#[tokio::test]
async fn a_file_in_a_directory_that_appears_later_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("later/weight");
    let mut bed = Bed::new();
    bed.track(&[("file", Condition::File { path: path.clone() })]);
    bed.until(Some(true)).await;
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, "1").unwrap();
    bed.until(Some(false)).await;
}

#[tokio::test]
async fn a_process_is_seen_when_it_appears_and_dies() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("fairway-watched");
    fs::copy("/bin/sleep", &program).unwrap();
    let mut bed = Bed::new();
    let process = "fairway-watched".to_owned();
    bed.track(&[("process", Condition::Process { process, minimum: 2 })]);
    bed.until(Some(false)).await;
    let (mut one, two) = (start(&program), start(&program));
    assert_eq!(bed.until(Some(true)).await.detail, "fairway-watched: 2 running, 2 wanted");
    one.0.kill().unwrap();
    assert_eq!(bed.until(Some(false)).await.detail, "fairway-watched: 1 running, 2 wanted");
    drop(two);
}

/// Killed when dropped.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

fn start(program: &std::path::Path) -> Started {
    let mut command = Command::new(program);
    command.arg("1000").stdin(Stdio::null());
    // A fork of another test may still hold the fresh file open for writing.
    for _ in 0..100 {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return Started(other.unwrap()),
        }
    }
    panic!("the program stays busy");
}

struct Bed {
    runners: Runners,
    verdicts: mpsc::UnboundedReceiver<(Arc<str>, Verdict)>,
}

impl Bed {
    fn new() -> Self {
        let (sender, verdicts) = mpsc::unbounded_channel();
        let report: Report = Arc::new(move |router: Arc<str>, track, verdict| {
            assert_eq!(&*router, "public");
            let _ = sender.send((track, verdict));
        });
        Self { runners: Runners::new(own_binary(), report), verdicts }
    }

    fn track(&mut self, conditions: &[(&str, Condition)]) {
        let tracks = conditions.iter().map(|(name, condition)| Track {
            name: (*name).to_owned(),
            condition: condition.clone(),
            consequence: Consequence::Weight(-10),
        });
        self.runners.configure(&[router(tracks.collect())]);
    }

    async fn next(&mut self) -> (Arc<str>, Verdict) {
        timeout(PATIENCE, self.verdicts.recv()).await.expect("a verdict within fifteen seconds").unwrap()
    }

    /// The first verdict that says so without anything under way.
    async fn until(&mut self, holds: Option<bool>) -> Verdict {
        loop {
            let (_, verdict) = self.next().await;
            if verdict.holds == holds && !verdict.detail.ends_with(')') {
                return verdict;
            }
        }
    }
}

fn script(command: &str, rise: u32, fall: u32) -> Condition {
    let (interval, timeout) = (Duration::from_millis(50), Duration::from_millis(300));
    Condition::Script { command: sh(command), interval, timeout, rise, fall, user: me() }
}

fn sh(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}

fn me() -> String {
    User::from_uid(geteuid()).unwrap().unwrap().name
}

fn router(tracks: Vec<Track>) -> VirtualRouter {
    use crate::config::{ChecksumForm, OnCrash, VrrpVersion};
    VirtualRouter {
        name: "public".into(),
        interface: "eth0".into(),
        vrid: 51,
        version: VrrpVersion::V3,
        priority: 100,
        advertisement_interval: Duration::from_secs(1),
        missed_advertisements: 3,
        preempt: true,
        preempt_delay: Duration::ZERO,
        addresses: vec!["192.0.2.1/32".parse().unwrap()],
        excluded_addresses: Vec::new(),
        on_crash: OnCrash::Release,
        virtual_mac: false,
        unicast_source: None,
        unicast_peers: Vec::new(),
        unicast_minimum_ttl: 255,
        authentication: None,
        checksum: ChecksumForm::Auto,
        group: None,
        tracks,
        routes: Vec::new(),
        rules: Vec::new(),
    }
}
