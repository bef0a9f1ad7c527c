//! UDP: every datagram is answered, from the service's address, and one flow stays with one backend.

use std::net::SocketAddr;

use fairway::playground::Lab;
use fairway::playground::topology::Replies;

use crate::harness::{ECHO, Echo, Fairway, flow, four_backends, lab, service_v4, service_v6};

const FLOWS: usize = 100;
const DATAGRAMS: usize = 10;

#[test]
fn direct_echoes_every_datagram_over_both_families() {
    check(Replies::Direct);
}

#[test]
fn nat_echoes_every_datagram_over_both_families() {
    check(Replies::ThroughBalancer);
}

fn check(replies: Replies) {
    let lab = lab(&four_backends(replies));
    let echoes: Vec<Echo> = (0..4).map(|index| Echo::start(&lab, index)).collect();
    let _fairway = Fairway::start(&lab, &[0, 1, 2, 3]);

    for service in [service_v4(ECHO), service_v6(ECHO)] {
        for number in 0..FLOWS {
            let before = counts(&echoes);
            converse(&lab, service, number);
            let grown = counts(&echoes).iter().zip(&before).filter(|(now, then)| now > then).count();
            assert_eq!(grown, 1, "flow {number} to {service} was spread over {grown} backends");
        }
    }

    assert_eq!(counts(&echoes).iter().sum::<usize>(), 2 * FLOWS * DATAGRAMS);
    assert!(counts(&echoes).iter().all(|echoed| *echoed > 0), "a backend got no flow: {:?}", counts(&echoes));
}

/// Sends datagrams of one flow, waiting for each answer.
fn converse(lab: &Lab, service: SocketAddr, number_of_flow: usize) {
    let socket = flow(&lab.client(), service);
    for number in 0..DATAGRAMS {
        // Odd and even lengths, and empty ones: the checksum's edges.
        let sent = vec![b'd'; number_of_flow * number];
        socket.send(&sent).expect("the service is reachable");
        let mut answer = [0; 2048];
        let length =
            socket.recv(&mut answer).unwrap_or_else(|error| panic!("{service}, flow {number_of_flow}: {error}"));
        assert_eq!(answer[..length], sent);
    }
}

fn counts(echoes: &[Echo]) -> Vec<usize> {
    echoes.iter().map(Echo::echoed).collect()
}
