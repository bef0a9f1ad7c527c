//! The takeover, rehearsed: every second the master says of a sample of packets which backend they go to, and the other node sends the same
//! packets down its own packet path, over its own tables and records, as if it were master. What comes out is the share of flows that a
//! failover now would leave where they are: measured, not concluded from tables that look alike.
//!
//! The sample is of flows that have records, and of flows that nobody has opened: clients drawn at random, of services whose lookup table
//! decides. Both nodes find the answer by the code that runs in the kernel (`native`), the master too.
//!
//! **Order.** Whoever is asked has the record of a flow at hand, read when the packet was drawn or when the decision came in: what the
//! master tells of a flow before a decision about it was put into the tables by then, and what it tells after it was not. So a flow that
//! ends while it is rehearsed is no difference. A change of the pool is one, for the moment until both nodes have made it.
//!
//! **Bounds**: [`MOST_OF_REALM`] decisions of a virtual router and [`MOST`] of all in [`INTERVAL`]; when there are more virtual routers than
//! that they take turns. A packet takes 4 µs in a build without optimisation, so this is two thousandths of a core at most, on either node.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lb_common::abi::{FlowKey6, Record};
use lb_common::packet::protocol;
use lb_common::packet::transport::{destination_port_wire, ports_wire, source_port_wire};

use super::agreement::GRACE;
use super::directory::Entry;
use super::item::FlowId;
use crate::config::{Listener, Ports};
use crate::random::Random;
use crate::reconcile::entries;

/// Time between two rounds.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// Decisions of one virtual router in a round, at most.
pub const MOST_OF_REALM: usize = 64;
/// Decisions in a round, at most.
pub const MOST: usize = 512;
/// Of those of a virtual router, so many are of flows that have records, if there are.
const KNOWN: usize = MOST_OF_REALM / 2;
/// What the ratio is of. Shorter than the grace, so that one moment of a change is no alarm.
pub const WINDOW: Duration = Duration::from_secs(5);
/// Differences that are shown.
const EXAMPLES: usize = 3;

/// Where a packet goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// The service.
    pub service: Arc<str>,
    /// The packet's flow.
    pub flow: FlowId,
    /// Whether it opens it.
    pub opens: bool,
    /// The backend's identity.
    pub backend: Arc<str>,
}

/// A packet of which that is asked.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Its flow.
    pub flow: FlowKey6,
    /// Whether it opens it.
    pub opens: bool,
    /// The record of its flow, and whether that is one of a stateful service.
    pub record: Option<(Record, bool)>,
}

/// Where it goes: service and backend's identity; or what becomes of it else, in words.
pub type Fate = Result<(Arc<str>, Arc<str>), String>;

/// What the packet path is asked.
#[derive(Debug)]
pub struct Question {
    /// What for.
    pub purpose: Purpose,
    /// Where these go.
    pub packets: Vec<Packet>,
}

/// What an answer is for.
#[derive(Debug)]
pub enum Purpose {
    /// To be told.
    Tell,
    /// To be compared with these, one for each packet.
    Compare(Vec<Decision>),
}

/// Where the packets of a question go, one for each.
#[derive(Debug)]
pub struct Answer {
    /// What was asked.
    pub question: Question,
    /// What is answered.
    pub fates: Vec<Fate>,
}

/// Flows that have records, some of each virtual router: as they are seen every one has the same chance.
#[derive(Debug, Default)]
pub struct Sampler {
    realms: BTreeMap<Arc<str>, Reservoir>,
    random: Random,
}

#[derive(Debug, Default)]
struct Reservoir {
    flows: Vec<(FlowKey6, bool)>,
    seen: u64,
}

impl Sampler {
    /// Such a record is there. `stateful`: it is of a stateful service.
    pub fn offer(&mut self, realm: &Arc<str>, flow: &FlowKey6, stateful: bool) {
        let Some(reservoir) = self.realms.get_mut(realm) else {
            let reservoir = Reservoir { flows: vec![(*flow, stateful)], seen: 1 };
            self.realms.insert(Arc::clone(realm), reservoir);
            return;
        };
        reservoir.seen += 1;
        if reservoir.flows.len() < KNOWN {
            return reservoir.flows.push((*flow, stateful));
        }
        let at = self.random.below(reservoir.seen) as usize;
        if let Some(place) = reservoir.flows.get_mut(at) {
            *place = (*flow, stateful);
        }
    }

    /// Those of a virtual router, which are seen anew from now on.
    pub fn take(&mut self, realm: &str) -> Vec<(FlowKey6, bool)> {
        self.realms.remove(realm).unwrap_or_default().flows
    }
}

/// Packets of flows that nobody has opened, to services whose lookup table decides; each service has its turn. `round`: another number for
/// each time.
pub fn draw(services: &[&Arc<Entry>], count: usize, round: u64) -> Vec<Packet> {
    let hashed: Vec<_> = services.iter().filter(|it| it.first_load.is_none() && !it.listeners().is_empty()).collect();
    if hashed.is_empty() {
        return Vec::new();
    }
    let mut random = Random(round);
    let first = round.wrapping_mul(count as u64);
    let packet = |at: usize| {
        let entry = hashed[(first.wrapping_add(at as u64) % hashed.len() as u64) as usize];
        let listeners = entry.listeners();
        let listener = &listeners[random.below(listeners.len() as u64) as usize];
        Packet { flow: flow(&mut random, listener), opens: random.below(2) == 0, record: None }
    };
    (0..count).map(packet).collect()
}

