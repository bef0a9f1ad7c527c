//! What is compared, each as the one balancer of its namespace: a service at one address, four backends, a hash or turns.

use std::any::Any;
use std::net::SocketAddrV4;

use anyhow::Result;
use fairway_ipvs::control::{Method, Service};
use fairway_tests::bench::traffic::{SERVICE_PORT, SERVICE4};
use fairway_tests::guest::balancer::Balancer as Fairway;

use crate::generator::Generator;
use crate::network::{BACKENDS, BALANCER, run};

/// A row.
pub struct Balancer {
    pub name: &'static str,
    /// Begins to serve; what must live on meanwhile.
    pub serve: fn(&mut Generator) -> Result<Serving>,
}

type Serving = Box<dyn Any>;

pub const BALANCERS: &[Balancer] = &[
    // What the others are held against: the packet goes no farther than the balancer's interface.
    Balancer { name: "generator", serve: nothing },
    Balancer { name: "fairway-direct", serve: |_| Ok(fairway("direct")) },
    Balancer { name: "fairway-nat", serve: |_| Ok(fairway("nat")) },
    Balancer { name: "fairway-tunnel", serve: |_| Ok(fairway("tunnel")) },
    Balancer { name: "forwarding", serve: |_| Ok(Box::new(())) },
    Balancer { name: "ipvs-dr", serve: |_| ipvs(Method::Direct) },
    Balancer { name: "ipvs-nat", serve: |_| ipvs(Method::Nat) },
    Balancer { name: "ipvs-tun", serve: |_| ipvs(Method::Tunnel) },
    Balancer { name: "nftables-dnat", serve: |_| nftables() },
];

fn nothing(generator: &mut Generator) -> Result<Serving> {
    generator.swallow_at(BALANCER)?;
    Ok(Box::new(()))
}

fn fairway(forwarding: &str) -> Serving {
    let backends: String =
        BACKENDS.iter().map(|address| format!("[[service.backend]]\naddress = \"{address}\"\n")).collect();
    let services = format!(
        "[[service]]\nname = \"bench\"\nlisten = [\"udp://{SERVICE4}:{SERVICE_PORT}\"]\nforwarding = \"{forwarding}\"\n{backends}"
    );
    Box::new(Fairway::start(BALANCER, &services))
}

fn ipvs(method: Method) -> Result<Serving> {
    run("ip", &format!("address add {SERVICE4}/32 dev lo"), "")?;
    let service = Service::at(libc::IPPROTO_UDP, SocketAddrV4::new(SERVICE4, SERVICE_PORT))?;
    BACKENDS.iter().try_for_each(|address| service.add_server(*address, method))?;
    Ok(Box::new(service))
}

fn nftables() -> Result<Serving> {
    let map: Vec<String> = BACKENDS.iter().enumerate().map(|(index, address)| format!("{index} : {address}")).collect();
    let rules = format!(
        "table ip balancer {{\n chain incoming {{\n  type nat hook prerouting priority dstnat;\n\
         ip daddr {SERVICE4} udp dport {SERVICE_PORT} dnat to jhash ip saddr . udp sport mod {} map {{ {} }}\n }}\n}}\n",
        BACKENDS.len(),
        map.join(", ")
    );
    run("nft", "-f -", &rules)?;
    Ok(Box::new(()))
}
