//! The admin side: HTTP over a Unix socket, where the commands of the CLI arrive, and, if configured, a TCP listener
//! that only reads (metrics, status page, liveness). It decides nothing: every answer is asked of the daemon's loop
//! (`runtime::request`), and whatever a client does or fails to do, the loop never waits for it.

mod ask;
mod connections;
mod metrics;
mod routes;
mod socket;

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::runtime::request::Request;
use ask::Daemon;
pub use ask::MOST_BODY;
use connections::Limits;
use socket::SocketFile;

/// What one listener and one connection may take. A client that is slower is disconnected; one too many is closed at
/// once, so that those being served are not starved by those that arrive. The two listeners count apart: scrapers
/// cannot keep the operator out.
const LIMITS: Limits = Limits {
    connections: 64,
    head: Duration::from_secs(10),
    body: Duration::from_secs(10),
    stall: Duration::from_secs(10),
};

/// How long a stop waits for requests that are being answered.
const GRACE: Duration = Duration::from_secs(1);

/// The running servers. Dropped, they end at once; [`AdminServers::stop`] lets running answers finish.
#[derive(Debug)]
pub struct AdminServers {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    listen: Option<SocketAddr>,
    _socket: SocketFile,
}

/// Starts the servers. `socket` replaces what a dead daemon has left there; a live one is an error.
pub async fn serve(socket: &Path, listen: Option<SocketAddr>, requests: mpsc::Sender<Request>) -> Result<AdminServers> {
    serve_within(LIMITS, socket, listen, requests).await
}

async fn serve_within(
    limits: Limits,
    socket: &Path,
    listen: Option<SocketAddr>,
    requests: mpsc::Sender<Request>,
) -> Result<AdminServers> {
    let daemon = Daemon { requests, body_patience: limits.body };
    // TCP first: it fails more often (a port in use), and then no socket has been replaced.
    let tcp = match listen {
        Some(address) => Some(tcp_listener(address).await?),
        None => None,
    };
    let listen = tcp.as_ref().map(TcpListener::local_addr).transpose()?;
    let (unix, socket) = socket::bind(socket).await?;
    let (stop, stopped) = watch::channel(false);
    let commands = routes::commands(daemon.clone());
    let mut tasks = vec![tokio::spawn(connections::serve(unix, commands, limits, stopped.clone()))];
    if let Some(tcp) = tcp {
        tasks.push(tokio::spawn(connections::serve(tcp, routes::read_only(daemon), limits, stopped)));
    }
    Ok(AdminServers { stop, tasks, listen, _socket: socket })
}

async fn tcp_listener(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("admin.listen: cannot listen at tcp://{address}; another address, or \"\" for none?"))
}

impl AdminServers {
    /// Where the TCP side listens.
    pub fn listen(&self) -> Option<SocketAddr> {
        self.listen
    }

    /// Takes no more connections, and ends when the answers under way are sent or a second has passed.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        for task in self.tasks.drain(..) {
            let _ = task.await; // a panic has been printed already
        }
    }
}

impl Drop for AdminServers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
