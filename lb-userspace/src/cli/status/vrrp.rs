//! VRRP's part of the status screen: who is master of what, since when and why, and why not.

use std::fmt::Write as _;

use super::super::show::vrrp::tone;
use super::super::table::{Tone, clean};
use super::super::units::ago;
use crate::controller::vrrp::{BfdStatus, PeerStatus, RouterStatus, VrrpStatus};
use crate::vrrp::view::{State, Term};

/// The lines.
pub fn screen(vrrp: &VrrpStatus, now: f64, colour: bool) -> String {
    let mut out = thread(vrrp, colour);
    if let Some(peer) = &vrrp.peer {
        out.push_str(&self::peer(peer, now, colour));
    }
    vrrp.bfd.iter().for_each(|session| out.push_str(&bfd(session, now, colour)));
    vrrp.routers.iter().for_each(|router| out.push_str(&self::router(router, now, colour)));
    out
}

fn thread(vrrp: &VrrpStatus, colour: bool) -> String {
    let granted = |lacks: bool, yes: &str, no: &str| if lacks { Tone::Odd.paint(no, colour) } else { yes.to_owned() };
    let realtime = granted(vrrp.thread.no_realtime.is_some(), "real-time priority", "NO real-time priority");
    let locked = granted(vrrp.thread.not_locked.is_some(), "memory locked", "memory NOT locked");
    let stalls = match vrrp.stalls {
        0 => String::new(),
        count => format!("; {count} stalls, the longest {:.3} s", vrrp.longest_stall_seconds),
    };
    format!("vrrp     {realtime}, {locked}{stalls}\n")
}

fn peer(peer: &PeerStatus, now: f64, colour: bool) -> String {
    let heard = match (peer.alive, &peer.name) {
        (true, _) => Tone::Good.paint("heard", colour),
        (false, Some(_)) => Tone::Bad.paint("SILENT", colour),
        (false, None) => Tone::Bad.paint("NOT HEARD YET", colour),
    };
    let paths: Vec<String> = peer
        .paths
        .iter()
        .map(|path| match (path.alive, path.heard) {
            (true, _) => format!("{} heard", path.address),
            (false, Some(heard)) => {
                Tone::Bad.paint(&format!("{} SILENT for {}", path.address, ago(now, heard)), colour)
            }
            (false, None) => Tone::Bad.paint(&format!("{} NEVER HEARD", path.address), colour),
        })
        .collect();
    format!("peer     {}, {heard} for {}; {}\n", clean(peer.title()), ago(now, peer.since), paths.join(", "))
}

fn bfd(session: &BfdStatus, now: f64, colour: bool) -> String {
    let tone = if session.state == "up" { Tone::Good } else { Tone::Bad };
    format!(
        "bfd      {}, {} for {}; detects in {:.0} ms, lost {} times\n",
        session.neighbour,
        tone.paint(&session.state, colour),
        ago(now, session.since),
        session.detection_seconds * 1000.0,
        session.losses,
    )
}

fn router(router: &RouterStatus, now: f64, colour: bool) -> String {
    let group = router.group.as_ref().map_or_else(String::new, |group| format!(", group {group}"));
    let state = tone(router.state).paint(router.state.name(), colour);
    let mut out =
        format!("\nvirtual router {}: {state} for {}, {}\n", router.name, ago(now, router.since), clean(&router.why));
    let mut line = |text: String| writeln!(out, "  {text}").expect("writing to a string cannot fail");
    line(format!(
        "{} {}, VRID {}, version {} every {} s{group}",
        router.interface, router.family, router.vrid, router.version, router.interval_seconds
    ));
    line(addresses(router));
    line(priority(router, colour));
    if let Some(master) = master(router, now) {
        line(master);
    }
    if router.resigned {
        line(Tone::Odd.paint(&format!("RESIGNED until `fairway vrrp resume {}`", router.name), colour));
    }
    if let Some(until) = router.hold_until.filter(|until| *until > now) {
        line(format!("does not preempt for {}", ago(until, now)));
    }
    if let Some(why) = &router.held_back {
        line(Tone::Odd.paint(&format!("held back: {}", clean(why)), colour));
    }
    if let Some(foreign) = &router.foreign_master {
        let alarm = format!("TWO MASTERS: {} is one too, last heard {} ago", foreign.address, ago(now, foreign.heard));
        line(Tone::Bad.paint(&alarm, colour));
    }
    if let Some(difference) = &router.address_difference {
        line(Tone::Bad.paint(&format!("the other node's addresses DIFFER: {}", clean(difference)), colour));
    }
    out
}

