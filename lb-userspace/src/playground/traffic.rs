//! The demo's client: a steady, modest rate of requests, each on a new connection, and a tally of who answered.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;

use super::namespace::Namespace;

/// How long a request may take in all its steps before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(1);
/// Senders, so that requests which time out slow down the rest little.
const SENDERS: u32 = 10;
/// Longest answer that is read: the demo's servers say a name.
const MOST_ANSWER: u64 = 4096;

/// Who answered how often, since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answers, by what they said.
    pub answered: BTreeMap<String, u64>,
    /// Requests without an answer.
    pub failed: u64,
    /// What the last failure was.
    pub last_failure: Option<String>,
}

impl Tally {
    /// Answers of all.
    pub fn total(&self) -> u64 {
        self.answered.values().sum()
    }

    fn count(&mut self, result: io::Result<String>) {
        match result {
            Ok(name) => *self.answered.entry(name).or_default() += 1,
            Err(error) => {
                self.failed += 1;
                self.last_failure = Some(error.to_string());
            }
        }
    }
}

/// Requests being sent; dropped, they end.
#[derive(Debug)]
pub struct Traffic {
    tally: Arc<Mutex<Tally>>,
    enough: Arc<AtomicBool>,
    senders: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Sends `rate` requests a second from the namespace to the addresses in turn.
    pub fn start(from: &Namespace, to: &[SocketAddr], rate: u32) -> Result<Self> {
        let pause = Duration::from_secs(1) * SENDERS / rate.max(1);
        let mut traffic = Self { tally: Arc::default(), enough: Arc::default(), senders: Vec::new() };
        for sender in 0..SENDERS {
            let (tally, enough) = (Arc::clone(&traffic.tally), Arc::clone(&traffic.enough));
            let (from, mut targets) = (from.clone(), to.to_vec());
            targets.rotate_left(sender as usize % to.len().max(1));
            let send = move || {
                if let Err(error) = from.enter() {
                    return note(&tally, Err(io::Error::other(error)));
                }
                // Spread out, or all senders would ask at the same moment.
                thread::sleep(pause * sender / SENDERS);
                for target in targets.iter().cycle().take_while(|_| !enough.load(Ordering::Relaxed)) {
                    note(&tally, request(*target));
                    thread::sleep(pause);
                }
            };
            traffic.senders.push(thread::Builder::new().name(format!("sender-{sender}")).spawn(send)?);
        }
        Ok(traffic)
    }

    /// The tally so far.
    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        for sender in self.senders.drain(..) {
            let _ = sender.join(); // a panic has been printed already
        }
    }
}

fn note(tally: &Mutex<Tally>, result: io::Result<String>) {
    tally.lock().unwrap_or_else(PoisonError::into_inner).count(result);
}

/// Asks for `/` on a new connection and returns the body of the answer, trimmed.
fn request(target: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(MOST_ANSWER).read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.trim().to_owned()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("not an answer: {answer:?}"))),
    }
}
