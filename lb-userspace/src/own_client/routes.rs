//! The routes of services' addresses to the pair.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::PROTOCOL;

/// A route of one address, in our table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Where to.
    pub destination: IpAddr,
    /// What it leads to; see [`Way`].
    pub way: Way,
    /// Who made it, by number.
    pub protocol: u8,
}

/// How packets are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way {
    /// Index of the interface that they leave by.
    pub interface: u32,
    /// The address that connections get as their source.
    pub source: Option<IpAddr>,
    /// Octets of the largest packet that is sent, 0: as the interface has it.
    pub mtu: u32,
}

/// One change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The route comes, or takes the place of another of ours.
    Put(Route),
    /// It goes.
    Remove(Route),
}

/// The steps that make our routes those that are wanted. What somebody else put there stays, and is not overruled.
pub fn plan(present: &[Route], wanted: &BTreeMap<IpAddr, Way>) -> Vec<Step> {
    let ours = || present.iter().filter(|route| route.protocol == PROTOCOL);
    let is_foreign = |to: &IpAddr| present.iter().any(|it| it.destination == *to && it.protocol != PROTOCOL);
    let gone =
        ours().filter(|route| wanted.get(&route.destination).is_none_or(|way| way.interface != route.way.interface));
    let put = wanted.iter().map(|(&destination, &way)| Route { destination, way, protocol: PROTOCOL });
    let missing = put.filter(|route| !ours().any(|it| it == route) && !is_foreign(&route.destination));
    gone.copied().map(Step::Remove).chain(missing.map(Step::Put)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(last: u8, source: u8, interface: u32) -> Route {
        let way = Way { interface, source: Some([10, 0, 0, source].into()), mtu: 1500 };
        Route { destination: [192, 0, 2, last].into(), way, protocol: PROTOCOL }
    }

    fn wanted(routes: &[Route]) -> BTreeMap<IpAddr, Way> {
        routes.iter().map(|route| (route.destination, route.way)).collect()
    }

    #[test]
    fn routes_come_change_and_go() {
        let (one, two) = (route(1, 5, 9), route(2, 5, 9));
        assert_eq!(plan(&[], &wanted(&[one, two])), [Step::Put(one), Step::Put(two)]);
        assert_eq!(plan(&[one, two], &wanted(&[one, two])), []);
        assert_eq!(plan(&[one, two], &wanted(&[two])), [Step::Remove(one)]);
        let moved = route(1, 6, 9);
        assert_eq!(plan(&[one], &wanted(&[moved])), [Step::Put(moved)], "in one step, for there is traffic");
        let elsewhere = route(1, 5, 10);
        assert_eq!(plan(&[one], &wanted(&[elsewhere])), [Step::Remove(one), Step::Put(elsewhere)]);
    }

    #[test]
    fn what_somebody_else_put_there_stays() {
        let theirs = Route { protocol: 3, ..route(1, 7, 4) };
        assert_eq!(plan(&[theirs], &wanted(&[route(1, 5, 9)])), []);
        assert_eq!(plan(&[theirs], &wanted(&[])), []);
    }
}
