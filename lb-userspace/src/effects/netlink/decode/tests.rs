//! Kernel messages as this machine's kernel may not send them (VLAN interfaces, XDP programs, bridges' own dialect).

use std::net::{IpAddr, Ipv4Addr};

use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp,
    VlanProtocol, XdpAttached,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol, RouteType, RouteVia};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{link, neighbour, observation, route_answer, route_refusal};
use crate::nexthop::tracker::Observation;
use crate::nexthop::{AttachedProgram, LinkKind, Mac, NEIGHBOUR_PROTOCOL, ProgramMode, Reachability, RouteAnswer};

const PEER: Mac = Mac([2, 0, 0, 0, 0, 1]);

#[test]
fn a_vlan_has_its_id_protocol_and_parent() {
    let data = InfoData::Vlan(vec![InfoVlan::Id(100), InfoVlan::Protocol(VlanProtocol::Ieee8021Ad)]);
    let info = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(data)]);
    let found = link(&ethernet(&[info.clone(), LinkAttribute::Link(2)])).expect("an interface");
    assert_eq!((found.kind, found.lower), (LinkKind::Vlan { id: 100, tpid: 0x88a8 }, Some(2)));
    let elsewhere = [info, LinkAttribute::Link(2), LinkAttribute::LinkNetNsId(0)];
    assert_eq!(link(&ethernet(&elsewhere)).expect("an interface").lower, None, "2 is a number of another namespace");
}

#[test]
fn an_interface_names_its_program_and_mode() {
    let cases = [
        (vec![LinkXdp::Attached(XdpAttached::None)], None),
        (vec![LinkXdp::Attached(XdpAttached::Driver), LinkXdp::ProgId(7)], Some((7, ProgramMode::Native))),
        (vec![LinkXdp::Attached(XdpAttached::SocketBuffer), LinkXdp::ProgId(8)], Some((8, ProgramMode::Generic))),
        (vec![LinkXdp::Attached(XdpAttached::Multiple), LinkXdp::DrvProgId(9)], Some((0, ProgramMode::Several))),
    ];
    for (xdp, expected) in cases {
        let found = link(&ethernet(&[LinkAttribute::Xdp(xdp)])).expect("an interface").program;
        assert_eq!(found, expected.map(|(id, mode)| AttachedProgram { id, mode }));
    }
}

#[test]
fn up_and_carrier_are_two_things_and_loopback_has_no_mac() {
    let mut message = ethernet(&[]);
    message.header.flags = LinkFlags::Up;
    let found = link(&message).expect("an interface");
    assert!(found.enabled && !found.carrier && !found.is_up() && found.mac == Some(PEER));
    message.header.link_layer_type = LinkLayerType::Loopback;
    assert_eq!(link(&message).expect("an interface").mac, None);
}

#[test]
fn bridge_and_wireless_talk_is_not_about_interfaces() {
    let mut of_bridge = ethernet(&[]);
    of_bridge.header.interface_family = AddressFamily::Bridge;
    assert_eq!(observation(RouteNetlinkMessage::NewLink(of_bridge.clone())), None);
    assert_eq!(observation(RouteNetlinkMessage::DelLink(of_bridge)), None);
    let mut wireless = LinkMessage::default();
    wireless.attributes.push(LinkAttribute::IfName("wlan0".into()));
    assert_eq!(observation(RouteNetlinkMessage::NewLink(wireless)), None);
    assert_eq!(observation(RouteNetlinkMessage::DelLink(ethernet(&[]))), Some(Observation::LinkGone(5)));
}

