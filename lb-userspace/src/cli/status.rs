//! `fairway status`: one screen that answers "is it well, and if not, what and since when?", warnings first.

mod exchange;
mod vrrp;

use super::Asking;
use super::failure::Failure;
use super::output::{self, Output};
use super::show::{backend_state, interface_table, weight};
use super::table::{Cell, Table, Tone};
use super::units::{ago, now, plural};
use crate::controller::view::{ConfigStatus, FlowsStatus, NodeStatus, Override, Remaining, ServiceStatus, Status};

/// Asks and prints.
pub async fn status(asking: &Asking) -> Result<(), Failure> {
    let status: Status = asking.client().get("/api/v1/status").await?;
    match asking.output {
        Output::Json => output::json(&status),
        Output::Table => output::text(&screen(&status, now(), output::coloured())),
    }
}

fn screen(status: &Status, now: f64, colour: bool) -> String {
    let mut out = String::new();
    for warning in &status.warnings {
        out.push_str(&format!("{} {warning}\n", Tone::Bad.paint("!", colour)));
    }
    if !status.warnings.is_empty() {
        out.push('\n');
    }
    out.push_str(&node(&status.node, now, colour));
    out.push_str(&config(&status.config, now, colour));
    out.push_str(&flows(&status.flows, status.flows_at_risk));
    out.push_str(&overrides(&status.overrides, now, colour));
    if let Some(vrrp) = &status.vrrp {
        out.push_str(&vrrp::screen(vrrp, now, colour));
    }
    if let Some(view) = &status.exchange {
        out.push_str(&exchange::screen(view, now, colour));
    }
    if !status.interfaces.is_empty() {
        out.push('\n');
        out.push_str(&interface_table(status, now).render("", colour));
    }
    for one in &status.services {
        out.push('\n');
        out.push_str(&service(one, now, colour));
    }
    out
}

fn node(node: &NodeStatus, now: f64, colour: bool) -> String {
    let ready = match (node.ready, &node.not_ready) {
        (true, _) => Tone::Good.paint("ready", colour),
        (false, Some(why)) => Tone::Bad.paint(&format!("NOT READY: {why}"), colour),
        (false, None) => Tone::Bad.paint("NOT READY", colour),
    };
    format!(
        "node     {}, up {}, {ready} (fairway {}, kernel {}, pid {})\n",
        node.name,
        ago(now, node.started),
        node.version,
        node.kernel,
        node.pid,
    )
}

fn config(config: &ConfigStatus, now: f64, colour: bool) -> String {
    let mut out =
        format!("config   {}, in force for {} (hash {})\n", config.file, ago(now, config.loaded), config.hash);
    if !config.last_reload_successful {
        let head = format!("the reload {} ago was REFUSED, the old configuration stays:", ago(now, config.last_reload));
        out.push_str(&format!("         {}\n", Tone::Bad.paint(&head, colour)));
        for line in config.last_reload_error.as_deref().unwrap_or("no reason given").lines() {
            out.push_str(format!("         {line}").trim_end());
            out.push('\n');
        }
    }
    out
}

fn flows(flows: &FlowsStatus, at_risk: u64) -> String {
    let mut out = format!(
        "flows    {} TCP and {} UDP recorded, of {} each; {at_risk} at risk on failover\n",
        flows.tcp, flows.udp, flows.capacity
    );
    if flows.stateful > 0 || flows.unrecorded > 0 {
        let FlowsStatus { stateful, stateful_capacity, unrecorded, .. } = flows;
        out.push_str(&format!(
            "         {stateful} of stateful schedulers, of {stateful_capacity} a family; {unrecorded} found no room\n"
        ));
    }
    if flows.translations > 0 {
        let FlowsStatus { translations, translation_capacity, .. } = flows;
        out.push_str(&format!("         {translations} translations recorded, of {translation_capacity} a family\n"));
    }
    if flows.refusals > 0 {
        out.push_str(&format!("         {} refusals: the table was full\n", flows.refusals));
    }
    if flows.forced_slots > 0 {
        out.push_str(&format!("         {} slots were settled by force: flows may have moved\n", flows.forced_slots));
    }
    out
}

fn overrides(overrides: &[Override], now: f64, colour: bool) -> String {
    let line = |(at, one): (usize, &Override)| {
        let head = if at == 0 { "override" } else { "        " };
        format!("{head} {}, for {}\n", Tone::Odd.paint(&one.to_string(), colour), ago(now, one.since))
    };
    overrides.iter().enumerate().map(line).collect()
}

