//! The rules within one virtual router.

use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostic, Problems, Span};
use crate::config::draft::{At, DraftPeer, DraftRouter, List};
use crate::config::virtual_router::VrrpVersion;
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::Duration;

/// The longest interval version 3 can express: 4095 centiseconds (RFC 9568 section 5.2.7).
const LONGEST_V3: Duration = Duration::from_millis(40_950);
const CENTISECOND_NANOS: u128 = 10_000_000;
const SECOND: Duration = Duration::from_secs(1);
/// The octet that counts addresses (RFC 9568 section 5.2.5).
const MOST_ADVERTISED: usize = 255;
/// IPv6 addresses that fit a packet of the usual 1,500 bytes: less 40 of IPv6 and 8 of VRRP, 16 each.
const FIT_USUAL_MTU: usize = (1500 - 40 - 8) / 16;
/// As many as there may be listeners.
const MOST_EXCLUDED: usize = 4096;
/// A busy or virtual machine stalls for so long now and then.
const USUAL_STALL: Duration = Duration::from_millis(300);
/// Clients do not notice a pause of this length.
const UNNOTICED: Duration = Duration::from_millis(100);
/// The priority that the reference advises for backups.
const ADVISED_PRIORITY: u8 = 250;
/// RFC 9568 section 5.2.4.
pub(super) const OWNER: u8 = 255;

pub(super) fn check(router: &DraftRouter, peer: Option<&DraftPeer>, problems: &mut Problems) {
    address_list(router, problems);
    families(router, problems);
    prefix_lengths(router, problems);
    version(router, problems);
    interval(router, problems);
    skew(router, peer, problems);
    owner(router, problems);
    no_effect(router, problems);
}

pub(super) fn family(ipv4: bool) -> &'static str {
    if ipv4 { "IPv4" } else { "IPv6" }
}

pub(super) fn too_many<T>(list: &List<T>, most: usize, things: &str, problems: &mut Problems) {
    if list.items.len() > most {
        let message = format!("{} {things} are more than {most}", list.items.len());
        problems.push(Diagnostic::new(Code::TooMany, message, list.span).help("use several virtual routers"));
    }
}

fn address_list(router: &DraftRouter, problems: &mut Problems) {
    let List { items, complete, span } = &router.addresses;
    if items.is_empty() && *complete {
        let message = format!("{} has no address", router.title());
        let help = "add the address that clients use: `addresses = [\"203.0.113.10/32\"]`";
        problems.push(Diagnostic::new(Code::EmptyList, message, *span).help(help));
    }
    if items.len() > MOST_ADVERTISED {
        let message = format!("an advertisement holds {MOST_ADVERTISED} addresses, not {}", items.len());
        let help = "move the others to `excluded_addresses`, the same on every node";
        problems.push(Diagnostic::new(Code::TooMany, message, *span).help(help));
    } else if router.is_ipv4() == Some(false) && items.len() > FIT_USUAL_MTU {
        let message = format!("{} addresses make an advertisement of more than 1,500 bytes", items.len());
        let help = "move the others to `excluded_addresses`: fragments of advertisements are easily lost";
        problems.push(Diagnostic::new(Code::SuspectAddresses, message, *span).help(help));
    }
    too_many(&router.excluded_addresses, MOST_EXCLUDED, "excluded addresses", problems);
    link_local_first(router, problems);
}

/// RFC 9568 section 5.2.9: the first address must be the virtual router's link-local one.
fn link_local_first(router: &DraftRouter, problems: &mut Problems) {
    let is_link_local = |at: &&At<IpNet>| matches!(at.value.addr(), IpAddr::V6(v6) if v6.is_unicast_link_local());
    let mut items = router.addresses.items.iter();
    if items.next().is_some_and(|first| !is_link_local(&first))
        && let Some(later) = items.find(is_link_local)
    {
        let message = "a link-local address belongs at the beginning of the list";
        let help = "put it first: the standard asks for it, and other implementations look there";
        problems.push(Diagnostic::new(Code::SuspectAddresses, message, later.span).help(help));
    }
}

fn families(router: &DraftRouter, problems: &mut Problems) {
    let Some(first) = router.addresses.items.first() else { return };
    let ipv4 = first.value.addr().is_ipv4();
    let expected = family(ipv4);
    if let Some(other) = router.addresses.items.iter().find(|other| other.value.addr().is_ipv4() != ipv4) {
        let message = format!("{} advertises both {expected} and {}", router.title(), family(!ipv4));
        problems.push(
            Diagnostic::new(Code::MixedFamilies, message, other.span)
                .label(family(!ipv4))
                .note(first.span, expected)
                .help("make two virtual routers with the same `group`, or move these to `excluded_addresses`"),
        );
    }
}

fn prefix_lengths(router: &DraftRouter, problems: &mut Problems) {
    for address in router.held() {
        let net = address.value;
        if net.prefix_len() == net.max_prefix_len() {
            continue;
        }
        let help = format!(
            "write \"{}\": when the first address of a network is deleted, the kernel deletes its siblings along with it",
            net.addr()
        );
        problems.push(
            Diagnostic::new(Code::PrefixLength, format!("{net} has a network's prefix length"), address.span)
                .help(help),
        );
    }
}

fn version(router: &DraftRouter, problems: &mut Problems) {
    match router.version.given() {
        Some(At { value: VrrpVersion::V2, span }) => version_2(router, *span, problems),
        Some(At { value: VrrpVersion::V3, .. }) => version_3(router, problems),
        None => {}
    }
}

