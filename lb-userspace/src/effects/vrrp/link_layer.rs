//! The packet sockets: whole frames out, and ARP and neighbour messages in.
//!
//! Frames pass no firewall rule and no routing. What the device's queue has no room for is tried once more at the next
//! wake-up, unless an address was taken away meanwhile: nothing may announce what is no longer held.

use std::collections::VecDeque;
use std::io;

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::frames::{self, ETHERTYPE_ARP, ETHERTYPE_IPV6, Mac, Said};
use super::sys;
use super::troubles::Troubles;

/// Frames waiting for another attempt; the oldest make room.
const MOST_WAITING: usize = 64;
/// Longer than any ARP packet, and than a neighbour message with the options that matter.
const FRAME_OCTETS: usize = 512;
/// `TC_PRIO_CONTROL`: queues that know priorities send these first.
const PRIORITY_CONTROL: u32 = 7;
const LISTEN_BUFFER: usize = 256 << 10;

/// What a frame is for, which decides whether it may still go out later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// True at any time: priority 0, questions, answers.
    Lasting,
    /// True while we are master only.
    AsMaster,
}

/// Sends frames.
pub struct Transmitter {
    socket: Socket,
    waiting: VecDeque<(u32, Vec<u8>, Purpose)>,
}

impl Transmitter {
    /// Opens the socket; it receives nothing.
    ///
    /// # Errors
    /// Without CAP_NET_RAW.
    pub fn open() -> io::Result<Self> {
        let socket = packet_socket(None)?;
        let _ = socket.set_priority(PRIORITY_CONTROL);
        Ok(Self { socket, waiting: VecDeque::new() })
    }

    /// Sends a frame, or keeps it for one more attempt. The error is for the caller to act on or to count.
    ///
    /// # Errors
    /// The kernel's, but for a queue that is full.
    pub fn send(
        &mut self,
        interface: u32,
        frame: Vec<u8>,
        purpose: Purpose,
        troubles: &mut Troubles,
    ) -> io::Result<()> {
        match self.attempt(interface, &frame) {
            Err(error) if is_full(&error) => {
                troubles.count("send a frame", &error);
                if self.waiting.len() == MOST_WAITING {
                    self.waiting.pop_front();
                }
                self.waiting.push_back((interface, frame, purpose));
                Ok(())
            }
            other => other,
        }
    }

    /// Whether anything waits for another attempt.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The one more attempt.
    pub fn retry(&mut self, troubles: &mut Troubles) {
        for (interface, frame, _) in std::mem::take(&mut self.waiting) {
            if let Err(error) = self.attempt(interface, &frame) {
                troubles.count("send a frame again", &error);
            }
        }
    }

    /// Something is no longer held: what says otherwise does not go out. Of other routers' frames that are lost with it
    /// the next is never far.
    pub fn forget_claims(&mut self) {
        self.waiting.retain(|(_, _, purpose)| *purpose == Purpose::Lasting);
    }

    fn attempt(&self, interface: u32, frame: &[u8]) -> io::Result<()> {
        self.socket.send_to(frame, &sys::link_address(interface, 0)).map(drop)
    }
}

/// Hears ARP packets and neighbour messages, of all interfaces.
pub struct Listener {
    /// ARP.
    pub arp: Socket,
    /// Neighbour solicitations and advertisements.
    pub neighbours: Socket,
}

impl Listener {
    /// Opens both sockets.
    ///
    /// # Errors
    /// Without CAP_NET_RAW.
    pub fn open() -> io::Result<Self> {
        Ok(Self { arp: Self::arp()?, neighbours: listening(ETHERTYPE_IPV6, &neighbour_filter())? })
    }
}

impl Listener {
    /// The socket that hears ARP alone.
    ///
    /// # Errors
    /// Without CAP_NET_RAW.
    pub fn arp() -> io::Result<Socket> {
        listening(ETHERTYPE_ARP, &arp_filter())
    }
}

/// The next message and the interface it came in by; `Ok(None)`: it was nothing. Frames of our own do not count.
///
/// # Errors
/// `WouldBlock` when there is none.
pub fn next_said(socket: &Socket) -> io::Result<Option<(u32, Mac, Said)>> {
    let mut buffer = [0; FRAME_OCTETS];
    let (length, from) = sys::receive_from(socket, &mut buffer)?;
    let frame = &buffer[..length];
    let Some(interface) = sys::incoming_interface(&from) else { return Ok(None) };
    let Some(said) = frames::read(frame) else { return Ok(None) };
    let sender: Mac = frame[6..12].try_into().expect("a frame that could be read has a header");
    Ok(Some((interface, sender, said)))
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN))
}

/// A packet socket that receives nothing before it is bound.
pub fn packet_socket(filter: Option<&[SockFilter]>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(Protocol::from(0)))?;
    if let Some(filter) = filter {
        socket.attach_filter(filter)?;
    }
    Ok(socket)
}

fn listening(ethertype: u16, filter: &[SockFilter]) -> io::Result<Socket> {
    let socket = packet_socket(Some(filter))?;
    sys::set_receive_buffer(&socket, LISTEN_BUFFER)?;
    socket.bind(&sys::link_address(0, ethertype))?;
    Ok(socket)
}

// Classic BPF: load half-word or octet at a fixed place, jump if equal, return.
const LOAD_HALF: u16 = 0x28;
const LOAD_OCTET: u16 = 0x30;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Ethernet's ARP over IPv4, so that a storm of others does not fill the queue.
fn arp_filter() -> [SockFilter; 4] {
    [
        SockFilter::new(LOAD_HALF, 0, 0, 16), // protocol
        SockFilter::new(JUMP_EQUAL, 0, 1, 0x0800),
        SockFilter::new(RETURN, 0, 0, 0xffff),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// ICMPv6 right behind the header, of the two types.
fn neighbour_filter() -> [SockFilter; 7] {
    [
        SockFilter::new(LOAD_OCTET, 0, 0, 20), // next header
        SockFilter::new(JUMP_EQUAL, 0, 4, 58),
        SockFilter::new(LOAD_OCTET, 0, 0, 54), // type
        SockFilter::new(JUMP_EQUAL, 1, 0, 135),
        SockFilter::new(JUMP_EQUAL, 0, 1, 136),
        SockFilter::new(RETURN, 0, 0, 0xffff),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}
