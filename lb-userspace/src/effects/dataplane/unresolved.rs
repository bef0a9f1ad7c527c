//! Sends replies whose neighbour the kernel did not know when they came: the packet path hands them up, already
//! translated, and the host's own stack resolves the neighbour and sends them. They cannot simply be passed, because their
//! source is an address of this host, which the stack drops on input.

use std::net::{IpAddr, SocketAddr};

use anyhow::Context as _;
use aya::maps::{MapData, RingBuf};
use lb_common::abi::UNRESOLVED_FRAME_MAX;
use lb_common::packet::Packet as _;
use lb_common::packet::ipv4;
use lb_common::packet::ipv6;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;
use tracing::debug;

use crate::native::NativePacket;

/// The sender: reads the ring buffer, writes raw sockets.
pub struct Sender {
    ring: AsyncFd<RingBuf<MapData>>,
    v4: Socket,
    v6: Socket,
}

impl Sender {
    /// Opens the raw sockets in the calling thread's network namespace. Needs a tokio runtime with I/O.
    ///
    /// # Errors
    /// When the kernel refuses them (no CAP_NET_RAW).
    pub fn new(ring: RingBuf<MapData>) -> anyhow::Result<Self> {
        let raw = || Protocol::from(libc::IPPROTO_RAW);
        let v4 = Socket::new(Domain::IPV4, Type::RAW, Some(raw())).context("opening a raw socket for IPv4")?;
        let v6 = Socket::new(Domain::IPV6, Type::RAW, Some(raw())).context("opening a raw socket for IPv6")?;
        // IPPROTO_RAW implies that the header is included, for both families (raw(7), ipv6(7)).
        v4.set_nonblocking(true)?;
        v6.set_nonblocking(true)?;
        // SAFETY: the ring buffer owns its descriptor and keeps it open and the same for as long as it lives, which is as
        // long as `AsyncFd` does, since that owns it.
        let ring = unsafe { AsyncFd::register(ring) }.context("waiting for the ring buffer")?;
        Ok(Self { ring, v4, v6 })
    }

    /// Sends frames until the ring buffer fails.
    ///
    /// # Errors
    /// When waiting for the ring buffer fails.
    pub async fn run(mut self) -> anyhow::Result<()> {
        loop {
            let mut ready = self.ring.readable_mut().await.context("waiting for the ring buffer")?;
            while let Some(item) = ready.get_inner_mut().next() {
                send(&self.v4, &self.v6, &item);
            }
            ready.clear_ready();
        }
    }
}

/// Sends one frame. A failure is the network's to mend: the sender retransmits.
fn send(v4: &Socket, v6: &Socket, item: &[u8]) {
    let Some((packet, destination)) = packet_of(item) else { return };
    let socket = if destination.is_ipv4() { v4 } else { v6 };
    if let Err(error) = socket.send_to(packet, &SocketAddr::new(destination, 0).into()) {
        debug!(%destination, %error, "a reply that waited for its neighbour could not be sent");
    }
}

/// The IP packet of an `abi::UnresolvedFrame` and where it goes. `None` when part of it lies in further buffers, which are
/// not handed over: the kernel would send what is here as if it were all.
fn packet_of(item: &[u8]) -> Option<(&[u8], IpAddr)> {
    let word = |at: usize| Some(u32::from_ne_bytes(item.get(at..at + 4)?.try_into().ok()?) as usize);
    let (length, network) = (word(0)?.min(UNRESOLVED_FRAME_MAX), word(4)?);
    let frame = item.get(8..8 + length)?;
    let packet = NativePacket::new(frame, 0);
    let datagram = match packet.load::<u8>(network)? >> 4 {
        4 => ipv4::parse(&packet, network)?,
        _ => ipv6::parse(&packet, network, |_| false)?,
    };
    let end = network.checked_add(datagram.length as usize)?;
    Some((frame.get(network..end)?, datagram.destination.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An untagged IPv4 packet of `length` octets from the header on, of which `present` are there, as handed over.
    fn item(length: u16, present: usize) -> Vec<u8> {
        let mut frame = vec![0u8; 14];
        frame[12..14].copy_from_slice(&[8, 0]);
        let mut packet = vec![0u8; usize::from(length)];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet[16..20].copy_from_slice(&[10, 0, 0, 9]);
        frame.extend(&packet[..present]);
        let octets = u32::try_from(frame.len()).expect("short").to_ne_bytes();
        [&octets[..], &14u32.to_ne_bytes(), &frame].concat()
    }

    #[test]
    fn the_packet_is_what_follows_the_link_layer() {
        let item = item(40, 40);
        let (packet, destination) = packet_of(&item).expect("a whole packet");
        assert_eq!((packet.len(), destination), (40, IpAddr::from([10, 0, 0, 9])));
    }

    #[test]
    fn padding_behind_a_short_packet_is_not_sent() {
        let mut item = item(40, 40);
        item.extend([0; 6]);
        let octets = u32::from_ne_bytes(item[..4].try_into().expect("four")) + 6;
        item[..4].copy_from_slice(&octets.to_ne_bytes());
        assert_eq!(packet_of(&item).expect("a whole packet").0.len(), 40);
    }

    #[test]
    fn a_packet_that_goes_on_in_another_buffer_is_not_sent_in_part() {
        assert!(packet_of(&item(1500, 1000)).is_none());
    }
}
