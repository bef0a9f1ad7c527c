//! A listener on the link that hears the advertisements sent to the group, over both families. Those to single
//! addresses it does not hear.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fairway::playground::Namespace;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};

const VRRP: i32 = 112;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
const LOOK_UP: Duration = Duration::from_millis(50);
/// No advertisement is longer: 255 IPv6 addresses.
const MOST_OCTETS: usize = 8 + 255 * 16;

/// One advertisement that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advert {
    /// Who sent it.
    pub from: IpAddr,
    /// 2 or 3, as it stands there.
    pub version: u8,
    /// The router it is about.
    pub vrid: u8,
    /// 0 says that the sender stops.
    pub priority: u8,
    /// Whether the checksum is right over the message alone (RFC 9568, section 5.2.8), without a pseudo-header.
    pub has_plain_checksum: bool,
}

/// The listener; dropped, it ends.
pub struct Adverts {
    heard: Arc<Mutex<Vec<Advert>>>,
    enough: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Adverts {
    /// Listens at the `eth0` of a host of the link that is no router itself.
    pub fn listen(at: &Namespace) -> Self {
        let sockets = at
            .run(|| -> io::Result<[UdpSocket; 2]> { Ok([socket_v4()?, socket_v6()?]) })
            .expect("the namespace is there")
            .expect("root may open raw sockets");
        let mut adverts = Self { heard: Arc::default(), enough: Arc::default(), threads: Vec::new() };
        for (socket, is_v4) in sockets.into_iter().zip([true, false]) {
            let (heard, enough) = (Arc::clone(&adverts.heard), Arc::clone(&adverts.enough));
            adverts.threads.push(thread::spawn(move || hear(&socket, is_v4, &heard, &enough)));
        }
        adverts
    }

    /// What was heard since the last call.
    pub fn take(&self) -> Vec<Advert> {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Adverts {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // a panic has been printed already
        }
    }
}

fn socket_v4() -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(VRRP)))?;
    let interface = socket2::InterfaceIndexOrAddress::Index(if_nametoindex("eth0")?);
    socket.join_multicast_v4_n(&GROUP_V4, &interface)?;
    ready(socket)
}

fn socket_v6() -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(VRRP)))?;
    socket.join_multicast_v6(&GROUP_V6, if_nametoindex("eth0")?)?;
    ready(socket)
}

/// `UdpSocket` since all it does is `recvfrom`, which is the same for raw sockets, into memory that is initialised.
fn ready(socket: Socket) -> io::Result<UdpSocket> {
    socket.set_read_timeout(Some(LOOK_UP))?;
    Ok(socket.into())
}

fn hear(socket: &UdpSocket, has_ip_header: bool, heard: &Mutex<Vec<Advert>>, enough: &AtomicBool) {
    let mut packet = [0; MOST_OCTETS];
    while !enough.load(Ordering::Relaxed) {
        match socket.recv_from(&mut packet) {
            Ok((length, from)) => {
                let header = if has_ip_header { usize::from(packet[0] & 0xf) * 4 } else { 0 };
                if let Some(advert) = packet.get(header..length).and_then(|message| read(from.ip(), message)) {
                    heard.lock().unwrap_or_else(PoisonError::into_inner).push(advert);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("listening to advertisements: {error}"),
        }
    }
}

fn read(from: IpAddr, message: &[u8]) -> Option<Advert> {
    let [version_and_type, vrid, priority, ..] = *message else { return None };
    let has_plain_checksum = plain_checksum(message) == 0;
    Some(Advert { from, version: version_and_type >> 4, vrid, priority, has_plain_checksum })
}

/// The checksum of a message whose checksum field is 0; of one that bears its own: 0 (RFC 1071).
pub fn plain_checksum(message: &[u8]) -> u16 {
    let pairs = message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from));
    let mut sum: u32 = pairs.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("it was folded")
}
