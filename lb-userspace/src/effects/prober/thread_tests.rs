use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::{Ended, now, watched};
use crate::config::check::{Probe, Timing};
use crate::effects::prober::route::Route;
use crate::effects::prober::{ProberThread, Snapshot};
use crate::health::spec::{Spec, Target, Way};
use crate::health::verdict::{CheckState, Failure, FailureKind, Verdict};

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_server_that_comes_and_goes_is_up_and_down_and_up_again() {
    let (listener, address) = listener();
    let mut prober = started();
    prober.handle.configure(1, [Arc::new(spec(address))]);
    assert_eq!(next(&mut prober).await.state, CheckState::Up);
    drop(listener);
    let verdict = next(&mut prober).await;
    assert_eq!((verdict.state, verdict.failure), (CheckState::Down, Some(FailureKind::Refused)));
    assert!(verdict.why.contains("refused"), "{}", verdict.why);
    let _again = TcpListener::bind(address).unwrap();
    assert_eq!(next(&mut prober).await.state, CheckState::Up);
    prober.stop().unwrap();
}

#[tokio::test]
async fn a_snapshot_says_what_was_probed_and_a_reload_loses_nothing_of_it() {
    let (_listener, address) = listener();
    let mut prober = started();
    let spec = Arc::new(spec(address));
    for generation in 1..5 {
        prober.handle.configure(generation, [Arc::clone(&spec)]);
    }
    assert_eq!(next(&mut prober).await.state, CheckState::Up);
    while snapshot(&prober).await.checks[0].record.successes < 3 {
        prober.handle.configure(9, [Arc::clone(&spec)]);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let snapshot = snapshot(&prober).await;
    let view = &snapshot.checks[0];
    assert_eq!((view.state, view.flaps, &*view.why), (CheckState::Up, 0, "connected"));
    assert_eq!(view.record.failures, [0; 5]);
    assert_eq!((snapshot.summary.checks, snapshot.faults), (1, 0));
    assert!(view.next.is_none_or(|next| next <= snapshot.at + spec.timing.interval));
    prober.handle.configure(10, []);
    while !self::snapshot(&prober).await.checks.is_empty() {}
    assert!(prober.changes.try_recv().is_err(), "nothing is told twice");
}

#[tokio::test]
async fn a_check_is_made_at_once_when_it_is_asked_for() {
    let (listener, address) = listener();
    let mut prober = started();
    let hour = Duration::from_secs(3600);
    let mut spec = spec(address);
    spec.timing = Timing { interval: hour, fast_interval: hour, fall: 1, ..spec.timing };
    let spec = Arc::new(spec);
    prober.handle.configure(1, [Arc::clone(&spec)]);
    assert_eq!(next(&mut prober).await.state, CheckState::Up);
    drop(listener);
    assert!(prober.handle.check_now(vec![spec]));
    assert_eq!(next(&mut prober).await.state, CheckState::Down);
}

#[tokio::test]
async fn who_has_no_route_is_not_judged_and_its_check_goes_on() {
    let find_route = |_: &Target| Err(Failure::new(FailureKind::Local, "the way is not set up yet"));
    let prober = ProberThread::start(1, Box::new(find_route)).unwrap();
    prober.handle.configure(1, [Arc::new(spec(listener().1))]);
    while snapshot(&prober).await.checks.first().is_none_or(|check| check.record.failures[4] < 3) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let view = snapshot(&prober).await.checks[0].clone();
    assert_eq!(view.state, CheckState::Unknown);
    assert!(view.why.ends_with("the way is not set up yet"), "{}", view.why);
}

#[tokio::test]
async fn nobody_who_takes_no_changes_keeps_the_thread_from_probing() {
    let listeners: Vec<(TcpListener, SocketAddr)> = (0..50).map(|_| listener()).collect();
    let mut prober = started();
    for generation in 1..=50 {
        let specs: Vec<Arc<Spec>> =
            listeners[..generation].iter().map(|(_, address)| Arc::new(spec(*address))).collect();
        prober.handle.configure(generation as u64, specs);
        while snapshot(&prober).await.checks.iter().filter(|check| check.state == CheckState::Up).count() < generation {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let mut told = 0;
    while told < 50 {
        told += timeout(LONG, prober.changes.recv()).await.unwrap().unwrap().verdicts.len();
    }
    assert_eq!(told, 50, "each once");
}

#[tokio::test]
async fn a_probe_that_never_ends_or_breaks_down_ends_all_the_same() {
    let mut spec = spec(SocketAddr::from(([127, 0, 0, 1], 1)));
    spec.timing.timeout = Duration::from_millis(20);
    let before = now();
    let endless = watched(&spec, std::future::pending()).await;
    assert!(matches!(endless, Ended::Fault { why, .. } if why.contains("deadline")));
    assert!(now() - before >= 2 * spec.timing.timeout);
    let broken = watched(&spec, async { panic!("a probe's fault") }).await;
    assert!(matches!(broken, Ended::Fault { why, .. } if why.contains("broke")));
}

fn started() -> ProberThread {
    ProberThread::start(1, Box::new(|target| Ok(Route::plain(target)))).unwrap()
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn spec(address: SocketAddr) -> Spec {
    Spec {
        probe: Probe::Tcp,
        target: Target { address: address.ip(), port: address.port(), way: Way::Plain },
        timing: Timing {
            interval: Duration::from_millis(20),
            fast_interval: Duration::from_millis(10),
            timeout: Duration::from_secs(5),
            rise: 2,
            fall: 3,
        },
        named: None,
    }
}

async fn next(prober: &mut ProberThread) -> Verdict {
    let changes = timeout(LONG, prober.changes.recv()).await.expect("a change in time").expect("the thread runs");
    changes.verdicts.into_iter().next_back().expect("no batch is empty").1
}

async fn snapshot(prober: &ProberThread) -> Arc<Snapshot> {
    let answer = prober.handle.ask().expect("there is room");
    timeout(LONG, answer).await.expect("an answer in time").expect("the thread runs")
}
