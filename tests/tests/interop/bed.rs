//! Two nodes on one link that contest the same virtual routers, and a listener beside them.

use std::env;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use fairway::playground::Lab;
use fairway::playground::topology::{Spec, balancer_v4, balancer_v6};
use fairway_tests::harness::{await_that, lab};
use fairway_tests::vrrp::{Adverts, Cable, Kind, Node, Router};

const BEST: u8 = 250;
const BETTER: u8 = 200;
const WORSE: u8 = 100;
const WORST: u8 = 50;
/// Longer than it takes to miss a master.
const STEADY_INTERVALS: u32 = 4;
const STEADY_POLL: Duration = Duration::from_millis(20);

/// One of the two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Fairway's, on the first balancer.
    Ours,
    /// The other implementation's, on the second.
    Theirs,
}

/// A virtual router that both nodes have.
#[derive(Clone, Debug)]
pub struct Contested {
    /// As both have it; priority, preemption and the ends of unicast are filled in for each side.
    pub router: Router,
    /// Who has the better priority.
    pub better: Side,
    /// Whether it preempts.
    pub preempt: bool,
    /// Whether advertisements go to the other node alone.
    pub unicast: bool,
}

/// The two nodes. Fields are in the order in which they have to end.
pub struct Bed {
    nodes: [Option<Box<dyn Node>>; 2],
    adverts: Adverts,
    routers: Vec<Contested>,
    kinds: [Kind; 2],
    lab: Lab,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::Ours, Self::Theirs];

    pub fn other(self) -> Self {
        match self {
            Self::Ours => Self::Theirs,
            Self::Theirs => Self::Ours,
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Ours => 0,
            Self::Theirs => 1,
        }
    }
}

impl Contested {
    fn for_side(&self, side: Side) -> Router {
        let mut router = self.router.clone();
        router.priority = if self.better == side { BETTER } else { WORSE };
        router.preempt = self.preempt;
        if self.unicast {
            let address = |side: Side| address_of(side, self.router.is_v6());
            router.unicast = Some((address(side), vec![address(side.other())]));
        }
        router
    }
}

/// A node's own address, in the family.
pub fn address_of(side: Side, is_v6: bool) -> IpAddr {
    if is_v6 { balancer_v6(side.index()).into() } else { balancer_v4(side.index()).into() }
}

/// Fairway; or, to test the tests themselves, the program that `FAIRWAY_STAND_IN` names.
fn kind_of_ours() -> Kind {
    match env::var("FAIRWAY_STAND_IN").as_deref() {
        Err(_) => Kind::Fairway,
        Ok("keepalived") => Kind::Keepalived,
        Ok(other) => panic!("FAIRWAY_STAND_IN={other}: keepalived can stand in for Fairway, nothing else"),
    }
}

impl Bed {
    /// A lab in which nothing runs yet but the listener.
    pub fn new(theirs: Kind, routers: Vec<Contested>) -> Self {
        let lab = lab(&Spec { balancers: 2, backends: 1, floating: true, ..Spec::default() });
        let adverts = Adverts::listen(&lab.backend(0));
        Self { nodes: [None, None], adverts, routers, kinds: [kind_of_ours(), theirs], lab }
    }

    /// The routers that are contested.
    pub fn routers(&self) -> &[Contested] {
        &self.routers
    }

    /// Starts a node.
    pub fn start(&mut self, side: Side) {
        let node = self.kinds[side.index()].start(&self.lab, side.index(), &self.routers_of(side));
        self.nodes[side.index()] = Some(node);
    }

    /// Stops a node in good order.
    pub fn stop(&mut self, side: Side) {
        self.nodes[side.index()].take().expect("it runs").stop();
    }

    /// Takes the power from a node: nobody is told, and the link looks as before. It comes back dead.
    pub fn power_off(&mut self, side: Side) {
        let cable = Cable::of(&self.lab, side.index());
        cable.block();
        self.nodes[side.index()].take().expect("it runs").kill();
    }

    /// Makes a node's link work again.
    pub fn power_on(&mut self, side: Side) {
        Cable::of(&self.lab, side.index()).unblock();
        self.start(side);
    }

    /// Gives one node other priorities, so that who was better is worse. The other node is told nothing.
    pub fn turn_priorities(&mut self, side: Side) {
        let turned = |contested: &Contested| {
            let priority = if contested.better == side { WORST } else { BEST };
            Router { priority, ..contested.for_side(side) }
        };
        let routers: Vec<Router> = self.routers.iter().map(turned).collect();
        self.nodes[side.index()].as_mut().expect("it runs").reload(&routers);
    }

    /// Waits until every router is held by exactly the node that `expected` says.
    pub fn await_holders(&self, what: &str, expected: impl Fn(&Contested) -> Side) {
        await_that(what, || self.wrong_holders(&expected).is_empty());
    }

    /// Holds that nothing changes for some intervals of the slowest router.
    pub fn assert_steady(&self, expected: impl Fn(&Contested) -> Side) {
        let longest = self.routers.iter().map(|contested| contested.router.interval).max().unwrap_or_default();
        for _ in 0..(longest * STEADY_INTERVALS).as_millis() / STEADY_POLL.as_millis() {
            let wrong = self.wrong_holders(&expected);
            assert!(wrong.is_empty(), "changed although nothing happened: {wrong:?}");
            thread::sleep(STEADY_POLL);
        }
    }

    /// What the listener has heard since it was last asked.
    pub fn adverts(&self) -> &Adverts {
        &self.adverts
    }

    fn routers_of(&self, side: Side) -> Vec<Router> {
        self.routers.iter().map(|contested| contested.for_side(side)).collect()
    }

    /// The routers that are not held as expected, with their holders.
    fn wrong_holders(&self, expected: &impl Fn(&Contested) -> Side) -> Vec<(String, Vec<Side>)> {
        let holders = |contested: &Contested| -> Vec<Side> {
            let holds =
                |side: &Side| self.nodes[side.index()].as_ref().is_some_and(|node| node.holds(&contested.router));
            Side::BOTH.into_iter().filter(holds).collect()
        };
        self.routers
            .iter()
            .map(|contested| (contested, holders(contested)))
            .filter(|(contested, holders)| holders[..] != [expected(contested)])
            .map(|(contested, holders)| (contested.router.name(), holders))
            .collect()
    }
}
