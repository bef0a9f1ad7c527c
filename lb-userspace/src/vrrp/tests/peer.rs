//! The peer link beside VRRP: who takes over when, and why a broken link does not make two masters.

use std::time::Duration;

use super::bench::{advertisement, advertises, ip, ms, router, settings};
use super::pair::{Pair, eth0, peer};
use crate::config::{Condition, Consequence, Track, VirtualRouter};
use crate::happening::Happening;
use crate::vrrp::codec::encode;
use crate::vrrp::effect::Effect;
use crate::vrrp::event::{Event, Link, Received, Settings};
use crate::vrrp::router::advertise::GROUP_V4;
use crate::vrrp::view::State;

/// Three intervals and the skew of priority 250, with 1-second advertisements.
const DOWN: Duration = Duration::from_nanos(3_023_437_500);

#[test]
fn a_silent_peer_is_replaced_after_its_heartbeats_and_one_more() {
    let mut pair = Pair::settled(&router("a", 51));
    pair.kill(0);
    let waited = pair.until(1, State::Master);
    assert!((ms(150)..=ms(214)).contains(&waited), "{waited:?}");
    assert!(pair.views()[1].why.starts_with("the peer is silent on every path, no advertisement of 10.0.0.1 for"));
}

#[test]
fn a_blocked_port_does_not_make_two_masters() {
    let mut pair = Pair::settled(&router("a", 51));
    pair.heartbeats_cut = [true; 2];
    pair.pass(ms(20_000));
    assert_eq!(pair.states(), [State::Master, State::Backup]);
    assert_eq!(pair.both, Duration::ZERO);
    assert!(pair.warnings(1)[0].contains("the peer link is broken"));
    pair.kill(0);
    let waited = pair.until(1, State::Master);
    assert!((DOWN - ms(1000)..=DOWN).contains(&waited), "VRRP's own timer decides: {waited:?}");
}

#[test]
fn a_port_blocked_one_way_does_not_make_two_masters() {
    for direction in 0..2 {
        let mut pair = Pair::settled(&router("a", 51));
        pair.heartbeats_cut[direction] = true;
        pair.pass(ms(20_000));
        assert_eq!(pair.states(), [State::Master, State::Backup], "from {direction}");
        assert_eq!(pair.both, Duration::ZERO);
    }
}

#[test]
fn a_peer_that_is_heard_again_is_trusted_again() {
    let mut pair = Pair::settled(&router("a", 51));
    pair.heartbeats_cut = [true; 2];
    pair.pass(ms(5000));
    pair.heartbeats_cut = [false; 2];
    pair.pass(ms(5000));
    pair.kill(0);
    assert!(pair.until(1, State::Master) < ms(218));
}

#[test]
fn the_farewell_of_a_dead_daemons_supervisor_counts_though_its_heartbeats_were_just_heard() {
    // Whenever it comes: before its silence is noticed, or while an advertisement is waited for.
    for later in [0, 40, 120, 152, 160, 190, 205] {
        farewell_after(ms(later));
    }
}

/// The supervisor speaks so long after the daemon's death.
fn farewell_after(later: Duration) {
    // A low priority: Skew_Time would be 609 ms.
    let of = |priority| VirtualRouter { priority, ..router("a", 51) };
    let mut pair = Pair::new(&[of(200)], &[of(100)]);
    pair.pass(ms(70_000));
    let mut testaments = pair.done.iter().filter(|(_, node, _)| *node == 0).filter_map(|(.., effect)| match effect {
        Effect::Testament(testament) => testament.release.first().map(|bequest| bequest.farewell.clone()),
        _ => None,
    });
    let farewell = testaments.next_back().expect("a master has a testament");
    pair.kill(0);
    pair.pass(later);
    let received = Received {
        interface: farewell.interface,
        source: farewell.source,
        destination: farewell.destinations[0],
        ttl: 255,
        payload: &farewell.payload,
    };
    pair.give(1, Event::Received(received));
    let waited = pair.until(1, State::Master);
    assert!(waited <= ms(1), "{waited:?} after the farewell, which came {later:?} after the death");
}

