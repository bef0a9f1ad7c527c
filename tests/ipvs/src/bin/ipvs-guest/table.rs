//! What IPVS says of itself, in `/proc/net`.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result};

use crate::traffic::Flow;
use fairway_ipvs::control::name_of;

/// All connections: client, service, backend.
pub struct Table(Vec<(SocketAddrV4, SocketAddrV4, String)>);

impl Table {
    /// As it is now.
    pub fn read() -> Result<Self> {
        let text = fs::read_to_string("/proc/net/ip_vs_conn").context("IPVS shows no connections")?;
        Ok(Self(text.lines().skip(1).filter_map(connection).collect()))
    }

    /// The backend of a connection, if there is such a connection.
    pub fn backend_of(&self, flow: Flow) -> Option<String> {
        let is_it = |(client, service, _): &&(SocketAddrV4, SocketAddrV4, String)| {
            (*client, *service) == (flow.client, flow.service)
        };
        self.0.iter().find(is_it).map(|(_, _, backend)| backend.clone())
    }
}

/// `TCP 0A010001 2711 0A090001 0050 0A020001 0050 ESTABLISHED     897`
fn connection(line: &str) -> Option<(SocketAddrV4, SocketAddrV4, String)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, client, client_port, service, service_port, backend, ..] = words[..] else { return None };
    Some((endpoint(client, client_port)?, endpoint(service, service_port)?, name_of(address(backend)?)))
}

/// Active and inactive connections of each backend, by name.
pub fn counts() -> Result<Vec<String>> {
    let services = fs::read_to_string("/proc/net/ip_vs").context("IPVS shows no services")?;
    let mut counts: Vec<String> = services.lines().filter_map(count).collect();
    counts.sort();
    Ok(counts.iter().flat_map(|count| count.split(' ')).map(str::to_owned).collect())
}

/// `  -> 0A020001:0000      Route   1      0          0`
fn count(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["->", backend, _, _, active, inactive] = words[..] else { return None };
    let backend = address(backend.split(':').next()?)?;
    Some(format!("{} {active}+{inactive}", name_of(backend)))
}

fn endpoint(ip: &str, port: &str) -> Option<SocketAddrV4> {
    Some(SocketAddrV4::new(address(ip)?, u16::from_str_radix(port, 16).ok()?))
}

fn address(hexadecimal: &str) -> Option<Ipv4Addr> {
    u32::from_str_radix(hexadecimal, 16).ok().map(Ipv4Addr::from)
}
