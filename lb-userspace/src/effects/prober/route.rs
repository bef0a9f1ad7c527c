//! The way of a probe to its backend, and the sockets that go it. All sockets of all kinds of probes are made here, so
//! that whatever a way needs (a bound source, a place to be told of the port) is in one file.
//!
//! A socket comes as [`Tcp`], [`Udp`] or [`Icmp`], which closes it when dropped: TCP by a reset, so that nothing of a probe
//! stays behind in either host's tables.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use lb_common::probe::Kind;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UdpSocket};

pub use super::trouble::Trouble;
use crate::effects::steering::{Claim, Steered, Steering};
use crate::health::spec::Target;
use crate::health::verdict::Failure;

/// Numbers that are tried until one is found that no other probe has. Two have the same only if they are of different families
/// or sources, so a second is seldom needed.
const CLAIMS: usize = 64;

/// How a probe reaches its backend.
#[derive(Clone, Debug)]
pub struct Route {
    /// Where its packets are sent, as this host's stack sees it.
    destination: SocketAddr,
    /// What a socket needs whose packets are to go the way of clients'.
    steered: Option<Steered>,
}

impl Route {
    /// To the backend's own address, as the host routes it.
    pub fn plain(target: &Target) -> Self {
        Self { destination: SocketAddr::new(target.address, target.port), steered: None }
    }

    /// By the way that the target asks for.
    ///
    /// # Errors
    /// When it cannot be reached by that way at present.
    pub fn find(steering: &Steering, target: &Target) -> Result<Self, Failure> {
        Ok(match steering.way(target)? {
            None => Self::plain(target),
            Some(steered) => Self { destination: steered.destination, steered: Some(steered) },
        })
    }

    /// Whether it leads to another address than the backend's own.
    pub fn is_steered(&self) -> bool {
        self.steered.is_some()
    }

    /// Where packets are sent, as this host's stack sees it.
    pub fn destination(&self) -> SocketAddr {
        self.destination
    }
}

/// Connects; the time that it may take is the caller's business.
///
/// # Errors
/// When this host cannot make such a socket, and when the connection is refused.
pub async fn tcp(route: &Route) -> Result<Tcp, Trouble> {
    let (socket, claim) = socket(route, Type::STREAM, Protocol::TCP)?;
    // Closed by a reset: a probe leaves no TIME_WAIT behind.
    socket.set_linger(Some(Duration::ZERO)).map_err(Trouble::here("preparing a TCP socket"))?;
    socket.set_tcp_nodelay(true).map_err(Trouble::here("preparing a TCP socket"))?;
    connect(&socket, route)?;
    let stream = TcpStream::from_std(socket.into()).map_err(Trouble::here("watching a TCP socket"))?;
    stream.writable().await.map_err(Trouble::here("watching a TCP socket"))?;
    match stream.take_error() {
        Ok(None) => Ok(Tcp { stream, _claim: claim }),
        Ok(Some(error)) | Err(error) => Err(Trouble::told(error, &stream)),
    }
}

/// Connects a datagram socket, which then is told of ICMP errors.
///
/// # Errors
/// When this host cannot make such a socket.
pub fn udp(route: &Route) -> Result<Udp, Trouble> {
    let (socket, claim) = socket(route, Type::DGRAM, Protocol::UDP)?;
    connect(&socket, route)?;
    let socket = UdpSocket::from_std(socket.into()).map_err(Trouble::here("watching a UDP socket"))?;
    Ok(Udp { socket, _claim: claim })
}

/// Connects a socket for ICMP or ICMPv6 messages. Where the kernel lets this process have one that only sees answers to its own
/// (`net.ipv4.ping_group_range`), it is that; else one that sees all messages of the peer's, which takes CAP_NET_RAW.
///
/// # Errors
/// When this host can make neither.
pub fn icmp(route: &Route) -> Result<Icmp, Trouble> {
    let protocol = match route.destination {
        SocketAddr::V4(_) => Protocol::ICMPV4,
        SocketAddr::V6(_) => Protocol::ICMPV6,
    };
    let ((socket, claim), kind) = match socket(route, Type::DGRAM, protocol) {
        Ok(socket) => (socket, Type::DGRAM),
        Err(_) => (socket(route, Type::RAW, protocol)?, Type::RAW),
    };
    connect(&socket, route)?;
    // To tokio a socket for datagrams is one like any other.
    let socket = UdpSocket::from_std(socket.into()).map_err(Trouble::here("watching an ICMP socket"))?;
    Ok(Icmp { socket, behind_header: kind == Type::RAW && protocol == Protocol::ICMPV4, claim })
}

