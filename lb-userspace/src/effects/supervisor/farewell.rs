//! The last advertisement of a virtual router, ready to be sent: built when the testament arrives, so that nothing is left
//! to do but to hand it to the kernel.

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd as _;

use nix::net::if_::if_indextoname;
use socket2::{Domain, Protocol, Socket, Type};

use crate::vrrp::effect::Advertise;

/// VRRP's protocol number (RFC 9568 section 5.1.1.4).
const VRRP: u8 = 112;
/// TTL and hop limit (RFC 9568 sections 5.1.1.3 and 5.1.2.3).
const TTL: u8 = 255;
/// DSCP CS6, network control.
const TRAFFIC_CLASS: u8 = 0xc0;
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
/// Shorter frames are padded: not every driver does it for us.
const LEAST_FRAME: usize = 60;

/// An advertisement to one destination.
#[derive(Debug)]
pub enum Farewell {
    /// To a multicast group: a whole frame, since its source MAC address need not be the interface's, and no firewall rule
    /// of the host may stop it.
    Frame {
        /// Index of the interface.
        interface: u32,
        /// The frame.
        octets: Vec<u8>,
    },
    /// To a unicast peer, by the kernel's routes and neighbours.
    Packet {
        /// Bound to source and interface.
        socket: Socket,
        /// To whom.
        to: SocketAddr,
        /// The VRRP message.
        payload: Vec<u8>,
    },
}

/// Sends frames on any interface. One packet socket does for all.
#[derive(Debug)]
pub struct FrameSocket(Socket);

impl FrameSocket {
    /// Opens it. It receives nothing.
    ///
    /// # Errors
    /// When we may not, for lack of `CAP_NET_RAW`.
    pub fn open() -> io::Result<Self> {
        Ok(Self(Socket::new(Domain::PACKET, Type::RAW, None)?))
    }

    fn send(&self, interface: u32, frame: &[u8]) -> io::Result<()> {
        let place = libc::sockaddr_ll {
            sll_family: u16::try_from(libc::AF_PACKET).expect("a small number"),
            sll_protocol: 0,
            sll_ifindex: i32::try_from(interface).map_err(io::Error::other)?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).expect("a small number");
        // SAFETY: the kernel reads so many octets of the frame and of the address, and both outlive the call.
        let sent = unsafe {
            let (frame, size) = (frame.as_ptr().cast(), frame.len());
            libc::sendto(self.0.as_raw_fd(), frame, size, libc::MSG_DONTWAIT, std::ptr::from_ref(&place).cast(), length)
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Farewell {
    /// One for each destination. Those that cannot be made are left out and said.
    pub fn prepare(advertise: &Advertise) -> (Vec<Self>, Vec<String>) {
        let (mut farewells, mut failures) = (Vec::new(), Vec::new());
        for destination in &advertise.destinations {
            match Self::to(advertise, *destination) {
                Ok(farewell) => farewells.push(farewell),
                Err(error) => failures.push(format!("no farewell to {destination}: {error}")),
            }
        }
        (farewells, failures)
    }

    fn to(advertise: &Advertise, destination: IpAddr) -> io::Result<Self> {
        if destination.is_multicast() {
            let octets = frame(advertise.source_mac, advertise.source, destination, &advertise.payload);
            let octets = octets.ok_or_else(|| io::Error::other("source and destination are of two families"))?;
            return Ok(Self::Frame { interface: advertise.interface, octets });
        }
        let socket = unicast_socket(advertise.interface, advertise.source)?;
        let to = with_scope(destination, advertise.interface);
        Ok(Self::Packet { socket, to, payload: advertise.payload.clone() })
    }

    /// Sends it, without waiting.
    pub fn send(&self, frames: &FrameSocket) -> io::Result<()> {
        match self {
            Self::Frame { interface, octets } => frames.send(*interface, octets),
            Self::Packet { socket, to, payload } => socket.send_to(payload, &(*to).into()).map(drop),
        }
    }
}

fn unicast_socket(interface: u32, source: IpAddr) -> io::Result<Socket> {
    let domain = if source.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(VRRP))))?;
    socket.set_nonblocking(true)?;
    // It only sends, and what it receives need not be kept.
    socket.set_recv_buffer_size(1)?;
    if source.is_ipv4() {
        socket.set_ttl_v4(u32::from(TTL))?;
        socket.set_tos_v4(u32::from(TRAFFIC_CLASS))?;
    } else {
        socket.set_unicast_hops_v6(u32::from(TTL))?;
        socket.set_tclass_v6(u32::from(TRAFFIC_CLASS))?;
    }
    socket.bind_device(Some(if_indextoname(interface)?.as_bytes()))?;
    socket.bind(&with_scope(source, interface).into())?;
    Ok(socket)
}

