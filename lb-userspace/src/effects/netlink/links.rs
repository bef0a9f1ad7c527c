//! A list of the interfaces as they are now, for whoever attaches programs and for `doctor`.
//!
//! Needed besides the resolver's events because attaching a program through a BPF link is not announced.

use std::io;

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::LinkMessage;

use super::decode;
use super::order::list;
use crate::nexthop::Links;

/// All interfaces of the calling thread's network namespace.
pub fn read_links() -> io::Result<Links> {
    let all = list(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let link = |message: &RouteNetlinkMessage| match message {
        RouteNetlinkMessage::NewLink(message) => decode::link(message),
        _ => None,
    };
    Ok(all.iter().filter_map(link).collect())
}
