//! `fairway show vrrp`.

use std::collections::BTreeMap;

use super::super::table::{Cell, Table, Tone};
use super::super::units::ago;
use crate::controller::vrrp::{RouterStatus, VrrpStatus};
use crate::vrrp::view::State;

/// The virtual routers.
pub fn table(vrrp: Option<&VrrpStatus>, now: f64) -> Table {
    let mut table = Table::new(&[
        "ROUTER",
        "INTERFACE",
        "FAMILY",
        ">VRID",
        "STATE",
        "SINCE",
        ">PRIORITY",
        "MASTER",
        ">SENT",
        ">RECEIVED",
        ">ERRORS",
        "WHY",
    ]);
    for router in vrrp.into_iter().flat_map(|vrrp| &vrrp.routers) {
        let counters = &router.counters;
        table.row([
            Cell::from(&router.name),
            Cell::from(&router.interface),
            Cell::from(&router.family),
            router.vrid.into(),
            state(router),
            ago(now, router.since).into(),
            router.effective_priority.into(),
            master(router),
            counters.sent.into(),
            counters.received.into(),
            sum(&counters.errors).into(),
            Cell::from(&router.why),
        ]);
    }
    table
}

fn sum(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}

/// How a state looks.
pub fn tone(state: State) -> Tone {
    match state {
        State::Master => Tone::Good,
        State::Backup => Tone::Plain,
        State::Init => Tone::Odd,
        State::Fault => Tone::Bad,
    }
}

fn state(router: &RouterStatus) -> Cell {
    let resigned = if router.resigned { " (resigned)" } else { "" };
    let tone = if router.resigned { Tone::Odd } else { tone(router.state) };
    Cell::toned(format!("{}{resigned}", router.state), tone)
}

/// Who is master, as a cell; a second one is shouted.
fn master(router: &RouterStatus) -> Cell {
    match (&router.foreign_master, router.state, &router.master) {
        (Some(foreign), _, _) => Cell::toned(format!("this node AND {}", foreign.address), Tone::Bad),
        (None, State::Master, _) => "this node".into(),
        (None, _, Some(master)) => format!("{} ({})", master.address, master.priority).into(),
        (None, _, None) => Cell::toned("nobody", Tone::Bad),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::admin::sample;

    #[test]
    fn each_router_has_a_line_and_a_second_master_stands_out() {
        let mut vrrp = sample::vrrp();
        vrrp.routers.push(RouterStatus { name: "third".to_owned(), ..sample::quiet() });
        let expected = "\
ROUTER  INTERFACE  FAMILY  VRID  STATE              SINCE  PRIORITY  MASTER                   SENT  RECEIVED  ERRORS  WHY
public  eth0       ipv4      51  master             2m 5s       204  this node AND 192.0.2.2   100         7       3  no advertisement for 3.02 s
inside  eth1       ipv4      52  backup (resigned)  2m 5s       250  nobody                      0         0       0  priority 0 from 10.0.0.3
third   eth1       ipv4      52  backup             2m 5s       250  10.0.0.3 (254)              0         0       0  priority 0 from 10.0.0.3
";
        assert_eq!(table(Some(&vrrp), sample::NOW).render("", false), expected);
    }
}