#[test]
fn with_three_nodes_a_silent_peer_leaves_skew_to_decide() {
    let mut pair = two_of_three([254, 100]);
    pair.kill(0);
    let waited = pair.until(1, State::Master);
    let skew = ms(609);
    assert!((skew + ms(150)..=skew + ms(214)).contains(&waited), "{waited:?}");
}

#[test]
fn with_three_nodes_a_peer_that_obeys_the_third_leaves_nothing_to_take_over() {
    let mut pair = two_of_three([254, 100]);
    let (source, destination) = (ip("10.0.0.9"), GROUP_V4);
    let payload = encode(&advertisement(&router("a", 51), 255), source, destination);
    for node in [1, 0] {
        pair.give(node, Event::Received(Received { interface: 2, source, destination, ttl: 255, payload: &payload }));
    }
    pair.pass(ms(999));
    assert_eq!(pair.states(), [State::Backup, State::Backup]);
}

#[test]
fn with_three_nodes_a_blocked_port_does_not_make_two_masters() {
    for later in (0..50).step_by(5) {
        let mut pair = two_of_three([254, 253]);
        pair.pass(ms(later));
        pair.heartbeats_cut = [true; 2];
        pair.pass(ms(5000));
        assert_eq!(pair.both, Duration::ZERO, "cut {later} ms later");
    }
}

/// Two nodes of three, of these priorities.
fn two_of_three(priorities: [u8; 2]) -> Pair {
    let of = |index, priority| Settings {
        peer: Some((crate::config::Peer { nodes: 3, ..peer(index) }, vec![7; 32])),
        ..settings(&[VirtualRouter { priority, ..router("a", 51) }], false)
    };
    let mut pair = Pair::with([of(0, priorities[0]), of(1, priorities[1])]);
    pair.pass(ms(70_000));
    assert_eq!(pair.states(), [State::Master, State::Backup]);
    pair.both = Duration::ZERO;
    pair
}

#[test]
fn a_master_whose_interface_goes_down_says_so_and_is_replaced_at_once() {
    let mut pair = Pair::settled(&router("a", 51));
    pair.give(0, Event::Link(Link { running: false, ..eth0(0) }));
    assert_eq!(pair.states()[0], State::Fault);
    assert!(pair.until(1, State::Master) < ms(1));
    assert_eq!(pair.views()[1].why, "the peer says that it is master no more but in state fault");
}

#[test]
fn advertisements_that_do_not_arrive_do_not_make_two_masters_while_the_peer_says_it_serves() {
    let mut pair = Pair::settled(&router("a", 51));
    pair.vrrp_cut = [true; 2];
    pair.pass(ms(30_000));
    assert_eq!(pair.states(), [State::Master, State::Backup]);
    let expected = "advertisements of the master are not heard, the peer link says it is alive";
    assert_eq!(pair.warnings(1), [expected], "once an episode");
    assert_eq!(pair.views()[1].held_back.as_deref(), Some(expected));
    pair.kill(0);
    assert!(pair.until(1, State::Master) < ms(218), "as long as the peer link is alive, and no longer");
}

#[test]
fn a_better_node_that_stepped_back_and_did_not_hear_the_master_preempts_when_it_hears_it() {
    let mut pair = Pair::settled(&router("a", 51));
    pair.vrrp_cut = [true; 2];
    pair.give(0, Event::Stalled { gap: ms(5000) });
    pair.pass(ms(70_000));
    assert_eq!(pair.states(), [State::Backup, State::Master]);
    pair.vrrp_cut = [false; 2];
    pair.pass(ms(5000));
    assert_eq!(pair.states(), [State::Master, State::Backup]);
}

#[test]
fn a_node_that_comes_back_does_not_preempt_while_it_holds() {
    let a = router("a", 51);
    let mut pair = Pair::settled(&a);
    pair.kill(0);
    pair.until(1, State::Master);
    pair.restart(0, &[VirtualRouter { priority: 254, ..a }]);
    pair.pass(ms(59_000));
    assert_eq!(pair.states(), [State::Backup, State::Master]);
    assert!(pair.views()[0].held_back.as_ref().unwrap().starts_with("hold, for"), "{:?}", pair.views()[0].held_back);
    pair.pass(ms(6000));
    assert_eq!(pair.states(), [State::Master, State::Backup]);
}

