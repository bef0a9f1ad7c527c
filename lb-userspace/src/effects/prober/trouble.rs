//! What the kernel says of a probe's socket, told apart: this host's own trouble, a refusal, or a host that nobody
//! answers for.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, getsockname, recvmsg};

use crate::health::spec::Target;
use crate::health::verdict::{Failure, FailureKind};

/// Why a socket is of no use.
#[derive(Debug)]
pub struct Trouble {
    error: io::Error,
    origin: Origin,
}

#[derive(Debug, PartialEq, Eq)]
enum Origin {
    /// This host, while it did this.
    Here(&'static str),
    /// The network; from whom is not known.
    Network,
    /// This host on behalf of the network: the neighbour did not answer ARP or neighbour solicitations.
    Neighbour,
    /// An ICMP error of this host or router.
    Icmp(IpAddr),
}

impl Trouble {
    /// This host could not do something, in words that follow "cannot make the probe:".
    pub fn here<E: Into<io::Error>>(doing: &'static str) -> impl Fn(E) -> Self {
        move |error| Self { error: error.into(), origin: Origin::Here(doing) }
    }

    /// A socket's error; the socket's queue of errors says from whom it is, if it was asked to keep one.
    pub fn told(error: io::Error, socket: &impl AsFd) -> Self {
        let origin = match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EPERM | libc::EINVAL) => {
                Origin::Here("sending")
            }
            code => match origin_of(socket) {
                None => Origin::Network,
                Some((offender, own)) if offender == own && code == Some(libc::EHOSTUNREACH) => Origin::Neighbour,
                Some((offender, _)) => Origin::Icmp(offender),
            },
        };
        Self { error, origin }
    }

    /// The kernel's word.
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// What it says of the backend.
    pub fn failure(&self, target: &Target) -> Failure {
        let kind = match (&self.origin, self.error.raw_os_error()) {
            (Origin::Here(_), _) => FailureKind::Local,
            (Origin::Neighbour, _) => FailureKind::Silent,
            (Origin::Network, Some(libc::EHOSTUNREACH | libc::ETIMEDOUT)) => FailureKind::Silent,
            (Origin::Network | Origin::Icmp(_), _) => FailureKind::Refused,
        };
        Failure::new(kind, Words(self, target).to_string())
    }
}

/// As operators read it.
struct Words<'a>(&'a Trouble, &'a Target);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Trouble { error, origin }, target) = self;
        match (origin, error.raw_os_error()) {
            (Origin::Here(doing), _) => write!(f, "cannot make the probe: {doing}: {error}"),
            (Origin::Neighbour, _) => write!(f, "host unreachable: nobody answers for {target} on the link"),
            (Origin::Icmp(router), Some(libc::ECONNREFUSED)) => {
                write!(f, "connection refused by {target} (ICMP port unreachable from {router})")
            }
            (Origin::Icmp(router), _) => write!(f, "{target} unreachable: {error} (ICMP from {router})"),
            (Origin::Network, Some(libc::ECONNREFUSED)) => write!(f, "connection refused by {target}"),
            (Origin::Network, Some(libc::ECONNRESET | libc::EPIPE)) => write!(f, "connection reset by {target}"),
            (Origin::Network, Some(libc::EHOSTUNREACH)) => write!(f, "host unreachable: {target}"),
            (Origin::Network, Some(libc::ETIMEDOUT)) => write!(f, "connection to {target} timed out"),
            (Origin::Network, _) => write!(f, "{target}: {error}"),
        }
    }
}

/// From whom the last error is, if it came in an ICMP packet, and who we are. The kernel makes one in our own name when a
/// neighbour does not answer.
fn origin_of(socket: &impl AsFd) -> Option<(IpAddr, IpAddr)> {
    let fd = socket.as_fd().as_raw_fd();
    let own = getsockname::<SockaddrStorage>(fd).ok().and_then(address_of)?;
    let mut data = [0; 64];
    let mut data = [IoSliceMut::new(&mut data)];
    let mut control = nix::cmsg_space!(libc::sock_extended_err, SockaddrStorage);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(fd, &mut data, Some(&mut control), flags).ok()?;
    let offender = message.cmsgs().ok()?.find_map(offender_of)?;
    Some((offender, own))
}

fn offender_of(message: ControlMessageOwned) -> Option<IpAddr> {
    match message {
        ControlMessageOwned::Ipv4RecvErr(error, Some(offender)) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP => {
            Some(IpAddr::from(u32::from_be(offender.sin_addr.s_addr).to_be_bytes()))
        }
        ControlMessageOwned::Ipv6RecvErr(error, Some(offender)) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP6 => {
            Some(IpAddr::from(offender.sin6_addr.s6_addr))
        }
        _ => None,
    }
}

fn address_of(address: SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}
