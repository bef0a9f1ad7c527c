//! `fairway explain`: the daemon runs the packet path over its own tables for a packet that does not exist.

use std::net::{IpAddr, SocketAddr};

use clap::Args;
use lb_common::packet::protocol;

use super::Asking;
use super::failure::{BAD_INPUT, Failure};
use super::output::{self, Output};
use crate::controller::view::Explanation;
use crate::runtime::request::ExplainQuery;

/// What `explain` takes.
#[derive(Args, Debug)]
pub struct ExplainOptions {
    /// The client's address and port; for esp and ah the address alone
    #[arg(long, value_name = "IP:PORT", value_parser = client)]
    from: SocketAddr,
    /// A packet of a connection that exists, instead of the one that opens it
    #[arg(long)]
    established: bool,
    /// The service's address, as [tcp://|udp://|sctp://]ADDRESS:PORT, or esp://ADDRESS, ah://ADDRESS
    #[arg(value_name = "SERVICE-ADDRESS", value_parser = service_address)]
    to: (u8, SocketAddr),
    #[command(flatten)]
    asking: Asking,
}

/// An address with a port, or 0 if it has none.
fn client(text: &str) -> Result<SocketAddr, String> {
    let alone = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 0));
    alone
        .or_else(|_| text.parse())
        .map_err(|_| format!("`{text}` is not IP:PORT, as 198.51.100.7:40000 or [::1]:40000"))
}

/// The protocol's number, and the address.
fn service_address(text: &str) -> Result<(u8, SocketAddr), String> {
    let (protocol, address) = match text.split_once("://") {
        None => (protocol::TCP, text),
        Some(("tcp", address)) => (protocol::TCP, address),
        Some(("udp", address)) => (protocol::UDP, address),
        Some(("sctp", address)) => (protocol::SCTP, address),
        Some(("esp", address)) => return alone(address).map(|address| (protocol::ESP, address)),
        Some(("ah", address)) => return alone(address).map(|address| (protocol::AH, address)),
        Some((other, _)) => return Err(format!("`{other}` is none of tcp, udp, sctp, esp and ah")),
    };
    let address =
        address.parse().map_err(|_| format!("`{address}` is not ADDRESS:PORT, as 203.0.113.10:80 or [::1]:80"))?;
    Ok((protocol, address))
}

/// The address of a protocol without ports, in brackets or not.
fn alone(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address: IpAddr = bare.parse().map_err(|_| format!("`{text}` is not an address alone"))?;
    Ok(SocketAddr::new(address, 0))
}

/// Asks and prints the steps.
pub async fn explain(options: &ExplainOptions) -> Result<(), Failure> {
    let (protocol, to) = options.to;
    if options.from.is_ipv4() != to.is_ipv4() {
        return Err(Failure::new(BAD_INPUT, format!("{} and {to} are of different families", options.from)));
    }
    if options.from.port() == 0 && !protocol::is_portless(protocol) {
        return Err(Failure::new(BAD_INPUT, format!("{}: from which port?", options.from.ip())));
    }
    let query = ExplainQuery { from: options.from, to, protocol, established: options.established };
    let explanation: Explanation = options.asking.client().post("/api/v1/explain", &query).await?;
    match options.asking.output {
        Output::Json => output::json(&explanation),
        Output::Table => output::text(&shown(&explanation)),
    }
}

fn shown(explanation: &Explanation) -> String {
    let none = || "none".to_owned();
    let mut out = format!(
        "verdict  {}\nservice  {}\nbackend  {}\n",
        explanation.verdict,
        explanation.service.clone().unwrap_or_else(none),
        explanation.backend.clone().unwrap_or_else(none),
    );
    for (number, step) in explanation.steps.iter().enumerate() {
        out.push_str(&format!("{:>4}. {step}\n", number + 1));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_address_is_tcp_unless_it_says_otherwise() {
        let address: SocketAddr = "203.0.113.10:80".parse().unwrap();
        assert_eq!(service_address("203.0.113.10:80"), Ok((6, address)));
        assert_eq!(service_address("tcp://203.0.113.10:80"), Ok((6, address)));
        assert_eq!(service_address("udp://203.0.113.10:80"), Ok((17, address)));
        assert_eq!(service_address("sctp://203.0.113.10:80"), Ok((132, address)));
        let alone: SocketAddr = "203.0.113.10:0".parse().unwrap();
        assert_eq!(service_address("esp://203.0.113.10"), Ok((50, alone)));
        assert_eq!(service_address("ah://[2001:db8::1]"), Ok((51, "[2001:db8::1]:0".parse().unwrap())));
        assert!(service_address("esp://203.0.113.10:80").is_err());
        assert!(service_address("dccp://203.0.113.10:80").is_err());
        assert!(service_address("203.0.113.10").is_err());
    }
}
