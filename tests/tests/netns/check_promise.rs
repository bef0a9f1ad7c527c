//! The promise of checks: when one of ten backends fails under load, the table points elsewhere within `fall` intervals, a
//! timeout and 50 ms; nobody else's requests fail; and when it comes back, no flow moves.
//!
//! What was measured is printed. Time is asserted loosely, since others may use the machine.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fairway::playground::topology::{Replies, Role, Spec, router_port};
use fairway::playground::{Lab, Namespace};
use serde_json::Value;

use crate::harness::{Fairway, HTTP, KeptConnections, Nginx, await_that, ip, lab, service_v4, usual_config};

const BACKENDS: usize = 10;
/// The one that fails.
const VICTIM: usize = 4;
const INTERVAL: f64 = 0.5;
const TIMEOUT: f64 = 0.4;
const FALL: f64 = 3.0;
/// What is promised: from the failure until the table points elsewhere.
const PROMISED: f64 = INTERVAL * FALL + TIMEOUT + 0.05;
/// What a busy machine may add.
const LOOSE: f64 = 3.0;
const CLIENTS: usize = 8;
/// A client that asks a silent host gives up after so long.
const PATIENCE: Duration = Duration::from_millis(300);

#[test]
fn a_killed_process_is_avoided_in_time_and_nobody_elses_requests_fail() {
    check("killed process", |_, servers| servers[VICTIM] = None, |lab, servers| {
        servers[VICTIM] = Some(Nginx::start(lab, VICTIM));
    });
}

#[test]
fn a_silent_host_is_avoided_in_time_and_nobody_elses_requests_fail() {
    let set = |lab: &Lab, state: &str| {
        ip(&lab.router(), &format!("link set {} {state}\n", router_port(Role::Backend(VICTIM))));
    };
    check("silent host", |lab, _| set(lab, "down"), |lab, _| set(lab, "up"));
}

type Servers = Vec<Option<Nginx>>;

fn check(what: &str, fail: impl Fn(&Lab, &mut Servers), recover: impl Fn(&Lab, &mut Servers)) {
    let lab = lab(&Spec { backends: BACKENDS, replies: Replies::Direct, ..Spec::default() });
    let mut servers: Servers = (0..BACKENDS).map(|index| Some(Nginx::start(&lab, index))).collect();
    let fairway = Fairway::start_with(&lab, &config(&lab));
    fairway.wait_until_ready();
    await_that("all take traffic", || (0..BACKENDS).all(|index| backend(&fairway, index)["state"] == "up"));

    let load = Load::start(&lab.client(), service_v4(HTTP));
    thread::sleep(Duration::from_secs(2));
    let failed = wall();
    fail(&lab, &mut servers);
    await_that("it gets no slots", || backend(&fairway, VICTIM)["slots"] == 0);
    thread::sleep(Duration::from_secs(1));
    let requests = load.stop();

    let avoided = downs(&fairway).last().copied().expect("an event says that it is down") - failed;
    let span = requests.iter().map(|one| one.at).fold(f64::MIN, f64::max)
        - requests.iter().map(|one| one.at).fold(f64::MAX, f64::min);
    let lost: Vec<&Request> = requests.iter().filter(|one| one.result.is_err()).collect();
    let last = lost.iter().map(|one| one.at - failed).fold(0.0, f64::max);
    println!(
        "{what}: {} requests at {:.0}/s, {} lost, the last begun {last:.3} s after the failure; \
         avoided after {avoided:.3} s of {PROMISED:.3} promised",
        requests.len(),
        requests.len() as f64 / span,
        lost.len(),
    );
    assert!(avoided < PROMISED + LOOSE, "{avoided} s");
    // The dead one had a tenth of the flows: before it was dead nothing failed, nor after the table pointed elsewhere.
    let unexplained: Vec<&&Request> = lost.iter().filter(|one| one.at < failed - 0.4 || one.at > failed + avoided + 0.1).collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
    let window = requests.iter().filter(|one| one.at >= failed && one.at <= failed + avoided).count();
    assert!(lost.len() <= window / 4 + CLIENTS, "{} of {window} while it was dead", lost.len());
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    requests.iter().filter_map(|one| one.result.as_deref().ok()).for_each(|name| *answers.entry(name).or_default() += 1);
    assert_eq!(answers.len(), BACKENDS, "{answers:?}");

    let kept = KeptConnections::open(&lab.client(), service_v4(HTTP), 100);
    kept.wait_for_answers(3);
    recover(&lab, &mut servers);
    await_that("it takes traffic again", || backend(&fairway, VICTIM)["slots"] != 0);
    kept.wait_for_answers(10);
    let moved: Vec<_> = kept.close().into_iter().filter(|it| it.backends.len() != 1 || it.failure.is_some()).collect();
    assert!(moved.is_empty(), "{moved:?}");
}

fn config(lab: &Lab) -> String {
    let all: Vec<usize> = (0..BACKENDS).collect();
    let check = format!(
        "forwarding = \"direct\"\n[service.check]\ntype = \"tcp\"\ninterval = \"{}ms\"\ntimeout = \"{}ms\"\nfall = {FALL}\n",
        INTERVAL * 1000.0,
        TIMEOUT * 1000.0
    );
    usual_config(lab, &all).replace("forwarding = \"direct\"\n", &check)
}

/// A backend of the web service, counted from 0.
fn backend(fairway: &Fairway, index: usize) -> Value {
    let shown = fairway.show("backends");
    let mut backends = shown["backends"].as_array().expect("a list").iter();
    let name = format!("b{}", index + 1);
    backends.find(|it| it["service"] == "web" && it["name"] == name.as_str()).cloned().unwrap_or_default()
}

/// When the victim went down for the web service, in seconds since the Unix epoch: told when the table was written.
fn downs(fairway: &Fairway) -> Vec<f64> {
    let output = fairway.command(&["show", "events", "-o", "json"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let name = format!("b{}", VICTIM + 1);
    let ours = events.filter(|it| {
        it["kind"] == "backend" && it["service"] == "web" && it["backend"] == name.as_str() && it["to"] == "down"
    });
    ours.filter_map(|it| it["time"].as_f64()).collect()
}

/// A request, each on a connection of its own.
#[derive(Debug)]
struct Request {
    /// When it began, in seconds since the Unix epoch.
    at: f64,
    /// The backend that answered, or what went wrong.
    result: Result<String, ErrorKind>,
}

/// Clients that ask again and again.
struct Load {
    enough: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<Request>>>,
}

impl Load {
    fn start(from: &Namespace, to: SocketAddr) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let client = |_| {
            let (from, enough) = (from.clone(), Arc::clone(&enough));
            thread::spawn(move || {
                from.enter().expect("the namespace is there");
                let mut requests = Vec::new();
                while !enough.load(Ordering::Relaxed) {
                    requests.push(Request { at: wall(), result: ask(to).map_err(|error| error.kind()) });
                }
                requests
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { enough, clients }
    }

    fn stop(self) -> Vec<Request> {
        self.enough.store(true, Ordering::Relaxed);
        self.clients.into_iter().flat_map(|client| client.join().expect("clients do not panic")).collect()
    }
}

fn ask(to: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut body = String::new();
    reader.read_to_string(&mut body)?;
    match body.trim() {
        "" => Err(ErrorKind::UnexpectedEof.into()),
        name => Ok(name.to_owned()),
    }
}

/// Seconds since the Unix epoch, as events have them.
#[expect(clippy::disallowed_methods, reason = "compares moments with those of the daemon's events")]
fn wall() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}
