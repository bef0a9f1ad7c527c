//! Very many checks: every one on time, without disturbing the VRRP thread, and none lost over a reload.
//!
//! `FAIRWAY_FULL=1`: 2,000 services with 20 backends each, 40,000 TCP checks, every five seconds; else a tenth of that, every
//! two. Bounds are loose, since others may use the machine; what was measured is printed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fairway::playground::topology::{Replies, Spec, backend_v4, balancer_v4};
use fairway::playground::{Lab, admin_address};
use serde_json::Value;

use crate::harness::{Crowd, Fairway, KeptConnections, admin_socket, ip, lab};

const BACKENDS_A_SERVICE: usize = 20;
/// The port that checks ask.
const CHECKED: u16 = 81;
const SERVED: u16 = 80;
/// Intervals over which everything is measured.
const MEASURED: u32 = 4;
/// For the first probes of all checks.
const PATIENCE_SECONDS: u64 = 180;
/// A tenth of the interval is what is promised on a machine of one's own; here so many may be later.
const LATE_SHARE: f64 = 0.01;
/// Clock ticks a second, in which the kernel counts processor time.
const TICKS: f64 = 100.0;

struct Scale {
    services: usize,
    interval: Duration,
}

fn scale() -> Scale {
    if std::env::var_os("FAIRWAY_FULL").is_some() {
        Scale { services: 2000, interval: Duration::from_secs(5) }
    } else {
        Scale { services: 200, interval: Duration::from_secs(2) }
    }
}

#[test]
fn very_many_checks_are_on_time_and_lose_nothing_over_a_reload() {
    let scale = scale();
    let checks = scale.services * BACKENDS_A_SERVICE;
    let lab = crowded_lab();
    let crowd = Crowd::start(&lab.backend(0), CHECKED, SERVED);
    let fairway = Fairway::start_with(&lab, &config(&lab, &scale, 100));
    let started = seconds();
    let first = until_all_are_up(&fairway, checks);
    println!("{checks} checks: all are up after {:.1} s; {}", seconds() - started, memory(fairway.pid()));

    let kept = KeptConnections::open(&lab.client(), SocketAddr::from((service_address(0), SERVED)), 16);
    kept.wait_for_answers(3);
    let before = Measured::now(&fairway, &first);
    std::thread::sleep(scale.interval * MEASURED);
    let steady = status(&fairway);
    let after = Measured::now(&fairway, &steady);
    println!("{}", after.since(&before));
    let started_probes = after.started - before.started;
    let late = after.late(scale.interval) - before.late(scale.interval);
    println!(
        "{started_probes} probes, {late} of them a tenth of their interval late or later; {} accepted",
        crowd.accepted()
    );

    let took = [50, 60, 50].map(|weight| {
        let config = config(&lab, &scale, weight);
        let at = seconds();
        let output = fairway.reload(&config);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        seconds() - at
    });
    println!("reloads with one changed weight took {took:.3?} s");
    assert!(took.iter().all(|took| *took < 10.0), "{took:?} s");
    kept.wait_for_answers(3);
    std::thread::sleep(scale.interval + Duration::from_secs(1));
    let last = status(&fairway);
    let (old, new) = (counts(&steady), counts(&last));
    for (key, check) in &new {
        let earlier = old.get(key).unwrap_or_else(|| panic!("{key} is new"));
        assert_eq!(
            (check.state.as_str(), check.flaps, check.failures),
            ("up", earlier.flaps, earlier.failures),
            "{key}"
        );
        assert!(check.since - earlier.since < 0.5, "{key} began anew");
        assert!(check.successes > earlier.successes, "{key} was not probed");
    }
    assert_eq!((new.len(), last["prober"]["faults"].as_u64()), (checks, Some(0)));
    for history in kept.close() {
        assert_eq!((history.backends.len(), &history.failure), (1, &None), "{history:?}");
    }
    println!("at the end: {}", memory(fairway.pid()));
    let expected = (checks * MEASURED as usize) as f64;
    assert!(started_probes as f64 > 0.9 * expected, "{started_probes} of {expected}");
    assert!((late as f64) < LATE_SHARE * started_probes as f64, "{late} of {started_probes}");
}

/// A lab whose one backend stands for all of 10.60.0.0/16, and whose services are in 10.50.0.0/16.
fn crowded_lab() -> Lab {
    let lab = lab(&Spec { backends: 1, replies: Replies::ThroughBalancer, ..Spec::default() });
    ip(&lab.backend(0), "route add local 10.60.0.0/16 dev lo\n");
    ip(&lab.balancer(0), &format!("route add 10.60.0.0/16 via {}\n", backend_v4(0)));
    ip(&lab.router(), &format!("route add 10.50.0.0/16 via {}\n", balancer_v4(0)));
    lab
}

fn service_address(index: usize) -> Ipv4Addr {
    numbered(50, index)
}

fn numbered(net: u8, index: usize) -> Ipv4Addr {
    let [high, low] = u16::try_from(index + 1).expect("fewer than 65,535").to_be_bytes();
    Ipv4Addr::new(10, net, high, low)
}

