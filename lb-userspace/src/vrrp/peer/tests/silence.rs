//! Who is heard, and how soon silence is noticed.

use super::super::PeerNews::{Alive, PathAlive, PathSilent, Reports, Restarted, Silent, Unheard};
use super::*;

#[test]
fn two_datagrams_make_the_peers_known_to_each_other() {
    let mut pair = Pair::new();
    pair.run(ms(10));
    for node in 0..2 {
        let news = pair.news_of(node);
        assert_eq!(news[..2], [PathAlive(address(1 - node, 0)), Alive], "node {node}");
        assert!(news.contains(&PathAlive(address(1 - node, 1))), "node {node}: {news:?}");
        assert_eq!(pair.links[node].view(pair.now).name.as_deref(), Some(["lb2", "lb1"][node]));
    }
    assert!(pair.news.iter().flatten().all(|(at, _)| *at < ms(1_010)), "within two trips: {:?}", pair.news);
}

#[test]
fn a_dead_peer_is_silent_after_the_missed_heartbeats_and_is_told_so_at_once() {
    let mut pair = Pair::settled();
    let died = pair.now;
    pair.run_only([true, false], ms(500));
    assert_eq!(pair.news_of(0), [PathSilent(address(1, 0)), PathSilent(address(1, 1)), Silent]);
    let (silent, _) = pair.news[0][2];
    assert!(silent > died + ms(100) && silent <= died + ms(155), "{silent:?} after {died:?}");
    let told = pair.sent[0].iter().filter(|(at, ..)| *at == silent).count();
    assert_eq!(told, 2, "one on each path");
    assert!(!pair.links[0].is_alive());
}

#[test]
fn one_silent_path_is_no_silent_peer() {
    let mut pair = Pair::settled();
    pair.cut[1][0] = true;
    pair.run(ms(1_000));
    assert_eq!(pair.news_of(0), [PathSilent(address(1, 0))]);
    assert_eq!(pair.news_of(1), []);
    pair.cut[1][0] = false;
    pair.run(ms(100));
    assert_eq!(pair.news_of(0)[1..], [PathAlive(address(1, 0))]);
}

#[test]
fn a_peer_that_is_heard_and_hears_nothing_says_so_once() {
    let mut pair = Pair::settled();
    pair.cut[0] = [true, true];
    pair.run(ms(1_000));
    assert_eq!(pair.news_of(0), [Unheard]);
    let silent = pair.news[1].last().expect("it fell silent").0;
    assert_eq!(pair.news[0][0].0, silent + ms(1), "one trip later, not a heartbeat later");
    assert!(pair.links[0].is_alive() && !pair.links[0].hears_us());
    pair.cut[0] = [false, false];
    pair.run(ms(100));
    assert!(pair.links[0].hears_us());
    pair.cut[0] = [true, true];
    pair.run(ms(1_000));
    assert_eq!(pair.news_of(0), [Unheard, Unheard], "another episode");
}

#[test]
fn a_path_that_loses_every_other_heartbeat_is_alive() {
    let mut pair = Pair::settled();
    for heartbeat in 0..100 {
        pair.cut = [[heartbeat % 2 == 0; 2]; 2];
        pair.run(ms(50));
    }
    assert_eq!(pair.news_of(0), []);
    assert_eq!(pair.news_of(1), []);
}

#[test]
fn a_restarted_peer_is_known_as_such_though_it_was_never_silent() {
    let mut pair = Pair::settled();
    pair.restart(1, 777);
    pair.run(ms(20));
    assert_eq!(pair.news_of(0), [Restarted]);
    assert_eq!(pair.news_of(1)[..2], [PathAlive(address(0, 0)), Alive]);
    pair.run(ms(1_000));
    assert_eq!(pair.news_of(0), [Restarted], "and everything goes on");
}

#[test]
fn both_may_restart_at_once() {
    let mut pair = Pair::settled();
    pair.restart(0, 555);
    pair.restart(1, 777);
    pair.run(ms(1_000));
    assert!(pair.links.iter().all(|link| link.is_alive() && link.hears_us()));
}

