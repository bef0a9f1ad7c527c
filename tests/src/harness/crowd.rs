//! A crowd of backends in one namespace: every address of a prefix is served there, by two small servers. One only accepts
//! connections, for checks; the other answers HTTP requests with the address that was asked, for clients.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fairway::playground::Namespace;
use socket2::{Domain, Socket, Type};

/// How long a server waits for a connection before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);
/// All first probes of tens of thousands of checks come within a second or two.
const BACKLOG: i32 = 65_535;

/// The servers; dropped, they end.
pub struct Crowd {
    enough: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    /// Serves every local address of a namespace: at one port connections are accepted, at the other requests answered.
    pub fn start(namespace: &Namespace, accepting: u16, answering: u16) -> Self {
        namespace
            .set_sysctls(&[("net/core/somaxconn", "65535"), ("net/ipv4/tcp_max_syn_backlog", "65535")])
            .expect("the namespace is there");
        let listen = |port| namespace.run(|| listener(port)).expect("the namespace is there");
        let (accepting, answering) = (listen(accepting), listen(answering));
        let (enough, accepted): (Arc<AtomicBool>, Arc<AtomicU64>) = Default::default();
        let (stop, count) = (Arc::clone(&enough), Arc::clone(&accepted));
        let acceptor = thread::spawn(move || {
            serve(&accepting, &stop, |connection| {
                count.fetch_add(1, Ordering::Relaxed);
                drop(connection);
            });
        });
        let stop = Arc::clone(&enough);
        let answerer = thread::spawn(move || {
            serve(&answering, &stop, |connection| {
                thread::spawn(move || answer(connection));
            });
        });
        Self { enough, accepted, threads: vec![acceptor, answerer] }
    }

    /// Connections that were accepted at the first port.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn listener(port: u16) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("sockets can be made");
    socket.set_reuse_address(true).expect("a new socket takes options");
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into()).expect("nobody else is there");
    socket.listen(BACKLOG).expect("a bound socket listens");
    // Of a listener this is the time that `accept` waits.
    socket.set_read_timeout(Some(LOOK)).expect("a listener takes options");
    socket.into()
}

fn serve(listener: &TcpListener, enough: &AtomicBool, mut take: impl FnMut(TcpStream)) {
    while !enough.load(Ordering::Relaxed) {
        // It fails when nobody came, and when who came has gone.
        if let Ok((connection, _)) = listener.accept() {
            // It comes with the listener's, and a client may take its time.
            connection.set_read_timeout(None).expect("no time limit is a valid one");
            take(connection);
        }
    }
}

/// Answers requests until the client goes: with the address that it asked.
fn answer(connection: TcpStream) {
    let Ok(address) = connection.local_addr() else { return };
    let name = address.ip().to_string();
    let mut writer = match connection.try_clone() {
        Ok(writer) => writer,
        Err(_) => return,
    };
    for line in BufReader::new(connection).lines().map_while(Result::ok) {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        if line.is_empty() && writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
