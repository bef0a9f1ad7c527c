//! Single orders and questions to the kernel, by a socket of their own, in the calling thread's network namespace. Blocking, and quick:
//! the kernel carries them out, and answers from memory, within the call.

use std::io;

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

/// Sends one order and reads the kernel's answer, which lies there when the call returns.
///
/// # Errors
/// The kernel's.
pub fn order(message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    send(&socket, message, NLM_F_ACK | flags)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?;
    match answer.payload {
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
        _ => Ok(()),
    }
}

/// Everything that a question lists; what its header and attributes say, the kernel looks for.
///
/// # Errors
/// The kernel's.
pub fn list(question: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.set_netlink_get_strict_chk(true)?;
    send(&socket, question, NLM_F_DUMP)?;
    let mut all = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        if take(&datagram, &mut all)? {
            return Ok(all);
        }
    }
}

fn send(socket: &Socket, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | flags;
    request.finalize();
    let mut octets = vec![0; request.buffer_len()];
    request.serialize(&mut octets);
    socket.send_to(&octets, &SocketAddr::new(0, 0), 0).map(drop)
}

/// True when the list is complete.
fn take(mut datagram: &[u8], all: &mut Vec<RouteNetlinkMessage>) -> io::Result<bool> {
    while let Ok(header) = NetlinkBuffer::new_checked(datagram) {
        let length = header.length() as usize;
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&datagram[..length]);
        match message.map_err(io::Error::other)?.payload {
            NetlinkPayload::InnerMessage(message) => all.push(message),
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            _ => {}
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}
