//! The raw sockets for VRRP: one for each interface and family to receive, one for each family to send unicast by.
//!
//! One for each interface, because a socket can only be in some twenty groups (`igmp_max_memberships`), and so that an
//! interface's packets have a queue of their own. Nothing is checked here: what arrives goes to the engine.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::NonZeroU32;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use nix::sys::socket::sockopt::{Ipv6RecvHopLimit, Ipv6RecvPacketInfo};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg, setsockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockFilter, Socket, Type};

use super::datagram::{self, ipv4_parts};
use super::frames::{PROTOCOL_VRRP, TRAFFIC_CLASS, TTL};
use super::sys;
use super::troubles::Troubles;
use crate::vrrp::effect::{Advertise, Subscription};
use crate::vrrp::event::Received;

/// `224.0.0.18` (RFC 9568 section 5.1.1.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// `ff02::12` (RFC 9568 section 5.1.2.2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// Room for what arrives while the thread does not run: some thousand advertisements.
const RECEIVE_BUFFER: usize = 1 << 20;
const PRIORITY_CONTROL: u32 = 7;
/// Classic BPF: take so many octets of the packet.
const BPF_RETURN: u16 = 0x06;

/// An interface and a family.
pub type Place = (u32, bool);

/// The sockets.
#[derive(Default)]
pub struct Advertisements {
    wanted: BTreeSet<Subscription>,
    receivers: BTreeMap<Place, Receiver>,
    senders: BTreeMap<bool, Socket>,
}

struct Receiver {
    socket: Socket,
    multicast: bool,
}

impl Advertisements {
    /// Listens by these and no others.
    pub fn listen(&mut self, wanted: BTreeSet<Subscription>, troubles: &mut Troubles) {
        self.wanted = wanted;
        let wanted = &self.wanted;
        self.receivers.retain(|(interface, is_ipv4), receiver| {
            wanted.iter().any(|subscription| {
                (subscription.interface, subscription.is_ipv4) == (*interface, *is_ipv4)
                    && (subscription.multicast || !receiver.multicast)
            })
        });
        self.mend(troubles);
    }

    /// Opens what is wanted and not there yet.
    pub fn mend(&mut self, troubles: &mut Troubles) {
        for subscription in &self.wanted {
            let place = (subscription.interface, subscription.is_ipv4);
            let what = format!("listen for VRRP on interface {} ({})", place.0, family(place.1));
            if let Some(receiver) = self.receivers.get_mut(&place) {
                if subscription.multicast && !receiver.multicast {
                    receiver.multicast = note(receiver.join(place), &what, troubles);
                }
                continue;
            }
            match Receiver::open(place) {
                Ok(mut receiver) => {
                    troubles.over(&what);
                    if subscription.multicast {
                        receiver.multicast = note(receiver.join(place), &what, troubles);
                    }
                    self.receivers.insert(place, receiver);
                }
                Err(error) => troubles.tell(&what, &error, "CAP_NET_RAW is needed"),
            }
        }
    }

    /// Joins again by an interface that is back: its switch may have forgotten us, and only a join is announced.
    pub fn rejoin(&mut self, interface: u32, troubles: &mut Troubles) {
        for is_ipv4 in [true, false] {
            let place = (interface, is_ipv4);
            let Some(receiver) = self.receivers.get_mut(&place).filter(|receiver| receiver.multicast) else { continue };
            receiver.leave(place);
            let what = format!("listen for VRRP on interface {} ({})", place.0, family(place.1));
            receiver.multicast = note(receiver.join(place), &what, troubles);
        }
    }

    /// Sends to one peer through the host's routing, from the source the engine chose. Also what is too long for a frame.
    ///
    /// # Errors
    /// The kernel's.
    pub fn send(&mut self, advertise: &Advertise, destination: IpAddr) -> io::Result<()> {
        let is_ipv4 = destination.is_ipv4();
        let socket = match self.senders.entry(is_ipv4) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => place.insert(sender(is_ipv4)?),
        };
        let interface = if is_on_link(destination) { advertise.interface } else { 0 };
        let scoped = match destination {
            IpAddr::V4(to) => SocketAddr::from((to, 0)),
            IpAddr::V6(to) => SocketAddrV6::new(to, 0, 0, interface).into(),
        };
        send_from(socket, advertise.source, interface, scoped, &advertise.payload)
    }

    /// For polling.
    pub fn descriptors(&self) -> impl Iterator<Item = (Place, BorrowedFd<'_>)> {
        self.receivers.iter().map(|(place, receiver)| (*place, receiver.socket.as_fd()))
    }

    /// The next packet that came in by an interface; `None` when there is none, or it was cut short.
    pub fn receive<'a>(&self, place: Place, buffer: &'a mut [u8]) -> io::Result<Option<Received<'a>>> {
        let Some(receiver) = self.receivers.get(&place) else { return Err(io::ErrorKind::WouldBlock.into()) };
        let datagram = datagram::receive(&receiver.socket, buffer)?;
        let packet = &buffer[..datagram.length];
        let (interface, is_ipv4) = place;
        let source = datagram.source;
        if is_ipv4 {
            Ok(ipv4_parts(packet).map(|(ttl, destination, payload)| Received {
                interface,
                source,
                destination: destination.into(),
                ttl,
                payload,
            }))
        } else {
            let parts = datagram.destination.zip(datagram.ttl);
            Ok(parts.map(|(destination, ttl)| Received { interface, source, destination, ttl, payload: packet }))
        }
    }
}

