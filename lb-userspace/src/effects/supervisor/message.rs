//! What the daemon says to its supervisor, over a stream socket: a kind, a length, that many octets; some bring
//! descriptors. A stream, because a testament of thousands of addresses fits into no datagram.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Write as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{self, ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::effects::dataplane::Held;
use crate::nexthop::ProgramMode;
use crate::vrrp::effect::Testament;

/// Kind, three octets of nothing, length in host order.
const HEADER: usize = 8;

/// Longest message. A testament of 4,096 routers with 255 addresses each stays below.
const LONGEST: usize = 64 << 20;

/// Descriptors that wait for the message they belong to.
const MOST_DESCRIPTORS: usize = MOST_HELD + 8;

/// Attachments in one message. The kernel takes 253 descriptors at once; a balancer has a handful of interfaces.
pub const MOST_HELD: usize = 64;

const PIECE: usize = 64 << 10;

const HELLO: u8 = 1;
const TESTAMENT: u8 = 2;
const LIVE_WORDS: u8 = 3;
const CLEAN_STOP: u8 = 4;
const CONFIRMED: u8 = 5;
const HELD: u8 = 6;

/// Something said.
#[derive(Debug)]
pub enum Message {
    /// The first word.
    Hello {
        /// Of [`super::Pulse::memory`].
        pulse: OwnedFd,
        /// Readable when the daemon has died.
        daemon: OwnedFd,
    },
    /// In place of the last one.
    Testament(Testament),
    /// The map of live words.
    LiveWords(OwnedFd),
    /// Where the program is attached; in place of what was said before.
    Held {
        /// The attachments.
        held: Vec<Held>,
        /// They are held until another daemon asks for them. Otherwise for as long as the other nodes need to be found.
        for_ever: bool,
    },
    /// The daemon ends, has released everything itself, and needs nobody any more.
    CleanStop,
}

/// Says hello.
pub fn hello(to: &UnixStream, pulse: BorrowedFd<'_>, daemon: BorrowedFd<'_>) -> io::Result<()> {
    send(to, HELLO, &[], &[pulse.as_raw_fd(), daemon.as_raw_fd()])
}

/// Hands over a testament.
pub fn testament(to: &UnixStream, testament: &Testament) -> io::Result<()> {
    send(to, TESTAMENT, &serde_json::to_vec(testament)?, &[])
}

/// Hands over the live words.
pub fn live_words(to: &UnixStream, map: BorrowedFd<'_>) -> io::Result<()> {
    send(to, LIVE_WORDS, &[], &[map.as_raw_fd()])
}

/// Hands over attachments, of which at most [`MOST_HELD`] go.
pub fn held(to: &UnixStream, held: &[Held], for_ever: bool) -> io::Result<()> {
    let held = &held[..held.len().min(MOST_HELD)];
    let places: Vec<(u32, bool)> =
        held.iter().map(|held| (held.interface, held.mode == ProgramMode::Generic)).collect();
    let descriptors: Vec<RawFd> = held.iter().map(|held| held.link.as_raw_fd()).collect();
    send(to, HELD, &serde_json::to_vec(&(places, for_ever))?, &descriptors)
}

/// Says goodbye.
pub fn clean_stop(to: &UnixStream) -> io::Result<()> {
    send(to, CLEAN_STOP, &[], &[])
}

/// The supervisor's only word: it has taken a testament in. Should it not get through, the daemon knows a little less.
pub fn confirm(to: &UnixStream) {
    let _ = socket::send(to.as_raw_fd(), &[CONFIRMED], MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
}

/// How many testaments were taken in since the last question, without waiting. `None`: the supervisor has gone.
pub fn confirmations(from: &UnixStream) -> io::Result<Option<usize>> {
    let mut octets = [0; 64];
    match socket::recv(from.as_raw_fd(), &mut octets, MsgFlags::MSG_DONTWAIT) {
        Ok(0) | Err(Errno::ECONNRESET) => Ok(None),
        Ok(count) => Ok(Some(count)),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(Some(0)),
        Err(error) => Err(error.into()),
    }
}

fn send(mut to: &UnixStream, kind: u8, body: &[u8], descriptors: &[RawFd]) -> io::Result<()> {
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= LONGEST);
    let length = length.ok_or_else(|| io::Error::other("a message to the supervisor is too long"))?;
    let mut header = [kind, 0, 0, 0, 0, 0, 0, 0];
    header[4..].copy_from_slice(&length.to_ne_bytes());
    let rights = [ControlMessage::ScmRights(descriptors)];
    let rights = if descriptors.is_empty() { &[][..] } else { &rights[..] };
    let sent = sendmsg::<()>(to.as_raw_fd(), &[IoSlice::new(&header)], rights, MsgFlags::MSG_NOSIGNAL, None)?;
    to.write_all(&header[sent..])?;
    to.write_all(body)
}

/// What has arrived and was not read yet.
#[derive(Debug)]
pub struct Inbox {
    from: UnixStream,
    octets: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
    /// Nothing more will come.
    pub ended: bool,
}

impl Inbox {
    /// Reads from this socket, without ever waiting.
    pub fn new(from: UnixStream) -> Self {
        Self { from, octets: Vec::new(), descriptors: VecDeque::new(), ended: false }
    }

    /// The socket, to wait for.
    pub fn socket(&self) -> &UnixStream {
        &self.from
    }

    /// Everything that has arrived whole.
    ///
    /// # Errors
    /// When it makes no sense; then nothing that follows would either.
    pub fn receive(&mut self) -> io::Result<Vec<Message>> {
        while !self.ended && self.read()? {}
        let mut messages = Vec::new();
        while let Some((kind, body)) = self.next()? {
            messages.push(self.understand(kind, &body)?);
        }
        Ok(messages)
    }

