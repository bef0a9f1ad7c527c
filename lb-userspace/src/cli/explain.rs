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
    /// A packet of QUIC with this connection ID, in hexadecimal, for a service at udp://
    #[arg(long, value_name = "HEX", value_parser = connection_id)]
    quic_cid: Option<ConnectionId>,
    /// The service's address, as [tcp://|udp://|sctp://]ADDRESS:PORT, or esp://ADDRESS, ah://ADDRESS
    #[arg(value_name = "SERVICE-ADDRESS", value_parser = service_address)]
    to: (u8, SocketAddr),
    #[command(flatten)]
    asking: Asking,
}

/// Octets of a connection ID.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ConnectionId(Vec<u8>);

/// Octets of the longest connection ID (RFC 9000 section 17.2).
const LONGEST_CONNECTION_ID: usize = 20;

fn connection_id(text: &str) -> Result<ConnectionId, String> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let octets = digits.filter(|digits| digits.len().is_multiple_of(2) && digits.len() <= 2 * LONGEST_CONNECTION_ID);
    let octets = octets.map(|digits| digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect());
    octets.map(ConnectionId).ok_or_else(|| {
        format!(
            "`{text}` is no connection ID: at most {LONGEST_CONNECTION_ID} octets in hexadecimal, as 000a01c2d3e4f5"
        )
    })
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
    if options.quic_cid.is_some() && protocol != protocol::UDP {
        return Err(Failure::new(BAD_INPUT, "--quic-cid is for udp://ADDRESS:PORT".to_owned()));
    }
    let connection_id = options.quic_cid.clone().map(|ConnectionId(octets)| octets);
    let query = ExplainQuery { from: options.from, to, protocol, established: options.established, connection_id };
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
    fn a_connection_id_is_pairs_of_hexadecimal_digits() {
        assert_eq!(connection_id("000A01ff"), Ok(ConnectionId(vec![0, 10, 1, 255])));
        assert_eq!(connection_id(&"5e".repeat(20)), Ok(ConnectionId(vec![0x5e; 20])));
        for text in ["0", "0x01", "zz", "é", &"5e".repeat(21)] {
            assert!(connection_id(text).is_err(), "{text}");
        }
    }

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