#[test]
fn a_node_that_holds_takes_over_from_a_dead_master_all_the_same() {
    let a = router("a", 51);
    let mut pair = Pair::settled(&a);
    pair.kill(0);
    pair.until(1, State::Master);
    pair.restart(0, &[VirtualRouter { priority: 254, ..a }]);
    pair.pass(ms(10_000));
    pair.kill(1);
    assert!(pair.until(0, State::Master) < ms(218));
}

#[test]
fn a_master_that_restarts_quickly_is_replaced_when_its_new_life_says_that_it_does_not_serve() {
    let a = router("a", 51);
    let mut pair = Pair::settled(&a);
    pair.restart(0, &[VirtualRouter { priority: 254, ..a }]);
    assert!(pair.until(1, State::Master) < ms(60));
}

/// The peer link was cut while the peer's process was replaced and became master again: it is not dead because it has not
/// told of its routers yet.
#[test]
fn a_new_life_of_the_peer_that_serves_is_left_alone() {
    let a = router("a", 51);
    let mut pair = Pair::settled(&a);
    pair.heartbeats_cut = [true; 2];
    pair.restart(0, &[VirtualRouter { priority: 254, ..a }]);
    pair.until(0, State::Master);
    pair.pass(ms(5000));
    assert_eq!(pair.states(), [State::Master, State::Backup]);
    pair.both = Duration::ZERO;
    pair.heartbeats_cut = [false; 2];
    pair.pass(ms(5000));
    assert_eq!(pair.both, Duration::ZERO);
    assert_eq!(pair.states(), [State::Master, State::Backup]);
}

#[test]
fn a_router_that_the_peer_has_no_more_is_taken_over() {
    let a = router("a", 51);
    let mut pair = Pair::settled(&a);
    // Neither its farewell nor its advertisements are heard.
    pair.vrrp_cut = [true; 2];
    let without = Settings { peer: Some((peer(0), vec![7; 32])), ..settings(&[router("b", 52)], false) };
    pair.give(0, Event::Configure(Box::new(without)));
    assert!(pair.until(1, State::Master) < ms(60));
}

#[test]
fn a_master_that_is_not_heard_advertises_at_once() {
    let mut pair = Pair::settled(&router("a", 51));
    pair.pass(ms(100));
    pair.done.clear();
    let start = pair.now;
    pair.heartbeats_cut[0] = true;
    pair.pass(ms(400));
    let at = pair.when(0, |effect| advertises(effect, 254)).unwrap();
    assert!(at - start < ms(160), "told by the peer's urgent heartbeat, not by its own timer: {:?}", at - start);
}

/// A router that looks at a gateway.
fn with_gateway(consequence: Consequence) -> VirtualRouter {
    let condition = Condition::Gateway { address: ip("10.0.0.254"), interval: ms(1000), misses: 3 };
    VirtualRouter { tracks: vec![Track { name: "gateway".into(), condition, consequence }], ..router("a", 51) }
}

#[test]
fn a_cut_between_the_nodes_is_decided_by_who_reaches_the_gateway() {
    let mut pair = Pair::settled(&with_gateway(Consequence::Weight(0)));
    pair.vrrp_cut = [true; 2];
    pair.heartbeats_cut = [true; 2];
    pair.gateway[1] = false;
    pair.pass(ms(60_000));
    assert_eq!(pair.states(), [State::Master, State::Backup]);
    let held = pair.views()[1].held_back.clone().unwrap();
    assert!(held.contains("the gateway 10.0.0.254 has not answered since"), "{held}");
}

