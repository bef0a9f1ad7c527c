//! Clients that hold TCP connections to a service and exchange a few octets on each, again and again.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, ensure};
use fairway::playground::Namespace;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

use super::clock::now;

/// What is not answered by then is broken, not late: the fifth retransmission has gone out.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Between two exchanges on a connection.
const PAUSE: Duration = Duration::from_secs(1);
/// Exchanges a second over all connections that were opened together: more, and the clients are what is measured.
const MOST_EXCHANGES: f64 = 1000.0;
/// Before another try where none could be opened.
const RETRY: Duration = Duration::from_millis(200);
const CHECK_POLL: Duration = Duration::from_millis(20);

/// Connections at work; dropped, they end.
pub struct Connections {
    each: Vec<Arc<Connection>>,
    enough: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What one connection has been through.
#[derive(Default)]
struct Connection {
    /// When the last exchange that succeeded was begun.
    answered: AtomicU64,
    /// How often it broke.
    broken: AtomicU64,
}

impl Connections {
    /// Opens so many to a service and waits until each has had an answer.
    pub fn open(from: &Namespace, to: SocketAddr, count: usize) -> Result<Self> {
        let each: Vec<Arc<Connection>> = (0..count).map(|_| Arc::default()).collect();
        let enough = Arc::new(AtomicBool::new(false));
        let (namespace, all, stop) = (from.clone(), each.clone(), Arc::clone(&enough));
        let thread = thread::spawn(move || {
            namespace.enter().expect("the namespace is there");
            hold(to, &all, &stop);
        });
        let connections = Self { each, enough, thread: Some(thread) };
        let open = connections.wait_for_answers_since(0);
        ensure!(open == count, "only {open} of {count} connections to {to} could be opened");
        Ok(connections)
    }

    /// How often any has broken so far.
    pub fn broken(&self) -> u64 {
        self.each.iter().map(|connection| connection.broken.load(Ordering::Relaxed)).sum()
    }

    /// Waits until every connection has had an answer to something sent after that time, or has been given time enough
    /// to be found broken. Returns how many had.
    pub fn wait_for_answers_since(&self, time: u64) -> usize {
        let deadline = now() + (PATIENCE + 2 * pause_of(self.each.len())).as_nanos() as u64;
        loop {
            let answered = self.each.iter().filter(|one| one.answered.load(Ordering::Relaxed) > time).count();
            if answered == self.each.len() || now() > deadline {
                return answered;
            }
            thread::sleep(CHECK_POLL);
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic has been printed already
        }
    }
}

fn hold(to: SocketAddr, all: &[Arc<Connection>], enough: &AtomicBool) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("the system has room for a runtime");
    let pause = pause_of(all.len());
    runtime.block_on(async {
        for (number, connection) in all.iter().enumerate() {
            // Spread over the pause, so that they do not all speak at once.
            let offset = pause.mul_f64(number as f64 / all.len() as f64);
            tokio::spawn(live(to, Arc::clone(connection), offset, pause));
        }
        while !enough.load(Ordering::Relaxed) {
            sleep(CHECK_POLL).await;
        }
    });
}

/// Opens the connection, and another one whenever it breaks.
async fn live(to: SocketAddr, connection: Arc<Connection>, offset: Duration, pause: Duration) {
    sleep(offset).await;
    loop {
        if let Ok(Ok(stream)) = timeout(PATIENCE, TcpStream::connect(to)).await {
            // It ends only by breaking.
            let _ = converse(stream, &connection, pause).await;
            connection.broken.fetch_add(1, Ordering::Relaxed);
        }
        sleep(RETRY).await;
    }
}

async fn converse(mut stream: TcpStream, connection: &Connection, pause: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let begun = exchange(&mut stream).await?;
        connection.answered.store(begun, Ordering::Relaxed);
        sleep(pause).await;
    }
}

/// Sends the time and waits for it to come back. When that began.
pub async fn exchange(stream: &mut TcpStream) -> io::Result<u64> {
    let begun = now();
    let exchange = async {
        stream.write_all(&begun.to_be_bytes()).await?;
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = timeout(PATIENCE, exchange).await.map_err(|_| io::Error::from(ErrorKind::TimedOut))??;
    if answer != begun.to_be_bytes() {
        return Err(ErrorKind::InvalidData.into());
    }
    Ok(begun)
}

fn pause_of(count: usize) -> Duration {
    PAUSE.max(Duration::from_secs_f64(count as f64 / MOST_EXCHANGES))
}
