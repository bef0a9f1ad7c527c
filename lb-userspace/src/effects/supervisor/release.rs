//! Carrying out a testament. It is prepared when it arrives, frames and requests as octets, so that carrying it out is a
//! row of system calls.
//!
//! The order: farewells first, of all virtual routers, since each millisecond until another node takes over begins with
//! them. Then the addresses. The live words stay for a while: what still reaches this node's MAC address is forwarded and
//! not reset, until the others have heard where the addresses are now. Then the farewells again, twice: one frame may be lost, and without any
//! the others would wait for the master-down timer.

use std::io;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::Socket;
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::farewell::{Farewell, FrameSocket};
use crate::vrrp::effect::Testament;

/// Pauses between the three farewells.
const AGAIN: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(15)];

/// Requests in one datagram to the kernel. Their answers, 1 KiB each as the kernel counts, fit into the socket's buffer.
const BATCH: usize = 64;

/// The kernel answers within microseconds, unless somebody else holds its lock for routes and addresses.
const PATIENCE: Duration = Duration::from_secs(1);

/// An address that is not there (any more) is no failure.
const NOT_THERE: i32 = -libc::EADDRNOTAVAIL;

/// What to send and to ask for, ready.
#[derive(Debug, Default)]
pub struct Prepared {
    routers: Vec<String>,
    farewells: Vec<Farewell>,
    removals: Vec<Batch>,
    live: Vec<u32>,
    /// What could not be prepared, in words.
    pub failures: Vec<String>,
}

/// Requests that go out in one datagram.
#[derive(Debug)]
struct Batch {
    octets: Vec<u8>,
    addresses: Vec<IpNet>,
}

impl Prepared {
    /// Makes a testament ready.
    pub fn new(testament: &Testament) -> Self {
        let mut prepared = Self::default();
        let mut addresses = Vec::new();
        for bequest in &testament.release {
            let (farewells, failures) = Farewell::prepare(&bequest.farewell);
            prepared.farewells.extend(farewells);
            prepared.failures.extend(failures);
            prepared.live.extend(bequest.live);
            addresses.extend_from_slice(&bequest.addresses);
            prepared.routers.push(bequest.router.clone());
        }
        prepared.removals = addresses.chunks(BATCH).map(Batch::new).collect();
        prepared
    }

    /// Whether there is nothing to release.
    pub fn is_empty(&self) -> bool {
        self.routers.is_empty()
    }

    /// The live words, to be turned off once nothing comes to this node any more.
    pub fn live(&self) -> &[u32] {
        &self.live
    }

    /// The virtual routers, for the log.
    pub fn routers(&self) -> &[String] {
        &self.routers
    }
}

/// The sockets, opened before they are needed.
pub struct Executor {
    frames: FrameSocket,
    netlink: Socket,
}

impl Executor {
    /// Opens them, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When we may not.
    pub fn open() -> io::Result<Self> {
        let mut netlink = Socket::new(NETLINK_ROUTE)?;
        // Of a refused request only its header comes back: answers stay small.
        netlink.set_cap_ack(true)?;
        netlink.bind_auto()?;
        let socket = socket2::SockRef::from(&netlink);
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { frames: FrameSocket::open()?, netlink })
    }

    /// Carries it out. Returns what failed, in words: each failure leaves the rest to be done all the same.
    pub fn carry_out(&self, prepared: &Prepared) -> Vec<String> {
        let mut failures = Vec::new();
        self.say_farewell(prepared, &mut failures);
        for batch in &prepared.removals {
            self.remove(batch, &mut failures);
        }
        failures
    }

    /// The farewells again, with pauses; tens of milliseconds in all.
    pub fn repeat(&self, prepared: &Prepared) {
        for pause in AGAIN {
            thread::sleep(pause);
            // What fails now failed before.
            self.say_farewell(prepared, &mut Vec::new());
        }
    }

    fn say_farewell(&self, prepared: &Prepared, failures: &mut Vec<String>) {
        for farewell in &prepared.farewells {
            if let Err(error) = farewell.send(&self.frames) {
                failures.push(format!("a farewell was not sent: {error}"));
            }
        }
    }

    fn remove(&self, batch: &Batch, failures: &mut Vec<String>) {
        let answers = self.netlink.send(&batch.octets, 0).and_then(|_| self.answers(batch.addresses.len()));
        match answers {
            Err(error) => failures.push(format!("addresses from {} on: {error}", batch.addresses[0])),
            Ok(codes) => failures.extend(refused(&batch.addresses, &codes)),
        }
    }

    /// One code for each request, in order: 0, or a negative error number.
    fn answers(&self, count: usize) -> io::Result<Vec<i32>> {
        let mut codes = Vec::new();
        while codes.len() < count {
            let (datagram, _) = self.netlink.recv_from_full()?;
            codes.extend(codes_of(&datagram)?);
        }
        Ok(codes)
    }
}

impl Batch {
    fn new(addresses: &[(u32, IpNet)]) -> Self {
        let mut octets = Vec::new();
        for (interface, address) in addresses {
            octets.extend(removal(*interface, *address));
        }
        Self { octets, addresses: addresses.iter().map(|(_, address)| *address).collect() }
    }
}

/// A request to remove an address. Its length is a multiple of four, so that the next one may follow.
fn removal(interface: u32, address: IpNet) -> Vec<u8> {
    let mut message = AddressMessage::default();
    message.header.family = if address.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = address.prefix_len();
    message.header.index = interface;
    let ip: IpAddr = address.addr();
    message.attributes.push(AddressAttribute::Local(ip));
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::DelAddress(message));
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    request.finalize();
    let mut octets = vec![0; request.buffer_len().next_multiple_of(4)];
    request.serialize(&mut octets);
    octets
}

fn codes_of(datagram: &[u8]) -> io::Result<Vec<i32>> {
    let mut codes = Vec::new();
    let mut rest = datagram;
    while !rest.is_empty() {
        let length = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?.length() as usize;
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
        if let NetlinkPayload::Error(error) = message.payload {
            codes.push(error.raw_code());
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(codes)
}

fn refused(addresses: &[IpNet], codes: &[i32]) -> Vec<String> {
    let pairs = addresses.iter().zip(codes).filter(|(_, code)| !matches!(**code, 0 | NOT_THERE));
    pairs.map(|(address, code)| format!("{address} is not removed: {}", io::Error::from_raw_os_error(-code))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_not_there_is_no_failure() {
        let addresses: Vec<IpNet> =
            ["192.0.2.1/32", "192.0.2.2/32", "2001:db8::1/128"].map(|a| a.parse().unwrap()).to_vec();
        let said = refused(&addresses, &[0, NOT_THERE, -libc::EPERM]);
        assert_eq!(said, ["2001:db8::1/128 is not removed: Operation not permitted (os error 1)"]);
    }

    #[test]
    fn many_addresses_are_asked_for_in_batches_that_the_kernel_can_take_apart() {
        let address = |last: u8| (7, IpNet::from(ipnet::Ipv4Net::from(std::net::Ipv4Addr::new(192, 0, 2, last))));
        let all: Vec<_> = (0..=255).map(address).collect();
        let batch = Batch::new(&all[..BATCH]);
        let mut rest = &batch.octets[..];
        let mut count = 0;
        while !rest.is_empty() {
            let length = NetlinkBuffer::new_checked(rest).unwrap().length() as usize;
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).unwrap();
            let NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(message)) = message.payload else {
                panic!()
            };
            assert_eq!((message.header.index, message.header.prefix_len), (7, 32));
            rest = &rest[length.next_multiple_of(4)..];
            count += 1;
        }
        assert_eq!(count, BATCH);
    }
}
