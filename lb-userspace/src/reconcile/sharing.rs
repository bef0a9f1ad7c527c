//! Which translated backends cannot tell by a reply's source whose it is, because others reach the same server at the same port for
//! another listener: translations of their flows are recorded. Of all others none is.
//!
//! A listener of every port reaches every port of its backends, so it meets each other listener with the same server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::census::Census;
use super::entries::number;
use super::placed::Placed;
use crate::config::{Backend, Forwarding, Listener};
use crate::scheduler::slots::WRITE_MARGIN;

/// A server's address, the port that packets are translated to (`None`: the one they have), and the protocol's number.
pub type Target = (IpAddr, Option<u16>, u8);

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub struct Sharing {
    shared: BTreeSet<Target>,
    /// Those that were shared until some time: a flow that got another port than its own has it still.
    ending: BTreeMap<Target, Duration>,
}

impl Sharing {
    /// What services share, and what they shared before while any of them is still there.
    pub fn of<'a>(&self, now: Duration, services: impl Iterator<Item = &'a Placed> + Clone) -> Self {
        let mut servers: BTreeMap<(IpAddr, u8), Vec<Way>> = BTreeMap::new();
        for placed in services {
            for backend in placed.members().chain(placed.leaving.values()).filter(|it| it.forwarding.translates()) {
                for listener in placed.rows.keys() {
                    let (address, port, protocol) = target(backend, listener);
                    let way = Way { port, listener: *listener, recorded: backend.forwarding == Forwarding::FullNat };
                    servers.entry((address, protocol)).or_default().push(way);
                }
            }
        }
        let mut next = Self::default();
        let mut present = BTreeSet::new();
        for ((address, protocol), ways) in servers {
            for way in ways.iter().filter(|way| !way.recorded) {
                let target = (address, way.port, protocol);
                present.insert(target);
                if !next.shared.contains(&target) && ways.iter().any(|other| way.is_confused_with(other)) {
                    next.shared.insert(target);
                }
            }
        }
        let before = self.shared.iter().map(|target| (*target, now)).chain(self.ending.iter().map(|(at, t)| (*at, *t)));
        next.ending = before.filter(|(at, _)| present.contains(at) && !next.shared.contains(at)).collect();
        next
    }

    /// Whether flows to a translated backend of a listener are recorded for this.
    pub fn holds(&self, backend: &Backend, listener: &Listener) -> bool {
        let target = target(backend, listener);
        self.shared.contains(&target) || self.ending.contains_key(&target)
    }

    /// Ends what is not shared any more, once no flow has another port than its own for it. Whether there was any.
    pub fn end(&mut self, census: &Census) -> bool {
        let before = self.ending.len();
        self.ending.retain(|(address, _, protocol), since| {
            *since + WRITE_MARGIN > census.began || census.renamed.contains(&((*address).into(), *protocol))
        });
        self.ending.len() != before
    }

    /// Whether the flows to the same targets are recorded.
    pub fn records_the_same_as(&self, other: &Self) -> bool {
        let targets = |it: &Self| it.shared.iter().chain(it.ending.keys()).copied().collect::<BTreeSet<_>>();
        targets(self) == targets(other)
    }

    /// Whether anything waits for its end.
    pub fn is_ending(&self) -> bool {
        !self.ending.is_empty()
    }

    /// Whether anything is shared, or was until recently.
    pub fn any(&self) -> bool {
        !(self.shared.is_empty() && self.ending.is_empty())
    }
}

/// One listener's way to a server.
struct Way {
    port: Option<u16>,
    listener: Listener,
    /// It is recorded anyway.
    recorded: bool,
}

impl Way {
    /// Whether a reply could belong to this or to the other.
    fn is_confused_with(&self, other: &Self) -> bool {
        if other.recorded {
            // Under one key of the reverse table the record is asked first anyway.
            return self.port != other.port && (self.port.is_none() || other.port.is_none());
        }
        let back = |listener: &Listener, from: Option<u16>| (listener.address, listener.port.or(from));
        match (self.port, other.port) {
            (Some(port), Some(other_port)) if port != other_port => false,
            (port, other_port) => {
                let from = port.or(other_port);
                back(&self.listener, from) != back(&other.listener, from)
            }
        }
    }
}

fn target(backend: &Backend, listener: &Listener) -> Target {
    (backend.address, backend.target_port(listener), number(listener.protocol))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Protocol;

    fn way(port: Option<u16>, address: &str, listens: Option<u16>) -> Way {
        let address = address.parse().expect("literal");
        Way { port, listener: Listener { protocol: Protocol::Tcp, address, port: listens }, recorded: false }
    }

    #[test]
    fn replies_are_confused_that_would_get_different_sources() {
        let (a, b) = ("192.0.2.1", "192.0.2.2");
        for (one, other, confused) in [
            (way(Some(80), a, Some(80)), way(Some(80), b, Some(80)), true),
            (way(Some(80), a, Some(80)), way(Some(80), a, Some(81)), true),
            (way(Some(80), a, Some(80)), way(Some(81), b, Some(80)), false),
            (way(None, a, None), way(Some(80), a, Some(80)), false),
            (way(None, a, None), way(Some(80), a, Some(8080)), true),
            (way(None, a, None), way(Some(80), b, Some(80)), true),
            (way(None, a, None), way(None, b, None), true),
        ] {
            assert_eq!(one.is_confused_with(&other), confused);
            assert_eq!(other.is_confused_with(&one), confused);
        }
    }

    #[test]
    fn what_is_recorded_confuses_only_where_another_key_is_found_first() {
        let recorded = |way: Way| Way { recorded: true, ..way };
        let (exact, every) = (way(Some(80), "192.0.2.1", Some(80)), way(None, "192.0.2.1", None));
        assert!(!exact.is_confused_with(&recorded(way(Some(80), "192.0.2.2", Some(80)))));
        assert!(exact.is_confused_with(&recorded(way(None, "192.0.2.2", None))));
        assert!(every.is_confused_with(&recorded(way(Some(80), "192.0.2.2", Some(80)))));
    }
}
