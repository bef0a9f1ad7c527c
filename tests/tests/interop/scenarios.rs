//! What must hold between Fairway and any other implementation, for all the routers that a bed has at once.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::thread;

use fairway_tests::vrrp::{Advert, Kind};

use crate::bed::{Bed, Contested, Side, address_of};

/// The better one is master, whichever it is, and alone; and when it falls silent the other takes over.
pub fn the_better_is_master_and_the_other_takes_over_when_it_falls_silent(theirs: Kind, routers: Vec<Contested>) {
    let mut bed = Bed::new(theirs, routers);
    bed.start(Side::Theirs);
    bed.start(Side::Ours);
    bed.await_holders("the better ones are masters", the_better);
    bed.adverts().take();
    bed.assert_steady(the_better);
    assert_only_masters_advertise(&bed, &bed.adverts().take());

    bed.power_off(Side::Theirs);
    bed.await_holders("we take over what is theirs", |_| Side::Ours);
    bed.power_on(Side::Theirs);
    bed.await_holders("they take back what is theirs", the_better);
    bed.power_off(Side::Ours);
    bed.await_holders("they take over what is ours", |_| Side::Theirs);
    bed.power_on(Side::Ours);
    bed.await_holders("we take back what is ours", the_better);
}

/// Who stops says so by priority 0, and the other, who hears it, takes over.
pub fn who_stops_says_so_and_the_other_takes_over(theirs: Kind, routers: Vec<Contested>) {
    let mut bed = Bed::new(theirs, routers);
    for side in Side::BOTH {
        bed.start(side);
    }
    bed.await_holders("the better ones are masters", the_better);
    for side in Side::BOTH {
        bed.adverts().take();
        bed.stop(side);
        bed.await_holders("the other takes over", |_| side.other());
        assert_said_goodbye(&bed, side, &bed.adverts().take());
        bed.start(side);
        bed.await_holders("it takes back what is its own", the_better);
    }
}

/// A better one that comes later takes over if it preempts, and else waits.
pub fn a_later_better_one_takes_over_only_if_it_preempts(theirs: Kind, routers: Vec<Contested>) {
    for_each_side(|first| {
        let mut bed = Bed::new(theirs, with_and_without_preemption(&routers));
        bed.start(first);
        bed.await_holders("the first is master of all", |_| first);
        bed.start(first.other());
        let after = |contested: &Contested| if contested.preempt { contested.better } else { first };
        bed.await_holders("those that preempt take over", after);
        bed.assert_steady(after);
    });
}

/// A reload that makes the master the worse of the two, or the backup the better, moves mastership.
pub fn a_changed_priority_moves_mastership(theirs: Kind, routers: Vec<Contested>) {
    for_each_side(|changed| {
        let mut bed = Bed::new(theirs, routers.clone());
        for side in Side::BOTH {
            bed.start(side);
        }
        bed.await_holders("the better ones are masters", the_better);
        bed.turn_priorities(changed);
        bed.await_holders("who is better now is master", |contested| contested.better.other());
    });
}

/// Both at once, each in a bed of its own: they wait more than they compute.
fn for_each_side(scenario: impl Fn(Side) + Sync) {
    let scenario = &scenario;
    thread::scope(|scope| {
        for side in Side::BOTH {
            scope.spawn(move || scenario(side));
        }
    });
}

fn the_better(contested: &Contested) -> Side {
    contested.better
}

/// Each router twice, under another number and with other addresses the second time.
fn with_and_without_preemption(routers: &[Contested]) -> Vec<Contested> {
    let count = u8::try_from(routers.len()).expect("a bed has few routers");
    let without = routers.iter().map(|contested| {
        let mut contested = Contested { preempt: false, ..contested.clone() };
        contested.router.vrid += count;
        contested.router.addresses = contested.router.addresses.iter().map(|address| moved(*address, count)).collect();
        contested
    });
    routers.iter().cloned().chain(without).collect()
}

/// The address that is so many hosts further on.
fn moved(address: IpAddr, by: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) + u32::from(by)).into()),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) + u128::from(by)).into()),
    }
}

fn assert_only_masters_advertise(bed: &Bed, heard: &[Advert]) {
    for contested in bed.routers().iter().filter(|contested| !contested.unicast) {
        let router = &contested.router;
        let adverts = about(heard, contested);
        let senders: BTreeSet<IpAddr> = adverts.iter().map(|advert| advert.from).collect();
        assert_eq!(senders.len(), 1, "{}: {adverts:?}", router.name());
        assert!(adverts.iter().all(|advert| advert.version == router.version.number()), "{adverts:?}");
        if !router.is_v6() {
            // Over IPv6 they come from a link-local address, which tells nobody's name.
            assert!(senders.contains(&address_of(contested.better, false)), "{}: {adverts:?}", router.name());
        }
    }
}

fn assert_said_goodbye(bed: &Bed, side: Side, heard: &[Advert]) {
    let its_own = |contested: &&Contested| contested.better == side && !contested.unicast;
    for contested in bed.routers().iter().filter(its_own) {
        let adverts = about(heard, contested);
        assert!(adverts.iter().any(|advert| advert.priority == 0), "{}: {adverts:?}", contested.router.name());
    }
}

fn about(heard: &[Advert], contested: &Contested) -> Vec<Advert> {
    let router = &contested.router;
    let is_about_it = |advert: &&Advert| advert.vrid == router.vrid && advert.from.is_ipv6() == router.is_v6();
    heard.iter().filter(is_about_it).copied().collect()
}