#[test]
fn neighbour_states_are_what_they_mean_for_a_frame() {
    let known = Reachability::Known(PEER);
    let fixed = Reachability::Fixed(PEER);
    let cases = [
        (NeighbourState::Reachable, known, false),
        (NeighbourState::Stale, known, false),
        (NeighbourState::Delay, known, true),
        (NeighbourState::Probe, known, true),
        (NeighbourState::Permanent, fixed, true),
        (NeighbourState::Noarp, fixed, true),
        (NeighbourState::Failed, Reachability::Silent, true),
        (NeighbourState::Incomplete, Reachability::Asking, true),
        (NeighbourState::None, Reachability::Asking, true),
    ];
    for (state, reachability, doubtful) in cases {
        let (_, found) = neighbour(&neighbour_message(state)).expect("a neighbour");
        assert_eq!((found.reachability, found.doubtful), (reachability, doubtful), "{state}");
    }
}

#[test]
fn ours_bears_our_mark_and_others_are_left_out() {
    let mut message = neighbour_message(NeighbourState::Reachable);
    message.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
    message.attributes.push(NeighbourAttribute::Protocol(RouteProtocol::Other(NEIGHBOUR_PROTOCOL)));
    let (_, found) = neighbour(&message).expect("a neighbour");
    assert!(found.managed && found.ours && found.present);
    message.header.flags = NeighbourFlags::ExtLearned;
    assert_eq!(neighbour(&message).expect("a neighbour").1.reachability, Reachability::Fixed(PEER));
    message.header.flags = NeighbourFlags::Proxy;
    assert_eq!(neighbour(&message), None);
}

#[test]
fn routes_answer_by_kind_gateway_and_encapsulation() {
    let via = RouteAttribute::Via(RouteVia::Inet6("fe80::1".parse().expect("an address")));
    let through = |gateway| RouteAnswer::Unicast { interface: 3, gateway, mtu: None, source: None };
    let oif = RouteAttribute::Oif(3);
    let encapsulated = RouteAttribute::EncapType(rtnetlink::packet_route::route::RouteLwEnCapType::Mpls);
    let cases = [
        (RouteType::Unicast, vec![oif.clone()], through(None)),
        (RouteType::Unicast, vec![oif.clone(), via], through(Some("fe80::1".parse().expect("an address")))),
        (RouteType::Unicast, vec![oif.clone(), encapsulated], RouteAnswer::Encapsulated),
        (RouteType::Local, vec![oif.clone()], RouteAnswer::Local),
        (RouteType::Unreachable, vec![oif.clone()], RouteAnswer::NoRoute),
        (RouteType::Prohibit, vec![oif.clone()], RouteAnswer::Refused("prohibit")),
        (RouteType::Anycast, vec![oif], RouteAnswer::NotUnicast),
    ];
    for (kind, attributes, expected) in cases {
        let mut message = RouteMessage::default();
        message.header.kind = kind;
        message.attributes = attributes;
        assert_eq!(route_answer(&message), expected);
    }
    assert_eq!(route_refusal(libc::EHOSTUNREACH), RouteAnswer::NoRoute);
    assert!(matches!(route_refusal(libc::ENOMEM), RouteAnswer::Failed(_)));
}

#[test]
fn a_default_route_concerns_its_whole_family() {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    let all = Observation::Route(IpAddr::from(Ipv4Addr::UNSPECIFIED), 0);
    assert_eq!(observation(RouteNetlinkMessage::DelRoute(message)), Some(all));
}

fn ethernet(attributes: &[LinkAttribute]) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = 5;
    message.header.link_layer_type = LinkLayerType::Ether;
    message.header.flags = LinkFlags::Up | LinkFlags::LowerUp;
    message.attributes =
        vec![LinkAttribute::IfName("eth0".into()), LinkAttribute::Mtu(1500), LinkAttribute::Address(PEER.0.to_vec())];
    message.attributes.extend_from_slice(attributes);
    message
}

fn neighbour_message(state: NeighbourState) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = 5;
    message.header.state = state;
    message.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet(Ipv4Addr::new(10, 0, 0, 11))),
        NeighbourAttribute::LinkLayerAddress(PEER.0.to_vec()),
    ];
    message
}
