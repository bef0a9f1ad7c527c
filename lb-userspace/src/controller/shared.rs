//! What nodes of a pair tell each other besides the state of flows: operators' orders and what checks say. What is of services that
//! follow no virtual router is each node's own, but for an address that is drained everywhere.

use std::time::Duration;

use super::{Controller, Effect};
use crate::exchange::word::Spoken;
use crate::health::pool::intent::said::{About, Said};
use crate::health::pool::memory::{Opinion, opinions};

impl Controller {
    /// What this node has to say.
    pub fn spoken(&self) -> Spoken {
        let intents = self.pools().intents().said().filter(|said| self.is_shared(&said.about));
        Spoken { intents: intents.collect(), verdicts: opinions(&self.pools().all_verdicts()) }
    }

    /// The other node says what operators want: whether anything of it is to be remembered, and what is to be done.
    pub fn hear_intents(&mut self, now: Duration, mut said: Vec<Said>) -> (bool, Vec<Effect>) {
        said.retain(|said| self.is_shared(&said.about));
        let (is_new, changes) = self.pools.hear_intents(now, &said);
        (is_new, self.follow(now, changes))
    }

    /// The other node says what its checks say: something to begin with, for those of ours that have not said anything yet.
    pub fn hear_verdicts(&mut self, now: Duration, verdicts: Vec<Opinion>) -> Vec<Effect> {
        let changes = self.pools.hear_verdicts(now, verdicts);
        self.follow(now, changes)
    }

    fn is_shared(&self, about: &About) -> bool {
        match about {
            About::Address(_) => true,
            About::Backend(service, _) => {
                let configured = self.config().services.iter().find(|it| it.name == *service);
                configured.is_none_or(|service| service.vrrp.is_some())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::health::pool::intent::Out;
    use crate::health::pool::{Action, Order};

    const NOW: Duration = Duration::from_secs(1000);
    const TEXT: &str = "
[dataplane]
interfaces = [\"eth0\"]
[[vrrp]]
name = \"public\"
interface = \"eth0\"
vrid = 51
addresses = [\"203.0.113.10/32\"]
[[service]]
name = \"web\"
listen = [\"tcp://203.0.113.10:80\"]
vrrp = \"public\"
[[service.backend]]
name = \"b1\"
address = \"10.0.0.1\"
[[service]]
name = \"own\"
listen = [\"tcp://203.0.113.11:80\"]
[[service.backend]]
name = \"b1\"
address = \"10.0.0.2\"
";

    fn node() -> Controller {
        let config = parse(TEXT, "host").unwrap().0;
        let mut controller = Controller::new(config.clone(), 65_536, 64);
        controller.configure(NOW, config).unwrap();
        controller
    }

    #[test]
    fn orders_are_shared_of_services_that_follow_a_virtual_router_and_of_addresses() {
        let (mut one, mut other) = (node(), node());
        for service in ["web", "own"] {
            let action = Action::Drain;
            let order = Order::Backend { service: service.to_owned(), backend: "b1".to_owned(), action };
            one.operate(NOW, 5.0, &order).unwrap();
        }
        one.operate(NOW, 5.0, &Order::DrainEverywhere([10, 0, 0, 2].into())).unwrap();
        let said = one.spoken().intents;
        assert_eq!(said.len(), 2);
        let of_own = Said {
            about: About::Backend("own".to_owned(), "b1".to_owned()),
            out: Some(Out::Drain),
            weight: None,
            since: 5.0,
        };
        let (is_new, effects) = other.hear_intents(NOW, said.into_iter().chain([of_own]).collect());
        assert!(is_new && !effects.is_empty());
        assert_eq!(other.pools().intents().len(), 2);
        assert!(other.pools().intents().of("own", "b1").is_none());
    }
}
