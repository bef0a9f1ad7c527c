//! A client that sends small datagrams to a service at a steady pace and notes which were answered, by whom.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use fairway::playground::Namespace;

use super::clock::{self, now};

/// How long the last answers are waited for.
const LINGER: Duration = Duration::from_millis(200);
const LOOK_UP: Duration = Duration::from_millis(20);
/// Octets of a probe: its number. An answer has one more, the answering host.
const PROBE: usize = 8;

/// One probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// When it was sent, on [`now`]'s clock.
    pub sent: u64,
    /// Its answer.
    pub answer: Option<Answer>,
}

/// The answer to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When it came, on [`now`]'s clock.
    pub at: u64,
    /// The host that gave it.
    pub by: u8,
}

/// A prober at work.
pub struct Prober {
    enough: Arc<AtomicBool>,
    sender: JoinHandle<Vec<u64>>,
    listener: JoinHandle<Vec<(u64, Answer)>>,
}

impl Prober {
    /// Starts probing a service from a namespace, at that pace.
    pub fn start(from: &Namespace, to: SocketAddr, interval: Duration) -> Result<Self> {
        let socket = from.run(|| UdpSocket::bind(SocketAddr::new(any(to), 0)))?.context("no port for the prober")?;
        socket.connect(to).with_context(|| format!("no route to {to}"))?;
        socket.set_read_timeout(Some(LOOK_UP))?;
        let enough = Arc::new(AtomicBool::new(false));
        let sending = socket.try_clone()?;
        let (stop_sending, stop_listening) = (Arc::clone(&enough), Arc::clone(&enough));
        let sender = thread::spawn(move || send(&sending, interval, &stop_sending));
        let listener = thread::spawn(move || listen(&socket, &stop_listening));
        Ok(Self { enough, sender, listener })
    }

    /// Ends it and returns all probes in the order sent.
    pub fn stop(self) -> Vec<Probe> {
        self.enough.store(true, Ordering::Relaxed);
        let sent = self.sender.join().expect("the sender does not panic");
        let answers = self.listener.join().expect("the listener does not panic");
        let mut probes: Vec<Probe> = sent.into_iter().map(|sent| Probe { sent, answer: None }).collect();
        for (number, answer) in answers {
            // Whatever else came to this port is no probe of ours.
            if let Some(probe) = usize::try_from(number).ok().and_then(|number| probes.get_mut(number)) {
                probe.answer = Some(answer);
            }
        }
        probes
    }
}

/// Answers probes at `socket` in the name of a host, until told that it is enough.
pub fn answer(socket: &UdpSocket, host: u8, enough: &AtomicBool) {
    clock::be_punctual();
    let mut datagram = [0; PROBE + 1];
    while !enough.load(Ordering::Relaxed) {
        if let Ok((PROBE, from)) = socket.recv_from(&mut datagram) {
            datagram[PROBE] = host;
            // The address may just have been taken from this host: then there is no answer.
            let _ = socket.send_to(&datagram, from);
        }
    }
}

fn send(socket: &UdpSocket, interval: Duration, enough: &AtomicBool) -> Vec<u64> {
    clock::be_punctual();
    let pace = interval.as_nanos() as u64;
    let mut sent = Vec::new();
    let mut due = now();
    while !enough.load(Ordering::Relaxed) {
        let number = sent.len() as u64;
        sent.push(now());
        // A refusal or an unreachable network is an answer that did not come, which is what is counted.
        let _ = socket.send(&number.to_be_bytes());
        // What was missed while we did not run is not made up for: a burst would say nothing about its time.
        due = (due + pace).max(now());
        thread::sleep(Duration::from_nanos(due - now().min(due)));
    }
    sent
}

fn listen(socket: &UdpSocket, enough: &AtomicBool) -> Vec<(u64, Answer)> {
    clock::be_punctual();
    let mut answers = Vec::new();
    let mut datagram = [0; PROBE + 2];
    let mut until = u64::MAX;
    while now() < until {
        if until == u64::MAX && enough.load(Ordering::Relaxed) {
            until = now() + LINGER.as_nanos() as u64;
        }
        match socket.recv(&mut datagram) {
            Ok(length) if length == PROBE + 1 => {
                let number = u64::from_be_bytes(datagram[..PROBE].try_into().expect("it is eight octets"));
                answers.push((number, Answer { at: now(), by: datagram[PROBE] }));
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // Refused or unreachable: said of an earlier probe.
            Err(_) => {}
        }
    }
    answers
}

fn any(like: SocketAddr) -> IpAddr {
    if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() }
}
