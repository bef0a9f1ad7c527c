//! Tables of (interfaces, route, neighbours) → frame, or the words `status` shows.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{
    Frame, Link, LinkKind, Links, MAX_TAGS, Mac, Neighbour, NeighbourKey, Neighbours, NextHop, Reachability,
    RouteAnswer, Unresolved, VlanTag, resolve,
};

const BACKEND: &str = "10.0.0.11";
const ROUTER: &str = "10.0.0.254";
const PEER: Mac = Mac([2, 0, 0, 0, 0, 0x99]);

#[test]
fn a_backend_on_the_link_gets_the_interfaces_and_its_own_mac() {
    let network = Network::new(&[plain(2, "eth0")]).neighbour(2, BACKEND, Reachability::Known(PEER));
    network.check(&via(2), Ok(frame(2, mac(2), &[])));
}

#[test]
fn a_backend_behind_a_router_gets_the_routers_mac() {
    let network = Network::new(&[plain(2, "eth0")]).neighbour(2, ROUTER, Reachability::Known(PEER));
    network.check(&through(2, ROUTER), Ok(frame(2, mac(2), &[])));
}

#[test]
fn an_ipv4_route_through_an_ipv6_router_is_followed() {
    let network = Network::new(&[plain(2, "eth0")]).neighbour(2, "fe80::1", Reachability::Known(PEER));
    network.check(&through(2, "fe80::1"), Ok(frame(2, mac(2), &[])));
}

#[test]
fn an_own_address_is_local_without_any_interface() {
    Network::new(&[]).check(&RouteAnswer::Local, Ok(NextHop::Local));
}

#[test]
fn a_vlan_leaves_by_its_parent_with_a_tag_and_the_vlans_own_mac() {
    let network = Network::new(&[plain(2, "eth0"), vlan(5, "eth0.100", 2, 100, 0x8100)]).neighbour(5, BACKEND, known());
    network.check(&via(5), Ok(frame(2, mac(5), &[(0x8100, 100)])));
}

#[test]
fn nested_vlans_put_the_outer_tag_first() {
    let links = [plain(2, "eth0"), vlan(5, "svc", 2, 100, 0x88a8), vlan(6, "cust", 5, 7, 0x8100)];
    Network::new(&links)
        .neighbour(6, BACKEND, known())
        .check(&via(6), Ok(frame(2, mac(6), &[(0x88a8, 100), (0x8100, 7)])));
}

#[test]
fn a_third_tag_is_refused() {
    let links = [plain(2, "eth0"), vlan(5, "a", 2, 1, 0x88a8), vlan(6, "b", 5, 2, 0x8100), vlan(7, "c", 6, 3, 0x8100)];
    assert_eq!(MAX_TAGS, 2);
    Network::new(&links)
        .neighbour(7, BACKEND, known())
        .says(&via(7), "c is a VLAN within more than one other; at most two tags are supported");
}

#[test]
fn a_ring_of_vlans_ends() {
    let links = [vlan(5, "a", 6, 1, 0x8100), vlan(6, "b", 5, 2, 0x8100)];
    Network::new(&links).says(&via(5), "a is a VLAN within more than one other; at most two tags are supported");
}

#[test]
fn a_vlan_on_a_bond_leaves_by_the_bond_not_by_a_port() {
    let links = [of_kind(3, "bond0", LinkKind::Bond), port(2, "eth0", 3), vlan(5, "bond0.9", 3, 9, 0x8100)];
    Network::new(&links)
        .attached(&[3])
        .neighbour(5, BACKEND, known())
        .check(&via(5), Ok(frame(3, mac(5), &[(0x8100, 9)])));
}

#[test]
fn the_mtu_is_the_smaller_of_interface_and_route() {
    let network = Network::new(&[plain(2, "eth0")]).neighbour(2, BACKEND, known());
    for (route, expected) in [(None, 1500), (Some(1400), 1400), (Some(9000), 1500)] {
        let result = network.resolve(&RouteAnswer::Unicast { interface: 2, gateway: None, mtu: route, source: None });
        assert!(matches!(result, Ok(NextHop::Frame(Frame { mtu, .. })) if mtu == expected), "{route:?}: {result:?}");
    }
}

#[test]
fn a_permanent_neighbour_is_as_good_as_a_learned_one() {
    let network = Network::new(&[plain(2, "eth0")]).neighbour(2, BACKEND, Reachability::Fixed(PEER));
    network.check(&via(2), Ok(frame(2, mac(2), &[])));
}