#[test]
fn late_heartbeats_are_not_made_up() {
    let mut pair = Pair::settled();
    let before = pair.sent[0].len();
    pair.now += ms(5_000);
    pair.tick(0);
    assert_eq!(pair.sent[0].len() - before, 2, "one on each path");
    assert!(pair.links[0].deadline() >= pair.now + ms(25));
}

#[test]
fn queued_heartbeats_are_read_before_silence_is_believed() {
    let mut pair = Pair::settled();
    // Node 0 sleeps for 400 ms: what came meanwhile waits in its socket.
    let mut queued = Vec::new();
    for _ in 0..40 {
        pair.now += ms(10);
        let before = pair.sent[1].len();
        pair.tick(1);
        queued.extend(pair.sent[1][before..].iter().map(|(_, to, octets)| (network_of(*to), octets.clone())));
    }
    for (network, octets) in queued {
        pair.deliver(0, address(1, network), &octets);
    }
    pair.tick(0);
    assert_eq!(pair.news_of(0), [Unheard], "the peer heard nothing, and nothing else is wrong");
}

#[test]
fn after_a_stall_of_our_own_the_peer_gets_its_full_time_again() {
    let mut pair = Pair::settled();
    pair.now += ms(5_000);
    let now = pair.now;
    pair.links[0].forgive(now);
    pair.tick(0);
    assert_eq!(pair.news_of(0), []);
    pair.run_only([true, false], ms(140));
    assert_eq!(pair.news_of(0), []);
    pair.run_only([true, false], ms(20));
    assert_eq!(pair.news_of(0).last(), Some(&Silent));
}

#[test]
fn a_path_that_was_silent_before_a_stall_is_silent_after_it() {
    let mut pair = Pair::settled();
    pair.run_only([true, false], ms(500));
    let now = pair.now;
    pair.links[0].forgive(now);
    assert!(!pair.links[0].is_alive());
}

#[test]
fn the_longer_heartbeat_of_the_two_sides_counts() {
    let mut pair = Pair::new();
    let mut quick = settings(0);
    quick.heartbeat = ms(10);
    let now = pair.now;
    pair.links[0] = PeerLink::new(&quick, KEY, "lb1", 100, now);
    pair.run(ms(2_000));
    assert!(!pair.news_of(0).contains(&Silent));
    let differences = pair.links[0].view(pair.now).differences;
    assert_eq!(differences, ["the heartbeat is 10ms here and 50ms at the peer; the longer one counts"]);
}

#[test]
fn a_changed_configuration_keeps_what_is_known() {
    let mut pair = Pair::settled();
    let mut changed = settings(0);
    changed.addresses.remove(0);
    let now = pair.now;
    assert_eq!(pair.links[0].configure(&changed, KEY, now), []);
    pair.run(ms(500));
    assert_eq!(pair.news_of(0), []);
    changed.addresses = vec![address(1, 0)];
    let now = pair.now;
    assert_eq!(pair.links[0].configure(&changed, KEY, now), [Silent], "the only path that was heard is gone");
    pair.run(ms(100));
    assert_eq!(pair.news_of(0), [PathAlive(address(1, 0)), Alive]);
}

#[test]
fn a_link_made_anew_within_one_process_goes_on() {
    let mut pair = Pair::settled();
    pair.restart(0, 100);
    pair.run(ms(20));
    assert_eq!(pair.news_of(1), [], "the peer notices nothing");
    assert!(pair.links[0].is_alive());
}

#[test]
fn a_change_is_told_on_all_paths_at_the_next_moment() {
    let mut pair = Pair::settled();
    pair.links[0].set_local(vec![report("web", State::Master)], true);
    assert!(pair.links[0].deadline() <= pair.now);
    let told = pair.now;
    pair.run(ms(2));
    assert_eq!(pair.news[1], [(told + ms(1), Reports)]);
    assert_eq!(pair.sent[0].iter().filter(|(at, ..)| *at == told).count(), 2);
    assert!(pair.links[0].deadline() > pair.now, "and then the rhythm goes on");
}
