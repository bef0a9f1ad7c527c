//! Why the kernel refuses to attach a program: the driver's own words.
//!
//! A BPF link says no by an error number, which means "no native XDP" and "switch an offload off first" alike. Asked the
//! same by netlink, the kernel adds a sentence (an extended acknowledgement), and drivers use it.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, NlaBuffer, NlasIterator};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

/// Attaches only where no program is yet.
const IF_NONE: u32 = 1;
/// The attribute of an answer that holds the sentence (`NLMSGERR_ATTR_MSG`).
const SENTENCE: u16 = 1;
/// An answer starts with the error number (taken off by the parser) and the header of the question.
const QUESTION_HEADER: usize = 16;

/// Tries again what a BPF link refused, and returns the kernel's sentence if it has one. `mode` is the `XDP_FLAGS_…_MODE`
/// that was refused. Should the attempt succeed it is taken back: what is not held by a link would outlive us.
pub fn ask_why(interface: u32, program: BorrowedFd<'_>, mode: u32) -> Option<String> {
    let program = program.as_raw_fd();
    match set_program(interface, program, mode | IF_NONE) {
        Ok(None) => {
            // Of the program that was just attached nobody else can know, so nothing else is detached.
            let _ = set_program(interface, -1, mode);
            None
        }
        Ok(Some(sentence)) => (!sentence.is_empty()).then_some(sentence),
        Err(_) => None,
    }
}

/// `None`: done. Otherwise why not, which is empty where the kernel does not say.
fn set_program(interface: u32, program: i32, flags: u32) -> io::Result<Option<String>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.set_ext_ack(true)?;
    // Not the whole question back, only its header: the sentence then stands at a known place.
    socket.set_cap_ack(true)?;
    socket.bind_auto()?;
    let mut message = LinkMessage::default();
    message.header.index = interface;
    message.attributes.push(LinkAttribute::Xdp(vec![LinkXdp::Fd(program), LinkXdp::Flags(flags)]));
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::SetLink(message));
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?;
    match answer.payload {
        NetlinkPayload::Error(error) if error.code.is_none() => Ok(None),
        NetlinkPayload::Error(error) => Ok(Some(sentence(&error.header))),
        _ => Err(io::Error::other("neither done nor refused")),
    }
}

fn sentence(answer: &[u8]) -> String {
    let attributes = NlasIterator::new(answer.get(QUESTION_HEADER..).unwrap_or_default());
    let is_sentence = |attribute: &NlaBuffer<&[u8]>| attribute.kind() == SENTENCE;
    let text = attributes.map_while(Result::ok).find(is_sentence).map(|attribute| attribute.value().to_vec());
    String::from_utf8_lossy(&text.unwrap_or_default()).trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_is_found_behind_the_header_of_the_question() {
        let mut answer = vec![0xee; QUESTION_HEADER];
        answer.extend([8, 0, 2, 0, 1, 2, 3, 4]);
        answer.extend([7, 0, 1, 0, b'n', b'o', 0, 0]);
        assert_eq!(sentence(&answer), "no");
    }

    #[test]
    fn an_answer_without_words_is_empty() {
        assert_eq!(sentence(&[0; QUESTION_HEADER]), "");
        assert_eq!(sentence(&[]), "");
    }
}
