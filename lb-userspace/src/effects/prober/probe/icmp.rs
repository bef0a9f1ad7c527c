//! An ICMP echo request (RFC 792) or an ICMPv6 one (RFC 4443, section 4.1) is answered.

use std::net::IpAddr;

use lb_common::checksum;

use super::attempt::{Attempt, Stage};
use crate::effects::prober::route;
use crate::health::verdict::{Failure, FailureKind, Success};

/// Type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;
/// By these octets we know our own; nobody can guess them.
const TOKEN: usize = 16;
const REPLY_V4: u8 = 0;
const REQUEST_V4: u8 = 8;
const REQUEST_V6: u8 = 128;
const REPLY_V6: u8 = 129;

pub(super) async fn run(attempt: &Attempt<'_>) -> Result<Success, Failure> {
    attempt.enter(Stage::Datagram);
    let failure = |trouble: route::Trouble| trouble.failure(attempt.target());
    let mut token = [0; TOKEN];
    getrandom::fill(&mut token)
        .map_err(|error| Failure::new(FailureKind::Local, format!("no random number: {error}")))?;
    let (request, reply) = match attempt.route.destination().ip() {
        IpAddr::V4(_) => (REQUEST_V4, REPLY_V4),
        IpAddr::V6(_) => (REQUEST_V6, REPLY_V6),
    };
    let socket = route::icmp(attempt.route).map_err(failure)?;
    let identifier = socket.identifier().map_or([token[0], token[1]], u16::to_be_bytes);
    socket.send(&message(request, identifier, &token)).await.map_err(failure)?;
    // A raw socket is shown whatever the peer sends, and over loopback our own request.
    let mut buffer = [0; 256];
    loop {
        let message = socket.receive(&mut buffer).await.map_err(failure)?;
        if message.first() == Some(&reply) && message.get(HEADER..) == Some(&token) {
            return Ok(Success { detail: "echo answered".to_owned(), ..Success::default() });
        }
    }
}

/// The kernel computes the checksum of ICMPv6, which covers addresses; of ICMP it leaves it to us.
fn message(kind: u8, identifier: [u8; 2], token: &[u8; TOKEN]) -> [u8; HEADER + TOKEN] {
    let mut message = [0; HEADER + TOKEN];
    message[0] = kind;
    message[4..6].copy_from_slice(&identifier);
    message[7] = 1;
    message[HEADER..].copy_from_slice(token);
    let sum = checksum::full(0, &message);
    message[2..4].copy_from_slice(&sum.to_ne_bytes());
    message
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::super::tests::{ask, spec};
    use super::*;
    use crate::config::check::Probe;

    #[tokio::test]
    async fn both_families_answer_over_loopback() {
        for address in [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)] {
            let mut spec = spec(Probe::Icmp, 0);
            spec.target.address = address;
            // Without CAP_NET_RAW and outside of net.ipv4.ping_group_range nobody may ask, and that is what is said.
            match ask(&spec).await.result {
                Err(failure) if !nix::unistd::geteuid().is_root() && failure.kind == FailureKind::Local => {
                    let why = "cannot make the probe: making a socket: Operation not permitted (os error 1)";
                    assert_eq!(failure.why, why);
                }
                result => assert_eq!(result.map(|success| success.detail), Ok("echo answered".to_owned())),
            }
        }
    }

    #[test]
    fn a_message_sums_up_to_nothing() {
        let message = message(REQUEST_V4, [1, 2], &[0xf7; TOKEN]);
        assert_eq!(checksum::full(0, &message), 0);
        assert_eq!(&message[..2], [REQUEST_V4, 0]);
    }
}
