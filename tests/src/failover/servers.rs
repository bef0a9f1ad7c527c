//! What answers the bench's clients: one server per host, for probes and for connections.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use fairway::playground::Namespace;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

use super::prober;

const LOOK_UP: Duration = Duration::from_millis(50);
/// Connections waiting to be accepted: all may come at once.
const BACKLOG: i32 = 4096;
/// Longer than any message of [`super::connections`].
const MESSAGE: usize = 64;

/// A server of one host; dropped, it ends.
pub struct Server {
    enough: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Answers probes at an address, which the host need not have yet, in the name of `host`.
    pub fn of_probes(at: &Namespace, address: SocketAddr, host: u8) -> Result<Self> {
        let socket = at
            .run(|| bind(address, Type::DGRAM, Protocol::UDP))?
            .with_context(|| format!("listening at udp://{address}"))?;
        let socket = UdpSocket::from(socket);
        socket.set_read_timeout(Some(LOOK_UP))?;
        let enough = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&enough);
        let thread = thread::spawn(move || prober::answer(&socket, host, &stop));
        Ok(Self { enough, threads: vec![thread] })
    }

    /// The same, and returns whatever comes over TCP connections to that address.
    pub fn of_probes_and_connections(at: &Namespace, address: SocketAddr, host: u8) -> Result<Self> {
        let mut server = Self::of_probes(at, address, host)?;
        let socket = at
            .run(|| bind(address, Type::STREAM, Protocol::TCP))?
            .with_context(|| format!("listening at tcp://{address}"))?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let stop = Arc::clone(&server.enough);
        server.threads.push(thread::spawn(move || serve(socket.into(), &stop)));
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // a panic has been printed already
        }
    }
}

/// A socket at an address that may come and go.
fn bind(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_reuse_address(kind == Type::STREAM)?;
    if address.is_ipv4() {
        socket.set_freebind_v4(true)?;
    } else {
        socket.set_freebind_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn serve(listener: std::net::TcpListener, enough: &AtomicBool) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("the system has room for a runtime");
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).expect("it does not block");
        while !enough.load(Ordering::Relaxed) {
            if let Ok(Ok((stream, _))) = tokio::time::timeout(LOOK_UP, listener.accept()).await {
                tokio::spawn(echo(stream));
            }
        }
    });
}

/// Until the client has enough, or the connection breaks: which is for the client to tell.
async fn echo(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut message = [0; MESSAGE];
    while let Ok(length @ 1..) = stream.read(&mut message).await {
        if stream.write_all(&message[..length]).await.is_err() {
            return;
        }
    }
}
