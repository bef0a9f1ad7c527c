//! The flow table while a pool changes: a SYN flood fills it and moves no established flow; without a flood, slots settle.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use fairway::playground::topology::{Replies, SERVICE_V4};
use fairway::playground::{Lab, Namespace};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket};

use crate::harness::{Bed, HTTP, KeptConnections, four_backends, lab, requests, service_v4, usual_config};

const CONNECTIONS: usize = 24;
/// Rounds of a flood; in each the connections ask on, so together they take longer than a slot takes to settle.
const ROUNDS: u16 = 45;
const SYNS_A_ROUND: u16 = 440;
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// One idle timeout, its margin of a second, the housekeeping's second, and as much again for a busy machine.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn a_syn_flood_during_a_drain_fills_the_table_and_moves_no_established_flow() {
    let small = |lab: &Lab, backends: &[usize]| {
        with_short_idle_timeout(lab, backends).replace("[dataplane]\n", "[dataplane]\nflow_table_capacity = 1024\n")
    };
    let bed = Bed::in_lab(lab(&four_backends(Replies::Direct)), |lab| small(lab, &[0, 1, 2]));
    let kept = KeptConnections::open(&bed.lab.client(), service_v4(HTTP), CONNECTIONS);
    kept.wait_for_answers(1);

    let reload = bed.fairway.reload(&small(&bed.lab, &[1, 2]));
    assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
    let at_first = unsettled(&bed);
    for round in 0..ROUNDS {
        flood(&bed.lab.client(), round);
        kept.wait_for_answers(4);
    }

    assert!(at_first > 0.0, "the change unsettled no slot, so nothing was tested");
    let refusals = bed.fairway.metric("fairway_flow_record_refusals_total").expect("refusals are counted");
    assert!(refusals > 0.0, "every flow was recorded, so nothing was tested");
    assert!(unsettled(&bed) > 0.0, "slots settled although records were refused all the time");
    let histories = kept.close();
    for history in &histories {
        assert_eq!(history.backends.len(), 1, "a connection changed backend: {history:?}");
        assert_eq!(history.failure, None, "a connection broke: {history:?}");
    }
    assert!(histories.iter().any(|history| history.backends[0] == "b1"), "none was on the backend that drains");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
fn slots_settle_soon_after_a_change_under_a_load_of_new_connections() {
    let lab = lab(&four_backends(Replies::Direct));
    let bed = Bed::in_lab(lab, |lab| with_short_idle_timeout(lab, &[0, 1, 2]));
    let client = bed.lab.client();

    let reload = bed.fairway.reload(&with_short_idle_timeout(&bed.lab, &[1, 2, 3]));
    assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
    let start = Instant::now();
    let mut connections = 0;
    assert!(unsettled(&bed) > 0.0, "the change unsettled no slot, so nothing was tested");
    while unsettled(&bed) > 0.0 {
        assert!(start.elapsed() < SETTLED_WITHIN, "{} slots are still unsettled", unsettled(&bed));
        let results = requests(&client, service_v4(HTTP), 24);
        assert_eq!(results.failures, [""; 0]);
        connections += 24;
    }

    println!("settled after {:.1?}, with {connections} connections meanwhile", start.elapsed());
    assert!(start.elapsed() > IDLE_TIMEOUT, "settled before the flows that were there had their time");
    assert_eq!(bed.fairway.metric("fairway_flow_record_refusals_total"), Some(0.0));
}

fn with_short_idle_timeout(lab: &Lab, backends: &[usize]) -> String {
    let keys = format!("forwarding = \"direct\"\nidle_timeout = \"{}s\"\n", IDLE_TIMEOUT.as_secs());
    usual_config(lab, backends).replace("forwarding = \"direct\"\n", &keys)
}

fn unsettled(bed: &Bed) -> f64 {
    bed.fairway.metric("fairway_unsettled_slots{service=\"web\"}").expect("it is a metric")
}

/// SYNs of as many flows from addresses that nobody has. Their TCP checksum is wrong, so that the backends stay silent.
fn flood(from: &Namespace, round: u16) {
    let raw = || socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Raw);
    let socket = from.run(raw).expect("the namespace is there").expect("root may open raw sockets");
    let to = SockaddrIn::from(SocketAddrV4::new(SERVICE_V4, 0));
    for number in 0..SYNS_A_ROUND {
        let packet = syn(Ipv4Addr::new(10, 1, 0, 100 + round as u8), 1024 + number);
        sendto(socket.as_raw_fd(), &packet, &to, MsgFlags::empty()).expect("the client has a route");
    }
}

fn syn(source: Ipv4Addr, port: u16) -> [u8; 40] {
    let mut packet = [0; 40];
    // The kernel fills in length, identification and checksum of the IP header (raw(7)).
    packet[0] = 0x45;
    packet[8] = 64;
    packet[9] = 6;
    packet[12..16].copy_from_slice(&source.octets());
    packet[16..20].copy_from_slice(&SERVICE_V4.octets());
    packet[20..22].copy_from_slice(&port.to_be_bytes());
    packet[22..24].copy_from_slice(&HTTP.to_be_bytes());
    packet[32] = 0x50;
    packet[33] = 2; // SYN
    packet
}
