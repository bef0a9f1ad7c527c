//! A list of the interfaces as they are now, for whoever attaches programs and for `doctor`.
//!
//! Blocking, and quick: the kernel answers from memory. Needed besides the resolver's events because attaching a
//! program through a BPF link is not announced.

use std::io;

use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

use super::decode;
use crate::nexthop::{Link, Links};

/// All interfaces of the calling thread's network namespace.
pub fn read_links() -> io::Result<Links> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetLink(LinkMessage::default()));
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;

    let mut links = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        if take_links(&datagram, &mut links)? {
            return Ok(links.into_iter().collect());
        }
    }
}

/// True when the list is complete.
fn take_links(mut datagram: &[u8], links: &mut Vec<Link>) -> io::Result<bool> {
    while let Ok(header) = NetlinkBuffer::new_checked(datagram) {
        let length = header.length() as usize;
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&datagram[..length]);
        match message.map_err(io::Error::other)?.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => links.extend(decode::link(&message)),
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            _ => {}
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}
