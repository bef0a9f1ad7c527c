//! What answers the bench's clients: one server for each host and service, for probes and for connections. Those for connections are
//! processes of their own: clients alone may have as many descriptors as one process gets.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{env, io};

use anyhow::{Context as _, Result};
use fairway::playground::{Namespace, Process};
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

/// The first word of the command line of a process that serves: its address and the host's number follow.
pub const SERVE: &str = "serve";

/// A server of one host; dropped, it ends.
pub enum Server {
    /// A thread.
    Here {
        /// That it is to end.
        enough: Arc<AtomicBool>,
        /// Until it has.
        thread: Option<JoinHandle<()>>,
    },
    /// A process.
    Apart {
        /// It ends with this.
        _process: Process,
    },
}

impl Server {
    /// Answers probes at an address, which the host need not have yet, in the name of `host`.
    pub fn of_probes(at: &Namespace, address: SocketAddr, host: u8) -> Result<Self> {
        let socket = at.run(|| probed(address))??;
        let enough = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&enough);
        let thread = thread::spawn(move || prober::answer(&socket, host, &stop));
        Ok(Self::Here { enough, thread: Some(thread) })
    }

    /// The same, and returns whatever comes over TCP connections to that address.
    pub fn of_probes_and_connections(at: &Namespace, address: SocketAddr, host: u8) -> Result<Self> {
        let program = env::current_exe().context("asking for the name of this program")?;
        let process = at.spawn(Command::new(program).args([SERVE, &address.to_string(), &host.to_string()]))?;
        Ok(Self::Apart { _process: process })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Here { enough, thread } = self {
            enough.store(true, Ordering::Relaxed);
            if let Some(thread) = thread.take() {
                let _ = thread.join(); // a panic has been printed already
            }
        }
    }
}

/// Does that until the process ends. `words`: the address and the host's number.
pub fn serve_here(mut words: impl Iterator<Item = String>) -> Result<()> {
    let mut word = || words.next().context("an address and a number are needed");
    let address: SocketAddr = word()?.parse().context("an address")?;
    let host: u8 = word()?.parse().context("a number")?;
    let socket = probed(address)?;
    thread::spawn(move || prober::answer(&socket, host, &AtomicBool::new(false)));
    let listener =
        bind(address, Type::STREAM, Protocol::TCP).with_context(|| format!("listening at tcp://{address}"))?;
    listener.listen(BACKLOG)?;
    listener.set_nonblocking(true)?;
    serve(listener.into());
    Ok(())
}

fn probed(address: SocketAddr) -> Result<UdpSocket> {
    let socket = bind(address, Type::DGRAM, Protocol::UDP).with_context(|| format!("listening at udp://{address}"))?;
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(LOOK_UP))?;
    Ok(socket)
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

fn serve(listener: std::net::TcpListener) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("the system has room for a runtime");
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).expect("it does not block");
        loop {
            if let Ok((stream, _)) = listener.accept().await {
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
