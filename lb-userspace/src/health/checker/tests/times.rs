//! When probes begin.

use super::*;
use crate::health::verdict::CheckState;

#[test]
fn the_first_probe_begins_at_once_and_the_others_exactly_a_period_apart() {
    let spec = spec(1, SECOND);
    let mut world = World::of_one(&spec, |_| up());
    world.run(10 * SECOND);
    let (first, others) = world.gaps(&spec).split_first().map(|(first, others)| (*first, others.to_vec())).unwrap();
    assert_eq!(world.moments(&spec)[0], Duration::ZERO);
    assert!(first <= SECOND);
    assert_eq!(others, vec![SECOND; others.len()]);
    assert!(others.len() >= 8);
    assert_eq!(world.view().record.worst_lateness, Duration::ZERO);
}

#[test]
fn while_a_verdict_is_in_doubt_probes_follow_each_other_fast_and_then_the_old_moments_hold_again() {
    let spec = spec(1, SECOND);
    let mut world = World::of_one(&spec, |now| if now < 1005 * SECOND { up() } else { down(FailureKind::Refused) });
    world.run(10 * SECOND);
    let moments = world.moments(&spec);
    let failed: Vec<Duration> = moments.iter().copied().filter(|moment| *moment >= 5 * SECOND).collect();
    assert_eq!([failed[1] - failed[0], failed[2] - failed[1]], [millis(250); 2]);
    assert_eq!(failed[3] - failed[0], SECOND, "back on its timetable");
    assert_eq!(failed[4] - failed[3], SECOND);
    assert_eq!(world.view().since, 1000 * SECOND + failed[2] + millis(1));
}

#[test]
fn a_check_that_nobody_could_probe_yet_is_tried_again_fast() {
    let spec = spec(1, SECOND);
    let mut world = World::of_one(&spec, |now| if now < 1001 * SECOND { down(FailureKind::Local) } else { up() });
    world.run(SECOND + millis(2));
    assert_eq!(world.moments(&spec), [0, 250, 500, 750, 1000].map(millis));
    assert_eq!(world.view().state, CheckState::Up);
}

#[test]
fn a_damped_check_comes_back_by_its_period() {
    let spec = spec(1, SECOND);
    // Down for five seconds of every ten.
    let mut world =
        World::of_one(&spec, |now| if now.as_secs() / 5 % 2 == 0 { up() } else { down(FailureKind::Wrong) });
    world.run(60 * SECOND);
    assert!(world.view().rise >= 8, "{}", world.view().rise);
    let before = world.began[&spec.target.address].len();
    world.answer = Box::new(|_, _| (up(), millis(1)));
    world.run(4 * SECOND);
    assert_eq!(world.view().state, CheckState::Down);
    assert_eq!(world.began[&spec.target.address].len() - before, 4);
    world.run(120 * SECOND);
    let view = world.view();
    assert_eq!((view.state, view.rise), (CheckState::Up, 2), "forgiven by time");
}

#[test]
fn a_probe_longer_than_the_period_has_the_next_follow_right_after_it_and_is_not_called_late() {
    let spec = spec(1, SECOND);
    let mut world = World::new(10, Box::new(|_, _| (up(), millis(1500))));
    world.configure([spec.clone()]);
    world.run(9 * SECOND);
    let gaps = world.gaps(&spec);
    assert!(gaps.len() >= 5);
    assert_eq!(gaps, vec![millis(1500); gaps.len()]);
    world.answer = Box::new(|_, _| (up(), millis(1)));
    world.run(9 * SECOND);
    assert_eq!(world.gaps(&spec).last(), Some(&SECOND), "the old moments");
    assert_eq!(world.checker.summary().worst_lateness, Duration::ZERO);
}

#[test]
fn a_late_poll_is_measured_and_moves_no_later_probe() {
    let spec = spec(1, SECOND);
    let mut world = World::of_one(&spec, |_| up());
    world.run(5 * SECOND);
    let due = world.view().next.unwrap();
    world.now = due + millis(300);
    world.run(3 * SECOND);
    let moments = &world.began[&spec.target.address];
    assert!(moments.contains(&(due + millis(300))) && moments.contains(&(due + SECOND)), "{moments:?}");
    let summary = world.checker.summary();
    assert_eq!((summary.worst_lateness, world.view().record.worst_lateness), (millis(300), millis(300)));
    assert!((summary.worst_share - 0.3).abs() < 1e-9);
    assert_eq!(summary.late.map(|late| (late.at, late.by)), Some((due + millis(300), millis(300))));
}

