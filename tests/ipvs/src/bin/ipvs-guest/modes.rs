//! IPVS as the balancer of a lab.

use std::net::SocketAddrV4;

use anyhow::Result;
use fairway::playground::Lab;
use fairway::playground::topology::{Replies, SERVICE_V4, Spec, backend_v4};
use fairway_ipvs::modes;

use fairway_ipvs::control::{Method, Service};

/// What is seen of the method that `replies` stand for.
pub fn observe(replies: Replies) -> Result<String> {
    let method = match replies {
        Replies::Direct => Method::Direct,
        Replies::ThroughBalancer => Method::Nat,
    };
    let lab = Lab::build(&Spec { replies, ..Spec::default() })?;
    lab.balancer(0).run(|| balance(&lab, method))??;
    modes::observe(&lab)
}

fn balance(lab: &Lab, method: Method) -> Result<()> {
    for (protocol, port) in
        [(libc::IPPROTO_TCP, modes::TCP), (libc::IPPROTO_UDP, modes::UDP), (libc::IPPROTO_UDP, modes::UNSERVED)]
    {
        let service = Service::at(protocol, SocketAddrV4::new(SERVICE_V4, port))?;
        (0..lab.spec().backends).try_for_each(|index| service.add_server(backend_v4(index), method))?;
    }
    Ok(())
}
