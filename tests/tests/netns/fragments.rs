//! A datagram longer than the links take reaches one backend whole, and so does its answer the client.

use fairway::playground::topology::Replies;

use crate::harness::{ECHO, Echo, Fairway, flow, four_backends, lab, service_v4, service_v6};

/// Three fragments at an MTU of 1500, over either family.
const LENGTH: usize = 4000;
const FRAGMENTS: usize = 3;
const FLOWS: usize = 40;

#[test]
fn direct_keeps_the_fragments_of_a_datagram_together() {
    check(Replies::Direct);
}

#[test]
fn nat_keeps_the_fragments_of_a_datagram_together_both_ways() {
    check(Replies::ThroughBalancer);
}

fn check(replies: Replies) {
    let lab = lab(&four_backends(replies));
    let echoes: Vec<Echo> = (0..4).map(|index| Echo::start(&lab, index)).collect();
    let fairway = Fairway::start(&lab, &[0, 1, 2, 3]);
    let sent: Vec<u8> = (0..LENGTH).map(|at| at as u8).collect();

    for service in [service_v4(ECHO), service_v6(ECHO)] {
        for number in 0..FLOWS {
            let socket = flow(&lab.client(), service);
            socket.send(&sent).expect("the service is reachable");
            let mut answer = [0; 2 * LENGTH];
            let length = socket.recv(&mut answer).unwrap_or_else(|error| panic!("{service}, flow {number}: {error}"));
            assert!(answer[..length] == sent, "{service}, flow {number}: {length} octets, not those that were sent");
        }
    }

    let echoed: Vec<usize> = echoes.iter().map(Echo::echoed).collect();
    assert_eq!(echoed.iter().sum::<usize>(), 2 * FLOWS);
    assert!(echoed.iter().all(|echoed| *echoed > 0), "a backend got no datagram: {echoed:?}");
    // Requests are what is counted, fragment by fragment.
    assert_eq!(fairway.metric_sum("fairway_backend_packets_total"), (2 * FLOWS * FRAGMENTS) as f64);
    assert_eq!(fairway.packets("drops", "unknown-fragment"), 0.0);
}
