//! When things happen: stalls, the supervisor's words, the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fairway::effects::vrrp::{Command, Output, Supervision};
use fairway::vrrp::effect::{Advertise, Effect};

use super::node::{Node, Seen, Step};
use super::{address, settings, two_balancers};
use crate::harness::await_that;

#[test]
fn a_stall_is_told_before_the_packets_that_arrived_meanwhile_and_they_before_the_tick() {
    let lab = two_balancers();
    let nodes = [0, 1].map(|index| Node::start(lab.balancer(index)));
    let [sender, sleeper] = &nodes;
    sleeper.send(settings(|_| {}));
    sleeper.listen();
    sleeper.step(Step::Wake(Duration::from_millis(20)));
    sleeper.step(Step::Sleep(Duration::from_millis(400)));
    let advertise = Effect::Advertise(Advertise {
        interface: sender.interface,
        source: address("10.2.0.11"),
        destinations: vec![address("224.0.0.18")],
        source_mac: [0, 0, 0x5e, 0, 1, 51],
        payload: vec![0x31, 51, 100, 1, 0, 10, 0, 0, 10, 2, 0, 200],
    });
    sender.send(settings(|_| {}));
    std::thread::sleep(Duration::from_millis(150));
    sender.perform(vec![advertise]);

    let gap = sleeper.expect("the stall", |seen| match seen {
        Seen::Stalled(gap) => Some(*gap),
        Seen::Received { .. } | Seen::Tick => panic!("before the stall: {seen:?}"),
        _ => None,
    });
    assert!(gap > Duration::from_millis(300), "{gap:?} after a deadline that was passed by 380 ms");
    sleeper.expect("the advertisement", |seen| match seen {
        Seen::Received { .. } => Some(()),
        Seen::Tick => panic!("the tick before the advertisement"),
        _ => None,
    });
    sleeper.expect("the tick", |seen| (*seen == Seen::Tick).then_some(()));
}

#[test]
fn an_idle_thread_beats_and_hears_that_it_was_deposed() {
    let lab = two_balancers();
    let (beats, deposed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let supervision = Supervision {
        beat: Box::new({
            let beats = beats.clone();
            move |_| {
                beats.fetch_add(1, Ordering::Relaxed);
            }
        }),
        deposed: Box::new({
            let deposed = deposed.clone();
            move || deposed.swap(false, Ordering::AcqRel)
        }),
    };
    let node = Node::supervised(lab.balancer(0), Some(supervision));
    await_that("it beats with nothing to do", || beats.load(Ordering::Relaxed) > 20);
    deposed.store(true, Ordering::Release);
    node.expect("that it was deposed", |seen| (*seen == Seen::Deposed).then_some(()));
    assert!(!node.seen().contains(&Seen::Deposed), "once");
}

#[test]
fn without_a_supervisor_an_idle_thread_sleeps() {
    let lab = two_balancers();
    let node = Node::start(lab.balancer(0));
    node.send(settings(|_| {}));
    node.expect("the interface", |seen| matches!(seen, Seen::Link(_)).then_some(()));
    std::thread::sleep(Duration::from_millis(500));
    let before = node.thread.handle.thread().wakeups;
    std::thread::sleep(Duration::from_millis(500));
    // To have a fresh view.
    node.step(Step::Wake(Duration::ZERO));
    node.expect("a tick", |seen| (*seen == Seen::Tick).then_some(()));
    await_that("the view is fresh", || node.thread.handle.thread().wakeups > before);
    let woken = node.thread.handle.thread().wakeups - before;
    assert!(woken < 25, "{woken} times in half a second");
}

#[test]
fn stopping_ends_the_thread_and_says_so_last() {
    let lab = two_balancers();
    let mut node = Node::start(lab.balancer(0));
    node.send(Command::Stop);
    let mut last = None;
    while let Some(output) = node.thread.outputs.blocking_recv() {
        last = Some(output);
    }
    assert_eq!(last, Some(Output::HandedOver));
    await_that("commands are refused", || node.thread.handle.send(Command::Stop).is_err());
}

#[test]
fn a_thread_without_handles_stops() {
    let lab = two_balancers();
    let node = Node::start(lab.balancer(0));
    node.thread.join();
}

#[test]
fn what_the_thread_says_of_its_priority_and_memory_is_so() {
    let lab = two_balancers();
    let node = Node::start(lab.balancer(0));
    await_that("it has begun", || node.thread.handle.thread().wakeups > 0);
    let thread = node.thread.handle.thread();
    println!("real-time priority: {:?}; locked memory: {:?}", thread.realtime, thread.locked);
    let policies = policies_of("fairway-vrrp");
    assert!(policies.contains(&libc::SCHED_FIFO) == thread.realtime.is_ok(), "{policies:?}, {thread:?}");
    let status = std::fs::read_to_string("/proc/self/status").expect("it is there");
    assert_eq!(status.contains("VmLck:\t       0 kB"), thread.locked.is_err(), "{thread:?}");
}

/// Scheduling policies of this process's threads of that name.
fn policies_of(name: &str) -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("it is there").flatten();
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    // After the name in parentheses: state is field 3, the policy field 41.
    let policy = |stat: String| {
        let (_, rest) = stat.split_once(&format!("({name})"))?;
        rest.split_whitespace().nth(38)?.parse().ok()
    };
    stats.filter_map(policy).collect()
}