/// Link-local addresses mean something only together with an interface.
fn with_scope(address: IpAddr, interface: u32) -> SocketAddr {
    match address {
        IpAddr::V6(address) if address.is_unicast_link_local() => SocketAddrV6::new(address, 0, 0, interface).into(),
        IpAddr::V4(_) | IpAddr::V6(_) => SocketAddr::new(address, 0),
    }
}

/// `None` when the addresses are of two families, or the payload too long for a packet.
fn frame(source_mac: [u8; 6], source: IpAddr, group: IpAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let mut frame = Vec::with_capacity(14 + 40 + payload.len());
    match (source, group) {
        (IpAddr::V4(source), IpAddr::V4(group)) => {
            let [_, b, c, d] = group.octets();
            frame.extend([0x01, 0x00, 0x5e, b & 0x7f, c, d]); // RFC 1112 section 6.4
            frame.extend(source_mac);
            frame.extend(IPV4);
            let length = u16::try_from(20 + payload.len()).ok()?.to_be_bytes();
            let mut header =
                [0x45, TRAFFIC_CLASS, length[0], length[1], 0, 0, 0, 0, TTL, VRRP, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            header[12..16].copy_from_slice(&source.octets());
            header[16..20].copy_from_slice(&group.octets());
            let checksum = ipv4_checksum(&header).to_be_bytes();
            header[10..12].copy_from_slice(&checksum);
            frame.extend(header);
        }
        (IpAddr::V6(source), IpAddr::V6(group)) => {
            let low = &group.octets()[12..];
            frame.extend([0x33, 0x33, low[0], low[1], low[2], low[3]]); // RFC 2464 section 7
            frame.extend(source_mac);
            frame.extend(IPV6);
            let length = u16::try_from(payload.len()).ok()?.to_be_bytes();
            frame.extend([0x60 | TRAFFIC_CLASS >> 4, TRAFFIC_CLASS << 4, 0, 0, length[0], length[1], VRRP, TTL]);
            frame.extend(source.octets());
            frame.extend(group.octets());
        }
        _ => return None,
    }
    frame.extend_from_slice(payload);
    frame.resize(frame.len().max(LEAST_FRAME), 0);
    Some(frame)
}

/// RFC 791 section 3.1.
fn ipv4_checksum(header: &[u8; 20]) -> u16 {
    let sum: u32 = header.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded twice")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];

    #[test]
    fn an_ipv4_frame_is_as_others_send_it() {
        let frame = frame(MAC, "192.0.2.2".parse().unwrap(), "224.0.0.18".parse().unwrap(), &[0x31, 51]).unwrap();
        let expected = [
            &[0x01, 0, 0x5e, 0, 0, 18][..],
            &MAC,
            &[0x08, 0],
            // The checksum by hand: 45c0+0016+ff70+c000+0202+e000+0012 = 2e75a, folded e75c, inverted 18a3.
            &[0x45, 0xc0, 0, 22, 0, 0, 0, 0, 255, 112, 0x18, 0xa3, 192, 0, 2, 2, 224, 0, 0, 18],
            &[0x31, 51],
        ]
        .concat();
        assert_eq!(frame[..expected.len()], expected);
        assert!(frame.len() == LEAST_FRAME && frame[expected.len()..].iter().all(|octet| *octet == 0));
    }

    #[test]
    fn an_ipv6_frame_is_as_others_send_it() {
        let frame = frame(MAC, "fe80::2".parse().unwrap(), "ff02::12".parse().unwrap(), &[0x31; 40]).unwrap();
        assert_eq!(frame[..14], [0x33, 0x33, 0, 0, 0, 0x12, 0, 0, 0x5e, 0, 1, 51, 0x86, 0xdd]);
        assert_eq!(frame[14..22], [0x6c, 0, 0, 0, 0, 40, 112, 255]);
        assert_eq!((frame.len(), &frame[54..]), (94, &[0x31; 40][..]));
    }

    #[test]
    fn addresses_of_two_families_make_no_frame() {
        assert_eq!(frame(MAC, "192.0.2.2".parse().unwrap(), "ff02::12".parse().unwrap(), &[]), None);
    }
}
