//! What clients and servers see of a forwarding method, in words: so that the same words from a balancer by IPVS and from Fairway
//! mean that nobody can tell which it is.
//!
//! Observed from both ends, in a lab of [`fairway::playground`]: whose addresses each end sees, how many hops a packet has made,
//! that all backends get connections and that what is sent arrives, and who answers where nobody listens.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use fairway::playground::topology::{Replies, SERVICE_V4};
use fairway::playground::{Lab, backend_name};
use nix::cmsg_space;
use nix::sys::socket::sockopt::Ipv4RecvTtl;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt};

/// The methods, by Fairway's names, and what a lab must look like for each. For `tunnel` its backends must unwrap, too.
pub const METHODS: [(&str, Replies); 3] =
    [("direct", Replies::Direct), ("nat", Replies::ThroughBalancer), (TUNNEL, Replies::Direct)];
/// The method whose backends get packets in others.
pub const TUNNEL: &str = "tunnel";

/// The file that keeps what is seen of IPVS by a method, in `tests/data/ipvs`.
pub fn file(method: &str) -> String {
    format!("{method}.seen")
}

/// The TCP service.
pub const TCP: u16 = 80;
/// The UDP service.
pub const UDP: u16 = 7;
/// A UDP service that no backend serves.
pub const UNSERVED: u16 = 9;
/// No service.
const NO_SERVICE: u16 = 81;

/// Connections that are made: so many that none of a handful of backends is left out by chance.
const CONNECTIONS: usize = 64;
/// Octets that go to a backend and come back, on one connection.
const TRANSFER: usize = 1 << 20;
/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts servers in all backends, which run until the process ends, and says what is seen.
pub fn observe(lab: &Lab) -> Result<String> {
    for index in 0..lab.spec().backends {
        for address in lab.backend_listeners(index, TCP).into_iter().filter(SocketAddr::is_ipv4) {
            let listener = lab.backend(index).run(|| TcpListener::bind(address))?.context("cannot listen")?;
            thread::spawn(move || serve_tcp(&listener, index));
        }
        for address in lab.backend_listeners(index, UDP).into_iter().filter(SocketAddr::is_ipv4) {
            let socket = lab.backend(index).run(|| UdpSocket::bind(address))?.context("cannot listen")?;
            thread::spawn(move || serve_udp(&socket, index));
        }
    }
    lab.client().run(observe_as_client)?
}

fn observe_as_client() -> Result<String> {
    let service = |port| SocketAddr::new(SERVICE_V4.into(), port);
    let mut text = String::new();
    writeln!(text, "tcp: {}", all(|| tcp_connection(service(TCP)))?)?;
    writeln!(text, "tcp transfer: {}", transfer(service(TCP))?)?;
    writeln!(text, "udp: {}", all(|| udp_flow(service(UDP)))?)?;
    writeln!(text, "udp, served by no backend: {}", unserved(service(UNSERVED))?)?;
    writeln!(text, "tcp, no service: {}", refusal(service(NO_SERVICE))?)?;
    Ok(text)
}

/// Which backends serve, and what any of them sees; they must agree.
fn all(mut one: impl FnMut() -> Result<(String, String)>) -> Result<String> {
    let (mut backends, mut sights) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..CONNECTIONS {
        let (backend, sight) = one()?;
        backends.insert(backend);
        sights.insert(sight);
    }
    let join = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(" ");
    Ok(format!("{} see {}", join(backends), join(sights)))
}

fn serve_tcp(listener: &TcpListener, index: usize) {
    for stream in listener.incoming() {
        // A client that is gone takes nothing.
        thread::spawn(move || stream.and_then(|stream| greet_and_echo(stream, index)));
    }
}

/// A line that says who this is and what it sees, then everything back.
fn greet_and_echo(mut stream: TcpStream, index: usize) -> io::Result<()> {
    let (client, here) = (stream.peer_addr()?, stream.local_addr()?);
    writeln!(stream, "{} {} as client of {}", backend_name(index), client.ip(), addressed(here))?;
    let mut back = stream.try_clone()?;
    io::copy(&mut stream, &mut back)?;
    back.shutdown(Shutdown::Write)
}