#[test]
fn what_stands_in_the_way_is_said_in_words() {
    let down = Link { enabled: false, ..plain(2, "eth0") };
    let unplugged = Link { carrier: false, ..plain(2, "eth0") };
    let elsewhere = Link { lower: None, ..vlan(5, "eth0.5", 2, 5, 0x8100) };
    let tunnel = Link { mac: None, ..of_kind(9, "wg0", LinkKind::Other("wireguard".into())) };
    let cases: Vec<(Vec<Link>, RouteAnswer, &str)> = vec![
        (vec![], RouteAnswer::NoRoute, "no route to 10.0.0.11"),
        (vec![], RouteAnswer::Refused("blackhole"), "the route to 10.0.0.11 is a blackhole route"),
        (vec![], RouteAnswer::NotUnicast, "10.0.0.11 is not a unicast address here (broadcast, multicast or anycast)"),
        (
            vec![],
            RouteAnswer::Encapsulated,
            "the route to 10.0.0.11 encapsulates packets, which XDP forwarding cannot follow",
        ),
        (vec![], RouteAnswer::Failed("no answer".into()), "the kernel did not say how to reach 10.0.0.11: no answer"),
        (vec![], via(2), "the route leaves by interface 2, which no longer exists"),
        (vec![down.clone()], via(2), "interface eth0 is down"),
        (vec![unplugged], via(2), "interface eth0 is down"),
        (vec![down, vlan(5, "eth0.5", 2, 5, 0x8100)], via(5), "interface eth0 is down"),
        (vec![plain(7, "eth3")], via(7), "route leaves by eth3, which is not in dataplane.interfaces"),
        (
            vec![plain(7, "eth3"), vlan(8, "eth3.1", 7, 1, 0x8100)],
            via(8),
            "route leaves by eth3, which is not in dataplane.interfaces",
        ),
        (vec![elsewhere], via(5), "the parent of VLAN interface eth0.5 is in another network namespace"),
        (
            vec![of_kind(9, "br0", LinkKind::Bridge)],
            via(9),
            "route leaves by bridge br0; XDP sends from the interface beneath, give that one the address",
        ),
        (
            vec![of_kind(9, "mv0", LinkKind::Macvlan)],
            via(9),
            "route leaves by macvlan mv0; XDP sends from the interface beneath, give that one the address",
        ),
        (
            vec![of_kind(3, "bond0", LinkKind::Bond), port(9, "eth1", 3)],
            via(9),
            "route leaves by eth1, a port of bond bond0; put bond0 in dataplane.interfaces and its address on it",
        ),
        (vec![tunnel], via(9), "route leaves by wg0, which is not an Ethernet interface"),
        (vec![plain(2, "eth0")], via(2), "asking for 10.0.0.11 on eth0"),
    ];
    for (links, route, words) in cases {
        Network::new(&links).neighbour(9, BACKEND, known()).says(&route, words);
    }
}

#[test]
fn a_silent_neighbour_is_named_with_the_protocol_it_does_not_answer() {
    let eth0 = [plain(2, "eth0")];
    let silent = |address| Network::new(&eth0).neighbour(2, address, Reachability::Silent);
    silent(BACKEND).says(&via(2), "10.0.0.11 does not answer ARP on eth0");
    silent(ROUTER).says(&through(2, ROUTER), "gateway 10.0.0.254 (towards 10.0.0.11) does not answer ARP on eth0");
    silent("fe80::1").says(
        &through(2, "fe80::1"),
        "gateway fe80::1 (towards 10.0.0.11) does not answer neighbour discovery on eth0",
    );
}

#[test]
fn only_waiting_is_pending() {
    let pending = |unresolved: Unresolved| unresolved.is_pending();
    assert!(pending(Unresolved::LookingUp { destination: ip(BACKEND) }));
    assert!(pending(Unresolved::Asking { destination: ip(BACKEND), gateway: None, interface: "eth0".into() }));
    assert!(!pending(Unresolved::Silent { destination: ip(BACKEND), gateway: None, interface: "eth0".into() }));
    assert!(!pending(Unresolved::NoRoute { destination: ip(BACKEND) }));
}

#[test]
fn being_asked_again_takes_nothing_away_from_what_is_known() {
    let key = NeighbourKey { interface: 2, address: ip(BACKEND) };
    let cases = [
        (Reachability::Known(PEER), Reachability::Known(PEER)),
        (Reachability::Fixed(PEER), Reachability::Known(PEER)),
        (Reachability::Silent, Reachability::Silent),
        (Reachability::Asking, Reachability::Asking),
    ];
    for (before, after) in cases {
        let mut neighbours = Neighbours::default();
        neighbours.announced(key, entry(before));
        neighbours.dropped(&key);
        neighbours.announced(key, entry(Reachability::Asking));
        assert_eq!(neighbours.get(&key).expect("it is wanted").reachability, after, "{before:?}");
        assert!(neighbours.announced(key, entry(Reachability::Known(mac(7)))), "an answer counts");
    }
}

