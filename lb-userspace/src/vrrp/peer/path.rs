//! A path to the peer: one of its addresses, judged by the gaps between what is heard there.

use std::net::IpAddr;
use std::time::Duration;

use crate::vrrp::view::PathView;

/// Boots of the peer that wait for an answer on a path at most: one or two when it restarts, more only under a flood of
/// recordings.
const MAX_CANDIDATES: usize = 8;

#[derive(Debug)]
pub(super) struct Path {
    pub address: IpAddr,
    /// When it is silent if nothing is heard before; `None`: it is silent.
    pub silent_at: Option<Duration>,
    /// Boots that were named and not proven: each gets one answer a heartbeat, from `answer_from` on.
    candidates: Vec<u64>,
    answer_from: Duration,
    heard: Option<Duration>,
    pub sent: u64,
    received: u64,
}

impl Path {
    pub fn new(address: IpAddr) -> Self {
        Self {
            address,
            silent_at: None,
            candidates: Vec::new(),
            answer_from: Duration::ZERO,
            heard: None,
            sent: 0,
            received: 0,
        }
    }

    pub fn is_alive(&self) -> bool {
        self.silent_at.is_some()
    }

    /// Takes note of a datagram; whether the path was silent before.
    pub fn hear(&mut self, now: Duration, patience: Duration) -> bool {
        self.received += 1;
        self.heard = Some(now);
        self.silent_at.replace(now + patience).is_none()
    }

    /// Whether it has fallen silent now.
    pub fn fall_silent(&mut self, now: Duration) -> bool {
        self.silent_at.take_if(|at| *at <= now).is_some()
    }

    /// Takes note of a boot that asks for an answer.
    pub fn candidate(&mut self, boot: u64) {
        if self.candidates.len() < MAX_CANDIDATES && !self.candidates.contains(&boot) {
            self.candidates.push(boot);
        }
    }

    /// When candidates are to be answered, if there are any.
    pub fn answer_at(&self) -> Option<Duration> {
        (!self.candidates.is_empty()).then_some(self.answer_from)
    }

    /// The candidates to answer now; there will be none before another `heartbeat` has passed.
    pub fn take_candidates(&mut self, now: Duration, heartbeat: Duration) -> Vec<u64> {
        if self.candidates.is_empty() || now < self.answer_from {
            return Vec::new();
        }
        self.answer_from = now + heartbeat;
        std::mem::take(&mut self.candidates)
    }

    pub fn view(&self) -> PathView {
        PathView {
            address: self.address,
            alive: self.is_alive(),
            heard: self.heard,
            sent: self.sent,
            received: self.received,
        }
    }
}
