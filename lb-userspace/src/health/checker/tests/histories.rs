//! Random histories: whatever happens, what was promised holds.

use proptest::prelude::*;

use super::*;
use crate::health::verdict::CheckState;

/// Something that happens to eight checks.
#[derive(Clone, Debug)]
enum Step {
    /// Time goes by.
    Run(u16),
    /// The prober did not run.
    Stall(u16),
    /// Those with a bit are configured.
    Configure(u8),
    /// Those with a bit are asked for.
    CheckNow(u8),
    /// From now on those with a bit answer rightly, the others of the second not, and the rest cannot be probed; and so
    /// many milliseconds a probe takes.
    Answers(u8, u8, u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u16..5000).prop_map(Step::Run),
        1 => (0u16..3000).prop_map(Step::Stall),
        1 => any::<u8>().prop_map(Step::Configure),
        1 => any::<u8>().prop_map(Step::CheckNow),
        3 => (any::<u8>(), any::<u8>(), 0u16..1500).prop_map(|(up, down, took)| Step::Answers(up, down, took)),
    ]
}

fn specs(bits: u8) -> Vec<Spec> {
    (0..8).filter(|bit| bits & 1 << bit != 0).map(|bit| spec(bit, millis(500 + 250 * u64::from(bit)))).collect()
}

fn number(spec: &Spec) -> u8 {
    let IpAddr::V4(address) = spec.target.address else { unreachable!("all are") };
    address.octets()[3]
}

fn answers(up_bits: u8, down_bits: u8, took: u16) -> Answer {
    Box::new(move |spec, _| {
        let bit = 1 << number(spec);
        let result = match (up_bits & bit != 0, down_bits & bit != 0) {
            (true, _) => up(),
            (false, true) => down(FailureKind::Refused),
            (false, false) => down(FailureKind::Local),
        };
        (result, millis(u64::from(took)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// `World` itself asserts that no two probes of a check overlap, and that nothing stays due after it was polled.
    #[test]
    fn whatever_happens_who_was_told_the_changes_knows_the_verdicts(limit in 2usize..12, steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new(limit, answers(0xff, 0, 1));
        world.configure(specs(0xff));
        for step in steps {
            match step {
                Step::Run(time) => world.run(millis(time.into())),
                Step::Stall(time) => world.now += millis(time.into()),
                Step::Configure(bits) => world.configure(specs(bits)),
                Step::CheckNow(bits) => {
                    let specs = specs(bits);
                    world.checker.check_now(world.now, &specs);
                }
                Step::Answers(up, down, took) => world.answer = answers(up, down, took),
            }
            prop_assert!(world.most_running <= limit.max(2));
            prop_assert!(world.checker.summary().running <= limit.max(2));
        }
        world.run(Duration::ZERO);
        for view in world.views() {
            let known = world.known.get(&*view.spec).cloned().unwrap_or_default();
            prop_assert_eq!((known.state, known.agent), (view.state, view.agent));
            prop_assert_eq!(known.failure.is_some(), known.state == CheckState::Down);
        }
    }

    /// Whatever happened before: when backends behave and there is room, everything is on its timetable soon.
    #[test]
    fn afterwards_every_check_is_made_exactly_once_a_period(steps in prop::collection::vec((any::<u8>(), any::<u8>(), 0u16..1500, 0u16..3000), 0..20)) {
        let mut world = World::new(64, answers(0xff, 0, 1));
        world.configure(specs(0xff));
        for (up, down, took, time) in steps {
            world.answer = answers(up, down, took);
            world.run(millis(time.into()));
            world.configure(specs(up | 0x55));
        }
        world.answer = answers(0xff, 0, 1);
        world.configure(specs(0xff));
        world.run(400 * SECOND); // longer than any window of flap damping here
        world.began.clear();
        world.run(10 * SECOND);
        for view in world.views() {
            prop_assert_eq!(view.state, CheckState::Up);
            let gaps = world.gaps(&view.spec);
            prop_assert!(!gaps.is_empty() && gaps.iter().all(|gap| *gap == view.spec.timing.interval));
        }
    }

    /// A period is never lengthened while probes take less than one: not by doubts, nor by requests, nor by reloads.
    #[test]
    fn no_check_waits_longer_than_its_period(steps in prop::collection::vec((any::<u8>(), any::<u8>(), 0u16..120, 0u16..3000, any::<u8>()), 0..20)) {
        let mut world = World::new(64, answers(0xff, 0, 1));
        world.configure(specs(0xff));
        for (up, down, took, time, now) in steps {
            world.answer = answers(up, down, took);
            world.run(millis(time.into()));
            world.checker.check_now(world.now, &specs(now));
            world.configure(specs(0xff));
        }
        for view in world.views() {
            prop_assert!(world.gaps(&view.spec).iter().all(|gap| *gap <= view.spec.timing.interval));
        }
    }

    /// Found in time: from a failure on it takes at most `fall` periods and a timeout until it is known.
    #[test]
    fn a_failure_is_known_within_fall_periods_and_a_timeout(host: u16, at in 2_000u64..10_000, fall in 1u32..6, fast in 10u64..1000) {
        let mut spec = spec(host, SECOND);
        spec.timing.fall = fall;
        spec.timing.fast_interval = millis(fast);
        let failed = 1000 * SECOND + millis(at);
        let timeout = spec.timing.timeout;
        let answer = move |_: &Spec, now| if now < failed { (up(), millis(1)) } else { (down(FailureKind::Silent), timeout) };
        let mut world = World::new(4, Box::new(answer));
        world.configure([spec.clone()]);
        world.run(millis(at) + SECOND * fall + timeout);
        prop_assert_eq!(world.known[&spec].state, CheckState::Down);
    }
}
