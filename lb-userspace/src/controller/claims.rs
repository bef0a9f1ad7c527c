//! Which `direct` backends are asked whether they answer ARP for a service's address, and what is said of those that do. Pure:
//! `effects::claims` asks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::steering::Pair;
use super::{Controller, Effect};
use crate::config::{Backend, Forwarding, Service};
use crate::happening::Happening;
use crate::nexthop::{Frame, NextHop};

/// Pairs that are asked in one round; the others have their turn in the next ones.
pub const MOST_QUESTIONS: usize = 1024;
/// Backends that a warning names.
const NAMED: usize = 3;

/// A backend that is to be asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Whom, and about which address.
    pub pair: Pair,
    /// How it is reached.
    pub frame: Frame,
}

/// Who answered a round of questions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// All that were asked.
    pub asked: Vec<Pair>,
    /// Those of them that answered.
    pub answered: BTreeSet<Pair>,
}

impl Controller {
    /// Whom to ask now: those after `last`, and from the beginning when there are none. Only about addresses that this host
    /// has, so that a backend that is another balancer is not blamed for being master.
    pub fn questions_after(&self, last: Option<Pair>) -> Vec<Question> {
        let direct = self.config.services.iter().flat_map(direct).map(|(pair, ..)| pair);
        let pairs: BTreeSet<Pair> = direct.filter(|pair| self.local.contains(&pair.service)).collect();
        let question = |pair: &Pair| match self.planner.hops().get(&pair.backend) {
            Some(Ok(NextHop::Frame(frame))) => Some(Question { pair: *pair, frame: frame.clone() }),
            Some(Ok(NextHop::Local) | Err(_)) | None => None,
        };
        let after: Vec<Question> =
            pairs.iter().filter(|pair| last.is_none_or(|last| **pair > last)).filter_map(question).collect();
        let all = if after.is_empty() { pairs.iter().filter_map(question).collect() } else { after };
        all.into_iter().take(MOST_QUESTIONS).collect()
    }

    /// Takes note of who answered.
    pub(super) fn claimed(&mut self, answers: Answers) -> Vec<Effect> {
        let Answers { asked, answered } = answers;
        let asked: BTreeSet<Pair> = asked.into_iter().collect();
        let new: BTreeSet<Pair> = answered.difference(&self.claims).copied().collect();
        self.claims.retain(|pair| !asked.contains(pair));
        self.claims.extend(answered);
        let warnings = self.claim_warnings_about(&new).into_iter();
        super::pools::tell(warnings.map(|message| Happening::Warning { router: None, message }).collect())
            .into_iter()
            .collect()
    }

    /// What an operator should know.
    pub(super) fn claim_warnings(&self) -> Vec<String> {
        self.claim_warnings_about(&self.claims)
    }

    /// A line for each service's address; of a configuration that is not in force any more nothing is said.
    fn claim_warnings_about(&self, claims: &BTreeSet<Pair>) -> Vec<String> {
        if claims.is_empty() {
            return Vec::new();
        }
        let mut by_address: BTreeMap<(&str, IpAddr), Vec<&Backend>> = BTreeMap::new();
        for (pair, service, backend) in self.config.services.iter().flat_map(direct) {
            let backends = by_address.entry((service.name.as_str(), pair.service)).or_default();
            if claims.contains(&pair) && !backends.iter().any(|other| other.name == backend.name) {
                backends.push(backend);
            }
        }
        let claimed = by_address.into_iter().filter(|(_, backends)| !backends.is_empty());
        claimed.map(|((service, address), backends)| in_words(service, address, &backends)).collect()
    }
}

fn in_words(service: &str, address: IpAddr, backends: &[&Backend]) -> String {
    let named = backends.iter().take(NAMED).map(|backend| format!("{} ({})", backend.name, backend.address));
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match backends.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "service {service}: ARP for {address} is answered by {named}{more}, so clients may reach a backend past this \
         balancer; on the backend: sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2"
    )
}

