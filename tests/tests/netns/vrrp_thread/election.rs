//! Two nodes with the real engine elect a master, hand over, and survive the loss of a link.

use std::time::Duration;

use fairway::config::VirtualRouter;
use fairway::effects::vrrp::{Command, Output, Start, VrrpThread};
use fairway::playground::{Lab, Namespace};
use fairway::vrrp::engine::Engine;
use fairway::vrrp::view::State;

use super::{VIRTUAL_V4, VIRTUAL_V6, known_mac, settings, times_held, two_balancers};
use crate::harness::{await_that, ip};

const MASTER_MACS: [&str; 2] = ["02:00:00:00:02:11", "02:00:00:00:02:12"];

fn start(namespace: &Namespace, change: impl FnOnce(&mut VirtualRouter)) -> VrrpThread {
    let run = || {
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("there is a clock");
        let machine = Engine::new(namespace.name().into(), 1, Duration::from(now));
        VrrpThread::start(Start { machine, live: None, testament: None, supervision: None })
    };
    let thread = namespace.run(run).expect("the namespace is there").expect("root may start it");
    thread.handle.send(settings(change)).expect("it listens");
    thread
}

fn pair(lab: &Lab) -> [VrrpThread; 2] {
    [(0, 254), (1, 200)].map(|(index, priority)| start(&lab.balancer(index), |router| router.priority = priority))
}

fn state(thread: &VrrpThread) -> Option<State> {
    thread.handle.snapshot().routers.first().map(|router| router.state)
}

fn await_master(lab: &Lab, nodes: &[VrrpThread; 2], master: usize) {
    await_that(&format!("node {master} is master and alone holds the addresses"), || {
        let held = |index, host| times_held(&lab.balancer(index), "eth0", host);
        state(&nodes[master]) == Some(State::Master)
            && [VIRTUAL_V4, VIRTUAL_V6].iter().all(|host| held(master, host) == 1 && held(1 - master, host) == 0)
    });
    await_that("the router knows where", || {
        [VIRTUAL_V4, VIRTUAL_V6].iter().all(|host| known_mac(lab, host).as_deref() == Some(MASTER_MACS[master]))
    });
}

#[test]
fn the_better_node_is_master_and_the_other_takes_over_whenever_it_cannot() {
    let lab = two_balancers();
    // Entries that announcements can correct.
    for host in [VIRTUAL_V4, VIRTUAL_V6] {
        ip(&lab.router(), &format!("neighbour replace {host} lladdr 02:00:00:00:00:99 nud stale dev br0\n"));
    }
    let mut nodes = pair(&lab);
    await_master(&lab, &nodes, 0);

    // Its link fails without its noticing on the way.
    ip(&lab.router(), "link set p-lb1 nomaster\n");
    await_that("the other takes over", || state(&nodes[1]) == Some(State::Master));
    ip(&lab.router(), "link set p-lb1 master br0\n");
    await_master(&lab, &nodes, 0);

    // It sees that its link is down.
    ip(&lab.router(), "link set p-lb1 down\n");
    await_master(&lab, &nodes, 1);
    assert_eq!(state(&nodes[0]), Some(State::Fault));
    ip(&lab.router(), "link set p-lb1 up\n");
    await_master(&lab, &nodes, 0);

    // An operator takes an address away: it comes back.
    ip(&lab.balancer(0), &format!("address delete {VIRTUAL_V4}/32 dev eth0\n"));
    await_that("the address is back", || times_held(&lab.balancer(0), "eth0", VIRTUAL_V4) == 1);

    // A planned stop.
    nodes[0].handle.send(Command::Stop).expect("it listens");
    let mut last = None;
    while let Some(output) = nodes[0].outputs.blocking_recv() {
        last = Some(output);
    }
    assert_eq!(last, Some(Output::HandedOver));
    await_that("the other serves", || {
        state(&nodes[1]) == Some(State::Master) && times_held(&lab.balancer(0), "eth0", VIRTUAL_V4) == 0
    });
}

#[test]
fn a_virtual_mac_address_stays_the_same_when_the_master_changes() {
    let lab = two_balancers();
    let nodes = [(0, 254), (1, 200)].map(|(index, priority)| {
        start(&lab.balancer(index), |router| (router.priority, router.virtual_mac) = (priority, true))
    });
    await_that("the first is master", || times_held(&lab.balancer(0), "lo", VIRTUAL_V4) == 1);
    ping(&lab);
    assert_eq!(known_mac(&lab, VIRTUAL_V4).as_deref(), Some("00:00:5e:00:01:33"));
    ip(&lab.router(), "link set p-lb1 down\n");
    await_that("the other is master", || state(&nodes[1]) == Some(State::Master));
    ping(&lab);
    assert_eq!(known_mac(&lab, VIRTUAL_V4).as_deref(), Some("00:00:5e:00:01:33"));
}

/// The client reaches the address: a connection is refused, by whoever holds it.
fn ping(lab: &Lab) {
    let to = (VIRTUAL_V4.parse::<std::net::IpAddr>().expect("an address"), 9).into();
    let connect = || std::net::TcpStream::connect_timeout(&to, Duration::from_millis(300));
    await_that("the host answers at the virtual MAC address", || {
        let outcome = lab.client().run(connect).expect("the namespace is there");
        matches!(outcome, Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused)
    });
}
