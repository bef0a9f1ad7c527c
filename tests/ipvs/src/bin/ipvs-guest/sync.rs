//! How much IPVS's sync daemon says of connections. It sends by multicast: nobody acknowledges, nothing is sent again, and who comes later is
//! told of what comes later.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fairway_ipvs::control::Service;
use fairway_ipvs::script::Backend;

use super::network;
use super::traffic::{Clients, Flow};

/// The file that keeps it, in `tests/data/ipvs`.
pub const FILE: &str = "sync.seen";
const CONNECTIONS: u32 = 10_000;
/// The daemon sends what it has collected after two seconds.
const COLLECTED: Duration = Duration::from_secs(6);
const SERVICE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, 1), 80);

/// What was sent, in words.
pub fn measure() -> Result<String> {
    network::set_up()?;
    network::add_link()?;
    let service = Service::add("rr", &[])?;
    for name in ["a", "b", "c", "d"] {
        service.add_backend(&Backend { name: name.to_owned(), weight: 1, upper: 0, lower: 0 })?;
    }
    service.start_sync_daemon(network::LINK)?;
    let clients = Clients::new()?;
    let mut text =
        format!("# What the sync daemon of IPVS sends for {CONNECTIONS} TCP connections over IPv4, method direct.\n");
    let mut say = |what: &str, act: &dyn Fn(Flow) -> Result<()>| -> Result<()> {
        let before = sent()?;
        (0..CONNECTIONS).try_for_each(|number| act(flow(number)))?;
        thread::sleep(COLLECTED);
        let (octets, packets) = (sent()?.0 - before.0, sent()?.1 - before.1);
        let each = octets as f64 / f64::from(CONNECTIONS);
        writeln!(text, "{what}: {octets} octets in {packets} packets, {each:.1} a connection").context("text")
    };
    say("a SYN each", &|flow| clients.open(flow))?;
    say("an ACK each", &|flow| clients.acknowledge(flow))?;
    say("fifty ACKs each", &|flow| (0..50).try_for_each(|_| clients.acknowledge(flow)))?;
    say("nothing", &|_| Ok(()))?;
    service.stop_sync_daemon(network::LINK)?;
    service.start_sync_daemon(network::LINK)?;
    say("nothing, after the daemon was started again", &|_| Ok(()))?;
    Ok(text)
}

fn flow(number: u32) -> Flow {
    let port = u16::try_from(1024 + number).expect("there are so few connections");
    Flow { client: SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, 1), port), service: SERVICE }
}

/// Octets and packets that have left by the link.
fn sent() -> Result<(u64, u64)> {
    let text = fs::read_to_string("/proc/thread-self/net/dev").context("asking for the links' counters")?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix(network::LINK)?.strip_prefix(':'));
    let figures: Vec<u64> = line.context("the link is there")?.split_whitespace().flat_map(str::parse).collect();
    let [octets, packets, ..] = figures.get(8..).context("what was sent stands behind what was received")? else {
        bail!("too few figures");
    };
    Ok((*octets, *packets))
}
