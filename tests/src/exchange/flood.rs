//! Connections that begin at a steady rate: a SYN and an ACK of each, from one client to many ports, which nobody answers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use super::since;
use crate::failover::clock::now;
use crate::packet::flag;
use anyhow::{Context as _, Result};
use fairway::playground::Namespace;
use fairway::playground::topology::SERVICE_V4;
use lb_common::packet::protocol;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// First of the service's ports.
pub const FIRST_PORT: u16 = 8000;
/// Its ports.
pub const PORTS: u32 = 32;
/// First of the client's ports.
const FIRST_CLIENT_PORT: u32 = 1024;
/// The client's ports.
const CLIENT_PORTS: u32 = 64_000;
/// Connections that begin in one system call, two packets each.
const BATCH: usize = 32;
/// IPv4 and TCP headers without options.
const PACKET: usize = 40;

/// See the module's description.
pub struct Flood {
    socket: Socket,
    to: SockAddr,
    from: Ipv4Addr,
    next: u32,
}

impl Flood {
    /// From a host that has a route to the service. The socket stays there.
    ///
    /// # Errors
    /// When there are no raw sockets, or there is no route.
    pub fn of(client: &Namespace) -> Result<Self> {
        client.run(Self::new)?.context("opening a raw socket at the client")
    }

    fn new() -> io::Result<Self> {
        let route = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        route.connect((SERVICE_V4, FIRST_PORT))?;
        let IpAddr::V4(from) = route.local_addr()?.ip() else { return Err(io::ErrorKind::AddrNotAvailable.into()) };
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
        socket.set_send_buffer_size(8 << 20)?;
        Ok(Self { socket, to: SocketAddrV4::new(SERVICE_V4, 0).into(), from, next: 0 })
    }

    /// Begins so many connections, so many a second. How long that took.
    ///
    /// # Errors
    /// When the kernel refuses, or there are no ports left.
    pub fn begin(&mut self, count: u32, a_second: u32) -> io::Result<Duration> {
        let begun = now();
        let mut done = 0;
        while done < count {
            let batch = (count - done).min(BATCH as u32);
            self.send(batch)?;
            done += batch;
            let due = Duration::from_secs(1).mul_f64(f64::from(done) / f64::from(a_second));
            std::thread::sleep(due.saturating_sub(since(begun)));
        }
        Ok(since(begun))
    }

    fn send(&mut self, count: u32) -> io::Result<()> {
        if self.next + count > PORTS * CLIENT_PORTS {
            return Err(io::Error::other("no ports are left"));
        }
        let flows = self.next..self.next + count;
        self.next += count;
        let packets: Vec<[u8; PACKET]> =
            flows.flat_map(|flow| [flag::SYN, flag::ACK].map(|flags| self.packet(flow, flags))).collect();
        let parts: Vec<libc::iovec> = packets
            .iter()
            .map(|packet| libc::iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: PACKET })
            .collect();
        let message = |part: &libc::iovec| libc::mmsghdr {
            msg_hdr: libc::msghdr {
                msg_name: self.to.as_ptr().cast_mut().cast(),
                msg_namelen: self.to.len(),
                msg_iov: std::ptr::from_ref(part).cast_mut(),
                msg_iovlen: 1,
                msg_control: std::ptr::null_mut(),
                msg_controllen: 0,
                msg_flags: 0,
            },
            msg_len: 0,
        };
        let mut messages: Vec<libc::mmsghdr> = parts.iter().map(message).collect();
        let mut sent = 0;
        while sent < messages.len() {
            let rest = &mut messages[sent..];
            let length = u32::try_from(rest.len()).expect("a batch is small");
            // SAFETY: all pointers are to vectors that outlive the call, and `sendmmsg` only reads what they point to.
            let done = unsafe { libc::sendmmsg(self.socket.as_raw_fd(), rest.as_mut_ptr(), length, 0) };
            sent += usize::try_from(done).map_err(|_| io::Error::last_os_error())?;
        }
        Ok(())
    }

    fn packet(&self, flow: u32, flags: u8) -> [u8; PACKET] {
        let port = |number: u32| u16::try_from(number).expect("there are so few ports").to_be_bytes();
        let mut packet = [0; PACKET];
        packet[0] = 0x45;
        // The kernel puts length, identification and checksum.
        packet[8] = 64;
        packet[9] = protocol::TCP;
        packet[12..16].copy_from_slice(&self.from.octets());
        packet[16..20].copy_from_slice(&SERVICE_V4.octets());
        packet[20..22].copy_from_slice(&port(FIRST_CLIENT_PORT + flow % CLIENT_PORTS));
        packet[22..24].copy_from_slice(&port(u32::from(FIRST_PORT) + flow / CLIENT_PORTS));
        packet[32] = 0x50;
        packet[33] = flags;
        packet
    }
}