fn service(service: &ServiceStatus, now: f64, colour: bool) -> String {
    let lost = || Tone::Bad.paint(&format!(", NO QUORUM: {}", service.quorum_why), colour);
    let quorum = if service.quorum_ok { String::new() } else { lost() };
    let runtime = if service.runtime { Tone::Odd.paint(", added at run time", colour) } else { String::new() };
    let mut out = format!(
        "service {}: {}, {}, {}{runtime}{quorum}\n",
        service.name,
        service.listeners.join(" "),
        service.forwarding,
        service.scheduler,
    );
    if service.unsettled_slots + service.exception_slots > 0 {
        out.push_str(&format!(
            "  {} of {} slots unsettled, {} with exceptions\n",
            service.unsettled_slots, service.lookup_table_size, service.exception_slots
        ));
    }
    let mut table = Table::new(&["BACKEND", "ADDRESS", "STATE", "SINCE", ">WEIGHT", ">CONNECTIONS", "WHY"]);
    for backend in &service.backends {
        let words = format!(
            "{}{}",
            backend.why,
            backend.remaining.map_or_else(String::new, |left| remaining(left, &backend.state))
        );
        let mut why = Cell::from(&words);
        if !backend.reachable {
            why = Cell::toned(format!("{words}; UNREACHABLE: {}", backend.next_hop), Tone::Bad);
        }
        table.row([
            Cell::from(&backend.name),
            Cell::from(&backend.address),
            backend_state(backend),
            ago(now, backend.since).into(),
            weight(backend).into(),
            backend.totals.connections.into(),
            why,
        ]);
    }
    out.push_str(&table.render("  ", colour));
    out
}

/// What is left of a backend's flows, behind why it gets no new ones. That nothing is left is said of one that drains.
fn remaining(remaining: Remaining, state: &str) -> String {
    match remaining {
        Remaining { recorded: 0, slots: 0 } if state == "drain" => "; no flow remains".to_owned(),
        Remaining { recorded: 0, slots: 0 } => String::new(),
        Remaining { recorded, slots: 0 } => format!("; {} remain", plural(recorded as usize, "flow")),
        Remaining { recorded, slots } => {
            format!("; {} remain, and perhaps others in {slots} slots", plural(recorded as usize, "recorded flow"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::admin::sample;

    #[test]
    fn the_screen_has_warnings_first_and_says_since_when_and_why() {
        let expected = "\
! eth1: XDP runs in generic mode, at a tenth of the speed

node     lb1, up 2h 46m, ready (fairway 0.1.0, kernel 6.12.0, pid 4242)
config   /etc/fairway/fairway.toml, in force for 2h 30m (hash 00112233aabbccdd)
flows    12 TCP and 0 UDP recorded, of 1048576 each; 12 at risk on failover
         13 of stateful schedulers, of 4096 a family; 2 found no room
         7 translations recorded, of 2048 a family
         3 refusals: the table was full
{VRRP}
INTERFACE  MODE      MTU  SINCE   WHY
eth0       native   1500  2h 46m
eth1       GENERIC  1500  2h 46m  the driver has no native XDP

service we\"b: tcp://203.0.113.10:80 tcp://203.0.113.10:443, direct, maglev
  12 of 16384 slots unsettled, 3 with exceptions
  BACKEND  ADDRESS    STATE            SINCE  WEIGHT  CONNECTIONS  WHY
  web1     10.0.0.11  up (full)        2m 5s     100           70  no check is configured
  web2     10.0.0.12  unchecked        2m 5s     100           30  answers its check; UNREACHABLE: no answer to ARP on eth0
  web2     10.0.0.13  drain (leaving)  2m 5s     100           20  removed from the configuration
";
        let expected = expected.replace(
            "{VRRP}\n",
            &format!(
                "{}{}\n",
                vrrp::screen(&sample::vrrp(), sample::NOW, false),
                exchange::screen(&sample::exchange(), sample::NOW, false)
            ),
        );
        assert_eq!(screen(&sample::status(), sample::NOW, false), expected);
    }

    #[test]
    fn a_refused_reload_is_told_with_its_reason() {
        let mut status = sample::status();
        status.config.last_reload_successful = false;
        status.config.last_reload = sample::NOW - 60.0;
        status.config.last_reload_error = Some("error[FW0002]: no such key\n --> f:1:1".to_owned());
        let shown = config(&status.config, sample::NOW, false);
        let expected = "         the reload 1m ago was REFUSED, the old configuration stays:
         error[FW0002]: no such key
          --> f:1:1
";
        assert!(shown.ends_with(expected), "{shown}");
    }

    #[test]
    fn a_service_that_was_added_at_run_time_is_told_as_such() {
        let mut status = sample::status();
        status.services[0].runtime = true;
        let shown = screen(&status, sample::NOW, false);
        assert!(shown.contains("tcp://203.0.113.10:443, direct, maglev, added at run time\n"), "{shown}");
    }

    #[test]
    fn a_node_that_is_not_ready_says_why() {
        let mut status = sample::status();
        status.node.ready = false;
        status.node.not_ready = Some("1 of 2 next hops pending".to_owned());
        assert!(screen(&status, sample::NOW, false).contains("NOT READY: 1 of 2 next hops pending"));
    }
}