    /// Whether there may be more.
    fn read(&mut self) -> io::Result<bool> {
        let mut piece = vec![0; PIECE];
        let mut control = nix::cmsg_space!([RawFd; MOST_DESCRIPTORS]);
        let mut places = [IoSliceMut::new(&mut piece)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let (length, descriptors) = match recvmsg::<()>(self.from.as_raw_fd(), &mut places, Some(&mut control), flags) {
            Ok(message) => (message.bytes, rights(message.cmsgs()?)),
            Err(Errno::EINTR) => return Ok(true),
            Err(Errno::EAGAIN) => return Ok(false),
            // A daemon that dies with something unread resets the stream.
            Err(Errno::ECONNRESET) => (0, Vec::new()),
            Err(error) => return Err(error.into()),
        };
        self.descriptors.extend(descriptors);
        if self.descriptors.len() > MOST_DESCRIPTORS {
            return Err(nonsense());
        }
        self.octets.extend_from_slice(&piece[..length]);
        self.ended = length == 0;
        Ok(length > 0)
    }

    fn next(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        let Some(header) = self.octets.get(..HEADER) else { return Ok(None) };
        let length = u32::from_ne_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let kind = header[0];
        if length > LONGEST {
            return Err(nonsense());
        }
        if self.octets.len() < HEADER + length {
            return Ok(None);
        }
        let body = self.octets[HEADER..HEADER + length].to_vec();
        self.octets.drain(..HEADER + length);
        Ok(Some((kind, body)))
    }

    fn understand(&mut self, kind: u8, body: &[u8]) -> io::Result<Message> {
        let mut descriptor = || self.descriptors.pop_front().ok_or_else(nonsense);
        match kind {
            HELLO => Ok(Message::Hello { pulse: descriptor()?, daemon: descriptor()? }),
            TESTAMENT => Ok(Message::Testament(serde_json::from_slice(body)?)),
            LIVE_WORDS => Ok(Message::LiveWords(descriptor()?)),
            HELD => {
                let (places, for_ever): (Vec<(u32, bool)>, bool) = serde_json::from_slice(body)?;
                let mut held = Vec::new();
                for (interface, generic) in places {
                    let mode = if generic { ProgramMode::Generic } else { ProgramMode::Native };
                    held.push(Held { interface, mode, link: descriptor()? });
                }
                Ok(Message::Held { held, for_ever })
            }
            CLEAN_STOP => Ok(Message::CleanStop),
            _ => Err(nonsense()),
        }
    }
}

fn rights(messages: impl Iterator<Item = ControlMessageOwned>) -> Vec<OwnedFd> {
    let mut descriptors = Vec::new();
    for message in messages {
        if let ControlMessageOwned::ScmRights(received) = message {
            // SAFETY: the kernel has just made these for us, so that nobody else owns them.
            descriptors.extend(received.into_iter().map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) }));
        }
    }
    descriptors
}

fn nonsense() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "a message of the daemon's makes no sense")
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::thread;

    use super::*;
    use crate::vrrp::effect::{Advertise, Bequest};

    #[test]
    fn messages_arrive_in_order_with_their_descriptors() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (first, second) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        hello(&ours, first.as_fd(), second.as_fd()).unwrap();
        testament(&ours, &of_addresses(2)).unwrap();
        live_words(&ours, first.as_fd()).unwrap();
        let link = Held { interface: 7, mode: ProgramMode::Generic, link: second.try_clone().unwrap().into() };
        held(&ours, &[link], true).unwrap();
        clean_stop(&ours).unwrap();
        drop(ours);
        let mut inbox = Inbox::new(theirs);
        let messages = inbox.receive().unwrap();
        let [
            Message::Hello { .. },
            Message::Testament(testament),
            Message::LiveWords(_),
            Message::Held { held, for_ever: true },
            Message::CleanStop,
        ] = &messages[..]
        else {
            panic!("not what was said: {messages:?}");
        };
        assert_eq!(testament, &of_addresses(2));
        assert_eq!((held[0].interface, held[0].mode), (7, ProgramMode::Generic));
        assert!(inbox.ended);
    }

    #[test]
    fn a_large_testament_arrives_in_pieces() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let sender = thread::spawn(move || testament(&ours, &of_addresses(100_000)));
        let mut inbox = Inbox::new(theirs);
        let message = loop {
            match inbox.receive().unwrap().pop() {
                Some(message) => break message,
                None => thread::yield_now(),
            }
        };
        sender.join().unwrap().unwrap();
        assert!(matches!(message, Message::Testament(testament) if testament == of_addresses(100_000)));
    }

    #[test]
    fn nonsense_is_an_error() {
        let descriptorless = [HELLO, 0, 0, 0, 0, 0, 0, 0];
        let unknown = [9, 0, 0, 0, 0, 0, 0, 0];
        let endless = [TESTAMENT, 0, 0, 0, 255, 255, 255, 255];
        let garbled = [TESTAMENT, 0, 0, 0, 1, 0, 0, 0, b'{'];
        for octets in [&descriptorless[..], &unknown, &endless, &garbled] {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            ours.write_all(octets).unwrap();
            assert!(Inbox::new(theirs).receive().is_err(), "{octets:?}");
        }
    }

    fn of_addresses(count: u32) -> Testament {
        let farewell = Advertise {
            interface: 1,
            source: "192.0.2.1".parse().unwrap(),
            destinations: Vec::new(),
            source_mac: [2; 6],
            payload: vec![1, 2, 3],
        };
        let address = |number: u32| (1, ipnet::Ipv4Net::from(std::net::Ipv4Addr::from(number)).into());
        let addresses = (0..count).map(address).collect();
        Testament { release: vec![Bequest { router: "public".into(), farewell, addresses, live: Some(1) }] }
    }
}