impl Receiver {
    fn open((interface, is_ipv4): Place) -> io::Result<Self> {
        let socket = raw(is_ipv4)?;
        let device = NonZeroU32::new(interface);
        if is_ipv4 {
            socket.bind_device_by_index_v4(device)?;
            socket.set_multicast_all_v4(false)?;
            socket.set_multicast_loop_v4(false)?;
        } else {
            socket.bind_device_by_index_v6(device)?;
            socket.set_multicast_all_v6(false)?;
            socket.set_multicast_loop_v6(false)?;
            setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
            setsockopt(&socket, Ipv6RecvHopLimit, &true)?;
        }
        sys::set_receive_buffer(&socket, RECEIVE_BUFFER)?;
        Ok(Self { socket, multicast: false })
    }

    fn join(&self, (interface, is_ipv4): Place) -> io::Result<()> {
        if is_ipv4 {
            self.socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(interface))
        } else {
            self.socket.join_multicast_v6(&GROUP_V6, interface)
        }
    }

    fn leave(&self, (interface, is_ipv4): Place) {
        let _ = if is_ipv4 {
            self.socket.leave_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(interface))
        } else {
            self.socket.leave_multicast_v6(&GROUP_V6, interface)
        };
    }
}

/// A raw socket. Checksums over IPv6 are neither filled in nor verified by the kernel: that is the codec's.
fn raw(is_ipv4: bool) -> io::Result<Socket> {
    let domain = if is_ipv4 { Domain::IPV4 } else { Domain::IPV6 };
    Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(Protocol::from(i32::from(PROTOCOL_VRRP))))
}

fn sender(is_ipv4: bool) -> io::Result<Socket> {
    let socket = raw(is_ipv4)?;
    if is_ipv4 {
        socket.set_ttl_v4(u32::from(TTL))?;
        socket.set_multicast_ttl_v4(u32::from(TTL))?;
        socket.set_multicast_loop_v4(false)?;
        socket.set_tos_v4(u32::from(TRAFFIC_CLASS))?;
        socket.set_freebind_v4(true)?;
    } else {
        socket.set_unicast_hops_v6(u32::from(TTL))?;
        socket.set_multicast_hops_v6(u32::from(TTL))?;
        socket.set_multicast_loop_v6(false)?;
        socket.set_tclass_v6(u32::from(TRAFFIC_CLASS))?;
        socket.set_freebind_v6(true)?;
    }
    let _ = socket.set_priority(PRIORITY_CONTROL);
    // It is for sending only: nothing that arrives is put into its queue.
    socket.attach_filter(&[SockFilter::new(BPF_RETURN, 0, 0, 0)])?;
    Ok(socket)
}

/// Groups and link-local addresses mean nothing without an interface.
fn is_on_link(destination: IpAddr) -> bool {
    match destination {
        IpAddr::V4(to) => to.is_multicast(),
        IpAddr::V6(to) => to.is_multicast() || to.is_unicast_link_local(),
    }
}

fn send_from(socket: &Socket, source: IpAddr, interface: u32, to: SocketAddr, octets: &[u8]) -> io::Result<()> {
    let parts = [io::IoSlice::new(octets)];
    let to = SockaddrStorage::from(to);
    let v4;
    let v6;
    let control = match source {
        IpAddr::V4(source) => {
            v4 = libc::in_pktinfo {
                ipi_ifindex: i32::try_from(interface).unwrap_or(0),
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            ControlMessage::Ipv4PacketInfo(&v4)
        }
        IpAddr::V6(source) => {
            v6 = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: source.octets() }, ipi6_ifindex: interface };
            ControlMessage::Ipv6PacketInfo(&v6)
        }
    };
    sendmsg(socket.as_raw_fd(), &parts, &[control], MsgFlags::MSG_DONTWAIT, Some(&to))?;
    Ok(())
}

fn note(outcome: io::Result<()>, what: &str, troubles: &mut Troubles) -> bool {
    match outcome {
        Ok(()) => {
            troubles.over(what);
            true
        }
        Err(error) => {
            troubles.tell(what, &error, "");
            false
        }
    }
}

fn family(is_ipv4: bool) -> &'static str {
    if is_ipv4 { "IPv4" } else { "IPv6" }
}
