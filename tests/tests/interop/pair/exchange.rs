//! What a pair shares: connections that the lookup table would get wrong live on when the master dies, and when it returns.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use fairway::playground::topology::{Replies, SERVICE_V4, Spec};
use fairway::playground::{KEY_FILE, node_configuration};
use fairway_tests::harness::{Connection, Fairway, HTTP, Nginx, admin_socket, await_that, lab, service_v4};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;

use super::{FIRST, Pair, SECOND};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
const OTHER_KEY: &str = "HxwdHhsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=\n";
const BACKENDS: [usize; 4] = [0, 1, 2, 3];
pub(super) const CONNECTIONS: usize = 10;
/// Threads that keep a processor busy.
const BUSY: usize = 4;

/// The pair and its servers. Fields are in the order in which they have to end.
pub(super) struct Shared {
    pub(super) pair: Pair,
    scheduler: &'static str,
    _servers: [Nginx; 4],
}

impl Shared {
    pub(super) fn start(scheduler: &'static str) -> Self {
        let mut shared = Self::prepare(scheduler);
        for node in [FIRST, SECOND] {
            shared.start_node(node);
        }
        shared.await_master(FIRST);
        shared.await_sync(FIRST);
        shared
    }

    pub(super) fn prepare(scheduler: &'static str) -> Self {
        let spec = Spec { balancers: 2, backends: 4, floating: true, replies: Replies::Direct, ..Spec::default() };
        let lab = lab(&spec);
        let servers = BACKENDS.map(|index| Nginx::start(&lab, index));
        fs::write(lab.directory().join(KEY_FILE), KEY).expect("the lab's directory is writable");
        Self { pair: Pair::in_lab(lab), scheduler, _servers: servers }
    }

    pub(super) fn config(&self, node: usize) -> String {
        let lab = &self.pair.lab;
        let config = node_configuration(lab, node, &admin_socket(lab, node), &BACKENDS);
        let scheduler = format!("\nscheduler = \"{}\"\nforwarding = ", self.scheduler);
        config.replace("\nforwarding = ", &scheduler).replace("hold = \"5s\"", "hold = \"100ms\"")
    }

    pub(super) fn start_node(&mut self, node: usize) {
        self.start_node_with(node, &self.config(node));
    }

    pub(super) fn start_node_with(&mut self, node: usize, config: &str) {
        self.pair.nodes[node] = Some(Fairway::start_on(&self.pair.lab, node, config));
    }

    pub(super) fn await_master(&self, node: usize) {
        self.pair.await_holder("the node is master", &SERVICE_V4.to_string(), node);
    }

    /// Waits until both nodes say who is master, and that the other has all of it.
    pub(super) fn await_sync(&mut self, master: usize) {
        for node in [FIRST, SECOND] {
            await_that("the pair is in sync", || {
                let status = self.pair.node(node).status();
                let realms = status["exchange"]["realms"].as_array().cloned().unwrap_or_default();
                let is_so = |it: &Value| it["master"] == (node == master) && it["in_sync"] == true;
                realms.len() == 2 && realms.iter().all(is_so)
            });
        }
    }

    /// Waits until the peer has confirmed what the node has at this moment.
    pub(super) fn await_told(&mut self, node: usize) {
        let walks = metric(&mut self.pair, node, "fairway_exchange_walks_total");
        // The first that begins from now on is the second that ends from now on.
        await_that("all is told", || {
            metric(&mut self.pair, node, "fairway_exchange_walks_total") >= walks + 2.0
                && metric(&mut self.pair, node, "fairway_exchange_unconfirmed_items") == 0.0
        });
    }

    pub(super) fn open(&self, count: usize) -> Vec<Connection> {
        (0..count)
            .map(|_| Connection::open_from(&self.pair.lab.client(), service_v4(HTTP)).expect("it is accepted"))
            .collect()
    }

    pub(super) fn kill(&mut self, node: usize) {
        self.pair.node(node).kill();
        self.pair.nodes[node] = None;
    }

    /// The thread of a node's exchange waits for a processor for a tenth of a second or two whenever others want it.
    fn slow_down(&mut self, node: usize) {
        let tasks = format!("/proc/{}/task", self.pair.node(node).pid());
        let tasks = fs::read_dir(tasks).expect("it runs").map(|task| task.expect("it runs").path());
        let is_it =
            |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("fairway-exch"));
        let task = tasks.into_iter().find(is_it).expect("a pair's node has one");
        let id = task.file_name().expect("a number").to_owned();
        let output = Command::new("renice").args(["-n", "13", "-p"]).arg(&id).output().expect("part of every Debian");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let id = id.to_str().and_then(|id| id.parse().ok()).expect("a number");
        stay_on_the_last_processor(Pid::from_raw(id));
    }

    /// Established connections of a node's service, by backend.
    fn active(&mut self, node: usize) -> BTreeMap<String, f64> {
        let mut active = |index: &usize| {
            let name = format!("b{}", index + 1);
            let series = format!("fairway_backend_active_connections{{service=\"web\",backend=\"{name}\"}}");
            (name, metric(&mut self.pair, node, &series))
        };
        BACKENDS.iter().map(&mut active).collect()
    }
}

