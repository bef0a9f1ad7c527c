//! The checker as a whole, with a clock and backends that tests command.

mod histories;
mod scale;
mod states;
mod times;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::check::{Probe, Timing};
use crate::health::spec::{Target, Way};
use crate::health::verdict::{Failure, FailureKind, Success};

pub const SECOND: Duration = Duration::from_secs(1);

/// A TCP check of a host, by number.
pub fn spec(host: u16, interval: Duration) -> Spec {
    let [high, low] = host.to_be_bytes();
    Spec {
        probe: Probe::Tcp,
        target: Target { address: IpAddr::V4(Ipv4Addr::new(10, 0, high, low)), port: 80, way: Way::Plain },
        timing: Timing { interval, fast_interval: interval / 4, timeout: interval / 2, rise: 2, fall: 3 },
        named: None,
    }
}

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn up() -> Result<Success, Failure> {
    Ok(Success { detail: "connected".to_owned(), ..Success::default() })
}

pub fn down(kind: FailureKind) -> Result<Success, Failure> {
    Err(Failure::new(kind, format!("{kind:?}")))
}

/// What a probe of a host at a moment finds, and how long it takes.
pub type Answer = Box<dyn FnMut(&Spec, Duration) -> (Result<Success, Failure>, Duration)>;

/// Runs a checker as the prober does: it polls when the checker says, and reports every probe when it ends.
pub struct World {
    pub checker: Checker,
    pub now: Duration,
    pub answer: Answer,
    /// When probes began, by host.
    pub began: BTreeMap<IpAddr, Vec<Duration>>,
    /// Verdicts as somebody knows them who was told all changes.
    pub known: BTreeMap<Spec, Verdict>,
    /// The most probes that were under way.
    pub most_running: usize,
    under_way: Vec<(Duration, ProbeId, Arc<Spec>, Outcome)>,
}

impl World {
    pub fn new(limit: usize, answer: Answer) -> Self {
        Self {
            checker: Checker::new(7, limit),
            now: 1000 * SECOND,
            answer,
            began: BTreeMap::new(),
            known: BTreeMap::new(),
            most_running: 0,
            under_way: Vec::new(),
        }
    }

    /// One check of one host, whose answers come at once.
    pub fn of_one(spec: &Spec, mut result: impl FnMut(Duration) -> Result<Success, Failure> + 'static) -> Self {
        let mut world = Self::new(100, Box::new(move |_, now| (result(now), millis(1))));
        world.configure([spec.clone()]);
        world
    }

    pub fn configure(&mut self, specs: impl IntoIterator<Item = Spec>) {
        let specs: Vec<Arc<Spec>> = specs.into_iter().map(Arc::new).collect();
        self.known.retain(|spec, _| specs.iter().any(|wanted| **wanted == *spec));
        self.checker.configure(self.now, specs);
    }

    /// Lets time go by, and does what is due in it.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.begin();
            self.take_changes();
            let ending = self.under_way.iter().map(|(end, ..)| *end).min();
            let next = self.checker.next(self.now);
            assert!(next.is_none_or(|next| next > self.now), "polled, and still due");
            match ending.into_iter().chain(next).min() {
                Some(moment) if moment <= until => self.now = moment,
                _ => break,
            }
            self.end();
        }
        self.now = until;
    }

    fn begin(&mut self) {
        loop {
            let starts = self.checker.poll(self.now);
            for Start { id, spec } in &starts {
                assert!(
                    !self.under_way.iter().any(|(_, _, other, _)| Arc::ptr_eq(other, spec)),
                    "two probes of one check"
                );
                let (result, took) = (self.answer)(spec, self.now);
                self.began.entry(spec.target.address).or_default().push(self.now);
                self.under_way.push((self.now + took, *id, Arc::clone(spec), Outcome { result, took }));
            }
            self.most_running = self.most_running.max(self.under_way.len());
            if starts.is_empty() {
                return;
            }
        }
    }

    fn end(&mut self) {
        let now = self.now;
        let (ended, others) = self.under_way.drain(..).partition(|(end, ..)| *end <= now);
        self.under_way = others;
        for (_, id, _, outcome) in ended {
            self.checker.finished(now, id, &outcome);
        }
    }

    fn take_changes(&mut self) {
        for (spec, verdict) in self.checker.take_changes() {
            self.known.insert((*spec).clone(), verdict);
        }
    }

    pub fn views(&self) -> Vec<CheckView> {
        self.checker.views(self.now, 0, usize::MAX).0
    }

    pub fn view(&self) -> CheckView {
        self.views().pop().expect("a check is configured")
    }

    /// When the probes of a host began, since the beginning of the world.
    pub fn moments(&self, spec: &Spec) -> Vec<Duration> {
        self.began[&spec.target.address].iter().map(|moment| *moment - 1000 * SECOND).collect()
    }

    /// Times between the beginnings of a host's probes.
    pub fn gaps(&self, spec: &Spec) -> Vec<Duration> {
        let began = self.began.get(&spec.target.address).map_or(&[][..], Vec::as_slice);
        began.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}
