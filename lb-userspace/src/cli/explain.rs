//! `fairway explain`: the daemon runs the packet path over its own tables for a packet that does not exist.

use std::net::SocketAddr;

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
    /// The client's address and port
    #[arg(long, value_name = "IP:PORT")]
    from: SocketAddr,
    /// A packet of a connection that exists, instead of the one that opens it
    #[arg(long)]
    established: bool,
    /// The service's address, as [tcp://|udp://|sctp://]ADDRESS:PORT
    #[arg(value_name = "SERVICE-ADDRESS", value_parser = service_address)]
    to: (u8, SocketAddr),
    #[command(flatten)]
    asking: Asking,
}

/// The protocol's number, and the address.
fn service_address(text: &str) -> Result<(u8, SocketAddr), String> {
    let (protocol, address) = match text.split_once("://") {
        None => (protocol::TCP, text),
        Some(("tcp", address)) => (protocol::TCP, address),
        Some(("udp", address)) => (protocol::UDP, address),
        Some(("sctp", address)) => (protocol::SCTP, address),
        Some((other, _)) => return Err(format!("`{other}` is none of tcp, udp and sctp")),
    };
    let address =
        address.parse().map_err(|_| format!("`{address}` is not ADDRESS:PORT, as 203.0.113.10:80 or [::1]:80"))?;
    Ok((protocol, address))
}

/// Asks and prints the steps.
pub async fn explain(options: &ExplainOptions) -> Result<(), Failure> {
    let (protocol, to) = options.to;
    if options.from.is_ipv4() != to.is_ipv4() {
        return Err(Failure::new(BAD_INPUT, format!("{} and {to} are of different families", options.from)));
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
        assert!(service_address("dccp://203.0.113.10:80").is_err());
        assert!(service_address("203.0.113.10").is_err());
    }
}