#[test]
fn checks_that_stay_over_a_reload_lose_neither_probe_nor_count() {
    let (kept, gone, new) = (spec(1, SECOND), spec(2, SECOND), spec(3, SECOND));
    let mut world = World::new(10, Box::new(|_, _| (up(), millis(400))));
    world.configure([kept.clone(), gone.clone()]);
    for _ in 0..50 {
        world.run(millis(130));
        world.configure([kept.clone(), gone.clone()]);
    }
    let gaps = world.gaps(&kept);
    assert_eq!(gaps[1..], vec![SECOND; gaps.len() - 1]);
    world.configure([kept.clone(), new.clone()]);
    world.run(millis(500));
    assert_eq!(
        world.known.keys().collect::<Vec<_>>(),
        [&kept, &new],
        "what was under way of the one that went is ignored"
    );
    let view = world.views().into_iter().find(|view| *view.spec == kept).unwrap();
    assert_eq!(
        view.record.successes as usize + world.checker.summary().running,
        world.began[&kept.target.address].len()
    );
}

#[test]
fn a_check_whose_timing_changes_keeps_what_it_knows_and_tells_it() {
    let (slow, fast) = (spec(1, 10 * SECOND), spec(1, SECOND));
    let mut world = World::of_one(&slow, |_| up());
    world.run(25 * SECOND);
    let since = world.view().since;
    let probes = world.view().record.successes;
    world.configure([fast.clone()]);
    assert_eq!((world.view().state, world.view().since), (CheckState::Up, since));
    assert_eq!(world.checker.take_changes().len(), 1, "under its new name");
    world.run(5 * SECOND);
    assert_eq!(world.view().record.successes, probes + 5);
}

#[test]
fn a_check_is_made_now_when_it_is_asked_for_and_the_timetable_stays() {
    let spec = spec(1, 10 * SECOND);
    let mut world = World::of_one(&spec, |_| up());
    world.run(25 * SECOND);
    let due = world.view().next.unwrap();
    let asked = world.now;
    for _ in 0..3 {
        world.checker.check_now(world.now, [&spec]);
    }
    world.run(millis(500));
    assert_eq!(world.began[&spec.target.address].last(), Some(&asked));
    assert_eq!(world.view().next, Some(due));
    world.run(10 * SECOND);
    assert!(world.began[&spec.target.address].contains(&due));
}

#[test]
fn a_check_that_is_asked_for_while_its_probe_is_under_way_follows_it() {
    let spec = spec(1, 10 * SECOND);
    let mut world = World::new(10, Box::new(|_, _| (up(), SECOND)));
    world.configure([spec.clone()]);
    world.run(millis(500));
    world.checker.check_now(world.now, [&spec]);
    world.run(SECOND);
    assert_eq!(world.gaps(&spec), [SECOND]);
}

#[test]
fn above_the_limit_those_that_are_due_wait_in_the_order_in_which_they_were() {
    let specs: Vec<Spec> = (0..200).map(|host| spec(host, SECOND)).collect();
    let mut world = World::new(16, Box::new(|_, _| (up(), millis(1))));
    world.configure(specs.clone());
    world.run(3 * SECOND);
    // Each takes a fifth of the period by now: 40 would have to be under way at a time, and 14 can.
    world.answer = Box::new(|_, _| (up(), millis(200)));
    world.run(20 * SECOND);
    assert_eq!(world.most_running, 14, "the others are for new checks");
    let counts: Vec<usize> = specs.iter().map(|spec| world.began[&spec.target.address].len()).collect();
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(most - least <= 1, "none starves: {counts:?}");
}

#[test]
fn many_new_checks_take_half_of_the_limit_and_delay_none_that_is_there() {
    let old: Vec<Spec> = (0..10).map(|host| spec(host, SECOND)).collect();
    let new = (100..1100).map(|host| spec(host, SECOND));
    let mut world = World::new(
        64,
        Box::new(|spec, _| {
            (up(), if spec.target.address < IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100)) { millis(1) } else { millis(400) })
        }),
    );
    world.configure(old.clone());
    world.run(3 * SECOND);
    world.configure(old.iter().cloned().chain(new));
    world.run(SECOND);
    assert!(world.checker.summary().waiting > 0);
    let view = |world: &World| world.views().into_iter().filter(|view| old.contains(&view.spec)).collect::<Vec<_>>();
    assert!(view(&world).iter().all(|view| view.record.worst_lateness == Duration::ZERO));
    // All of them have their turn in the end, although more is due than can be done.
    world.run(60 * SECOND);
    assert_eq!(world.checker.summary().waiting, 0);
    assert!(world.most_running <= 64);
}
