//! `fairway show`: one kind of thing, all of it, once or again and again.

mod checks;
pub mod events;
mod flows;
pub mod vrrp;

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use flows::FlowFilter;

use super::Asking;
use super::failure::{BAD_INPUT, Failure};
use super::output::{self, Output};
use super::table::{Cell, Table, Tone};
use super::units::{ago, bytes, now};
use crate::controller::view::{API_VERSION, BackendStatus, Connections, QuicTotals, ServiceStatus, Status};

/// Pause of `--watch`.
const WATCH: Duration = Duration::from_secs(1);
/// To the upper left corner, and clear what is there.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What `show` takes.
#[derive(Args, Debug)]
pub struct ShowOptions {
    /// What to show
    #[arg(value_enum)]
    what: Kind,
    /// Show it again every second
    #[arg(long)]
    watch: bool,
    /// Events: go on with those that follow, as they happen
    #[arg(long)]
    follow: bool,
    /// Events: only those after this number
    #[arg(long, value_name = "NUMBER")]
    since: Option<u64>,
    #[command(flatten)]
    filter: FlowFilter,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Virtual services
    Services,
    /// Backends of all services
    Backends,
    /// Checks of all backends
    Checks,
    /// Interfaces and how XDP is attached to them
    Interfaces,
    /// Next hops of the backends
    Neighbours,
    /// Packets by service, backend and reason
    Counters,
    /// Virtual routers
    Vrrp,
    /// What happened, numbered, oldest first
    Events,
    /// Flows that are recorded, and clients that are remembered
    Flows,
}

/// Asks and prints.
pub async fn show(options: &ShowOptions) -> Result<(), Failure> {
    if options.what == Kind::Events {
        let follow = options.follow || options.watch;
        return events::show(&options.asking, options.since.unwrap_or(0), follow).await;
    }
    if options.follow || options.since.is_some() {
        return Err(Failure::new(BAD_INPUT, "--follow and --since are for `show events`; use --watch"));
    }
    if options.what != Kind::Flows && !options.filter.is_empty() {
        return Err(Failure::new(BAD_INPUT, "--service, --backend, --client and --limit are for `show flows`"));
    }
    let colour = output::coloured();
    let clear = if options.watch && colour { CLEAR } else { "" };
    loop {
        if options.what == Kind::Flows {
            flows::show(&options.asking, &options.filter, clear, options.watch).await?;
        } else {
            show_once(options, clear, colour).await?;
        }
        if !options.watch {
            return Ok(());
        }
        tokio::time::sleep(WATCH).await;
    }
}

async fn show_once(options: &ShowOptions, clear: &str, colour: bool) -> Result<(), Failure> {
    let status: Status = options.asking.client().get("/api/v1/status").await?;
    match options.asking.output {
        Output::Json if options.watch => output::text(&format!("{}\n", as_json(options.what, &status))),
        Output::Json => output::json(&as_json(options.what, &status)),
        Output::Table => output::text(&format!("{clear}{}", as_table(options.what, &status, now()).render("", colour))),
    }
}

fn as_json(what: Kind, status: &Status) -> Value {
    let one = |name: &str, value: Value| json!({ "api": API_VERSION, name: value });
    match what {
        Kind::Services => one("services", json!(status.services)),
        Kind::Backends => one("backends", each_backend(status, |_, backend| json!(backend))),
        Kind::Checks => checks::as_json(status),
        Kind::Interfaces => one("interfaces", json!(status.interfaces)),
        Kind::Neighbours => one("neighbours", json!(status.neighbours)),
        Kind::Vrrp => one("vrrp", json!(status.vrrp)),
        Kind::Events => one("events", json!([])),
        Kind::Flows => one("flows", json!([])),
        Kind::Counters => json!({
            "api": API_VERSION,
            "services": status.services.iter().map(|s| json!({ "name": s.name, "totals": s.totals })).collect::<Vec<_>>(),
            "backends": each_backend(status, |_, backend| json!({
                "name": backend.name, "address": backend.address, "totals": backend.totals
            })),
            "passes": status.passes,
            "drops": status.drops,
        }),
    }
}

/// Every backend as an object, with its service's name put into it.
fn each_backend(status: &Status, shown: impl Fn(&ServiceStatus, &BackendStatus) -> Value) -> Value {
    let pairs = status.services.iter().flat_map(|service| service.backends.iter().map(move |b| (service, b)));
    let values = pairs.map(|(service, backend)| {
        let mut value = shown(service, backend);
        value["service"] = json!(service.name);
        value
    });
    values.collect()
}

