//! Receiving with TTL and destination, for raw and UDP sockets of both families.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd as _;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use socket2::Socket;

/// What a datagram came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Its length in the buffer. Longer ones are cut.
    pub length: usize,
    /// Who sent it.
    pub source: IpAddr,
    /// To whom, where the socket was set to tell.
    pub destination: Option<IpAddr>,
    /// TTL or hop limit, where the socket was set to tell.
    pub ttl: Option<u8>,
}

/// The next datagram.
///
/// # Errors
/// `WouldBlock` when there is none; what earlier ones sent brought back (`ECONNREFUSED`).
pub fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<Datagram> {
    let mut control = nix::cmsg_space!(libc::in6_pktinfo, i32, i32);
    let mut parts = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    let source = message.address.as_ref().and_then(address).ok_or(io::ErrorKind::InvalidData)?;
    let mut datagram = Datagram { length: message.bytes, source, destination: None, ttl: None };
    for control in message.cmsgs()? {
        match control {
            ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => {
                datagram.ttl = u8::try_from(ttl).ok();
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                datagram.destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
            }
            _ => {}
        }
    }
    Ok(datagram)
}

fn address(storage: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

/// TTL, destination and the place of the payload, of a packet with its IPv4 header.
pub fn ipv4_parts(packet: &[u8]) -> Option<(u8, Ipv4Addr, &[u8])> {
    let header_octets = usize::from(packet.first()? & 0x0f) * 4;
    if header_octets < 20 {
        return None;
    }
    let payload = packet.get(header_octets..)?;
    let destination: [u8; 4] = packet[16..20].try_into().expect("four octets");
    Some((packet[8], Ipv4Addr::from(destination), payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_begins_behind_the_options() {
        let mut packet = vec![0x46, 0xc0, 0, 28, 0, 0, 0, 0, 255, 112, 0, 0, 10, 0, 0, 1, 224, 0, 0, 18];
        packet.extend([0x94, 4, 0, 0, 0x31, 51]);
        assert_eq!(ipv4_parts(&packet), Some((255, Ipv4Addr::new(224, 0, 0, 18), &[0x31, 51][..])));
        packet[0] = 0x44;
        assert_eq!(ipv4_parts(&packet), None, "a header cannot be so short");
        assert_eq!(ipv4_parts(&packet[..19]), None);
        assert_eq!(ipv4_parts(&[]), None);
    }
}
