//! The UDP sockets beside VRRP: the peer link's heartbeats, and BFD (RFC 5881: port 3784, TTL 255, a source port for each
//! session).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::NonZeroU32;
use std::os::fd::{AsFd as _, BorrowedFd};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4RecvTtl, Ipv6RecvHopLimit};
use socket2::{Domain, Socket, Type};

use super::datagram::{self, Datagram};
use super::frames::{TRAFFIC_CLASS, TTL};
use super::sys;
use super::troubles::Troubles;
use crate::vrrp::effect::BfdEnds;

/// RFC 5881 section 4.
const BFD_PORT: u16 = 3784;
/// RFC 5881 section 4: the range of source ports.
const BFD_SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;
/// Ports tried for one session before it is put off.
const MOST_PORTS_TRIED: usize = 64;
const RECEIVE_BUFFER: usize = 512 << 10;
const PRIORITY_CONTROL: u32 = 7;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// The peer link, by family.
    Peer {
        /// IPv4.
        is_ipv4: bool,
    },
    /// Receives BFD, by family.
    Bfd {
        /// IPv4.
        is_ipv4: bool,
    },
}

/// The sockets.
#[derive(Default)]
pub struct Companions {
    peer: Option<PeerLink>,
    sessions: BTreeSet<BfdEnds>,
    receivers: BTreeMap<Use, Socket>,
    bfd_senders: BTreeMap<BfdEnds, Socket>,
    next_port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct PeerLink {
    port: u16,
    families: BTreeSet<bool>,
}

impl Companions {
    /// What the peer link needs: its port, and the peer's addresses. `None`: there is no peer link.
    pub fn set_peer(&mut self, peer: Option<(u16, &[IpAddr])>, troubles: &mut Troubles) {
        let peer =
            peer.map(|(port, addresses)| PeerLink { port, families: addresses.iter().map(IpAddr::is_ipv4).collect() });
        if peer != self.peer {
            self.receivers.retain(|purpose, _| matches!(purpose, Use::Bfd { .. }));
            self.peer = peer;
        }
        self.mend(troubles);
    }

    /// BFD sessions that packets are wanted of, and no others.
    pub fn set_sessions(&mut self, sessions: BTreeSet<BfdEnds>, troubles: &mut Troubles) {
        self.bfd_senders.retain(|ends, _| sessions.contains(ends));
        self.receivers.retain(|purpose, _| match purpose {
            Use::Bfd { is_ipv4 } => sessions.iter().any(|ends| ends.source.is_ipv4() == *is_ipv4),
            Use::Peer { .. } => true,
        });
        self.sessions = sessions;
        self.mend(troubles);
    }

    /// Opens what is wanted and not there yet.
    pub fn mend(&mut self, troubles: &mut Troubles) {
        let peer = self.peer.clone();
        for (port, is_ipv4) in peer.iter().flat_map(|peer| peer.families.iter().map(|family| (peer.port, *family))) {
            let what = format!("open UDP port {port} ({}) for the peer link", family(is_ipv4));
            self.open(Use::Peer { is_ipv4 }, port, &what, troubles);
        }
        let families: BTreeSet<bool> = self.sessions.iter().map(|ends| ends.source.is_ipv4()).collect();
        for is_ipv4 in families {
            let what = format!("open UDP port {BFD_PORT} ({}) for BFD", family(is_ipv4));
            self.open(Use::Bfd { is_ipv4 }, BFD_PORT, &what, troubles);
        }
        for ends in self.sessions.clone() {
            if self.bfd_senders.contains_key(&ends) {
                continue;
            }
            let what = format!("open a port for BFD from {} to {}", ends.source, ends.neighbour);
            match self.open_bfd_sender(&ends) {
                Ok(socket) => {
                    troubles.over(&what);
                    self.bfd_senders.insert(ends, socket);
                }
                Err(error) => troubles.tell(&what, &error, ""),
            }
        }
    }

    fn open(&mut self, purpose: Use, port: u16, what: &str, troubles: &mut Troubles) {
        if self.receivers.contains_key(&purpose) {
            return;
        }
        let is_ipv4 = matches!(purpose, Use::Peer { is_ipv4: true } | Use::Bfd { is_ipv4: true });
        match receiver(is_ipv4, port) {
            Ok(socket) => {
                troubles.over(what);
                self.receivers.insert(purpose, socket);
            }
            Err(error) => troubles.tell(what, &error, "does another program use it?"),
        }
    }