/// The thread runs on the last processor of this machine, and on no other.
fn stay_on_the_last_processor(thread: Pid) {
    let all = sched_getaffinity(Pid::from_raw(0)).expect("our own");
    let last = (0..CpuSet::count()).rfind(|&cpu| all.is_set(cpu) == Ok(true)).expect("we run on one");
    let mut cpus = CpuSet::new();
    cpus.set(last).expect("a CPU there is");
    sched_setaffinity(thread, &cpus).expect("it runs");
}

pub(super) fn metric(pair: &mut Pair, node: usize, series: &str) -> f64 {
    pair.node(node).metric(series).unwrap_or(-1.0)
}

/// Who answers on each.
pub(super) fn answers(connections: &mut [Connection]) -> Vec<String> {
    let answer = |it: &mut Connection| it.ask_name().unwrap_or_else(|error| format!("broken: {error}"));
    connections.iter_mut().map(answer).collect()
}

fn counts(names: &[String]) -> BTreeMap<String, f64> {
    let mut counts: BTreeMap<String, f64> = BACKENDS.iter().map(|index| (format!("b{}", index + 1), 0.0)).collect();
    names.iter().for_each(|name| *counts.entry(name.clone()).or_default() += 1.0);
    counts
}

#[test]
fn connections_of_a_stateful_scheduler_live_on_when_the_master_dies_and_when_it_returns() {
    let mut shared = Shared::start("weighted-least-connection");
    let mut connections = shared.open(CONNECTIONS);
    let before = answers(&mut connections);
    let all = counts(&before);
    await_that("the backup counts them", || shared.active(SECOND) == all);

    shared.kill(FIRST);
    shared.await_master(SECOND);
    assert_eq!(answers(&mut connections), before, "after the master's death");
    assert_eq!(shared.active(SECOND), all);
    let mut later = shared.open(CONNECTIONS);
    let later_before = answers(&mut later);

    shared.start_node(FIRST);
    shared.await_master(FIRST);
    assert_eq!(answers(&mut connections), before, "after its return");
    assert_eq!(answers(&mut later), later_before, "after its return");
    let both: Vec<String> = before.iter().chain(&later_before).cloned().collect();
    await_that("it counts them", || shared.active(FIRST) == counts(&both));
}

/// Flows that began longer ago than this are known to the other node.
const INTERVAL: Duration = Duration::from_millis(10);

#[test]
fn connections_that_began_just_before_the_master_died_live_on() {
    let mut shared = Shared::start("round-robin");
    let mut old = shared.open(CONNECTIONS);
    let old_before = answers(&mut old);
    for round in 0..2 {
        let mut new = shared.open(CONNECTIONS);
        let before = answers(&mut new);
        thread::sleep(2 * INTERVAL);
        shared.kill(FIRST);
        shared.await_master(SECOND);
        assert_eq!(answers(&mut new), before, "round {round}");
        assert_eq!(answers(&mut old), old_before, "round {round}");
        shared.start_node(FIRST);
        shared.await_master(FIRST);
        shared.await_sync(FIRST);
    }
    for node in [FIRST, SECOND] {
        assert_eq!(metric(&mut shared.pair, node, "fairway_exchange_disagreements"), 0.0);
    }
}

#[test]
fn what_differs_between_the_nodes_is_named() {
    let mut shared = Shared::prepare("maglev");
    shared.start_node(FIRST);
    let other = shared.config(SECOND).replace("\nforwarding = ", "\nlookup_table_size = 1_024\nforwarding = ");
    shared.start_node_with(SECOND, &other);
    shared.await_master(FIRST);
    for node in [FIRST, SECOND] {
        let named = || shared.pair.node(node).warnings().contains("the configuration is not the same on the peer");
        await_that("the configuration is named", named);
    }
    // Told after the configuration, so its time begins later.
    let named =
        || shared.pair.node(SECOND).warnings().contains("the lookup table of service web is not the same on the peer");
    await_that("the lookup table is named", named);
}

#[test]
fn connections_that_are_opened_while_the_master_hands_over_live_on() {
    let mut shared = Shared::start("round-robin");
    for (gives, takes) in [(FIRST, SECOND), (SECOND, FIRST), (FIRST, SECOND)] {
        let mut connections = shared.open(CONNECTIONS);
        let order: &[&str] = if gives == FIRST { &["vrrp", "resign", "--all"] } else { &["vrrp", "resume", "--all"] };
        let output = shared.pair.node(FIRST).command(order);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        connections.extend(shared.open(CONNECTIONS));
        let before = answers(&mut connections);
        shared.await_master(takes);
        assert_eq!(answers(&mut connections), before, "from {gives} to {takes}");
        shared.await_sync(takes);
    }
}

