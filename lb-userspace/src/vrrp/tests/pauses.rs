//! Time in which the engine did not run tells nothing about the others.

use super::bench::{Bench, advertisement, advertises, ms, router};
use crate::vrrp::event::Event;
use crate::vrrp::view::State;

/// A virtual machine that was paused as a whole has no packets in its queues, and its clock may jump.
#[test]
fn a_backup_that_did_not_run_hears_a_living_master_before_it_takes_over() {
    let a = router("a", 51);
    let mut bench = Bench::backup_of(&a, 200);
    bench.now += ms(60_000);
    bench.give(Event::Stalled { gap: ms(56_000) });
    bench.give(Event::Tick);
    bench.pass(ms(999));
    bench.hear(&advertisement(&a, 200));
    bench.pass(ms(3000));
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn a_backup_that_did_not_run_takes_over_from_a_dead_master_two_intervals_later() {
    let a = router("a", 51);
    let mut bench = Bench::backup_of(&a, 200);
    bench.now += ms(60_000);
    bench.give(Event::Stalled { gap: ms(56_000) });
    assert_eq!(bench.until(|effect| advertises(effect, 100)), ms(2000));
}
