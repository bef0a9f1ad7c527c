//! Which translated backends cannot tell by a reply's source whose it is, because others reach the same server at the same port for
//! another listener: translations of their flows are recorded. Of all others none is.
//!
//! A listener of every port reaches every port of its backends, so it meets each other listener with the same server; one of a range
//! meets those of its ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::census::Census;
use super::entries::number;
use super::placed::Placed;
use crate::config::{Backend, Forwarding, Listener, Ports};
use crate::scheduler::slots::WRITE_MARGIN;

/// A server's address, the ports that packets are translated to (of several each keeps its own), and the protocol's number.
pub type Target = (IpAddr, Ports, u8);

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
                    let (address, ports, protocol) = target(backend, listener);
                    let way = Way { ports, listener: *listener, recorded: backend.forwarding == Forwarding::FullNat };
                    servers.entry((address, protocol)).or_default().push(way);
                }
            }
        }
        let mut next = Self::default();
        let mut present = BTreeSet::new();
        for ((address, protocol), ways) in servers {
            for way in ways.iter().filter(|way| !way.recorded) {
                let target = (address, way.ports, protocol);
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
    ports: Ports,
    listener: Listener,
    /// It is recorded anyway.
    recorded: bool,
}

impl Way {
    /// Whether a reply could belong to this or to the other.
    fn is_confused_with(&self, other: &Self) -> bool {
        if !self.ports.meets(other.ports) {
            return false;
        }
        if other.recorded {
            // Under one key of the reverse table the record is asked first anyway.
            return self.ports != other.ports;
        }
        // What a packet from a port that both have would become: of several ports each is kept.
        let port = self.ports.one().or(other.ports.one());
        let back = |listener: &Listener| (listener.address, listener.ports.one().or(port));
        back(&self.listener) != back(&other.listener)
    }
}

fn target(backend: &Backend, listener: &Listener) -> Target {
    (backend.address, backend.target_ports(listener), number(listener.protocol))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Protocol;

    fn way(ports: Ports, address: &str, listens: Ports) -> Way {
        let address = address.parse().expect("literal");
        Way { ports, listener: Listener { protocol: Protocol::Tcp, address, ports: listens }, recorded: false }
    }

    #[test]
    fn replies_are_confused_that_would_get_different_sources() {
        use Ports::{Every, One, Range};
        let (a, b) = ("192.0.2.1", "192.0.2.2");
        for (one, other, confused) in [
            (way(One(80), a, One(80)), way(One(80), b, One(80)), true),
            (way(One(80), a, One(80)), way(One(80), a, One(81)), true),
            (way(One(80), a, One(80)), way(One(81), b, One(80)), false),
            (way(Every, a, Every), way(One(80), a, One(80)), false),
            (way(Every, a, Every), way(One(80), a, One(8080)), true),
            (way(Every, a, Every), way(One(80), b, One(80)), true),
            (way(Every, a, Every), way(Every, b, Every), true),
            (way(Range(80, 89), a, Range(80, 89)), way(Every, a, Every), false),
            (way(Range(80, 89), a, Range(80, 89)), way(Every, b, Every), true),
            (way(Range(80, 89), a, Range(80, 89)), way(Range(89, 99), b, Range(89, 99)), true),
            (way(Range(80, 89), a, Range(80, 89)), way(Range(90, 99), b, Range(90, 99)), false),
            (way(Range(80, 89), a, Range(80, 89)), way(One(85), a, One(185)), true),
            (way(Range(80, 89), a, Range(80, 89)), way(One(90), a, One(190)), false),
        ] {
            assert_eq!(one.is_confused_with(&other), confused);
            assert_eq!(other.is_confused_with(&one), confused);
        }
    }

    #[test]
    fn what_is_recorded_confuses_only_where_another_key_is_found_first() {
        use Ports::{Every, One, Range};
        let recorded = |way: Way| Way { recorded: true, ..way };
        let (exact, every) = (way(One(80), "192.0.2.1", One(80)), way(Every, "192.0.2.1", Every));
        let range = way(Range(80, 89), "192.0.2.1", Range(80, 89));
        assert!(!exact.is_confused_with(&recorded(way(One(80), "192.0.2.2", One(80)))));
        assert!(exact.is_confused_with(&recorded(way(Every, "192.0.2.2", Every))));
        assert!(every.is_confused_with(&recorded(way(One(80), "192.0.2.2", One(80)))));
        assert!(range.is_confused_with(&recorded(way(One(80), "192.0.2.2", One(80)))));
        assert!(!range.is_confused_with(&recorded(way(Range(80, 89), "192.0.2.2", Range(80, 89)))));
        assert!(!range.is_confused_with(&recorded(way(One(90), "192.0.2.2", One(90)))));
    }
}
