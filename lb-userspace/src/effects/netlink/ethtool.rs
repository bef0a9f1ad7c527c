//! Offloads of an interface, by the ethtool ioctl.
//!
//! Two matter here. With VLAN interfaces on a parent its receive-side tag offload must be off, or the tags reach XDP
//! out of band. And the veth end that faces an XDP port must complete checksums itself (`tx off`): XDP sends frames on
//! without the note that says the checksum is only partial. The ioctl and not ethtool's netlink family, because it
//! is one call without a dependency and every driver has it.

use std::ffi::c_char;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// Something the device does so that the stack need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offload {
    /// Takes the VLAN tag out of received frames (`rxvlan`).
    ReceiveVlan,
    /// Puts the VLAN tag into sent frames (`txvlan`).
    TransmitVlan,
    /// Completes checksums of sent packets (`tx`).
    TransmitChecksum,
    /// Merges received packets of a flow (`gro`). On a veth it also lets the other end receive redirected frames.
    GenericReceive,
}

/// Command numbers and flag bits of linux/ethtool.h.
const ETHTOOL_GTXCSUM: u32 = 0x16;
const ETHTOOL_STXCSUM: u32 = 0x17;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_SFLAGS: u32 = 0x26;
const ETHTOOL_GGRO: u32 = 0x2b;
const ETHTOOL_SGRO: u32 = 0x2c;
const ETH_FLAG_TXVLAN: u32 = 1 << 7;
const ETH_FLAG_RXVLAN: u32 = 1 << 8;

const SIOCETHTOOL: libc::Ioctl = 0x8946;

/// Whether the interface does it.
pub fn offload(interface: &str, offload: Offload) -> io::Result<bool> {
    let (get, _, bits) = commands(offload);
    Ok(ask(interface, get, 0)? & bits != 0)
}

/// Switches it; an error where the driver does not let it be switched.
pub fn set_offload(interface: &str, which: Offload, on: bool) -> io::Result<()> {
    let (get, set, bits) = commands(which);
    let before = ask(interface, get, 0)?;
    let after = if on { before | bits } else { before & !bits };
    // Commands for a single offload take 0 or 1; those for several take all their bits.
    ask(interface, set, if bits == u32::MAX { u32::from(on) } else { after })?;
    if offload(interface, which)? == on {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::Unsupported, format!("the driver of {interface} does not switch {which:?}")))
    }
}

/// How to read and how to write it, and its bits in the value.
fn commands(offload: Offload) -> (u32, u32, u32) {
    match offload {
        Offload::ReceiveVlan => (ETHTOOL_GFLAGS, ETHTOOL_SFLAGS, ETH_FLAG_RXVLAN),
        Offload::TransmitVlan => (ETHTOOL_GFLAGS, ETHTOOL_SFLAGS, ETH_FLAG_TXVLAN),
        Offload::TransmitChecksum => (ETHTOOL_GTXCSUM, ETHTOOL_STXCSUM, u32::MAX),
        Offload::GenericReceive => (ETHTOOL_GGRO, ETHTOOL_SGRO, u32::MAX),
    }
}

/// struct ethtool_value.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Sends one command with a value and returns the value the kernel left.
fn ask(interface: &str, command: u32, data: u32) -> io::Result<u32> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let mut value = Value { command, data };
    let mut request = libc::ifreq {
        ifr_name: name(interface)?,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: (&raw mut value).cast() },
    };
    // SAFETY: the request names an interface in a terminated buffer and points to a `Value`, the layout these
    // commands read and write (8 bytes); both outlive the call, and the kernel keeps neither pointer.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(value.data) }
}

fn name(interface: &str) -> io::Result<[c_char; libc::IFNAMSIZ]> {
    let mut name = [0; libc::IFNAMSIZ];
    if interface.len() >= name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("interface name {interface:?} is too long")));
    }
    for (to, from) in name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed() as c_char;
    }
    Ok(name)
}
