//! The interfaces and their addresses as the kernel tells of them, on a socket of the thread's own.
//!
//! Kept as a table; whoever asks compares it with what it knew. So an announcement that says nothing new does nothing, and
//! after an overrun of the socket's buffer a fresh list takes the table's place.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::sync::Arc;

use ipnet::IpNet;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::Socket;
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::frames::Mac;
use crate::vrrp::event::Link;

/// Asked for; the kernel grants at most twice `net.core.rmem_max`.
const SOCKET_BUFFER_OCTETS: i32 = 1 << 20;
/// Larger than any datagram netlink builds (32 KiB).
const DATAGRAM_OCTETS: usize = 64 << 10;
/// Announcements read at a time; under a storm of more, packets come first again.
const MOST_AT_A_TIME: usize = 256;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Interface {
    name: Arc<str>,
    running: bool,
    /// None where it is not Ethernet.
    mac: Option<Mac>,
    /// In the kernel's order; whether it may be used.
    addresses: Vec<(IpNet, bool)>,
}

/// The table, kept up to date.
pub struct Watch {
    socket: Socket,
    datagram: Vec<u8>,
    interfaces: BTreeMap<u32, Interface>,
    /// Addresses that went since that was last asked, whether or not they are back.
    gone: BTreeSet<(u32, IpAddr)>,
    has_news: bool,
    /// Times the socket's buffer was too small.
    pub overruns: u64,
}

impl Watch {
    /// Subscribes and takes stock, in the calling thread's network namespace.
    ///
    /// # Errors
    /// When there is no netlink.
    pub fn start() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_rx_buf_sz(SOCKET_BUFFER_OCTETS)?;
        socket.set_non_blocking(true)?;
        socket.bind_auto()?;
        for group in [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr] {
            socket.add_membership(group as u32)?;
        }
        let mut watch = Self {
            socket,
            datagram: Vec::with_capacity(DATAGRAM_OCTETS),
            interfaces: BTreeMap::new(),
            gone: BTreeSet::new(),
            has_news: false,
            overruns: 0,
        };
        watch.interfaces = Self::take_stock()?;
        Ok(watch)
    }

    /// For polling.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is the socket's, from which the result borrows.
        unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) }
    }

    /// Reads what the kernel has to say.
    ///
    /// # Errors
    /// When a fresh list was needed and could not be had.
    pub fn catch_up(&mut self) -> io::Result<()> {
        for _ in 0..MOST_AT_A_TIME {
            self.datagram.clear();
            match self.socket.recv(&mut self.datagram, 0) {
                Ok(_) => apply(&self.datagram, &mut self.interfaces, &mut self.gone),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.start_over()?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            self.has_news = true;
        }
        Ok(())
    }

    /// Whether anything was read since this was last asked.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// Addresses that were taken away since this was last asked, and are not back.
    pub fn take_gone(&mut self) -> Vec<(u32, IpAddr)> {
        let gone = std::mem::take(&mut self.gone);
        gone.into_iter().filter(|(interface, address)| !self.has(*interface, *address)).collect()
    }

    /// An interface as the engine is told of it.
    pub fn link(&self, name: &str) -> Option<Link> {
        let (index, interface) = self.interfaces.iter().find(|(_, interface)| &*interface.name == name)?;
        Some(Link {
            name: interface.name.clone(),
            index: *index,
            running: interface.running,
            mac: interface.mac.unwrap_or_default(),
            addresses: interface.addresses.iter().filter(|(_, usable)| *usable).map(|(address, _)| *address).collect(),
        })
    }

    /// Index of the interface of that name.
    pub fn index(&self, name: &str) -> Option<u32> {
        self.interfaces.iter().find(|(_, interface)| &*interface.name == name).map(|(index, _)| *index)
    }

    /// Name of an interface.
    pub fn name(&self, index: u32) -> Option<Arc<str>> {
        self.interfaces.get(&index).map(|interface| interface.name.clone())
    }

    /// Its MAC address; none if it has no such thing.
    pub fn mac(&self, index: u32) -> Option<Mac> {
        self.interfaces.get(&index)?.mac
    }

    /// Whether an address is there, usable or not.
    pub fn has(&self, index: u32, address: IpAddr) -> bool {
        has(&self.interfaces, index, address)
    }

    /// The address to ask `other` from: one of the same prefix, link-local for IPv6; else any but those to be left out.
    pub fn source_for(&self, index: u32, other: IpAddr, left_out: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let usable = self.interfaces.get(&index)?.addresses.iter().filter(|(_, usable)| *usable);
        let candidates: Vec<IpNet> = usable
            .map(|(address, _)| *address)
            .filter(|address| address.addr().is_ipv4() == other.is_ipv4() && !left_out(address.addr()))
            .collect();
        let link_local = |address: &IpNet| matches!(address, IpNet::V6(v6) if v6.addr().is_unicast_link_local());
        let same_prefix = candidates.iter().find(|address| address.contains(&other));
        let best = candidates.iter().find(|address| link_local(address)).or(same_prefix).or(candidates.first());
        best.map(IpNet::addr)
    }

    fn start_over(&mut self) -> io::Result<()> {
        self.overruns += 1;
        let before = std::mem::replace(&mut self.interfaces, Self::take_stock()?);
        for (index, interface) in before {
            let went = interface.addresses.iter().map(|(address, _)| (index, address.addr()));
            self.gone.extend(went.filter(|(index, address)| !has(&self.interfaces, *index, *address)));
        }
        Ok(())
    }

    /// All addresses there are, each with the index of its interface. Waits for whoever holds the kernel's routing lock.
    ///
    /// # Errors
    /// The kernel's.
    pub fn list_addresses() -> io::Result<BTreeSet<(u32, IpAddr)>> {
        let all = Self::take_stock()?;
        let of = |(index, interface): (&u32, &Interface)| -> Vec<(u32, IpAddr)> {
            interface.addresses.iter().map(|(address, _)| (*index, address.addr())).collect()
        };
        Ok(all.iter().flat_map(of).collect())
    }

    /// All there is, by a socket of its own: answers do not mix with announcements.
    fn take_stock() -> io::Result<BTreeMap<u32, Interface>> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        let mut interfaces = BTreeMap::new();
        list(&socket, RouteNetlinkMessage::GetLink(LinkMessage::default()), &mut interfaces)?;
        list(&socket, RouteNetlinkMessage::GetAddress(AddressMessage::default()), &mut interfaces)?;
        Ok(interfaces)
    }
}

