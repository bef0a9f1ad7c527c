//! Telling the link where the addresses are: when, how often, and not all at once.
//!
//! One burst of gratuitous ARP can be lost, or cross that of another node that was master for a few milliseconds; then
//! clients stay with the loser until the next one. So the burst is repeated in steps that grow, after becoming master and
//! after every sign of a foreign master, and refreshed for ever. With hundreds of addresses the bursts pass through one
//! queue an interface, a few a millisecond, so that they delay no advertisement and overflow no switch.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::effect::Effect;

/// When a burst goes out, counted from the cause.
const STEPS: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_millis(10),
    Duration::from_millis(30),
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(1000),
    Duration::from_millis(3000),
];
/// Time between bursts when all steps are done.
const REFRESH: Duration = Duration::from_secs(60);
/// A foreign master that advertises without pause does not make bursts come closer than this.
const CLOSEST: Duration = Duration::from_millis(10);
/// Addresses that are announced on an interface in one [`TURN`].
const ADDRESSES_A_TURN: usize = 32;
/// Least time between two turns of an interface.
const TURN: Duration = Duration::from_millis(1);

/// Timetable of one master's bursts.
#[derive(Clone, Debug, PartialEq)]
pub struct Timetable {
    start: Duration,
    step: usize,
    due: Duration,
    last: Option<Duration>,
}

impl Timetable {
    /// From the first burst on, which is due now.
    pub fn new(now: Duration) -> Self {
        Self { start: now, step: 0, due: now, last: None }
    }

    /// When the next burst is due.
    pub fn due(&self) -> Duration {
        self.due
    }

    /// From the first burst on again, but not too close to the last one.
    pub fn restart(&mut self, now: Duration) {
        self.start = self.last.map_or(now, |last| now.max(last + CLOSEST));
        self.step = 0;
        self.due = self.start;
    }

    /// A burst goes out.
    pub fn advance(&mut self, now: Duration) {
        self.last = Some(now);
        self.step += 1;
        self.due = STEPS.get(self.step).map_or(now + REFRESH, |step| (self.start + *step).max(now + TURN));
    }
}

/// The queues of all interfaces.
#[derive(Debug, Default)]
pub struct Announcer {
    interfaces: BTreeMap<u32, Queue>,
}

/// Bursts that wait on one interface: one a virtual router at most.
#[derive(Debug, Default)]
struct Queue {
    /// When the next turn may be.
    next: Duration,
    /// Routers in their order; those whose burst was cancelled are passed over.
    order: VecDeque<u64>,
    bursts: BTreeMap<u64, Burst>,
}

/// What is left to announce for one virtual router.
#[derive(Debug, PartialEq)]
struct Burst {
    mac: [u8; 6],
    addresses: Vec<IpAddr>,
    sent: usize,
}

impl Announcer {
    /// A burst for a virtual router. If one of the same addresses is still on its way nothing is added.
    pub fn push(&mut self, interface: u32, router: u64, mac: [u8; 6], addresses: Vec<IpAddr>) {
        let queue = self.interfaces.entry(interface).or_default();
        let alike = |burst: &Burst| burst.mac == mac && burst.addresses == addresses;
        if addresses.is_empty() || queue.bursts.get(&router).is_some_and(alike) {
            return;
        }
        if queue.bursts.insert(router, Burst { mac, addresses, sent: 0 }).is_none() {
            queue.order.push_back(router);
        }
    }

    /// Nothing more is announced for this router: it is master no longer.
    pub fn cancel(&mut self, router: u64) {
        for queue in self.interfaces.values_mut() {
            if queue.bursts.remove(&router).is_some() {
                queue.order.retain(|waiting| *waiting != router);
            }
        }
    }

    /// When something may go out next.
    pub fn deadline(&self) -> Option<Duration> {
        self.interfaces.values().filter(|queue| !queue.bursts.is_empty()).map(|queue| queue.next).min()
    }

    /// What may go out now.
    pub fn turn(&mut self, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (interface, queue) in &mut self.interfaces {
            queue.turn(now, *interface, &mut effects);
        }
        self.interfaces.retain(|_, queue| !queue.bursts.is_empty() || queue.next > now);
        effects
    }
}

