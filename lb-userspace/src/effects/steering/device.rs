//! The device that reserved addresses are routed to: one end of a veth pair of our own, on whose way out the steering program
//! sits. It sends each packet elsewhere or drops it; answers are sent in by the other end, by the packet path. Not
//! `lo`: the kernel makes a route to `lo` a rejecting one for IPv6.
//!
//! What an earlier daemon left is removed first; a device that nobody steers from only drops what is sent to reserved
//! addresses.

use std::io;
use std::net::IpAddr;

use anyhow::Context as _;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use lb_common::outer::LONGEST;
use lb_common::probe::{DEVICE_MAC, OTHER_MAC, V4, V6};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::effects::netlink::ethtool::{self, Offload};
use crate::effects::netlink::order::order;
use crate::effects::netlink::veth::{self, End, index_of};

/// The end that reserved addresses are routed to.
pub const NAME: &str = "fwprobe0";
/// The end that answers are sent in by.
const OTHER: &str = "fwprobe1";
/// As on the networks that probes leave by. Answers come in by this device, as long as these networks take them.
const MTU: u32 = 1500;
/// Octets of a probe: what an outer header is put in front of must still fit.
const PROBE_MTU: u32 = MTU - LONGEST as u32;
/// Routes of ours; `ip route` shows `proto 112`.
const ROUTE_PROTOCOL: RouteProtocol = RouteProtocol::Other(112);

/// The device; dropping it removes it.
#[derive(Debug)]
pub struct Device {
    back: u32,
}

impl Device {
    /// Makes the device, up and routed to, in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel refuses; then nothing is left of it.
    pub fn make() -> anyhow::Result<Self> {
        veth::remove(NAME).with_context(|| format!("removing what was left of {NAME}"))?;
        veth::make(End { name: NAME, mac: DEVICE_MAC }, End { name: OTHER, mac: OTHER_MAC }, MTU)?;
        let device = Self { back: index_of(OTHER)? };
        for name in [NAME, OTHER] {
            veth::set_up(name)?;
        }
        // Without it the kernel takes no redirected frames for the device.
        ethtool::set_offload(NAME, Offload::GenericReceive, true)
            .with_context(|| format!("turning on GRO of {NAME}"))?;
        let index = index_of(NAME)?;
        for range in ranges() {
            match order(RouteNetlinkMessage::NewRoute(route(index, range)), NLM_F_CREATE | NLM_F_EXCL) {
                Err(error) if range.addr().is_ipv6() && without_ipv6(&error) => {}
                result => result.with_context(|| {
                    format!("routing {range} to {NAME}; probes of direct and tunnel backends need that range, which is reserved for benchmarks")
                })?,
            }
        }
        Ok(device)
    }

    /// Index of the end that answers are sent in by.
    pub fn back(&self) -> u32 {
        self.back
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Err(error) = veth::remove(NAME) {
            tracing::warn!(device = NAME, %error, "the steering device stays; it can be removed by `ip link del {NAME}`");
        }
    }
}

/// The reserved ranges.
fn ranges() -> [IpNet; 2] {
    let v4 = Ipv4Net::new(V4.0.into(), V4.1).expect("a prefix length below 32");
    let v6 = Ipv6Net::new(V6.0.into(), V6.1).expect("a prefix length below 128");
    [v4.into(), v6.into()]
}

fn without_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP | libc::EACCES | libc::EPERM))
}

fn route(interface: u32, range: IpNet) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = match range.addr() {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.destination_prefix_length = range.prefix_len();
    message.header.protocol = ROUTE_PROTOCOL;
    message.header.kind = RouteType::Unicast;
    message.header.scope = RouteScope::Link;
    message.header.table = libc::RT_TABLE_MAIN;
    message.attributes.push(RouteAttribute::Destination(range.network().into()));
    message.attributes.push(RouteAttribute::Oif(interface));
    message.attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(PROBE_MTU)]));
    message
}
