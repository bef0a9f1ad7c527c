//! Everything silent is usually our own uplink: when all backends behind one interface stop answering at once, it is not
//! they who failed, and taking them all out helps nobody. Then the last verdicts are *held*, the interface is blamed, and
//! virtual routers that need it get a lower priority.
//!
//! - Only silence counts: no frame at all. A refusal or a wrong answer came from somewhere, so the way there works; one of
//!   these, or one backend that answers, and nothing is held.
//! - At least [`FEWEST`] backends must fall silent, the first and the last within the time in which their checks find out
//!   (interval and timeout). Who was down before does not count either way.
//! - Where a gateway behind the interface is known (a `gateway` track of a virtual router names one), it must be silent,
//!   too. Where none is known, three servers that are switched off at once look the same as a cut cable; so without a
//!   gateway's testimony verdicts are held for [`PATIENCE`] at most.
//! - The first sign of life ends it: who answers is believed at once, the others get one more round of probes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::health::spec::Spec;
use crate::health::verdict::{CheckState, FailureKind, Verdict};

/// Backends that must fall silent together. Two may well fail at once.
pub const FEWEST: usize = 3;
/// How long verdicts are held when no gateway says that the interface is to blame.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// So long after the last backend a gateway may be found silent and still be part of the same failure: three questions, a
/// second apart, and some.
const GATEWAY_PATIENCE: Duration = Duration::from_secs(10);

/// An interface by its name, with its tags if backends are behind VLANs of it.
pub type Interface = Arc<str>;

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub struct Uplinks {
    egress: HashMap<IpAddr, Interface>,
    behind: BTreeMap<Interface, BTreeSet<IpAddr>>,
    /// Whether known gateways answer.
    gateways: BTreeMap<Interface, bool>,
    /// Checks that fell silent, when, and what they said before.
    fallen: HashMap<Arc<Spec>, (Duration, Verdict)>,
    held: BTreeMap<Interface, Hold>,
}

/// Verdicts that are held.
#[derive(Clone, Debug)]
struct Hold {
    since: Duration,
    /// When the real ones count again, at the latest.
    until: Option<Duration>,
    /// What they were.
    verdicts: HashMap<Arc<Spec>, Verdict>,
    /// How long another round of probes takes.
    round: Duration,
    why: String,
}

/// What there is to ask about checks.
pub struct Checks<'a> {
    /// The checks of an address.
    pub of: &'a dyn Fn(IpAddr) -> Vec<Arc<Spec>>,
    /// What one really says.
    pub says: &'a dyn Fn(&Arc<Spec>) -> Option<Verdict>,
}

/// An interface whose verdicts are held from now on, or no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub interface: Interface,
    /// Whether they are.
    pub held: bool,
    /// Why, in words.
    pub why: String,
    /// Whose verdicts count otherwise now.
    pub specs: Vec<Arc<Spec>>,
}

impl Uplinks {
    /// An address is reached by this interface, or it is not known by which.
    pub fn reached_by(&mut self, address: IpAddr, interface: Option<Interface>) {
        let before = match &interface {
            Some(interface) => self.egress.insert(address, interface.clone()),
            None => self.egress.remove(&address),
        };
        if before == interface {
            return;
        }
        if let Some(before) = before
            && let Some(addresses) = self.behind.get_mut(&before)
        {
            addresses.remove(&address);
        }
        if let Some(interface) = interface {
            self.behind.entry(interface).or_default().insert(address);
        }
    }

    /// Whether the known gateways answer, by interface.
    pub fn set_gateways(&mut self, gateways: BTreeMap<Interface, bool>) {
        self.gateways = gateways;
    }

    /// A check says something else than before.
    pub fn note(
        &mut self,
        now: Duration,
        spec: &Arc<Spec>,
        before: Option<&Verdict>,
        verdict: &Verdict,
    ) -> Option<Change> {
        let silent = verdict.state == CheckState::Down && verdict.failure == Some(FailureKind::Silent);
        match before {
            Some(before) if silent && before.state == CheckState::Up => {
                self.fallen.insert(spec.clone(), (now, before.clone()));
            }
            Some(before) if silent && before.failure == Some(FailureKind::Silent) => {}
            Some(_) | None => drop(self.fallen.remove(spec)),
        }
        let interface = self.egress.get(&spec.target.address)?;
        let hold = self.held.get_mut(interface)?;
        if silent {
            // A slower check than the others.
            if let Some((_, before)) = self.fallen.get(spec) {
                hold.verdicts.entry(spec.clone()).or_insert_with(|| hold_on(before, interface));
            }
            return None;
        }
        if verdict.failure == Some(FailureKind::Local) {
            return None;
        }
        hold.verdicts.remove(spec);
        let end = now + hold.round;
        hold.until = Some(hold.until.map_or(end, |until| until.min(end)));
        None
    }

    /// Looks whether these checks' interfaces are to blame.
    pub fn judge(&mut self, now: Duration, touched: &[Arc<Spec>], checks: &Checks) -> Vec<Change> {
        let interfaces: BTreeSet<Interface> = touched
            .iter()
            .filter(|spec| self.fallen.contains_key(*spec))
            .filter_map(|spec| self.egress.get(&spec.target.address).cloned())
            .collect();
        interfaces.into_iter().filter_map(|interface| self.hold(now, interface, checks)).collect()
    }

