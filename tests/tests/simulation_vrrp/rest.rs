//! What must hold when the world has come to rest, and while nothing is wrong.

use crate::judge::SLACK;
use crate::scenario::Router;
use crate::world::{Promise, World, tell};

impl World {
    /// On a healthy network somebody always forwards, and a client finds them.
    pub fn judge_forwarding(&mut self) -> Promise {
        if !self.judge.watches {
            return Ok(());
        }
        for router in &self.scenario.routers {
            for address in &router.addresses {
                let somebody = self.nodes.iter().any(|node| node.host.holds(address));
                let found = self.client.sends_to(address.addr());
                let forwards = |live| found.is_some_and(|node| self.nodes[node].host.is_live(live));
                if !somebody {
                    return Err(format!("nobody holds {address} on a healthy network"));
                }
                if router.live.is_some_and(|live| !forwards(live)) {
                    return Err(format!("the client sends to {found:?} for {address}, which does not forward"));
                }
            }
        }
        Ok(())
    }

    /// The one master of each router. Two of them may just be changing places.
    pub fn judge_one_master(&mut self) -> Promise {
        self.count("healed networks");
        if self.one_master_each().is_err() {
            let interval = self.scenario.routers.iter().map(Router::longest_interval).max().expect("there are routers");
            self.advance(interval + self.trip() * 2 + SLACK)?;
        }
        self.one_master_each()
    }

    fn one_master_each(&self) -> Promise {
        for (at, router) in self.scenario.routers.iter().enumerate() {
            let masters: Vec<usize> = self.nodes.iter().filter(|n| n.is_master(at)).map(|n| n.number).collect();
            if masters.len() != 1 {
                return Err(format!("{} has the masters {masters:?} though the network has healed", router.name));
            }
            let together = self.move_together(at);
            if together.iter().any(|other| !self.nodes[masters[0]].is_master(*other)) {
                return Err(format!("{} has the master n{} and its group has another", router.name, masters[0]));
            }
        }
        Ok(())
    }

    /// With preemption, the master is the best there is.
    pub fn judge_best_master(&mut self) -> Promise {
        self.judge_one_master()?;
        for at in 0..self.scenario.routers.len() {
            let members = self.move_together(at);
            if members.iter().any(|member| !self.scenario.routers[*member].preempt) {
                continue;
            }
            let master = self.nodes.iter().position(|node| node.is_master(at)).expect("there is one");
            for other in 0..self.nodes.len() {
                if self.priority(other, at) > self.priority(master, at) {
                    let name = &self.scenario.routers[at].name;
                    return Err(format!("n{master} is master of {name}, not n{other}, which has a higher priority"));
                }
            }
            self.count("best masters");
        }
        Ok(())
    }

    /// The client's neighbour table and its switch lead to the master.
    pub fn judge_client(&mut self) -> Promise {
        for (at, router) in self.scenario.routers.iter().enumerate() {
            let master = self.nodes.iter().position(|node| node.is_master(at));
            for address in &router.addresses {
                let found = self.client.sends_to(address.addr());
                if found != master {
                    return Err(format!("the client sends to {found:?} for {address}, but the master is {master:?}"));
                }
            }
        }
        self.count("clients that found the master");
        Ok(())
    }

    /// Nothing of mastership is left with those that are not master.
    pub fn judge_leftovers(&mut self) -> Promise {
        for node in &self.nodes {
            for (at, router) in self.scenario.routers.iter().enumerate() {
                let host = &node.host;
                let rests = [
                    (router.addresses.iter().any(|address| host.holds(address)), "addresses"),
                    (router.live.is_some_and(|live| host.is_live(live)), "the live word"),
                    (host.has_routes_of(&router.name), "the routes"),
                    (host.answers_to(router.mac()), "the virtual MAC address"),
                ];
                for (has, what) in rests {
                    let applies = match what {
                        "the live word" => router.live.is_some(),
                        "the virtual MAC address" => router.virtual_mac,
                        _ => true,
                    };
                    if applies && has != node.is_master(at) {
                        let (n, name, state) = (node.number, &router.name, node.states[at]);
                        return Err(format!("n{n} is {state} for {name} and has {what} of it: {has}"));
                    }
                }
            }
        }
        self.count("hosts without leftovers");
        Ok(())
    }

    /// What is left when a daemon has handed over and ended.
    pub fn judge_end(&mut self, number: usize) -> Promise {
        if self.nodes[number].host.holds_any() {
            return Err(format!("n{number} has ended and holds addresses"));
        }
        tell!(self, "n{number} has ended");
        Ok(())
    }
}
