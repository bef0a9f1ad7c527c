//! Beside Debian's keepalived: versions 2 and 3, both families, to the group and to single addresses, with and without
//! simple-text authentication.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use fairway_tests::vrrp::{Kind, Router, Version, floating};

use crate::bed::{Contested, Side};
use crate::scenarios;

/// Ten advertisements a second.
const INTERVAL: Duration = Duration::from_millis(100);

#[test]
fn v3_the_better_is_master_and_the_other_takes_over_when_it_falls_silent() {
    scenarios::the_better_is_master_and_the_other_takes_over_when_it_falls_silent(Kind::Keepalived, v3());
}

#[test]
fn v3_who_stops_says_so_and_the_other_takes_over() {
    scenarios::who_stops_says_so_and_the_other_takes_over(Kind::Keepalived, v3());
}

#[test]
fn v3_a_later_better_one_takes_over_only_if_it_preempts() {
    scenarios::a_later_better_one_takes_over_only_if_it_preempts(Kind::Keepalived, v3());
}

#[test]
fn v3_a_changed_priority_moves_mastership() {
    scenarios::a_changed_priority_moves_mastership(Kind::Keepalived, v3());
}

#[test]
fn v2_the_better_is_master_and_the_other_takes_over_when_it_falls_silent() {
    scenarios::the_better_is_master_and_the_other_takes_over_when_it_falls_silent(Kind::Keepalived, v2());
}

#[test]
fn v2_who_stops_says_so_and_the_other_takes_over() {
    scenarios::who_stops_says_so_and_the_other_takes_over(Kind::Keepalived, v2());
}

#[test]
fn v2_a_later_better_one_takes_over_only_if_it_preempts() {
    scenarios::a_later_better_one_takes_over_only_if_it_preempts(Kind::Keepalived, v2());
}

#[test]
fn v2_a_changed_priority_moves_mastership() {
    scenarios::a_changed_priority_moves_mastership(Kind::Keepalived, v2());
}

/// Both families, each to the group and to single addresses.
fn v3() -> Vec<Contested> {
    let mut routers = Vec::new();
    for better in Side::BOTH {
        for is_v6 in [false, true] {
            for unicast in [false, true] {
                let vrid = number(&routers);
                routers.push(Contested { router: v3_router(vrid, is_v6, INTERVAL), better, preempt: true, unicast });
            }
        }
    }
    routers
}

/// Plain, with a password, and to single addresses.
fn v2() -> Vec<Contested> {
    let mut routers = Vec::new();
    for better in Side::BOTH {
        for (password, unicast) in [(None, false), (Some("sesame"), false), (None, true)] {
            let mut router = v2_router(number(&routers));
            router.password = password.map(str::to_owned);
            routers.push(Contested { router, better, preempt: true, unicast });
        }
    }
    routers
}

fn number(routers: &[Contested]) -> u8 {
    u8::try_from(routers.len() + 1).expect("a bed has few routers")
}

/// A router of version 3.
pub fn v3_router(vrid: u8, is_v6: bool, interval: Duration) -> Router {
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x5e, 0x100 + u16::from(vrid));
    let mut addresses = vec![floating(vrid, is_v6)];
    if is_v6 {
        addresses.insert(0, IpAddr::V6(link_local));
    }
    Router::new(vrid, interval, 100, addresses)
}

/// A router of version 2, as fast as they go.
pub fn v2_router(vrid: u8) -> Router {
    let v3 = Router::new(vrid, Duration::from_secs(1), 100, vec![floating(vrid, false)]);
    Router { version: Version::V2, ..v3 }
}
