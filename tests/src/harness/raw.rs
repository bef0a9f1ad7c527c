//! Protocols that the kernel under test may not have, by raw sockets: SCTP, ESP, AH. Servers at the service's addresses of a backend,
//! which answer every packet, and clients that wait for the answer.

use std::io::{self, ErrorKind, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fairway::playground::topology::{SERVICE_V4, SERVICE_V6};
use fairway::playground::{Lab, Namespace};
use socket2::{Domain, Protocol, Socket, Type};

/// Longer than any packet here.
const MOST_OCTETS: usize = 2048;
/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_UP: Duration = Duration::from_millis(50);

/// What a backend, by its number, answers to what follows the IP header.
pub type Answer = fn(&[u8], usize) -> Vec<u8>;

/// Servers of one protocol at both of the service's addresses on one backend; dropped, they end.
pub struct RawServer {
    enough: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl RawServer {
    /// Starts them in a backend, counted from 0.
    pub fn start(lab: &Lab, index: usize, protocol: u8, answer: Answer) -> Self {
        let mut server = Self { enough: Arc::default(), threads: Vec::new() };
        for address in [IpAddr::from(SERVICE_V4), IpAddr::from(SERVICE_V6)] {
            let socket = lab
                .backend(index)
                .run(|| socket(address, protocol, LOOK_UP))
                .expect("the namespace is there")
                .expect("root may open raw sockets");
            socket.bind(&SocketAddr::new(address, 0).into()).expect("the backend has the address");
            let enough = Arc::clone(&server.enough);
            server.threads.push(thread::spawn(move || serve(socket, &enough, index, answer)));
        }
        server
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // a panic has been printed already
        }
    }
}

fn serve(socket: Socket, enough: &AtomicBool, index: usize, answer: Answer) {
    // The standard library knows no raw sockets, but what it asks of one for datagrams holds for these too.
    let socket = UdpSocket::from(socket);
    let mut packet = vec![0; MOST_OCTETS];
    while !enough.load(Ordering::Relaxed) {
        match socket.recv_from(&mut packet) {
            Ok((length, from)) => {
                let answer = answer(content(&packet[..length], from.is_ipv4()), index);
                // The port of a raw socket's address is a protocol number, or nothing.
                socket.send_to(&answer, (from.ip(), 0)).expect("the client is reachable");
            }
            Err(error) if is_silence(&error) => {}
            Err(error) => panic!("receiving: {error}"),
        }
    }
}

/// A client of one service by one protocol.
pub struct RawClient {
    socket: Socket,
    is_v4: bool,
}

impl RawClient {
    /// A client that hears what comes from the service's own address, and nothing else.
    pub fn new(from: &Namespace, service: IpAddr, protocol: u8) -> Self {
        let any: IpAddr = if service.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        Self::at(from, any, service, protocol)
    }

    /// The same at one address of several.
    pub fn at(from: &Namespace, address: IpAddr, service: IpAddr, protocol: u8) -> Self {
        let socket = from.run(|| socket(service, protocol, PATIENCE)).expect("the namespace is there");
        let socket = socket.expect("root may open raw sockets");
        socket.bind(&SocketAddr::new(address, 0).into()).expect("the client has the address");
        socket.connect(&SocketAddr::new(service, 0).into()).expect("the service has a route");
        Self { socket, is_v4: service.is_ipv4() }
    }

    /// Sends a packet and waits for the answer that `is_it` says is one.
    ///
    /// # Errors
    /// When none comes.
    pub fn ask(&mut self, packet: &[u8], is_it: impl Fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
        self.socket.send(packet)?;
        loop {
            let mut octets = vec![0; MOST_OCTETS];
            let length = self.socket.read(&mut octets)?;
            let answer = content(&octets[..length], self.is_v4);
            if is_it(answer) {
                return Ok(answer.to_vec());
            }
        }
    }
}

fn socket(address: IpAddr, protocol: u8, patience: Duration) -> io::Result<Socket> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(protocol))))?;
    socket.set_read_timeout(Some(patience))?;
    Ok(socket)
}

/// What follows the IP header: raw IPv4 sockets hear the header too.
fn content(octets: &[u8], is_v4: bool) -> &[u8] {
    if is_v4 { &octets[usize::from(octets[0] & 15) * 4..] } else { octets }
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