    fn open_bfd_sender(&mut self, ends: &BfdEnds) -> io::Result<Socket> {
        let is_ipv4 = ends.source.is_ipv4();
        let socket = udp(is_ipv4)?;
        let device = NonZeroU32::new(ends.interface);
        if is_ipv4 {
            socket.bind_device_by_index_v4(device)?;
            socket.set_freebind_v4(true)?;
        } else {
            socket.bind_device_by_index_v6(device)?;
            socket.set_freebind_v6(true)?;
        }
        let mut outcome = Err(io::ErrorKind::AddrInUse.into());
        for _ in 0..MOST_PORTS_TRIED {
            outcome = socket.bind(&scoped(ends.source, self.take_port(), ends.interface).into());
            if !matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::AddrInUse) {
                break;
            }
        }
        outcome.map(|()| socket)
    }

    fn take_port(&mut self) -> u16 {
        let port = self.next_port.max(*BFD_SOURCE_PORTS.start());
        self.next_port = port.checked_add(1).unwrap_or(*BFD_SOURCE_PORTS.start());
        port
    }

    /// Sends a heartbeat.
    ///
    /// # Errors
    /// The kernel's; `NotConnected` while the socket could not be opened.
    pub fn send_heartbeat(&self, to: IpAddr, octets: &[u8]) -> io::Result<()> {
        let unopened = || io::Error::from(io::ErrorKind::NotConnected);
        let port = self.peer.as_ref().ok_or_else(unopened)?.port;
        let socket = self.receivers.get(&Use::Peer { is_ipv4: to.is_ipv4() }).ok_or_else(unopened)?;
        socket.send_to(octets, &SocketAddr::new(to, port).into()).map(drop)
    }

    /// Sends a BFD control packet.
    ///
    /// # Errors
    /// As for heartbeats.
    pub fn send_bfd(&self, ends: &BfdEnds, octets: &[u8]) -> io::Result<()> {
        let socket = self.bfd_senders.get(ends).ok_or(io::ErrorKind::NotConnected)?;
        socket.send_to(octets, &scoped(ends.neighbour, BFD_PORT, ends.interface).into()).map(drop)
    }

    /// For polling.
    pub fn descriptors(&self) -> impl Iterator<Item = (Use, BorrowedFd<'_>)> {
        self.receivers.iter().map(|(purpose, socket)| (*purpose, socket.as_fd()))
    }

    /// The next datagram.
    ///
    /// # Errors
    /// `WouldBlock` when there is none.
    pub fn receive(&self, purpose: Use, buffer: &mut [u8]) -> io::Result<Datagram> {
        let socket = self.receivers.get(&purpose).ok_or(io::ErrorKind::WouldBlock)?;
        datagram::receive(socket, buffer)
    }
}

fn receiver(is_ipv4: bool, port: u16) -> io::Result<Socket> {
    let socket = udp(is_ipv4)?;
    sys::set_receive_buffer(&socket, RECEIVE_BUFFER)?;
    let any: IpAddr = if is_ipv4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    socket.bind(&SocketAddr::new(any, port).into())?;
    Ok(socket)
}

/// With all that a datagram of ours bears: TTL 255, DSCP CS6.
fn udp(is_ipv4: bool) -> io::Result<Socket> {
    let domain = if is_ipv4 { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), None)?;
    if is_ipv4 {
        socket.set_ttl_v4(u32::from(TTL))?;
        socket.set_tos_v4(u32::from(TRAFFIC_CLASS))?;
        setsockopt(&socket, Ipv4RecvTtl, &true)?;
    } else {
        socket.set_only_v6(true)?;
        socket.set_unicast_hops_v6(u32::from(TTL))?;
        socket.set_tclass_v6(u32::from(TRAFFIC_CLASS))?;
        setsockopt(&socket, Ipv6RecvHopLimit, &true)?;
    }
    let _ = socket.set_priority(PRIORITY_CONTROL);
    Ok(socket)
}

/// Link-local addresses need the interface beside them.
fn scoped(address: IpAddr, port: u16, interface: u32) -> SocketAddr {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => SocketAddrV6::new(v6, port, 0, interface).into(),
        _ => SocketAddr::new(address, port),
    }
}

fn family(is_ipv4: bool) -> &'static str {
    if is_ipv4 { "IPv4" } else { "IPv6" }
}