fn config(lab: &Lab, scale: &Scale, weight: u32) -> String {
    let mut text = format!(
        "[node]\nname = \"lb1\"\nstate_dir = \"{}\"\n[dataplane]\ninterfaces = [\"eth0\"]\n\
         [admin]\nsocket = \"{}\"\nlisten = \"{}\"\n\
         [[vrrp]]\nname = \"public\"\ninterface = \"eth0\"\nvrid = 51\nadvertisement_interval = \"50ms\"\n\
         addresses = [\"10.2.0.200/32\"]\n",
        lab.directory().join("state1").display(),
        admin_socket(lab, 0).display(),
        admin_address(),
    );
    for service in 0..scale.services {
        // The first has clients. Translated backends need a place in the table of replies, which holds fewer than these.
        let forwarding = if service == 0 { "nat" } else { "direct" };
        write!(
            text,
            "[[service]]\nname = \"s{service}\"\nlisten = [\"tcp://{}:{SERVED}\"]\nforwarding = \"{forwarding}\"\n\
             lookup_table_size = 2048\n[service.check]\ntype = \"tcp\"\nvia = \"address\"\nport = {CHECKED}\ninterval = \"{}ms\"\n\
             timeout = \"1500ms\"\n",
            service_address(service),
            scale.interval.as_millis(),
        )
        .expect("writing to a string cannot fail");
        for backend in 0..BACKENDS_A_SERVICE {
            let address = numbered(60, service * BACKENDS_A_SERVICE + backend);
            let weight = if (service, backend) == (0, 0) { weight } else { 100 };
            writeln!(text, "[[service.backend]]\naddress = \"{address}\"\nweight = {weight}")
                .expect("writing to a string cannot fail");
        }
    }
    text
}

fn until_all_are_up(fairway: &Fairway, checks: usize) -> Value {
    for _ in 0..PATIENCE_SECONDS {
        let shown = status(fairway);
        if counts(&shown).iter().filter(|(_, check)| check.state == "up").count() == checks {
            return shown;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    panic!("not all are up after {PATIENCE_SECONDS} s: {:?}", status(fairway)["prober"]);
}

fn status(fairway: &Fairway) -> Value {
    fairway.show("checks")
}

struct Counts {
    state: String,
    since: f64,
    flaps: u64,
    successes: u64,
    failures: u64,
}

/// Each check's, by its target.
fn counts(shown: &Value) -> BTreeMap<String, Counts> {
    let checks = shown["checks"].as_array().map_or(&[][..], Vec::as_slice);
    let one = |check: &Value| {
        let failures = check["failures"].as_object().expect("by kind").values();
        let counts = Counts {
            state: check["state"].as_str().expect("a word").to_owned(),
            since: check["since"].as_f64().expect("a time"),
            flaps: check["flaps"].as_u64().expect("a count"),
            successes: check["successes"].as_u64().expect("a count"),
            failures: failures.map(|count| count.as_u64().expect("a count")).sum(),
        };
        (check["target"].as_str().expect("an address").to_owned(), counts)
    };
    checks.iter().map(one).collect()
}

/// What is measured at a moment.
struct Measured {
    at: f64,
    started: u64,
    lateness: Value,
    /// Processor time of threads by name, in seconds.
    threads: Vec<(String, f64)>,
    /// Advertisements, and those that were late by more than a millisecond, or by more than ten.
    advertisements: [f64; 3],
}

impl Measured {
    fn now(fairway: &Fairway, shown: &Value) -> Self {
        let prober = &shown["prober"];
        let vrrp = fairway.show("vrrp");
        let lateness = &vrrp["vrrp"]["routers"][0]["counters"]["lateness"]["counts"];
        let counts: Vec<f64> = lateness.as_array().expect("a histogram").iter().filter_map(Value::as_f64).collect();
        Self {
            at: seconds(),
            started: prober["started"].as_u64().expect("a count"),
            lateness: prober["lateness"].clone(),
            threads: threads(fairway.pid()),
            advertisements: [0, 5, 8].map(|from| counts[from..].iter().sum()),
        }
    }

    /// Probes that began a tenth of the interval late, or later: counted by the first bound that is not above it.
    fn late(&self, interval: Duration) -> u64 {
        let bounds = self.lateness["bounds"].as_array().expect("bounds");
        let within =
            bounds.iter().filter(|bound| bound.as_f64().is_some_and(|bound| bound <= interval.as_secs_f64() / 10.0));
        let counts = self.lateness["counts"].as_array().expect("counts").iter();
        counts.skip(within.count()).map(|count| count.as_u64().expect("a count")).sum()
    }

    fn since(&self, before: &Self) -> String {
        let time = self.at - before.at;
        let mut text = format!("over {time:.1} s:");
        for (name, spent) in &self.threads {
            let earlier = before.threads.iter().find(|(other, _)| other == name).map_or(0.0, |(_, spent)| *spent);
            let share = 100.0 * (spent - earlier) / time;
            if share >= 0.05 {
                write!(text, " {name} {share:.1} % of a core;").expect("writing to a string cannot fail");
            }
        }
        let [all, late, very_late] = [0, 1, 2].map(|place| self.advertisements[place] - before.advertisements[place]);
        format!("{text} {all} advertisements, {late} more than 1 ms late, {very_late} more than 10 ms")
    }
}

/// Processor time by name; threads of one name together.
fn threads(pid: u32) -> Vec<(String, f64)> {
    let mut all = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).expect("fairway runs").flatten() {
        let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { continue };
        let Some((head, rest)) = stat.rsplit_once(") ") else { continue };
        let name = head.split_once('(').map_or("", |(_, name)| name).to_owned();
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks: f64 = fields[11..13].iter().filter_map(|field| field.parse::<f64>().ok()).sum();
        *all.entry(name).or_insert(0.0) += ticks / TICKS;
    }
    all.into_iter().collect()
}

fn memory(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("fairway runs");
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    format!("{}, {}", line("VmRSS"), line("VmHWM")).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn seconds() -> f64 {
    fairway_tests::failover::clock::now() as f64 / 1e9
}