#[test]
fn only_a_neighbour_that_was_being_checked_can_fail() {
    let key = NeighbourKey { interface: 2, address: ip(BACKEND) };
    let cases = [
        // (checked before it failed, announced or found in the table, what is known then)
        (false, true, Reachability::Known(PEER)),
        (true, true, Reachability::Silent),
        (false, false, Reachability::Silent),
        (true, false, Reachability::Silent),
    ];
    for (doubtful, announced, expected) in cases {
        let mut neighbours = Neighbours::default();
        neighbours.announced(key, Neighbour { doubtful, ..entry(known()) });
        let failed = entry(Reachability::Silent);
        let changed = if announced { neighbours.announced(key, failed) } else { neighbours.found(key, failed) };
        let after = neighbours.get(&key).expect("put above").reachability;
        assert_eq!((after, changed), (expected, expected == Reachability::Silent), "{doubtful} {announced}");
        neighbours.announced(key, failed);
        assert_eq!(
            neighbours.get(&key).expect("put above").reachability,
            Reachability::Silent,
            "the second time counts"
        );
    }
}

#[test]
fn links_know_bonds_vlans_and_veth_peers() {
    let veth = |index, name, peer| Link { lower: Some(peer), ..of_kind(index, name, LinkKind::Veth) };
    let links: Links = [
        of_kind(3, "bond0", LinkKind::Bond),
        port(2, "eth0", 3),
        vlan(5, "bond0.9", 3, 9, 0x8100),
        of_kind(6, "br0", LinkKind::Bridge),
        port(7, "eth1", 6),
        veth(8, "v0", 9),
        veth(9, "v1", 8),
    ]
    .into_iter()
    .collect();
    assert_eq!(links.bond_of(2).map(|link| link.name.as_str()), Some("bond0"));
    assert_eq!(links.bond_of(7), None, "a bridge is no bond");
    assert_eq!(links.vlans_on(3).map(|link| link.index).collect::<Vec<_>>(), [5]);
    assert_eq!(links.veth_peer(8).map(|link| link.index), Some(9));
    assert!(links.stands_on(5, 3) && links.stands_on(3, 3) && !links.stands_on(3, 5) && !links.stands_on(8, 9));
}

/// What the kernel knows; interface 2 is attached unless told otherwise.
struct Network {
    links: Links,
    neighbours: Neighbours,
    attached: BTreeSet<u32>,
}

impl Network {
    fn new(links: &[Link]) -> Self {
        let links = links.iter().cloned().collect();
        Self { links, neighbours: Neighbours::default(), attached: BTreeSet::from([2]) }
    }

    fn attached(mut self, indices: &[u32]) -> Self {
        self.attached = indices.iter().copied().collect();
        self
    }

    fn neighbour(mut self, interface: u32, address: &str, reachability: Reachability) -> Self {
        self.neighbours.found(NeighbourKey { interface, address: ip(address) }, entry(reachability));
        self
    }

    fn resolve(&self, route: &RouteAnswer) -> Result<NextHop, Unresolved> {
        resolve(ip(BACKEND), route, &self.links, &self.neighbours, &self.attached)
    }

    fn check(&self, route: &RouteAnswer, expected: Result<NextHop, Unresolved>) {
        assert_eq!(self.resolve(route), expected);
    }

    fn says(&self, route: &RouteAnswer, words: &str) {
        assert_eq!(self.resolve(route).expect_err("something stands in the way").to_string(), words);
    }
}

fn frame(interface: u32, source_mac: Mac, tags: &[(u16, u16)]) -> NextHop {
    let tags = tags.iter().map(|&(tpid, tci)| VlanTag { tpid, tci }).collect();
    NextHop::Frame(Frame { interface, source_mac, destination_mac: PEER, tags, mtu: 1500, source: None })
}

fn via(interface: u32) -> RouteAnswer {
    RouteAnswer::Unicast { interface, gateway: None, mtu: None, source: None }
}

fn through(interface: u32, gateway: &str) -> RouteAnswer {
    RouteAnswer::Unicast { interface, gateway: Some(ip(gateway)), mtu: None, source: None }
}

fn known() -> Reachability {
    Reachability::Known(PEER)
}

fn entry(reachability: Reachability) -> Neighbour {
    Neighbour { reachability, managed: false, ours: false, doubtful: false, present: true }
}

fn plain(index: u32, name: &str) -> Link {
    of_kind(index, name, LinkKind::Plain)
}

fn of_kind(index: u32, name: &str, kind: LinkKind) -> Link {
    Link {
        index,
        name: name.to_owned(),
        kind,
        mac: Some(mac(index)),
        mtu: 1500,
        master: None,
        lower: None,
        enabled: true,
        carrier: true,
        program: None,
    }
}

fn port(index: u32, name: &str, master: u32) -> Link {
    Link { master: Some(master), ..plain(index, name) }
}

fn vlan(index: u32, name: &str, parent: u32, id: u16, tpid: u16) -> Link {
    Link { lower: Some(parent), ..of_kind(index, name, LinkKind::Vlan { id, tpid }) }
}

fn mac(index: u32) -> Mac {
    Mac([2, 0, 0, 0, 0, index as u8])
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