    /// The time, and what gateways say: who is to be held now, and what is over.
    pub fn tick(&mut self, now: Duration, checks: &Checks) -> Vec<Change> {
        let mut changes = Vec::new();
        for (interface, answers) in self.gateways.clone() {
            if answers && let Some(hold) = self.held.get_mut(&interface) {
                let end = now + hold.round;
                hold.until = Some(hold.until.map_or(end, |until| until.min(end)));
            } else if !answers {
                changes.extend(self.hold(now, interface, checks));
            }
        }
        let over: Vec<Interface> =
            self.held.iter().filter(|(_, hold)| hold.is_over(now)).map(|(name, _)| name.clone()).collect();
        for interface in over {
            let hold = self.held.remove(&interface).expect("it was found a moment ago");
            let behind = self.behind.get(&interface);
            let is_behind = |spec: &Arc<Spec>| behind.is_some_and(|behind| behind.contains(&spec.target.address));
            self.fallen.retain(|spec, _| !is_behind(spec));
            let why = format!("verdicts count again after {:.1} s", (now - hold.since).as_secs_f64());
            let specs = hold.verdicts.into_keys().collect();
            changes.push(Change { interface, held: false, why, specs });
        }
        changes
    }

    /// When something is over.
    pub fn deadline(&self) -> Option<Duration> {
        self.held.values().filter_map(|hold| hold.until).min()
    }

    /// The verdict that is held for a check.
    pub fn verdict(&self, spec: &Arc<Spec>) -> Option<&Verdict> {
        if self.held.is_empty() {
            return None;
        }
        self.held.get(self.egress.get(&spec.target.address)?)?.verdicts.get(spec)
    }

    /// The interfaces that are blamed, and why.
    pub fn held(&self) -> impl Iterator<Item = (&str, &str)> {
        self.held.iter().map(|(interface, hold)| (&**interface, hold.why.as_str()))
    }

    /// The interface that an address is reached by.
    pub fn interface_of(&self, address: IpAddr) -> Option<&Interface> {
        self.egress.get(&address)
    }

    /// Forgets checks that are not of the configuration any more.
    pub fn retain(&mut self, is_known: impl Fn(&Arc<Spec>) -> bool) {
        self.fallen.retain(|spec, _| is_known(spec));
        for hold in self.held.values_mut() {
            hold.verdicts.retain(|spec, _| is_known(spec));
        }
    }

    fn hold(&mut self, now: Duration, interface: Interface, checks: &Checks) -> Option<Change> {
        let gateway = self.gateways.get(&interface).copied();
        if self.held.contains_key(&interface) || gateway == Some(true) {
            return None;
        }
        let behind = self.behind.get(&interface)?;
        let mut fallen: Vec<(Duration, Arc<Spec>)> = Vec::new();
        for &address in behind {
            for spec in (checks.of)(address) {
                let verdict = (checks.says)(&spec).unwrap_or_default();
                match (verdict.state, verdict.failure) {
                    (CheckState::Unknown, _) | (CheckState::Down, Some(FailureKind::Silent | FailureKind::Local)) => {}
                    // Something came back.
                    (CheckState::Up, _) | (CheckState::Down, _) => return None,
                }
                if let Some((when, _)) = self.fallen.get(&spec) {
                    fallen.push((*when, spec));
                }
            }
        }
        let last = fallen.iter().map(|(when, _)| *when).max()?;
        let round = fallen.iter().map(|(_, spec)| spec.timing.interval + spec.timing.timeout).max()?;
        fallen.retain(|(when, _)| *when + round >= last);
        let backends: BTreeSet<IpAddr> = fallen.iter().map(|(_, spec)| spec.target.address).collect();
        if backends.len() < FEWEST || now > last + GATEWAY_PATIENCE {
            return None;
        }
        let count = backends.len();
        let (until, gateway) = match gateway {
            Some(_) => (None, " and the gateway"),
            None => (Some(now + PATIENCE), ""),
        };
        let why = format!(
            "all {count} backends{gateway} behind {interface} fell silent at once; their last verdicts are held"
        );
        let held = |(_, spec): (Duration, Arc<Spec>)| {
            let (_, before) = self.fallen.get(&spec)?;
            Some((spec.clone(), hold_on(before, &interface)))
        };
        let verdicts: HashMap<Arc<Spec>, Verdict> = fallen.into_iter().filter_map(held).collect();
        let specs = verdicts.keys().cloned().collect();
        self.held.insert(interface.clone(), Hold { since: now, until, verdicts, round, why: why.clone() });
        Some(Change { interface, held: true, why, specs })
    }
}

impl Hold {
    fn is_over(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| now >= until)
    }
}

fn hold_on(before: &Verdict, interface: &Interface) -> Verdict {
    Verdict { why: format!("{}; held, since {interface} is blamed for its silence", before.why), ..before.clone() }
}

#[cfg(test)]
#[path = "uplink_tests.rs"]
mod tests;
