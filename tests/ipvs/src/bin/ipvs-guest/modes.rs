//! IPVS as the balancer of a lab.

use std::net::SocketAddrV4;

use anyhow::Result;
use fairway::playground::Lab;
use fairway::playground::topology::{Replies, SERVICE_V4, Spec, backend_v4};
use fairway_ipvs::modes;

use fairway_ipvs::control::{Method, Service};

use crate::network;

/// What is seen of a method of [`modes::METHODS`].
pub fn observe(name: &str, replies: Replies) -> Result<String> {
    let method = match replies {
        _ if name == modes::TUNNEL => Method::Tunnel,
        Replies::Direct => Method::Direct,
        Replies::ThroughBalancer => Method::Nat,
    };
    let lab = Lab::build(&Spec { replies, ..Spec::default() })?;
    if method == Method::Tunnel {
        // The device that the module makes in every namespace takes IPv4 out of IPv4.
        (0..lab.spec().backends)
            .try_for_each(|index| lab.backend(index).run(|| network::ip("link set tunl0 up"))?)?;
    }
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
