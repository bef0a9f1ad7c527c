//! What is not for a service reaches the host, also at a service's address.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::thread;

use fairway::playground::Lab;
use fairway::playground::topology::{Replies, balancer_v4, balancer_v6};

use crate::harness::{Bed, fetch, four_backends, service_v4, service_v6};

const OTHER: u16 = 8080;

#[test]
fn another_port_of_the_services_address_reaches_the_host() {
    for replies in [Replies::Direct, Replies::ThroughBalancer] {
        let bed = Bed::start(&four_backends(replies), &[0, 1, 2, 3]);
        for address in [service_v4(OTHER), service_v6(OTHER)] {
            check(&bed.lab, address);
        }
    }
}

#[test]
fn the_hosts_own_addresses_reach_the_host() {
    let bed = Bed::start(&four_backends(Replies::Direct), &[0, 1, 2, 3]);
    for address in [SocketAddr::new(balancer_v4(0).into(), 80), SocketAddr::new(balancer_v6(0).into(), 80)] {
        check(&bed.lab, address);
    }
}

#[test]
fn the_balancers_own_connections_to_a_nat_backend_work() {
    let bed = Bed::start(&four_backends(Replies::ThroughBalancer), &[0, 1, 2, 3]);
    for backend in bed.lab.backend_listeners(2, 80) {
        let answer = fetch(&bed.lab.balancer(0), backend, "/", None).expect("the backend answers the balancer itself");
        assert_eq!(answer, b"b3\n");
    }
}

fn check(lab: &Lab, address: SocketAddr) {
    let listener = lab
        .balancer(0)
        .run(|| TcpListener::bind(address))
        .expect("the namespace is there")
        .expect("the address is the balancer's");
    let host = thread::spawn(move || {
        let (mut visitor, _) = listener.accept().expect("the listener works");
        visitor.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhost").expect("the client reads");
        visitor // closed only when the client has read: an unread request would turn the close into a reset
    });
    let answer = fetch(&lab.client(), address, "/", None).unwrap_or_else(|error| panic!("{address}: {error}"));
    assert_eq!(answer, b"host");
    drop(host.join());
}
