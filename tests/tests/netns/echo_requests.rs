//! ICMP echo to a service's address is answered by the host, also in fragments, whatever the service's method is, and is no backend's.
//! The sockets are the kernel's own for this (ping sockets), which any user may open within `ping_group_range`.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use fairway::playground::topology::Replies;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use crate::harness::{Bed, HTTP, four_backends, lab, service_v4, service_v6, usual_config};

/// What `ping` sends, and what takes three fragments at an MTU of 1500.
const LENGTHS: [usize; 2] = [56, 4000];
const REQUESTS: u16 = 5;
/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(5);
/// ICMP's header.
const HEADER: usize = 8;

#[test]
fn the_host_answers_at_the_address_of_a_direct_service() {
    check(Replies::Direct, "direct");
}

#[test]
fn the_host_answers_at_the_address_of_a_translated_service() {
    check(Replies::ThroughBalancer, "nat");
}

#[test]
fn the_host_answers_at_the_address_of_a_tunnelled_service() {
    check(Replies::Direct, "tunnel");
}

fn check(replies: Replies, method: &str) {
    let bed = Bed::in_lab(lab(&four_backends(replies)), |lab| {
        let method = format!("forwarding = \"{method}\"");
        usual_config(lab, &[0, 1, 2, 3])
            .replace("forwarding = \"direct\"", &method)
            .replace("forwarding = \"nat\"", &method)
    });
    for service in [service_v4(HTTP), service_v6(HTTP)] {
        let before = answered(&bed, service.ip());
        for length in LENGTHS {
            let sent: Vec<u8> = (0..length).map(|at| at as u8).collect();
            for sequence in 0..REQUESTS {
                let answer = echo(&bed, service.ip(), sequence, &sent);
                let answer = answer.unwrap_or_else(|error| panic!("{service}, {length}: {error}\n{}", bed.traces()));
                assert!(answer == sent, "{service}: {} octets, not the {length} that were sent", answer.len());
            }
        }
        let requests = LENGTHS.len() as u64 * u64::from(REQUESTS);
        assert_eq!(answered(&bed, service.ip()) - before, requests, "{service}: not all answers are the host's");
    }
    let forwarded = || bed.fairway.metric_sum("fairway_backend_packets_total");
    assert_eq!(forwarded(), 0.0, "echo requests went to backends");

    // Had they, it would have been seen.
    for service in [service_v4(HTTP), service_v6(HTTP)] {
        let before = forwarded();
        let connect = || TcpStream::connect_timeout(&service, Duration::from_millis(500));
        // Under `tunnel` nobody unwraps it here, and it is not answered.
        let _ = bed.lab.client().run(connect).expect("the namespace is there");
        assert!(forwarded() > before, "{service}");
    }
}

/// Sends an echo request from the client; what comes back with it.
fn echo(bed: &Bed, to: IpAddr, sequence: u16, data: &[u8]) -> io::Result<Vec<u8>> {
    let (family, protocol, request, reply) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp, 8, 0),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6, 128, 129),
    };
    let open = || {
        fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0")?;
        socket(family, SockType::Datagram, SockFlag::empty(), protocol).map_err(io::Error::from)
    };
    let socket = UdpSocket::from(bed.lab.client().run(open).map_err(io::Error::other)??);
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(SocketAddr::new(to, 0))?;
    // The kernel fills in checksum and identifier (icmp(7)).
    let mut message = vec![request, 0, 0, 0, 0, 0];
    message.extend(sequence.to_be_bytes());
    message.extend(data);
    socket.send(&message)?;
    let mut answer = vec![0; HEADER + data.len() + 1];
    let length = socket.recv(&mut answer)?;
    assert!(length >= HEADER && answer[0] == reply, "type {} in {length} octets", answer[0]);
    assert_eq!(answer[6..HEADER], sequence.to_be_bytes(), "an answer to another request");
    Ok(answer[HEADER..length].to_vec())
}

/// Echo replies that the balancer's own kernel has sent, in the family of this address.
fn answered(bed: &Bed, family: IpAddr) -> u64 {
    let file = if family.is_ipv4() { "snmp" } else { "snmp6" };
    let read = || fs::read_to_string(format!("/proc/thread-self/net/{file}"));
    let text = bed.lab.balancer(0).run(read).expect("the namespace is there").expect("it can be read");
    let value = match family {
        IpAddr::V4(_) => {
            let mut lines = text.lines().filter_map(|line| line.strip_prefix("Icmp: "));
            let (names, values) = (lines.next().expect("names come first"), lines.next().expect("then values"));
            let mut pairs = names.split(' ').zip(values.split(' '));
            pairs.find(|(name, _)| *name == "OutEchoReps").map(|(_, value)| value.to_owned())
        }
        IpAddr::V6(_) => {
            let line = text.lines().find(|line| line.starts_with("Icmp6OutEchoReplies "));
            line.and_then(|line| line.split_whitespace().nth(1)).map(ToOwned::to_owned)
        }
    };
    value.and_then(|value| value.parse().ok()).expect("the kernel counts echo replies")
}