impl Queue {
    fn turn(&mut self, now: Duration, interface: u32, effects: &mut Vec<Effect>) {
        if self.bursts.is_empty() || now < self.next {
            return;
        }
        self.next = now + TURN;
        let mut left = ADDRESSES_A_TURN;
        while left > 0 {
            let Some(router) = self.order.front().copied() else { return };
            let Some(burst) = self.bursts.get_mut(&router) else { return };
            let end = burst.addresses.len().min(burst.sent + left);
            let addresses = burst.addresses[burst.sent..end].to_vec();
            left -= addresses.len();
            burst.sent = end;
            effects.push(Effect::Announce { interface, mac: burst.mac, addresses });
            if burst.sent == burst.addresses.len() {
                self.bursts.remove(&router);
                self.order.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn many(count: u32) -> Vec<IpAddr> {
        (0..count).map(|n| std::net::Ipv4Addr::from(0x0a00_0000 + n).into()).collect()
    }

    fn announced(effects: &[Effect]) -> usize {
        let count = |effect: &Effect| match effect {
            Effect::Announce { addresses, .. } => addresses.len(),
            other => panic!("{other:?}"),
        };
        effects.iter().map(count).sum()
    }

    #[test]
    fn bursts_come_at_growing_steps_and_then_every_minute() {
        let mut timetable = Timetable::new(milliseconds(500));
        let mut bursts = Vec::new();
        while timetable.due() < milliseconds(130_000) {
            let now = timetable.due();
            bursts.push(now.as_millis() - 500);
            timetable.advance(now);
        }
        assert_eq!(bursts, [0, 10, 30, 100, 300, 1000, 3000, 63_000, 123_000]);
    }

    #[test]
    fn a_foreign_master_that_never_pauses_does_not_make_bursts_come_closer() {
        let mut timetable = Timetable::new(Duration::ZERO);
        let mut bursts = 0;
        for tick in 0..1000 {
            let now = milliseconds(tick);
            timetable.restart(now);
            if timetable.due() <= now {
                timetable.advance(now);
                bursts += 1;
            }
        }
        assert_eq!(bursts, 100);
    }

    #[test]
    fn no_more_than_32_addresses_of_an_interface_go_out_in_a_millisecond() {
        let mut announcer = Announcer::default();
        announcer.push(2, 1, [1; 6], many(20));
        announcer.push(2, 2, [1; 6], many(60));
        announcer.push(3, 3, [1; 6], many(1));
        let counts: Vec<usize> = (0..5).map(|tick| announced(&announcer.turn(milliseconds(tick)))).collect();
        assert_eq!(counts, [32 + 1, 32, 16, 0, 0]);
        assert_eq!(announcer.deadline(), None);
    }

    #[test]
    fn turns_within_one_millisecond_are_one_turn() {
        let mut announcer = Announcer::default();
        announcer.push(2, 1, [1; 6], many(64));
        assert_eq!(announced(&announcer.turn(milliseconds(0))), 32);
        assert_eq!(announced(&announcer.turn(Duration::from_micros(900))), 0);
        assert_eq!(announcer.deadline(), Some(milliseconds(1)));
    }

    #[test]
    fn what_was_cancelled_is_never_announced() {
        let mut announcer = Announcer::default();
        announcer.push(2, 1, [1; 6], many(64));
        announcer.push(2, 2, [2; 6], many(1));
        announcer.turn(milliseconds(0));
        announcer.cancel(1);
        let effects = announcer.turn(milliseconds(1));
        assert_eq!(effects, [Effect::Announce { interface: 2, mac: [2; 6], addresses: many(1) }]);
    }

    #[test]
    fn the_queue_holds_one_burst_a_router() {
        let mut announcer = Announcer::default();
        for _ in 0..1000 {
            announcer.push(2, 1, [1; 6], many(40));
        }
        let total: usize = (0..100).map(|tick| announced(&announcer.turn(milliseconds(tick)))).sum();
        assert_eq!(total, 40);
    }
}