/// What a packet was addressed to: the service, as the client wrote it, or this very backend.
fn addressed(here: SocketAddr) -> String {
    let whom = if here.ip() == SERVICE_V4 { "the service" } else { "the backend" };
    format!("{whom} at port {}", here.port())
}

fn tcp_connection(service: SocketAddr) -> Result<(String, String)> {
    let mut greeting = String::new();
    BufReader::new(connect(service)?).read_line(&mut greeting)?;
    let (backend, sight) = greeting.trim().split_once(' ').context("a backend greets")?;
    Ok((backend.to_owned(), sight.to_owned()))
}

fn transfer(service: SocketAddr) -> Result<String> {
    let mut reader = BufReader::new(connect(service)?);
    let mut writer = reader.get_ref().try_clone()?;
    reader.read_line(&mut String::new())?;
    let sent: Vec<u8> = (0..TRANSFER).map(|place| ((place * 31) >> 3) as u8).collect();
    let copy = sent.clone();
    let sender = thread::spawn(move || writer.write_all(&copy).and_then(|()| writer.shutdown(Shutdown::Write)));
    let mut received = Vec::new();
    reader.read_to_end(&mut received)?;
    sender.join().expect("it does not panic")?;
    Ok(format!("{} octets came back, {}", received.len(), if received == sent { "all right" } else { "not as sent" }))
}

fn connect(service: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&service, PATIENCE).with_context(|| format!("connecting to {service}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn serve_udp(socket: &UdpSocket, index: usize) -> Result<()> {
    setsockopt(socket, Ipv4RecvTtl, &true)?;
    loop {
        let (_, client, ttl) = receive(socket)?;
        let here = addressed(socket.local_addr()?);
        let sight = format!("{} {} as client of {here} by TTL {ttl}", backend_name(index), client.ip());
        socket.send_to(sight.as_bytes(), client)?;
    }
}

fn udp_flow(service: SocketAddr) -> Result<(String, String)> {
    let socket = UdpSocket::bind((IpAddr::from([0, 0, 0, 0]), 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    setsockopt(&socket, Ipv4RecvTtl, &true)?;
    socket.send_to(b"?", service)?;
    let (answer, from, ttl) = receive(&socket).context("no answer by UDP")?;
    let (backend, sight) = answer.split_once(' ').context("a backend says who it is")?;
    Ok((backend.to_owned(), format!("{sight}; answers come from {from} by TTL {ttl}")))
}

/// The ICMP error comes as if from the service, or not at all.
fn unserved(service: SocketAddr) -> Result<String> {
    let socket = UdpSocket::bind((IpAddr::from([0, 0, 0, 0]), 0))?;
    socket.connect(service)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(b"?")?;
    Ok(said(socket.recv(&mut [0; 16]).map(drop)))
}

fn refusal(service: SocketAddr) -> Result<String> {
    Ok(said(TcpStream::connect_timeout(&service, PATIENCE).map(drop)))
}

fn said(outcome: io::Result<()>) -> String {
    match outcome.map_err(|error| error.kind()) {
        Ok(()) => "an answer".to_owned(),
        Err(ErrorKind::WouldBlock | ErrorKind::TimedOut) => "nothing".to_owned(),
        Err(kind) => kind.to_string(),
    }
}

/// A datagram, whom it is from, and the TTL it has left.
fn receive(socket: &UdpSocket) -> Result<(String, SocketAddr, i32)> {
    let mut datagram = [0; 256];
    let mut parts = [io::IoSliceMut::new(&mut datagram)];
    let mut control = cmsg_space!(libc::c_int);
    let message = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
    let from = message.address.context("a datagram has a source")?;
    let ttl = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::Ipv4Ttl(ttl) => Some(ttl),
        _ => None,
    });
    let (length, Some(ttl)) = (message.bytes, ttl) else { bail!("the kernel says no TTL") };
    Ok((String::from_utf8_lossy(&datagram[..length]).into_owned(), SocketAddr::new(from.ip().into(), from.port()), ttl))
}