/// Backends that hold the service's addresses, with each that ARP is about.
fn direct(service: &Service) -> impl Iterator<Item = (Pair, &Service, &Backend)> {
    let backends = service.backends.iter().filter(|backend| backend.forwarding == Forwarding::Direct);
    backends.flat_map(move |backend| {
        let addresses = service.listeners.iter().map(|listener| listener.address).filter(IpAddr::is_ipv4);
        addresses
            .map(move |address| (Pair { backend: backend.address, service: address, wrapping: None }, service, backend))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::controller::Event;
    use crate::nexthop::Mac;
    use crate::nexthop::tracker::Event as Network;

    const CONFIG: &str = "[dataplane]\ninterfaces = [\"eth0\"]
[[service]]\nname = \"web\"\nlisten = [\"tcp://203.0.113.10:80\", \"tcp://203.0.113.10:443\"]
[[service.backend]]\nname = \"web1\"\naddress = \"10.0.0.11\"\n[[service.backend]]\nname = \"web2\"\naddress = \"10.0.0.12\"
[[service]]\nname = \"nat\"\nlisten = [\"tcp://203.0.113.20:80\"]\nforwarding = \"nat\"
[[service.backend]]\naddress = \"10.0.0.13\"\n";

    fn pair(backend: u8) -> Pair {
        Pair { backend: [10, 0, 0, backend].into(), service: [203, 0, 113, 10].into(), wrapping: None }
    }

    /// A controller that reaches all backends, on a host with these addresses.
    fn controller(local: &[[u8; 4]]) -> Controller {
        let (config, _) = crate::config::parse(CONFIG, "lb1").expect("the sample is valid");
        let mut controller = Controller::new(config.clone(), 1 << 16, 1 << 10);
        controller.configure(Duration::ZERO, config).expect("it fits");
        let mut learn = |event| drop(controller.handle(Duration::ZERO, Event::Network(event)));
        learn(Network::LocalAddresses(local.iter().map(|address| (*address).into()).collect()));
        for backend in 11..=13 {
            let mac = |last| Mac([2, 0, 0, 0, 0, last]);
            let (source_mac, destination_mac) = (mac(1), mac(backend));
            let frame = Frame { interface: 2, source_mac, destination_mac, tags: Vec::new(), mtu: 1500, source: None };
            let result = Ok(NextHop::Frame(frame));
            learn(Network::NextHop { destination: [10, 0, 0, backend].into(), result });
        }
        controller
    }

    fn asked(questions: &[Question]) -> Vec<Pair> {
        questions.iter().map(|question| question.pair).collect()
    }

    #[test]
    fn direct_backends_are_asked_about_addresses_that_this_host_has_in_turn() {
        let ours = controller(&[[203, 0, 113, 10], [203, 0, 113, 20]]);
        assert_eq!(asked(&ours.questions_after(None)), [pair(11), pair(12)]);
        assert_eq!(asked(&ours.questions_after(Some(pair(11)))), [pair(12)]);
        assert_eq!(asked(&ours.questions_after(Some(pair(12)))), [pair(11), pair(12)], "from the beginning");
        assert_eq!(controller(&[]).questions_after(None), [], "another node is master");
    }

    #[test]
    fn who_answers_is_named_until_it_does_not() {
        let mut controller = controller(&[[203, 0, 113, 10]]);
        let mut round = |answered: &[Pair]| {
            let answers = Answers { asked: vec![pair(11), pair(12)], answered: answered.iter().copied().collect() };
            let told = controller.handle(Duration::ZERO, Event::Claims(answers));
            (told.len(), controller.claim_warnings())
        };
        let (told, warnings) = round(&[pair(12)]);
        assert_eq!((told, warnings.len()), (1, 1));
        assert!(
            warnings[0].starts_with("service web: ARP for 203.0.113.10 is answered by web2 (10.0.0.12), "),
            "{warnings:?}"
        );
        assert_eq!(round(&[pair(12)]).0, 0, "told once");
        assert_eq!(round(&[]), (0, vec![]));
        assert_eq!(round(&[pair(11), pair(12)]).0, 1);
    }
}
