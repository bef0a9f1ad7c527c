//! Beside FRR's vrrpd, which knows neither unicast nor authentication: version 3 over both families, version 2.

use std::time::Duration;

use fairway_tests::vrrp::{Kind, Router};

use crate::bed::{Contested, Side};
use crate::keepalived::{v2_router, v3_router};
use crate::scenarios;

/// While it starts FRR may listen to nobody for a third of a second, and then takes itself for alone.
const INTERVAL: Duration = Duration::from_millis(300);

#[test]
fn the_better_is_master_and_the_other_takes_over_when_it_falls_silent() {
    scenarios::the_better_is_master_and_the_other_takes_over_when_it_falls_silent(Kind::Frr, v2_and_v3());
}

#[test]
fn who_stops_says_so_and_the_other_takes_over() {
    scenarios::who_stops_says_so_and_the_other_takes_over(Kind::Frr, v2_and_v3());
}

#[test]
fn a_later_better_one_takes_over_only_if_it_preempts() {
    scenarios::a_later_better_one_takes_over_only_if_it_preempts(Kind::Frr, v3());
}

#[test]
fn a_changed_priority_moves_mastership() {
    scenarios::a_changed_priority_moves_mastership(Kind::Frr, v3());
}

/// Version 3 over both families, for either side.
fn v3() -> Vec<Contested> {
    let mut routers = Vec::new();
    for (better, first) in [(Side::Ours, 1), (Side::Theirs, 3)] {
        for (vrid, is_v6) in [(first, false), (first + 1, true)] {
            routers.push(contested(v3_router(vrid, is_v6, INTERVAL), better));
        }
    }
    routers
}

/// The same and version 2.
fn v2_and_v3() -> Vec<Contested> {
    let v2 = [contested(v2_router(5), Side::Ours), contested(v2_router(6), Side::Theirs)];
    v3().into_iter().chain(v2).collect()
}

fn contested(router: Router, better: Side) -> Contested {
    Contested { router, better, preempt: true, unicast: false }
}