fn between(random: &mut Random, first: u16, last: u16) -> u16 {
    first + random.below(u64::from(last - first) + 1) as u16
}

/// A flow of some client to a listener.
fn flow(random: &mut Random, listener: &Listener) -> FlowKey6 {
    let client = match listener.address {
        // Whatever may be a client's: neither this network nor loopback nor a group.
        IpAddr::V4(_) => {
            let first = loop {
                let octet = between(random, 1, 223);
                if octet != 127 {
                    break octet as u8;
                }
            };
            let [_, second, third, fourth, ..] = random.next().to_be_bytes();
            IpAddr::V4(Ipv4Addr::new(first, second, third, fourth))
        }
        IpAddr::V6(_) => {
            let bits = u128::from(random.next()) << 64 | u128::from(random.next());
            IpAddr::V6(Ipv6Addr::from(bits & !(7 << 125) | 1 << 125))
        }
    };
    let number = entries::number(listener.protocol);
    let ports = match listener.ports {
        _ if protocol::is_portless(number) => 0,
        Ports::One(port) => ports_wire(between(random, 1024, u16::MAX).to_be(), port.to_be()),
        Ports::Range(first, last) => {
            ports_wire(between(random, 1024, u16::MAX).to_be(), between(random, first, last).to_be())
        }
        Ports::Every => ports_wire(between(random, 1024, u16::MAX).to_be(), between(random, 1, u16::MAX).to_be()),
    };
    FlowKey6 {
        source: client.into(),
        destination: listener.address.into(),
        ports_wire: ports,
        protocol: u32::from(number),
    }
}

/// How what the peer says compares with what this node would do.
#[derive(Debug, Default)]
pub struct Comparison {
    agreed: u64,
    differed: u64,
    /// Of the window: when, and how many agreed and differed.
    rounds: VecDeque<(Duration, u64, u64)>,
    examples: VecDeque<(Duration, String)>,
    /// Since when some differ.
    since: Option<Duration>,
}

impl Comparison {
    /// Takes note of an answer to what the peer said.
    pub fn note(&mut self, now: Duration, said: &[Decision], fates: &[Fate]) {
        let (mut agreed, mut differed) = (0, 0);
        for (said, fate) in said.iter().zip(fates) {
            if matches!(fate, Ok((service, backend)) if (service, backend) == (&said.service, &said.backend)) {
                agreed += 1;
                continue;
            }
            differed += 1;
            if self.examples.len() >= EXAMPLES {
                self.examples.pop_front();
            }
            self.examples.push_back((now, example(said, fate)));
        }
        self.agreed += agreed;
        self.differed += differed;
        self.rounds.push_back((now, agreed, differed));
        self.pass(now);
    }

    /// Time has passed.
    pub fn pass(&mut self, now: Duration) {
        while self.rounds.front().is_some_and(|(at, ..)| *at + WINDOW < now) {
            self.rounds.pop_front();
        }
        while self.examples.front().is_some_and(|(at, _)| *at + WINDOW < now) {
            self.examples.pop_front();
        }
        let (_, differed) = self.of_window();
        self.since = (differed > 0).then(|| self.since.unwrap_or(now));
    }

    /// Decisions that agreed and that differed, ever.
    pub fn counts(&self) -> (u64, u64) {
        (self.agreed, self.differed)
    }

    /// The share that agreed of late; `None`: nothing was compared.
    pub fn ratio(&self) -> Option<f64> {
        let (agreed, differed) = self.of_window();
        (agreed + differed > 0).then(|| agreed as f64 / (agreed + differed) as f64)
    }

    /// What differed of late, in words.
    pub fn examples(&self) -> impl Iterator<Item = &str> {
        self.examples.iter().map(|(_, example)| example.as_str())
    }

    /// What is wrong, in words, once some have differed for longer than the grace.
    pub fn problem(&self, now: Duration) -> Option<String> {
        self.since.filter(|since| now >= *since + GRACE)?;
        let (agreed, differed) = self.of_window();
        let example = self.examples.back().map_or(String::new(), |(_, example)| format!(", such as {example}"));
        let all = agreed + differed;
        Some(format!("a takeover now would move flows: of {all} decisions of the peer {differed} differ{example}"))
    }

    fn of_window(&self) -> (u64, u64) {
        self.rounds.iter().fold((0, 0), |(agreed, differed), (_, more, others)| (agreed + more, differed + others))
    }
}

