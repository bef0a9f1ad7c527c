//! Backends that answer ARP for a service's address. Such a backend takes the service's traffic away: the router asks who has
//! the address, and whichever answer comes last has all of it until the entry ages. It is the classic mistake with `direct`
//! backends (`arp_ignore` on the backend), and shows only now and then, so it is looked for.
//!
//! Each backend is asked by itself: an ARP request for the service's address in a frame that only it gets, with no sender
//! address (RFC 5227 section 2.1.1), so that nobody's table changes by it. One that is set up rightly keeps silent. IPv6 is
//! not looked at: Linux answers solicitations only for addresses of the interface that they come in by.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd as _;
use std::thread::sleep;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::vrrp::frames::{self, Said};
use super::vrrp::link_layer::{Listener, next_said, packet_socket};
use super::vrrp::sys::link_address;
use crate::controller::claims::Question;
use crate::controller::steering::Pair;

/// Questions that are sent at a time; then the answers are read, so that none is lost.
const BURST: usize = 64;
/// Between two bursts: a thousand questions take a third of a second.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the last answers are waited for.
const PATIENCE: Duration = Duration::from_millis(500);
/// Length of the two MAC addresses, behind which tags go.
const MACS: usize = 12;

/// Asks, and waits for answers, a second or so: who answered. Blocks.
///
/// # Errors
/// Without CAP_NET_RAW. What could not be sent is as if nobody had answered.
pub fn ask(questions: &[Question]) -> io::Result<BTreeSet<Pair>> {
    let listener = Listener::arp()?;
    let sender = packet_socket(None)?;
    let asked: BTreeMap<([u8; 6], IpAddr), Pair> =
        questions.iter().map(|it| ((it.frame.destination_mac.0, it.pair.service), it.pair)).collect();
    let mut answered = BTreeSet::new();
    for burst in questions.chunks(BURST) {
        for (question, frame) in burst.iter().filter_map(|it| Some((it, frame(it)?))) {
            if let Err(error) = sender.send_to(&frame, &link_address(question.frame.interface, 0)) {
                tracing::debug!(%error, pair = ?question.pair, "an ARP question was not sent");
            }
        }
        sleep(PAUSE);
        hear(&listener, &asked, &mut answered);
    }
    let mut readable = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    // Other hosts' questions wake us too; a few dozen rounds are enough.
    for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
        poll(&mut readable, PollTimeout::try_from(PAUSE).expect("a short time"))?;
        hear(&listener, &asked, &mut answered);
    }
    Ok(answered)
}

/// Reads all that waits.
fn hear(listener: &socket2::Socket, asked: &BTreeMap<([u8; 6], IpAddr), Pair>, answered: &mut BTreeSet<Pair>) {
    loop {
        match next_said(listener) {
            Ok(Some((_, _, Said::Arp(arp)))) if arp.is_reply => {
                answered.extend(asked.get(&(arp.sender_mac, arp.sender.into())));
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

/// An ARP request to nobody but the backend.
fn frame(question: &Question) -> Option<Vec<u8>> {
    let Question { pair, frame } = question;
    let mut octets = frames::question(frame.source_mac.0, Ipv4Addr::UNSPECIFIED.into(), pair.service)?;
    octets[..6].copy_from_slice(&frame.destination_mac.0);
    let tags: Vec<u8> =
        frame.tags.iter().flat_map(|tag| [tag.tpid.to_be_bytes(), tag.tci.to_be_bytes()].concat()).collect();
    octets.splice(MACS..MACS, tags);
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nexthop::{Frame, Mac, VlanTag};

    #[test]
    fn a_question_goes_to_the_backend_alone_with_its_tags_and_without_a_sender() {
        let pair = Pair { backend: [10, 0, 0, 11].into(), service: [203, 0, 113, 10].into(), wrapping: None };
        let frame = Frame {
            interface: 3,
            source_mac: Mac([2, 0, 0, 0, 0, 1]),
            destination_mac: Mac([2, 0, 0, 0, 0, 11]),
            tags: vec![VlanTag { tpid: 0x8100, tci: 100 }],
            mtu: 1500,
            source: None,
        };
        let octets = super::frame(&Question { pair, frame }).expect("IPv4");
        assert_eq!(octets[..6], [2, 0, 0, 0, 0, 11]);
        assert_eq!(octets[12..18], [0x81, 0, 0, 100, 8, 6]);
        let untagged = [&octets[..12], &octets[16..]].concat();
        let Some(Said::Arp(arp)) = frames::read(&untagged) else { panic!("{octets:02x?}") };
        assert_eq!((arp.is_reply, arp.sender, arp.target), (false, Ipv4Addr::UNSPECIFIED, [203, 0, 113, 10].into()));
    }
}
