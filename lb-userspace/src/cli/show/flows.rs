//! `fairway show flows`: the flows that some table holds a record of.

use ipnet::IpNet;

use clap::Args;

use crate::cli::Asking;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Output};
use crate::cli::table::{Cell, Table, Tone};
use crate::cli::units::{duration, plural};
use crate::controller::flows::{FlowQuery, FlowStatus, FlowsReport, MOST_LIMIT, USUAL_LIMIT};

/// Below every table.
const NOTE: &str = "Flows that the lookup table alone decides have no record, by design, and are not here; `fairway explain` says whose one is.\n";

/// Which flows.
#[derive(Args, Debug, Default, PartialEq)]
pub struct FlowFilter {
    /// Flows: only those of this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Flows: only those of the backends with this name or address
    #[arg(long, value_name = "BACKEND")]
    backend: Option<String>,
    /// Flows: only those of clients in this network
    #[arg(long, value_name = "PREFIX", value_parser = network)]
    client: Option<IpNet>,
    /// Flows: show so many at most, 1000 unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_LIMIT)))]
    limit: Option<u32>,
}

impl FlowFilter {
    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn query(&self) -> FlowQuery {
        let Self { service, backend, client, limit } = self;
        FlowQuery { service: service.clone(), backend: backend.clone(), client: *client, limit: *limit }
    }
}

/// An address, or a network.
fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse().map(|address: std::net::IpAddr| IpNet::from(address));
    text.parse().or_else(|_| address()).map_err(|_| format!("`{text}` is neither an address nor a network"))
}

/// Asks once and prints.
pub async fn show(asking: &Asking, filter: &FlowFilter, before: &str, is_watched: bool) -> Result<(), Failure> {
    let report: FlowsReport = asking.client().post("/api/v1/flows", &filter.query()).await?;
    match asking.output {
        Output::Json if is_watched => {
            let line = serde_json::to_string(&report).expect("strings, numbers and lists only");
            output::text(&format!("{line}\n"))
        }
        Output::Json => output::json(&report),
        Output::Table => output::text(&format!("{before}{}", shown(&report, output::coloured()))),
    }
}

fn shown(report: &FlowsReport, colour: bool) -> String {
    let mut table = Table::new(&[
        "CLIENT",
        "PROTOCOL",
        "SERVICE",
        "TO",
        "BACKEND",
        "KIND",
        "STATE",
        ">IDLE",
        ">FORGOTTEN IN",
        "TRANSLATED",
    ]);
    for flow in &report.flows {
        let backend = match &flow.backend {
            Some(name) => Cell::from(name),
            None => Cell::toned(flow.backend_address.as_deref().unwrap_or("removed"), Tone::Odd),
        };
        table.row([
            end(Some(&flow.client), flow.client_port).into(),
            Cell::from(flow.protocol.as_deref().unwrap_or("any")),
            Cell::from(&flow.service),
            end(flow.address.as_deref(), flow.port).into(),
            backend,
            Cell::from(&flow.kind),
            Cell::from(&flow.state),
            duration(flow.idle_seconds as u64).into(),
            duration(flow.expires_in_seconds as u64).into(),
            translated(flow).into(),
        ]);
    }
    format!("{}\n{}{NOTE}", table.render("", colour), count(report))
}

fn count(report: &FlowsReport) -> String {
    let shown = report.flows.len();
    match report.truncated {
        true => format!(
            "TRUNCATED: {shown} of {} are shown; --limit N (up to {MOST_LIMIT}, {USUAL_LIMIT} unless given) for more, or a filter.\n",
            plural(report.matching as usize, "record")
        ),
        false => format!("{}.\n", plural(shown, "record")),
    }
}

/// An address and a port.
fn end(address: Option<&str>, port: Option<u16>) -> String {
    match (address, port) {
        (Some(address), Some(port)) if address.contains(':') => format!("[{address}]:{port}"),
        (Some(address), Some(port)) => format!("{address}:{port}"),
        (Some(address), None) => address.to_owned(),
        (None, _) => "any".to_owned(),
    }
}

/// As the backend sees a translated flow.
fn translated(flow: &FlowStatus) -> String {
    match &flow.source {
        Some(source) => {
            let to = end(flow.backend_address.as_deref(), flow.backend_port);
            format!("{} to {to}", end(Some(source), flow.source_port))
        }
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> FlowStatus {
        FlowStatus {
            client: "192.0.2.7".to_owned(),
            client_port: Some(4242),
            protocol: Some("tcp".to_owned()),
            address: Some("203.0.113.10".to_owned()),
            port: Some(80),
            kind: "connection".to_owned(),
            service: "web".to_owned(),
            backend: Some("web1".to_owned()),
            backend_address: Some("10.0.0.11".to_owned()),
            backend_port: None,
            source: None,
            source_port: None,
            state: "established".to_owned(),
            idle_seconds: 12.3,
            expires_in_seconds: 887.7,
        }
    }

    #[test]
    fn each_kind_of_record_is_told_and_what_has_none_is_said() {
        let (source, source_port) = (Some("fd02::11".to_owned()), Some(2000));
        let removed = FlowStatus { client_port: Some(1), backend: None, backend_address: None, ..flow() };
        let translation = FlowStatus {
            client: "fd01::1".to_owned(),
            address: Some("fd02::100".to_owned()),
            kind: "translation".to_owned(),
            backend_address: Some("fd02::1".to_owned()),
            backend_port: Some(8080),
            source,
            source_port,
            ..flow()
        };
        let client = FlowStatus {
            client: "192.0.2.0/24".to_owned(),
            client_port: None,
            protocol: None,
            address: None,
            port: None,
            kind: "client".to_owned(),
            state: "remembered".to_owned(),
            ..flow()
        };
        let report =
            FlowsReport { flows: vec![flow(), removed, translation, client], matching: 4, ..Default::default() };
        let expected = "\
CLIENT          PROTOCOL  SERVICE  TO               BACKEND  KIND         STATE        IDLE  FORGOTTEN IN  TRANSLATED
192.0.2.7:4242  tcp       web      203.0.113.10:80  web1     connection   established   12s       14m 47s
192.0.2.7:1     tcp       web      203.0.113.10:80  removed  connection   established   12s       14m 47s
[fd01::1]:4242  tcp       web      [fd02::100]:80   web1     translation  established   12s       14m 47s  [fd02::11]:2000 to [fd02::1]:8080
192.0.2.0/24    any       web      any              web1     client       remembered    12s       14m 47s

4 records.
";
        assert_eq!(shown(&report, false), format!("{expected}{NOTE}"));
    }

    #[test]
    fn that_there_are_more_is_said() {
        let report = FlowsReport { flows: vec![flow()], matching: 24_112, truncated: true, ..Default::default() };
        assert!(shown(&report, false).contains("TRUNCATED: 1 of 24112 records are shown"), "{}", shown(&report, false));
    }

    #[test]
    fn a_client_is_an_address_or_a_network() {
        assert_eq!(network("192.0.2.7"), Ok("192.0.2.7/32".parse().unwrap()));
        assert_eq!(network("2001:db8::/32"), Ok("2001:db8::/32".parse().unwrap()));
        assert!(network("192.0.2").is_err());
    }
}