fn has(interfaces: &BTreeMap<u32, Interface>, index: u32, address: IpAddr) -> bool {
    interfaces
        .get(&index)
        .is_some_and(|interface| interface.addresses.iter().any(|(present, _)| present.addr() == address))
}

/// Asks for a list. The kernel fills its parts in while they are read, so there is nothing to wait for.
fn list(socket: &Socket, question: RouteNetlinkMessage, interfaces: &mut BTreeMap<u32, Interface>) -> io::Result<()> {
    let mut request = NetlinkMessage::from(question);
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.finalize();
    let mut octets = vec![0; request.buffer_len()];
    request.serialize(&mut octets);
    socket.send(&octets, 0)?;
    let mut datagram = Vec::with_capacity(DATAGRAM_OCTETS);
    loop {
        datagram.clear();
        socket.recv(&mut datagram, 0)?;
        apply(&datagram, interfaces, &mut BTreeSet::new());
        if messages(&datagram).any(|message| matches!(message.payload, NetlinkPayload::Done(_))) {
            return Ok(());
        }
    }
}

fn apply(datagram: &[u8], interfaces: &mut BTreeMap<u32, Interface>, gone: &mut BTreeSet<(u32, IpAddr)>) {
    for message in messages(datagram) {
        let NetlinkPayload::InnerMessage(message) = message.payload else { continue };
        match message {
            RouteNetlinkMessage::NewLink(link) => set_link(&link, interfaces),
            // A bridge speaks of its ports in messages that look alike.
            RouteNetlinkMessage::DelLink(link) if link.header.interface_family == AddressFamily::Unspec => {
                interfaces.remove(&link.header.index);
            }
            RouteNetlinkMessage::NewAddress(address) => set_address(&address, true, interfaces),
            RouteNetlinkMessage::DelAddress(message) => {
                set_address(&message, false, interfaces);
                gone.extend(own_address(&message).map(|address| (message.header.index, address.addr())));
            }
            _ => {}
        }
    }
}

fn messages(mut datagram: &[u8]) -> impl Iterator<Item = NetlinkMessage<RouteNetlinkMessage>> {
    std::iter::from_fn(move || {
        loop {
            let length = NetlinkBuffer::new_checked(datagram).ok()?.length() as usize;
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&datagram[..length]);
            datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
            // What is not understood does not concern us: we ask for nothing new.
            if let Ok(message) = message {
                return Some(message);
            }
        }
    })
}

fn set_link(message: &LinkMessage, interfaces: &mut BTreeMap<u32, Interface>) {
    if message.header.interface_family != AddressFamily::Unspec {
        return;
    }
    let name = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(Arc::from(name.as_str())),
        _ => None,
    });
    let Some(name) = name else { return };
    let running = message.header.flags.contains(LinkFlags::Up) && message.header.flags.contains(LinkFlags::LowerUp);
    let mac = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(address) if message.header.link_layer_type == LinkLayerType::Ether => {
            address.as_slice().try_into().ok()
        }
        _ => None,
    });
    let addresses = interfaces.remove(&message.header.index).map(|known| known.addresses).unwrap_or_default();
    interfaces.insert(message.header.index, Interface { name, running, mac, addresses });
}

fn set_address(message: &AddressMessage, present: bool, interfaces: &mut BTreeMap<u32, Interface>) {
    let Some(interface) = interfaces.get_mut(&message.header.index) else { return };
    let Some(address) = own_address(message) else { return };
    let usable = is_usable(message);
    let known = interface.addresses.iter().position(|(known, _)| *known == address);
    match (known, present) {
        (Some(position), true) => interface.addresses[position].1 = usable,
        (None, true) => interface.addresses.push((address, usable)),
        (Some(position), false) => drop(interface.addresses.remove(position)),
        (None, false) => {}
    }
}

/// Ours is the local one; the other is the far end of a point-to-point link.
fn own_address(message: &AddressMessage) -> Option<IpNet> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    });
    IpNet::new(address?, message.header.prefix_len).ok()
}

/// Not while duplicate address detection runs, nor after it has found one.
fn is_usable(message: &AddressMessage) -> bool {
    let long = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    let flags = long.unwrap_or_else(|| AddressFlags::from_bits_retain(u32::from(message.header.flags.bits())));
    flags.contains(AddressFlags::Optimistic) || !flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed)
}