#[test]
fn a_master_that_hears_neither_peer_nor_gateway_releases_and_the_other_takes_over() {
    for consequence in [Consequence::Weight(0), Consequence::Fault] {
        let mut pair = Pair::settled(&with_gateway(consequence));
        pair.vrrp_cut = [true; 2];
        pair.heartbeats_cut = [true; 2];
        pair.gateway[0] = false;
        pair.pass(ms(20_000));
        let expected = if consequence == Consequence::Fault { State::Fault } else { State::Backup };
        assert_eq!(pair.states(), [expected, State::Master]);
        assert!(pair.when(0, |effect| matches!(effect, Effect::RemoveAddresses { .. })).is_some());
    }
}

#[test]
fn a_gateway_that_answers_lets_the_backup_take_over_from_a_dead_peer_without_delay() {
    let mut pair = Pair::settled(&with_gateway(Consequence::Fault));
    pair.kill(0);
    assert!(pair.until(1, State::Master) < ms(218));
}

#[test]
fn the_loss_of_the_bfd_session_with_the_master_makes_the_backup_take_over() {
    let bfd = |neighbour: &str| Condition::Bfd {
        neighbour: ip(neighbour),
        source: None,
        transmit_interval: ms(10),
        receive_interval: ms(10),
        multiplier: 3,
    };
    let of = |neighbour, priority| VirtualRouter {
        priority,
        tracks: vec![Track { name: "bfd".into(), condition: bfd(neighbour), consequence: Consequence::Weight(0) }],
        ..router("a", 51)
    };
    // Without a peer link.
    let both = [settings(&[of("10.0.0.2", 254)], false), settings(&[of("10.0.0.1", 250)], false)];
    let mut pair = Pair::with(both);
    pair.pass(ms(10_000));
    assert_eq!(pair.states(), [State::Master, State::Backup]);
    assert_eq!(pair.views()[1].terms[0].holds, Some(true));
    pair.kill(0);
    assert!(pair.until(1, State::Master) < ms(60));
    assert_eq!(pair.views()[1].why, "BFD session with the master 10.0.0.1 lost");
    assert_eq!(pair.views()[1].terms[0].holds, Some(false));
}

#[test]
fn what_the_peer_link_finds_is_told() {
    let mut pair = Pair::settled(&router("a", 51));
    pair.kill(0);
    pair.pass(ms(1000));
    let told: Vec<String> = pair
        .done
        .iter()
        .filter_map(|(_, _, effect)| match effect {
            Effect::Happened(Happening::Peer { alive, reason }) => Some(format!("{alive}: {reason}")),
            Effect::Happened(Happening::PeerPath { address, alive }) => Some(format!("{alive}: {address}")),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["false: 10.9.0.1", "false: no heartbeat on any path for 150 ms"]);
}

/// The peer notices the cut first, says so by an advertisement, and hears our question no more.
#[test]
fn a_peer_that_noticed_the_cut_first_has_said_already_that_it_lives() {
    for later in (0..50).step_by(5) {
        let mut pair = out_of_step(20);
        pair.pass(ms(later));
        pair.heartbeats_cut = [true; 2];
        pair.pass(ms(5000));
        assert_eq!(pair.both, Duration::ZERO, "cut {later} ms later");
    }
}

/// Whoever says that it does not hear us cannot be asked either.
#[test]
fn a_peer_that_did_not_hear_us_before_it_fell_silent_is_left_to_vrrp() {
    for later in (0..1000).step_by(100) {
        let mut pair = out_of_step(17);
        pair.heartbeats_cut = [false, true];
        pair.pass(ms(1000 + later));
        pair.heartbeats_cut = [true; 2];
        pair.pass(ms(5000));
        assert_eq!(pair.both, Duration::ZERO, "cut {later} ms later");
    }
}

/// Two nodes that send their heartbeats so many milliseconds apart.
fn out_of_step(phase: u64) -> Pair {
    let a = router("a", 51);
    let mut pair = Pair::settled(&a);
    pair.pass(ms(phase));
    pair.restart(1, &[VirtualRouter { priority: 250, ..a }]);
    pair.pass(ms(70_000));
    assert_eq!(pair.states(), [State::Master, State::Backup]);
    pair.both = Duration::ZERO;
    pair
}