fn as_table(what: Kind, status: &Status, now: f64) -> Table {
    match what {
        Kind::Services => service_table(status),
        Kind::Backends => backend_table(status, now),
        Kind::Checks => checks::table(status, now),
        Kind::Interfaces => interface_table(status, now),
        Kind::Neighbours => neighbour_table(status),
        Kind::Counters => counter_table(status),
        Kind::Vrrp => vrrp::table(status.vrrp.as_ref(), now),
        Kind::Events | Kind::Flows => Table::new(&[]),
    }
}

fn service_table(status: &Status) -> Table {
    let mut table = Table::new(&[
        "SERVICE",
        "LISTENERS",
        "FORWARDING",
        "SCHEDULER",
        "ACCESS",
        ">BACKENDS",
        "QUORUM",
        ">SLOTS",
        ">UNSETTLED",
        ">EXCEPTIONS",
        "TABLE HASH",
    ]);
    for service in &status.services {
        table.row([
            if service.runtime {
                Cell::toned(format!("{} (run time)", service.name), Tone::Odd)
            } else {
                Cell::from(&service.name)
            },
            service.listeners.join(" ").into(),
            Cell::from(&service.forwarding),
            Cell::from(&service.scheduler),
            if service.access.is_empty() { "all".into() } else { Cell::from(&service.access) },
            service.backends.len().into(),
            if service.quorum_ok { "ok".into() } else { Cell::toned("NO", Tone::Bad) },
            service.lookup_table_size.into(),
            service.unsettled_slots.into(),
            service.exception_slots.into(),
            Cell::from(&service.lookup_table_hash),
        ]);
    }
    table
}

fn backend_table(status: &Status, now: f64) -> Table {
    let mut table = Table::new(&[
        "SERVICE",
        "BACKEND",
        "ADDRESS",
        "FORWARDING",
        ">WEIGHT",
        ">SLOTS",
        ">ACTIVE",
        ">INACTIVE",
        "STATE",
        "SINCE",
        "NEXT HOP",
        "WHY",
    ]);
    for service in &status.services {
        for backend in &service.backends {
            let port = backend.port.map_or_else(String::new, |port| format!(" port {port}"));
            let tone = if backend.reachable { Tone::Plain } else { Tone::Bad };
            table.row([
                Cell::from(&service.name),
                Cell::from(&backend.name),
                format!("{}{port}", backend.address).into(),
                Cell::from(&backend.forwarding),
                weight(backend).into(),
                backend.slots.into(),
                connections(backend, |it| it.active).into(),
                connections(backend, |it| it.inactive).into(),
                backend_state(backend),
                ago(now, backend.since).into(),
                Cell::toned(&backend.next_hop, tone),
                Cell::from(&backend.why),
            ]);
        }
    }
    table
}

/// A number of its connections, where they are counted.
fn connections(backend: &BackendStatus, pick: fn(&Connections) -> u32) -> String {
    backend.connections.as_ref().map_or_else(|| "-".to_owned(), |it| pick(it).to_string())
}

/// The weight in force, and the configured one if it differs.
pub fn weight(backend: &BackendStatus) -> String {
    let effective = (backend.effective_weight * 100.0).round() / 100.0;
    if effective == f64::from(backend.weight) {
        effective.to_string()
    } else {
        format!("{effective}/{}", backend.weight)
    }
}

/// A backend's state as a cell.
pub fn backend_state(backend: &BackendStatus) -> Cell {
    let tone = match &*backend.state {
        "up" => Tone::Good,
        "down" => Tone::Bad,
        "unchecked" => Tone::Plain,
        _ => Tone::Odd,
    };
    let leaving = if backend.leaving { " (leaving)" } else { "" };
    let full = if backend.connections.is_some_and(|it| it.full) { " (full)" } else { "" };
    Cell::toned(format!("{}{leaving}{full}", backend.state), tone)
}

/// The interfaces; whatever is not native is shouted.
pub fn interface_table(status: &Status, now: f64) -> Table {
    let mut table = Table::new(&["INTERFACE", "MODE", ">MTU", "SINCE", "WHY"]);
    for interface in &status.interfaces {
        let mode = match &*interface.mode {
            "native" => Cell::toned("native", Tone::Good),
            other => Cell::toned(other.to_uppercase(), Tone::Bad),
        };
        table.row([
            Cell::from(&interface.name),
            mode,
            interface.mtu.map_or_else(|| "-".into(), Cell::from),
            ago(now, interface.since).into(),
            interface.why.as_deref().unwrap_or("").into(),
        ]);
    }
    table
}

