//! What two nodes tell each other of what operators want, and who is right: whoever said something last.
//!
//! An order has the time of the clock of the node where it was given; but if that node knows of a later one about the same backend, a moment
//! after that. So a word counts against whatever was known when it was said, however wrong a clock is. Of two nodes that did not know of
//! each other's orders the later one counts, and of the same time the one that takes away more: both nodes come to the same. That
//! something was taken back is remembered with its time, lest a node that was away bring it up again.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Intent, Intents, MOST_INTENTS, Out};

/// Orders that were taken back and are remembered; beyond, the oldest are forgotten.
pub const MOST_TAKEN_BACK: usize = 10_000;
/// An order is later than another by so many seconds at least.
const MOMENT: f64 = 0.001;

/// What an order is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum About {
    /// A backend, by service and name.
    Backend(String, String),
    /// An address, wherever it serves.
    Address(IpAddr),
}

/// What was said last of something.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// What of.
    pub about: About,
    /// No new flows, or none at all; of an address only the first.
    pub out: Option<Out>,
    /// A weight instead of the configured one.
    pub weight: Option<u16>,
    /// When, in seconds since the Unix epoch.
    pub since: f64,
}

/// Orders that were taken back, and when.
pub(super) type TakenBack = BTreeMap<About, f64>;

/// What something that was said comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// Nothing: as much was known, or later things are.
    Nothing,
    /// It is remembered, and changes nothing.
    Remembered,
    /// Something else is wanted now.
    Changed,
}

impl Said {
    fn is_back(&self) -> bool {
        self.out.is_none() && self.weight.is_none()
    }

    /// Of two, the later one is the greater one.
    fn rank(&self) -> (f64, u8, u32) {
        let out = match self.out {
            None => 0,
            Some(Out::Drain) => 1,
            Some(Out::Disable) => 2,
        };
        (self.since, out, self.weight.map_or(0, |weight| 1 + u32::from(u16::MAX - weight)))
    }
}

impl Intents {
    /// All that was said last, also that something was taken back.
    pub fn said(&self) -> impl Iterator<Item = Said> {
        let backends = self.backends.iter().map(|((service, backend), intent)| Said {
            about: About::Backend(service.clone(), backend.clone()),
            out: intent.out,
            weight: intent.weight,
            since: intent.since,
        });
        let addresses = self.everywhere.iter().map(|(&address, &since)| Said {
            about: About::Address(address),
            out: Some(Out::Drain),
            weight: None,
            since,
        });
        let back =
            self.taken_back.iter().map(|(about, &since)| Said { about: about.clone(), out: None, weight: None, since });
        backends.chain(addresses).chain(back)
    }

    /// The other node says what was said there.
    pub fn hear(&mut self, said: &Said) -> Hearing {
        let known = self.last(&said.about);
        let is_later = known.as_ref().is_none_or(|known| said.rank() > known.rank());
        let is_new = known.as_ref().is_none_or(Said::is_back);
        if !said.since.is_finite() || !is_later || is_new && !said.is_back() && self.len() >= MOST_INTENTS {
            return Hearing::Nothing;
        }
        let wanted = |said: &Said| (said.out, said.weight);
        let is_other = known.as_ref().map_or((None, None), wanted) != wanted(said);
        self.put(said);
        if is_other { Hearing::Changed } else { Hearing::Remembered }
    }

    /// What was said last of something.
    fn last(&self, about: &About) -> Option<Said> {
        let said = |out, weight, since| Said { about: about.clone(), out, weight, since };
        let stands = match about {
            About::Backend(service, backend) => self.of(service, backend).map(|it| said(it.out, it.weight, it.since)),
            About::Address(address) => self.everywhere(*address).map(|since| said(Some(Out::Drain), None, since)),
        };
        stands.or_else(|| self.taken_back.get(about).map(|&since| said(None, None, since)))
    }

    /// When an order counts as given that is given at a time.
    pub(super) fn after_all_known(&self, about: &About, at: f64) -> f64 {
        self.last(about).map_or(at, |last| at.max(last.since + MOMENT))
    }