/// A socket that is not connected yet. By a steered way it is bound, and its number claimed.
fn socket(route: &Route, kind: Type, protocol: Protocol) -> Result<(Socket, Option<Claim>), Trouble> {
    for _ in 0..CLAIMS {
        let domain = Domain::for_address(route.destination);
        let socket =
            Socket::new(domain, kind.nonblocking(), Some(protocol)).map_err(Trouble::here("making a socket"))?;
        hear_all_errors(&socket, route).map_err(Trouble::here("preparing a socket"))?;
        let Some(steered) = &route.steered else { return Ok((socket, None)) };
        socket.bind(&SocketAddr::new(steered.source, 0).into()).map_err(Trouble::here("binding a socket"))?;
        let number = number(&socket, kind).map_err(Trouble::here("looking for a number"))?;
        if let Some(claim) = steered.claim(number_kind(protocol), number) {
            return Ok((socket, Some(claim)));
        }
    }
    Err(Trouble::here("looking for a number that no other probe has")(io::Error::from(io::ErrorKind::AddrInUse)))
}

/// The port, or identifier of echo requests, that the kernel gave a socket. To raw ones it gives none.
fn number(socket: &Socket, kind: Type) -> io::Result<u16> {
    if kind == Type::RAW {
        let mut random = [0; 2];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        return Ok(u16::from_ne_bytes(random));
    }
    let address = socket.local_addr()?.as_socket();
    address.map(|address| address.port()).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

fn number_kind(protocol: Protocol) -> Kind {
    match protocol {
        Protocol::TCP => Kind::Tcp,
        Protocol::UDP => Kind::Udp,
        _ => Kind::Echo,
    }
}

/// By default a socket hears of few ICMP errors, and not from whom.
fn hear_all_errors(socket: &Socket, route: &Route) -> nix::Result<()> {
    match route.destination {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4RecvErr, &true),
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvErr, &true),
    }
}

fn connect(socket: &Socket, route: &Route) -> Result<(), Trouble> {
    match socket.connect(&route.destination.into()) {
        Ok(()) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        // Over loopback the refusal is there before the call returns.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(Trouble::told(error, socket)),
        Err(error) => Err(Trouble::here("connecting")(error)),
    }
}

/// A TCP connection; dropped, it is reset.
#[derive(Debug)]
pub struct Tcp {
    stream: TcpStream,
    /// Given back after the stream was closed.
    _claim: Option<Claim>,
}

impl AsyncRead for Tcp {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, octets)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// A connected UDP socket.
#[derive(Debug)]
pub struct Udp {
    socket: UdpSocket,
    /// Given back after the socket was closed.
    _claim: Option<Claim>,
}

impl Udp {
    /// Sends a datagram.
    ///
    /// # Errors
    /// What the kernel says, and ICMP errors about earlier ones.
    pub async fn send(&self, datagram: &[u8]) -> Result<(), Trouble> {
        self.socket.send(datagram).await.map(drop).map_err(|error| Trouble::told(error, &self.socket))
    }

    /// Waits for a datagram; what does not fit is cut off.
    ///
    /// # Errors
    /// ICMP errors about what was sent.
    pub async fn receive(&self, buffer: &mut [u8]) -> Result<usize, Trouble> {
        self.socket.recv(buffer).await.map_err(|error| Trouble::told(error, &self.socket))
    }
}

/// A connected socket for ICMP or ICMPv6 messages.
#[derive(Debug)]
pub struct Icmp {
    socket: UdpSocket,
    /// Whether what is received begins with an IPv4 header.
    behind_header: bool,
    /// Given back after the socket was closed.
    claim: Option<Claim>,
}

impl Icmp {
    /// The identifier that echo requests must have for their echoes to be recognised on the way back; `None`: any.
    pub fn identifier(&self) -> Option<u16> {
        self.claim.as_ref().map(Claim::number)
    }

    /// Sends a message, from its type on. The kernel may put an identifier of its own into it.
    ///
    /// # Errors
    /// What the kernel says, and ICMP errors about earlier ones.
    pub async fn send(&self, message: &[u8]) -> Result<(), Trouble> {
        self.socket.send(message).await.map(drop).map_err(|error| Trouble::told(error, &self.socket))
    }

    /// Waits for a message, from its type on. It need not be an answer.
    ///
    /// # Errors
    /// ICMP errors about what was sent.
    pub async fn receive<'a>(&self, buffer: &'a mut [u8]) -> Result<&'a [u8], Trouble> {
        let length = self.socket.recv(buffer).await.map_err(|error| Trouble::told(error, &self.socket))?;
        let packet = &buffer[..length];
        let header = match packet.first() {
            Some(first) if self.behind_header => usize::from(first & 0xf) * 4,
            _ => 0,
        };
        Ok(packet.get(header..).unwrap_or_default())
    }
}