fn example(said: &Decision, fate: &Fate) -> String {
    let flow = said.flow.key();
    let end = |address: IpAddr, port_wire: u16| match u16::from_be(port_wire) {
        0 => address.to_string(),
        port => SocketAddr::new(address, port).to_string(),
    };
    let client = end(flow.source.into(), source_port_wire(flow.ports_wire));
    let service = end(flow.destination.into(), destination_port_wire(flow.ports_wire));
    let (name, there) = (&said.service, &said.backend);
    let here = match fate {
        Ok((service, backend)) if service == name => format!("to {backend}"),
        Ok((service, backend)) => format!("to {backend} of {service}"),
        Err(why) => format!("nowhere, {why}"),
    };
    format!("{client} to {service} of {name}, which goes to {there} there and {here} here")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Protocol;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn decision(backend: &str) -> Decision {
        let listener = Listener { protocol: Protocol::Tcp, address: [192, 0, 2, 1].into(), ports: Ports::One(80) };
        let flow = FlowKey6 {
            source: IpAddr::from([198, 51, 100, 7]).into(),
            ports_wire: ports_wire(4242u16.to_be(), 80u16.to_be()),
            ..super::flow(&mut Random(1), &listener)
        };
        Decision { service: "web".into(), flow: FlowId::from(&flow), opens: true, backend: backend.into() }
    }

    fn to(backend: &str) -> Fate {
        Ok(("web".into(), backend.into()))
    }

    #[test]
    fn the_ratio_is_of_the_last_seconds_and_names_what_differs() {
        let mut comparison = Comparison::default();
        assert_eq!(comparison.ratio(), None);
        comparison.note(at(1), &[decision("a"), decision("b")], &[to("a"), to("b")]);
        assert_eq!(comparison.ratio(), Some(1.0));
        comparison.note(at(2), &[decision("a"), decision("b")], &[to("b"), Err("drop (no-backend)".into())]);
        assert_eq!((comparison.ratio(), comparison.counts()), (Some(0.5), (2, 2)));
        let examples: Vec<&str> = comparison.examples().collect();
        assert_eq!(
            examples,
            [
                "198.51.100.7:4242 to 192.0.2.1:80 of web, which goes to a there and to b here",
                "198.51.100.7:4242 to 192.0.2.1:80 of web, which goes to b there and nowhere, drop (no-backend) here",
            ]
        );
        comparison.pass(at(7));
        assert_eq!(comparison.ratio(), Some(0.0), "the first round is out of the window");
        comparison.pass(at(8));
        assert_eq!((comparison.ratio(), comparison.examples().count()), (None, 0));
    }

    #[test]
    fn only_what_differs_for_longer_than_the_grace_is_a_problem() {
        let mut comparison = Comparison::default();
        comparison.note(at(1), &[decision("a")], &[to("b")]);
        for second in 2..=10 {
            comparison.note(at(second), &[decision("a")], &[to("a")]);
            assert_eq!(comparison.problem(at(second)), None, "one moment of a change, {second}");
        }
        for second in 11..=30 {
            comparison.note(at(second), &[decision("a"), decision("b")], &[to("b"), to("b")]);
            let problem = comparison.problem(at(second));
            assert_eq!(problem.is_some(), second >= 21, "{second}");
        }
        let problem = comparison.problem(at(30)).expect("it lasts");
        assert!(
            problem.starts_with("a takeover now would move flows: of 12 decisions of the peer 6 differ, such as 198")
        );
    }

    #[test]
    fn every_flow_that_is_seen_has_its_chance_and_no_more_than_a_few_are_kept() {
        let realm: Arc<str> = "public".into();
        let listener = Listener { protocol: Protocol::Udp, address: [192, 0, 2, 1].into(), ports: Ports::Every };
        let mut random = Random(7);
        let flows: Vec<FlowKey6> = (0..1000).map(|_| flow(&mut random, &listener)).collect();
        let mut sampler = Sampler::default();
        flows.iter().for_each(|flow| sampler.offer(&realm, flow, false));
        let taken = sampler.take("public");
        assert_eq!(taken.len(), KNOWN);
        let late = taken.iter().filter(|(flow, _)| flows[500..].contains(flow)).count();
        assert!((KNOWN / 5..=KNOWN * 4 / 5).contains(&late), "{late} of the second half");
        assert!(sampler.take("public").is_empty() && sampler.take("inside").is_empty());
    }

    #[test]
    fn clients_that_are_drawn_could_be_clients() {
        let address: IpAddr = "2001:db8::1".parse().expect("literal");
        let mut random = Random(3);
        for _ in 0..1000 {
            let v4 = flow(
                &mut random,
                &Listener { protocol: Protocol::Tcp, address: [192, 0, 2, 1].into(), ports: Ports::Range(8000, 8099) },
            );
            let IpAddr::V4(client) = v4.source.into() else { panic!("of one family") };
            assert!(!client.is_loopback() && !client.is_multicast() && !client.is_unspecified(), "{client}");
            assert!((8000..=8099).contains(&u16::from_be(destination_port_wire(v4.ports_wire))));
            let v6 = flow(&mut random, &Listener { protocol: Protocol::Esp, address, ports: Ports::Every });
            let IpAddr::V6(client) = v6.source.into() else { panic!("of one family") };
            assert_eq!((client.segments()[0] >> 13, v6.ports_wire), (1, 0));
        }
    }
}