fn neighbour_table(status: &Status) -> Table {
    let mut table = Table::new(&["DESTINATION", "RESOLVED", "NEXT HOP"]);
    for neighbour in &status.neighbours {
        let resolved = if neighbour.resolved { "yes".into() } else { Cell::toned("NO", Tone::Bad) };
        table.row([Cell::from(&neighbour.destination), resolved, Cell::from(&neighbour.detail)]);
    }
    table
}

fn counter_table(status: &Status) -> Table {
    let mut table = Table::new(&["WHAT", "NAME", ">PACKETS", ">BYTES", ">CONNECTIONS"]);
    for service in &status.services {
        let totals = service.totals;
        let cells = ["service".into(), Cell::from(&service.name)];
        table.row(with_totals(cells, totals.packets, bytes(totals.bytes), totals.connections.to_string()));
        for (way, packets) in service.quic.iter().flat_map(QuicTotals::by_name) {
            let cells = ["quic".into(), format!("{}/{way}", service.name).into()];
            table.row(with_totals(cells, packets, String::new(), String::new()));
        }
        for backend in &service.backends {
            let totals = backend.totals;
            let cells = ["backend".into(), format!("{}/{}", service.name, backend.name).into()];
            table.row(with_totals(cells, totals.packets, bytes(totals.bytes), totals.connections.to_string()));
        }
    }
    for (what, counts) in [("pass", &status.passes), ("drop", &status.drops)] {
        for (reason, packets) in counts {
            let cells = [what.into(), Cell::from(reason)];
            table.row(with_totals(cells, *packets, String::new(), String::new()));
        }
    }
    table
}

fn with_totals([what, name]: [Cell; 2], packets: u64, bytes: String, connections: String) -> [Cell; 5] {
    [what, name, packets.into(), bytes.into(), connections.into()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::admin::sample;

    fn check(what: Kind, expected: &str) {
        assert_eq!(as_table(what, &sample::status(), sample::NOW).render("", false), expected);
    }

    #[test]
    fn backends_are_shown_with_state_and_next_hop() {
        check(
            Kind::Backends,
            "\
SERVICE  BACKEND  ADDRESS    FORWARDING  WEIGHT  SLOTS  ACTIVE  INACTIVE  STATE            SINCE  NEXT HOP                   WHY
we\"b     web1     10.0.0.11  direct         100   8192       5         7  up (full)        2m 5s  02:00:00:00:00:0b on eth0  no check is configured
we\"b     web2     10.0.0.12  direct         100   8192       -         -  unchecked        2m 5s  no answer to ARP on eth0   answers its check
we\"b     web2     10.0.0.13  direct         100   8192       -         -  drain (leaving)  2m 5s  02:00:00:00:00:0b on eth0  removed from the configuration
",
        );
    }

    #[test]
    fn services_that_were_added_at_run_time_are_shown_as_such() {
        let mut status = sample::status();
        let shown = |status: &Status| as_table(Kind::Services, status, sample::NOW).render("", false);
        assert!(!shown(&status).contains("run time"));
        status.services[0].runtime = true;
        assert!(shown(&status).contains("we\"b (run time)  tcp://"), "{}", shown(&status));
    }

    #[test]
    fn neighbours_without_a_frame_stand_out() {
        check(
            Kind::Neighbours,
            "\
DESTINATION  RESOLVED  NEXT HOP
10.0.0.11    yes       via eth0
10.0.0.12    NO        no answer to ARP on eth0
",
        );
    }

    #[test]
    fn counters_are_by_service_backend_and_reason() {
        check(
            Kind::Counters,
            "\
WHAT     NAME                PACKETS     BYTES  CONNECTIONS
service  we\"b                   1200    1.5 MB          120
quic     we\"b/connection-id      800
quic     we\"b/beginning           30
quic     we\"b/unknown              2
backend  we\"b/web1               700  900.0 kB           70
backend  we\"b/web2               300  400.0 kB           30
backend  we\"b/web2               200  200.0 kB           20
pass     not-a-service            77
drop     no-backend                0
drop     truncated                 5
",
        );
    }

    #[test]
    fn backends_as_json_carry_their_service() {
        let value = as_json(Kind::Backends, &sample::status());
        assert_eq!(value["api"], "v1");
        assert_eq!(
            (&value["backends"][0]["service"], &value["backends"][0]["name"]),
            (&json!("we\"b"), &json!("web1"))
        );
        assert_eq!(value["backends"][0]["address"], "10.0.0.11");
    }
}