    pub(super) fn put(&mut self, said: &Said) {
        match &said.about {
            About::Backend(service, backend) => {
                let name = (service.clone(), backend.clone());
                self.backends.remove(&name);
                if !said.is_back() {
                    self.backends.insert(name, Intent { out: said.out, weight: said.weight, since: said.since });
                }
            }
            About::Address(address) => {
                self.everywhere.remove(address);
                if !said.is_back() {
                    self.everywhere.insert(*address, said.since);
                }
            }
        }
        if !said.is_back() {
            self.taken_back.remove(&said.about);
            return;
        }
        self.taken_back.insert(said.about.clone(), said.since);
        if self.taken_back.len() > MOST_TAKEN_BACK {
            let oldest = self.taken_back.iter().min_by(|(_, one), (_, other)| one.total_cmp(other));
            if let Some(oldest) = oldest.map(|(about, _)| about.clone()) {
                self.taken_back.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(intents: &mut Intents, at: f64) {
        intents.change("web", "web1", at, |intent| intent.out = Some(Out::Drain));
    }

    fn undrain(intents: &mut Intents, at: f64) {
        intents.change("web", "web1", at, |intent| intent.out = None);
    }

    /// One says all that it knows.
    fn tell(from: &Intents, to: &mut Intents) -> Vec<Hearing> {
        from.said().map(|said| to.hear(&said)).collect()
    }

    fn is_drained(intents: &Intents) -> bool {
        intents.of("web", "web1").is_some()
    }

    #[test]
    fn what_one_node_is_told_both_want_once() {
        let (mut one, mut other) = (Intents::default(), Intents::default());
        drain(&mut one, 5.0);
        one.set_everywhere([10, 0, 0, 1].into(), 6.0);
        assert_eq!(tell(&one, &mut other), [Hearing::Changed; 2]);
        assert_eq!(tell(&one, &mut other), [Hearing::Nothing; 2]);
        assert_eq!(one, other);
    }

    #[test]
    fn a_node_that_was_away_does_not_bring_up_what_was_taken_back() {
        let (mut one, mut other) = (Intents::default(), Intents::default());
        drain(&mut one, 5.0);
        tell(&one, &mut other);
        undrain(&mut one, 6.0);
        one.set_everywhere([10, 0, 0, 1].into(), 6.0);
        one.end_everywhere([10, 0, 0, 1].into(), 7.0);
        let mut one = Intents::read(one.document().as_bytes()).expect("a restart between");
        assert_eq!(tell(&other, &mut one), [Hearing::Nothing]);
        assert!(one.is_empty());
        assert_eq!(tell(&one, &mut other), [Hearing::Changed, Hearing::Remembered]);
        assert_eq!(one, other);
    }

    #[test]
    fn an_order_counts_against_what_was_known_whatever_the_clock_says() {
        let (mut fast, mut slow) = (Intents::default(), Intents::default());
        drain(&mut fast, 10_000.0);
        tell(&fast, &mut slow);
        undrain(&mut slow, 5.0);
        tell(&slow, &mut fast);
        assert!(!is_drained(&fast) && !is_drained(&slow));
        drain(&mut slow, 6.0);
        tell(&slow, &mut fast);
        assert!(is_drained(&fast) && is_drained(&slow));
    }

    #[test]
    fn of_two_that_did_not_know_of_each_other_the_later_counts_on_both() {
        for (one_at, other_at, drained) in [(5.0, 6.0, false), (6.0, 5.0, true), (5.0, 5.0, true)] {
            let (mut one, mut other) = (Intents::default(), Intents::default());
            drain(&mut other, 1.0);
            tell(&other, &mut one);
            one.change("web", "web1", one_at, |intent| intent.weight = Some(7));
            undrain(&mut other, other_at);
            let before = one.clone();
            tell(&other, &mut one);
            tell(&before, &mut other);
            assert_eq!(one, other);
            assert_eq!(is_drained(&one), drained);
        }
    }

    #[test]
    fn nodes_that_are_given_orders_at_random_come_to_the_same() {
        let mut state = 1u64;
        let mut below = move |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % bound
        };
        for _ in 0..1_000 {
            let mut nodes = [Intents::default(), Intents::default()];
            for _ in 0..20 {
                let (node, at) = (below(2) as usize, below(8) as f64);
                let backend = format!("web{}", below(2));
                match below(5) {
                    0 => nodes[node].change("web", &backend, at, |intent| intent.out = Some(Out::Disable)),
                    1 => nodes[node].change("web", &backend, at, |intent| intent.out = None),
                    2 => nodes[node].set_everywhere([10, 0, 0, 1].into(), at),
                    3 => nodes[node].end_everywhere([10, 0, 0, 1].into(), at),
                    _ => {
                        let [one, other] = &mut nodes;
                        if node == 0 { drop(tell(one, other)) } else { drop(tell(other, one)) }
                    }
                }
            }
            let [one, other] = &mut nodes;
            tell(one, other);
            tell(other, one);
            assert_eq!(one, other);
        }
    }

    #[test]
    fn what_is_remembered_of_the_past_has_a_limit() {
        let mut intents = Intents::default();
        for number in 0..=MOST_TAKEN_BACK {
            let about = About::Backend("web".to_owned(), format!("web{number}"));
            intents.hear(&Said { about, out: None, weight: None, since: number as f64 });
        }
        assert_eq!(intents.taken_back.len(), MOST_TAKEN_BACK);
        assert!(!intents.taken_back.values().any(|&since| since == 0.0), "the oldest is forgotten");
        let nonsense =
            Said { about: About::Address([10, 0, 0, 1].into()), out: Some(Out::Drain), weight: None, since: f64::NAN };
        assert_eq!(intents.hear(&nonsense), Hearing::Nothing);
    }
}
