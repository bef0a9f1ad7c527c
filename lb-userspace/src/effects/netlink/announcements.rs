//! The socket on which the kernel announces changes of interfaces, addresses, routes, rules and neighbours.
//!
//! It is read directly, not through `rtnetlink`'s connection, whose queue has no limit and which would mix an overrun
//! of announcements with the answers to requests. Here the kernel's socket buffer is the queue; when it overflows we
//! are told, and take stock again.

use std::io;

use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, TokioSocket};
use tracing::debug;

use super::decode;
use crate::nexthop::tracker::Observation;

const GROUPS: [MulticastGroup; 9] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
    MulticastGroup::Nexthop,
];

/// Asked for; the kernel grants at most twice `net.core.rmem_max`. More means fewer stock-takings under a storm.
const SOCKET_BUFFER_BYTES: i32 = 4 << 20;

/// Larger than any datagram netlink builds (32 KiB).
const DATAGRAM_BYTES: usize = 64 << 10;

const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;

/// What came of waiting for the kernel.
#[derive(Debug)]
pub enum Announced {
    /// These changes, possibly none that matter.
    Changes(Vec<Observation>),
    /// The socket's buffer was full: some were lost.
    Lost,
}

/// A socket subscribed to all groups that matter.
pub struct Announcements {
    socket: TokioSocket,
    datagram: Vec<u8>,
}

impl Announcements {
    /// Subscribes, in the calling thread's network namespace.
    pub fn subscribe() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().set_rx_buf_sz(SOCKET_BUFFER_BYTES)?;
        socket.socket_mut().bind_auto()?;
        for group in GROUPS {
            socket.socket_mut().add_membership(group as u32)?;
        }
        Ok(Self { socket, datagram: Vec::with_capacity(DATAGRAM_BYTES) })
    }

    /// Waits for the next datagram. Safe to cancel: nothing is taken off the socket before it is ready.
    pub async fn next(&mut self) -> io::Result<Announced> {
        self.datagram.clear();
        match self.socket.recv(&mut self.datagram).await {
            Ok(()) => Ok(Announced::Changes(observations(&self.datagram))),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(Announced::Lost),
            Err(error) => Err(error),
        }
    }
}

fn observations(mut datagram: &[u8]) -> Vec<Observation> {
    let mut found = Vec::new();
    while let Ok(message) = NetlinkBuffer::new_checked(datagram) {
        let length = message.length() as usize;
        found.extend(observation(message.message_type(), &datagram[..length]));
        datagram = datagram.get(aligned(length)..).unwrap_or_default();
    }
    found
}

/// Messages start at multiples of four bytes.
fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn observation(message_type: u16, bytes: &[u8]) -> Option<Observation> {
    if matches!(message_type, RTM_NEWNEXTHOP | RTM_DELNEXTHOP) {
        return Some(Observation::Routing);
    }
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) {
        Ok(NetlinkMessage { payload: NetlinkPayload::InnerMessage(message), .. }) => decode::observation(message),
        Ok(_) => None,
        Err(error) => {
            debug!(message_type, %error, "kernel announcement not understood");
            None
        }
    }
}