fn version_2(router: &DraftRouter, version: Span, problems: &mut Problems) {
    if let (Some(false), Some(first)) = (router.is_ipv4(), router.addresses.items.first()) {
        problems.push(
            Diagnostic::new(Code::WrongForVersion, "version 2 knows IPv4 only", version)
                .note(first.span, "an IPv6 address")
                .help("use `version = 3` for IPv6"),
        );
    }
    let Some(interval) = router.advertisement_interval.given() else { return };
    if interval.value.subsec_nanos() != 0 {
        let message = format!("version 2 advertises in whole seconds, not every {} ms", interval.value.as_millis());
        problems.push(
            Diagnostic::new(Code::WrongForVersion, message, interval.span)
                .help("write \"1s\" or more, or use `version = 3` on every node"),
        );
    }
}

fn version_3(router: &DraftRouter, problems: &mut Problems) {
    if let Some(authentication) = router.authentication.given() {
        problems.push(
            Diagnostic::new(Code::WrongForVersion, "version 3 has no authentication", authentication.span)
                .help("take it out; `[peer]` authenticates its heartbeats, and unicast peers are told by address"),
        );
    }
    let Some(interval) = router.advertisement_interval.given() else { return };
    if interval.value > LONGEST_V3 {
        let message = "version 3 advertises every 40.95 s at the longest";
        problems.push(
            Diagnostic::new(Code::WrongForVersion, message, interval.span)
                .help("shorten it: the field has 12 bits of centiseconds"),
        );
    } else if interval.value.as_nanos() % CENTISECOND_NANOS != 0 {
        let written = humantime::format_duration(interval.value);
        let message = format!("version 3 advertises in steps of 10 ms, not every {written}");
        problems
            .push(Diagnostic::new(Code::WrongForVersion, message, interval.span).help("write a multiple of \"10ms\""));
    }
}

fn interval(router: &DraftRouter, problems: &mut Problems) {
    let (Some(interval), Some(missed)) = (router.advertisement_interval.given(), router.missed_advertisements.get())
    else {
        return;
    };
    let patience = interval.value * u32::from(*missed);
    if patience >= USUAL_STALL {
        return;
    }
    let enough = USUAL_STALL.as_millis().div_ceil(interval.value.as_millis().max(1));
    let message =
        format!("{} takes the master for dead after {} ms without a word", router.title(), patience.as_millis());
    problems.push(
        Diagnostic::new(Code::ShortInterval, message, interval.span)
            .label("a stall of the machine may be longer")
            .help(format!(
                "set `missed_advertisements = {enough}` on every node, or keep \"1s\" and let a `[peer]` link notice \
                 the dead sooner"
            )),
    );
}

/// Skew_Time (RFC 9568 section 6.1; RFC 3768 section 6.1, where the interval does not count).
fn skew_time(version: VrrpVersion, priority: u8, interval: Duration) -> Duration {
    let unit = match version {
        VrrpVersion::V2 => SECOND,
        VrrpVersion::V3 => interval,
    };
    unit * (256 - u32::from(priority)) / 256
}

fn skew(router: &DraftRouter, peer: Option<&DraftPeer>, problems: &mut Problems) {
    // The other node of a pair says itself that it hands over, and nobody else can take over: no skew.
    if peer.is_some_and(|peer| peer.nodes.get() == Some(&2)) {
        return;
    }
    let (Some(version), Some(priority), Some(interval)) =
        (router.version.get(), router.priority.given(), router.advertisement_interval.get())
    else {
        return;
    };
    let skew = skew_time(*version, priority.value, *interval);
    if skew <= UNNOTICED {
        return;
    }
    let message = format!(
        "a graceful hand-over by a master that only speaks VRRP leaves clients without master for {} ms",
        skew.as_millis()
    );
    let help = if skew_time(*version, ADVISED_PRIORITY, *interval) <= UNNOTICED {
        "use priorities of 250 and more, 254 and 250 say: a backup waits (256 - priority) / 256 intervals"
    } else {
        "shorten `advertisement_interval`: a backup waits (256 - priority) / 256 intervals, whatever its priority"
    };
    let written = router.written(&router.priority).or(router.written(&router.advertisement_interval));
    problems.push(Diagnostic::new(Code::LongSkew, message, written.unwrap_or(router.place())).help(help));
}

fn owner(router: &DraftRouter, problems: &mut Problems) {
    if let Some(priority) = router.priority.given().filter(|priority| priority.value == OWNER) {
        let message = "priority 255 says that the interface has the virtual addresses as its own";
        let help = "make sure that it has, which cannot be checked here; else use 254. \
                    The owner always takes over: neither tracks nor `preempt` keep it from it";
        problems.push(Diagnostic::new(Code::AddressOwner, message, priority.span).help(help));
    }
}

/// Keys that say something nobody will ever look at.
fn no_effect(router: &DraftRouter, problems: &mut Problems) {
    let mut tell = |message: &str, span: Span, help: &str| {
        problems.push(Diagnostic::new(Code::NoEffect, message, span).help(help));
    };
    let delayed = router.preempt_delay.given().filter(|delay| !delay.value.is_zero());
    if let (Some(delay), Some(false)) = (delayed, router.preempt.get()) {
        tell("`preempt_delay` has no effect without `preempt`", delay.span, "take it out, or set `preempt = true`");
    }
    let checksum = router.written(&router.checksum);
    let one_form = router.is_ipv4() == Some(false) || router.version.get() == Some(&VrrpVersion::V2);
    if let (Some(span), true) = (checksum, one_form) {
        tell("`checksum` has no effect: only version 3 over IPv4 knows two forms", span, "take it out");
    }
}