#[test]
fn what_a_slow_exchange_has_still_to_say_is_waited_for() {
    let mut shared = Shared::start("round-robin");
    shared.slow_down(FIRST);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Less than the second that a takeover waits for records, and much more than the 5 ms that all take otherwise.
        for _ in 0..BUSY {
            scope.spawn(|| {
                stay_on_the_last_processor(Pid::from_raw(0));
                while !is_over.load(Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let mut connections = shared.open(CONNECTIONS);
        shared.pair.node(FIRST).command(&["vrrp", "resign", "--all"]);
        shared.await_master(SECOND);
        let answered = answers(&mut connections);
        is_over.store(true, Relaxed);
        assert!(answered.iter().all(|answer| !answer.starts_with("broken")), "{answered:?}");
        assert!(counts(&answered).len() > 1, "{answered:?}");
    });
}

#[test]
fn a_client_that_is_remembered_comes_back_to_its_backend_after_the_masters_death() {
    let mut shared = Shared::prepare("round-robin");
    let persistent = |shared: &Shared, node: usize| {
        shared.config(node).replace("\nforwarding = ", "\npersistence = { timeout = \"1m\" }\nforwarding = ")
    };
    for node in [FIRST, SECOND] {
        let config = persistent(&shared, node);
        shared.start_node_with(node, &config);
    }
    shared.await_master(FIRST);
    shared.await_sync(FIRST);
    // The first turn is the first backend's on either node: the second is what only the first node knows of.
    let first = answers(&mut shared.open(1));
    let drained = shared.pair.node(FIRST).command(&["backend", "drain", "web", &first[0]]);
    assert!(drained.status.success(), "{}", String::from_utf8_lossy(&drained.stderr));
    let second = answers(&mut shared.open(1));
    assert_ne!(first, second);
    // The other node has the drain too; without it only the memory of the client leads to the second.
    let undrained = shared.pair.node(FIRST).command(&["backend", "undrain", "web", &first[0]]);
    assert!(undrained.status.success(), "{}", String::from_utf8_lossy(&undrained.stderr));
    shared.await_told(FIRST);
    shared.kill(FIRST);
    shared.await_master(SECOND);
    assert_eq!(answers(&mut shared.open(CONNECTIONS)), vec![second[0].clone(); CONNECTIONS]);
}

#[test]
fn connections_that_end_or_change_are_followed_too() {
    let mut shared = Shared::start("least-connection");
    let mut connections = shared.open(CONNECTIONS);
    let names = answers(&mut connections);
    await_that("the backup counts them", || shared.active(SECOND) == counts(&names));
    drop(connections.split_off(4));
    await_that("the backup counts those that are left", || shared.active(SECOND) == counts(&names[..4]));
    assert_eq!(answers(&mut connections), names[..4]);
}

#[test]
fn flows_begun_after_a_change_of_the_pool_live_on_when_the_master_dies() {
    let mut shared = Shared::start("maglev");
    let mut old = shared.open(CONNECTIONS);
    let old_before = answers(&mut old);
    let output = shared.pair.node(FIRST).command(&["backend", "drain", "web", "b1"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let weight = "fairway_lookup_table_hash{service=\"web\"}";
    await_that("the backup has the same table", || {
        metric(&mut shared.pair, SECOND, weight) == metric(&mut shared.pair, FIRST, weight)
    });
    let mut new = shared.open(4 * CONNECTIONS);
    let new_before = answers(&mut new);
    assert!(!new_before.contains(&"b1".to_owned()), "{new_before:?}");
    shared.await_told(FIRST);

    shared.kill(FIRST);
    shared.await_master(SECOND);
    assert_eq!(answers(&mut old), old_before);
    assert_eq!(answers(&mut new), new_before);
}

#[test]
fn who_has_another_key_is_refused_and_counted_and_takes_nothing() {
    let mut shared = Shared::prepare("weighted-least-connection");
    shared.start_node(FIRST);
    shared.await_master(FIRST);
    fs::write(shared.pair.lab.directory().join(KEY_FILE), OTHER_KEY).expect("the lab's directory is writable");
    shared.start_node(SECOND);
    let mut connections = shared.open(CONNECTIONS);
    answers(&mut connections);
    for node in [FIRST, SECOND] {
        await_that("it refuses the other", || {
            metric(&mut shared.pair, node, "fairway_exchange_refused_total{reason=\"authentication\"}") > 0.0
        });
        for direction in ["telling", "following"] {
            let session = format!("fairway_exchange_session{{direction=\"{direction}\"}}");
            assert_eq!(metric(&mut shared.pair, node, &session), 0.0);
        }
    }
    assert_eq!(shared.active(SECOND), counts(&[]));
    let warnings = shared.pair.node(FIRST).warnings();
    assert!(warnings.contains("is not reached"), "{warnings}");
}
