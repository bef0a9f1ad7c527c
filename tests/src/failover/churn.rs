//! Clients that come and go: each opens a connection, asks twice, and ends it; whoever is there when something happens may be as young as a
//! millisecond.

use std::net::SocketAddr;
use std::ops::Add;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fairway::playground::Namespace;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::{interval, sleep, timeout};

use super::clock::now;
use super::connections::{PATIENCE, exchange};

/// Between the two questions.
const STAY: Duration = Duration::from_secs(1);

/// Such clients at work; dropped, they end.
pub struct Churn {
    broken: Arc<Mutex<Vec<Life>>>,
    enough: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The life of a connection that broke.
#[derive(Clone, Copy, Debug)]
struct Life {
    /// When it was open.
    opened: u64,
    /// When it was found broken.
    ended: u64,
}

/// Connections that broke, by their age when something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Broken {
    /// Younger than what a pair may know of, or begun later.
    pub young: u64,
    /// All others.
    pub old: u64,
}

/// A record so old is known to the other node.
const KNOWN: u64 = 20_000_000;

impl Add for Broken {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { young: self.young + other.young, old: self.old + other.old }
    }
}

impl Churn {
    /// Begins with so many a second.
    pub fn start(from: &Namespace, to: SocketAddr, rate: u32) -> Self {
        let broken = Arc::<Mutex<Vec<Life>>>::default();
        let enough = Arc::new(AtomicBool::new(false));
        let (namespace, all, stop) = (from.clone(), Arc::clone(&broken), Arc::clone(&enough));
        let thread = thread::spawn(move || {
            namespace.enter().expect("the namespace is there");
            come_and_go(to, rate, &all, &stop);
        });
        Self { broken, enough, thread: Some(thread) }
    }

    /// Those that broke since something happened.
    pub fn broken(&self, since: u64) -> Broken {
        let all = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        let (old, young): (Vec<Life>, Vec<Life>) =
            all.iter().filter(|life| life.ended >= since).partition(|life| life.opened + KNOWN < since);
        Broken { young: young.len() as u64, old: old.len() as u64 }
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic has been printed already
        }
    }
}

fn come_and_go(to: SocketAddr, rate: u32, broken: &Arc<Mutex<Vec<Life>>>, enough: &AtomicBool) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("the system has room for a runtime");
    runtime.block_on(async {
        let mut pace = interval(Duration::from_secs(1) / rate);
        while !enough.load(Ordering::Relaxed) {
            pace.tick().await;
            tokio::spawn(visit(to, Arc::clone(broken)));
        }
    });
}

/// Who cannot open one at all has lost none.
async fn visit(to: SocketAddr, broken: Arc<Mutex<Vec<Life>>>) {
    let Ok(Ok(mut stream)) = timeout(PATIENCE, TcpStream::connect(to)).await else { return };
    let opened = now();
    let talk = async {
        stream.set_nodelay(true)?;
        exchange(&mut stream).await?;
        sleep(STAY).await;
        exchange(&mut stream).await
    };
    if talk.await.is_err() {
        broken.lock().unwrap_or_else(PoisonError::into_inner).push(Life { opened, ended: now() });
    }
}