fn addresses(router: &RouterStatus) -> String {
    let list = |addresses: &[std::net::IpAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let excluded = match router.excluded_addresses.as_slice() {
        [] => String::new(),
        some => format!("; not advertised {}", list(some)),
    };
    let mac = router.virtual_mac.as_ref().map_or_else(String::new, |mac| format!("; at {mac}"));
    format!("addresses {}{excluded}{mac}", list(&router.addresses))
}

/// `priority 204 = 254 - 50 (interface eth1: no carrier)`; tracks that add nothing are named too.
fn priority(router: &RouterStatus, colour: bool) -> String {
    let effective = router.effective_priority;
    if router.terms.is_empty() {
        return format!("priority {effective}");
    }
    let terms: Vec<String> = router.terms.iter().map(|term| self::term(term, colour)).collect();
    format!("priority {effective} = {} {}", router.priority, terms.join(" "))
}

fn term(term: &Term, colour: bool) -> String {
    let detail = if term.detail.is_empty() { String::new() } else { format!(": {}", clean(&term.detail)) };
    let (what, tone) = match (term.fault, term.holds) {
        (true, _) => ("FAULT".to_owned(), Tone::Bad),
        (false, None) => ("+ ?".to_owned(), Tone::Odd),
        (false, Some(_)) if term.contribution < 0 => (format!("- {}", term.contribution.unsigned_abs()), Tone::Odd),
        (false, Some(_)) => (format!("+ {}", term.contribution), Tone::Plain),
    };
    tone.paint(&format!("{what} ({}{detail})", term.name), colour)
}

fn master(router: &RouterStatus, now: f64) -> Option<String> {
    match (router.state, &router.master) {
        (State::Master, _) => None,
        (_, Some(master)) => Some(format!(
            "master {}, priority {}, heard {} ago",
            master.address,
            master.priority,
            ago(now, master.heard)
        )),
        (_, None) => Some("no master is heard".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::admin::sample;

    #[test]
    fn each_router_says_its_state_since_when_why_and_what_is_wrong() {
        let expected = "\
vrrp     real-time priority, memory NOT locked; 2 stalls, the longest 0.120 s
peer     lb2, heard for 2h 46m; 10.9.0.2 heard, 192.0.2.2 NEVER HEARD
bfd      192.0.2.2, up for 2m 5s; detects in 150 ms, lost 1 times

virtual router public: master for 2m 5s, no advertisement for 3.02 s
  eth0 ipv4, VRID 51, version 3 every 1 s
  addresses 203.0.113.10; not advertised 2001:db8::10
  priority 204 = 254 - 50 (interface eth1: no carrier) + 0 (gateway 192.0.2.254: answers)
  TWO MASTERS: 192.0.2.2 is one too, last heard 1s ago

virtual router inside: backup for 2m 5s, priority 0 from 10.0.0.3
  eth1 ipv4, VRID 52, version 2 every 1 s, group edge
  addresses 10.0.0.1 10.0.0.2
  priority 250 = 250 + ? (script check)
  no master is heard
  RESIGNED until `fairway vrrp resume inside`
  does not preempt for 30s
  held back: not ready: 2 next hops are not known yet
  the other node's addresses DIFFER: missing there: 10.0.0.2
";
        assert_eq!(screen(&sample::vrrp(), sample::NOW, false), expected);
    }

    #[test]
    fn words_from_elsewhere_do_not_command_the_terminal() {
        let mut vrrp = sample::vrrp();
        let bad = || "\x1b[2J".to_owned();
        vrrp.peer.as_mut().unwrap().name = Some(bad());
        let router = &mut vrrp.routers[0];
        (router.why, router.held_back, router.address_difference) = (bad(), Some(bad()), Some(bad()));
        router.terms[0].detail = bad();
        assert!(!screen(&vrrp, sample::NOW, false).contains('\x1b'));
    }

    #[test]
    fn a_backup_says_who_is_master() {
        let shown = router(&sample::quiet(), sample::NOW + 4.5, false);
        assert!(shown.ends_with("  priority 250\n  master 10.0.0.3, priority 254, heard 5s ago\n"), "{shown}");
    }
}
