//! Packets of clients.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use fairway_ipvs::control::MARK;

/// A flow's client and service.
#[derive(Clone, Copy)]
pub struct Flow {
    pub client: SocketAddrV4,
    pub service: SocketAddrV4,
}

/// Where the packets come from.
pub struct Clients {
    socket: Socket,
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

impl Clients {
    pub fn new() -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
        socket.set_header_included_v4(true)?;
        socket.set_mark(MARK)?;
        Ok(Self { socket })
    }

    /// A SYN.
    pub fn open(&self, flow: Flow) -> Result<()> {
        self.tcp(flow, SYN)
    }

    /// The handshake's last packet.
    pub fn acknowledge(&self, flow: Flow) -> Result<()> {
        self.tcp(flow, ACK)
    }

    /// A FIN.
    pub fn close(&self, flow: Flow) -> Result<()> {
        self.tcp(flow, FIN | ACK)
    }

    /// An RST.
    pub fn reset(&self, flow: Flow) -> Result<()> {
        self.tcp(flow, RST)
    }

    /// A datagram.
    pub fn datagram(&self, flow: Flow) -> Result<()> {
        let mut header = [0; 8];
        header[4..6].copy_from_slice(&8u16.to_be_bytes());
        self.send(flow, libc::IPPROTO_UDP as u8, header)
    }

    fn tcp(&self, flow: Flow, flags: u8) -> Result<()> {
        let mut header = [0; 20];
        header[12] = 5 << 4;
        header[13] = flags;
        self.send(flow, libc::IPPROTO_TCP as u8, header)
    }

    /// Ports, then the rest of the header. Without a checksum: nobody receives it. The kernel adds length, identification and
    /// checksum to the IP header.
    fn send<const N: usize>(&self, flow: Flow, protocol: u8, mut header: [u8; N]) -> Result<()> {
        header[..2].copy_from_slice(&flow.client.port().to_be_bytes());
        header[2..4].copy_from_slice(&flow.service.port().to_be_bytes());
        let mut packet = Vec::from(ip_header(*flow.client.ip(), *flow.service.ip(), protocol));
        packet.extend(header);
        // Nobody there: IPVS answers that the destination is unreachable, which the socket may be told of.
        match self.socket.send_to(&packet, &flow.service.into()) {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(()),
            Err(error) => Err(error).context("cannot send a packet"),
        }
    }
}

fn ip_header(from: Ipv4Addr, to: Ipv4Addr, protocol: u8) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[8] = 64;
    header[9] = protocol;
    header[12..16].copy_from_slice(&from.octets());
    header[16..].copy_from_slice(&to.octets());
    header
}
