//! Version 3 over IPv4 has two readings of the checksum: keepalived and FRR include a pseudo-header, RFC 9568 does not.
//! Whoever speaks the other one is understood, and answered in it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fairway::playground::Namespace;
use fairway::playground::topology::balancer_v4;
use fairway_tests::harness::await_that;
use fairway_tests::vrrp::{Advert, Adverts, plain_checksum};
use socket2::{Domain, Protocol, Socket, Type};

use super::{BETTER, FIRST, Pair, WORSE, router};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 180);
const VRID: u8 = 9;
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const INTERVAL: Duration = Duration::from_millis(100);
const INTERVAL_CENTISECONDS: u8 = 10;
/// A few times what it takes to miss a master.
const A_WHILE: Duration = Duration::from_secs(2);

#[test]
fn a_peer_whose_checksum_has_no_pseudo_header_is_understood_and_answered_alike() {
    let mut pair = Pair::new();
    let other = pair.lab.backend(0);
    let adverts = Adverts::listen(&other);
    let ours = |heard: Vec<Advert>| -> Vec<Advert> {
        heard.into_iter().filter(|advert| advert.from == IpAddr::V4(balancer_v4(FIRST))).collect()
    };
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        let peer = scope.spawn(|| advertise(&other, &enough));
        // The first that it sends are its own choice, before it has heard anything: so it begins when the peer is there.
        await_that("the peer advertises", || !adverts.take().is_empty());
        pair.start(FIRST, &router("public", VRID, WORSE, &ADDRESS.to_string(), ""));
        thread::sleep(A_WHILE);
        assert!(ours(adverts.take()).is_empty(), "the better peer is not understood");
        assert!(!pair.holds(FIRST, &ADDRESS.to_string()), "the better peer is not understood");
        enough.store(true, Ordering::Relaxed);
        peer.join().expect("it ends").expect("root may send");
    });
    await_that("it takes over", || pair.holds(FIRST, &ADDRESS.to_string()));
    await_that("it advertises in the peer's reading", || {
        let heard = ours(adverts.take());
        assert!(heard.iter().all(|advert| advert.has_plain_checksum), "{heard:?}");
        !heard.is_empty()
    });
}

/// A master as RFC 9568 has it; told that it is enough, it says goodbye.
fn advertise(from: &Namespace, enough: &AtomicBool) -> io::Result<()> {
    let send = || -> io::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112)))?;
        socket.set_multicast_ttl_v4(255)?;
        let to = SocketAddr::new(GROUP.into(), 0).into();
        while !enough.load(Ordering::Relaxed) {
            socket.send_to(&message(BETTER), &to)?;
            thread::sleep(INTERVAL);
        }
        socket.send_to(&message(0), &to).map(drop)
    };
    from.run(send).map_err(io::Error::other)?
}

fn message(priority: u8) -> Vec<u8> {
    let mut message = vec![0x31, VRID, priority, 1, 0, INTERVAL_CENTISECONDS, 0, 0];
    message.extend(ADDRESS.octets());
    let checksum = plain_checksum(&message).to_be_bytes();
    message[6..8].copy_from_slice(&checksum);
    message
}
