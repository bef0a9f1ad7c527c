//! Turns offloads of a veth end off or on, by the ioctl that `ethtool -K` used to use, so that no lab needs ethtool.
//!
//! A locally made packet crosses a veth with its checksum only half done, which the receiving stack knows from a note
//! beside the packet. XDP sees no such note: a packet it sends on is taken for finished and dropped by its receiver for
//! a wrong checksum. With transmit checksumming off at the end that *faces* the XDP program, the sender finishes it.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::ptr;

use anyhow::{Context as _, Result, ensure};

const SIOCETHTOOL: u32 = 0x8946;

/// An offload that can be switched.
#[derive(Clone, Copy, Debug)]
pub(super) enum Offload {
    /// Transmit checksums.
    TransmitChecksum,
    /// Segmentation of TCP by the device.
    TcpSegmentation,
    /// Segmentation by the stack, late.
    GenericSegmentation,
    /// Merging of received packets. A veth end with it polls its ring, as it does with an XDP program.
    GenericReceive,
}

impl Offload {
    fn command(self) -> u32 {
        match self {
            Offload::TransmitChecksum => 0x17,    // ETHTOOL_STXCSUM
            Offload::TcpSegmentation => 0x1f,     // ETHTOOL_STSO
            Offload::GenericSegmentation => 0x24, // ETHTOOL_SGSO
            Offload::GenericReceive => 0x2c,      // ETHTOOL_SGRO
        }
    }
}

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Switches an offload of an interface in the calling thread's namespace, unless it is as wanted. (What the kernel holds
/// switched off, as segmentation opposite an XDP program, it refuses to switch off once more.)
pub(super) fn set(interface: &str, offload: Offload, on: bool) -> Result<()> {
    let word = if on { "on" } else { "off" };
    let ask = |command, data| {
        ioctl(interface, command, data).with_context(|| format!("turning {offload:?} {word} at {interface}"))
    };
    // Each of these commands follows the one that reads the same.
    if (ask(offload.command() - 1, 0)? != 0) != on {
        ask(offload.command(), on.into())?;
    }
    Ok(())
}

/// Sends a command and returns the value that the kernel leaves.
fn ioctl(interface: &str, command: u32, data: u32) -> Result<u32> {
    let mut value = Value { command, data };
    ensure!(interface.len() < libc::IFNAMSIZ, "{interface} is too long for the name of an interface");
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    let mut request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: ptr::from_mut(&mut value).cast() },
    };
    // Any socket will do: it only says which namespace is meant.
    let socket = UdpSocket::bind("0.0.0.0:0").context("opening a socket")?;
    // SAFETY: SIOCETHTOOL takes an ifreq whose data points at the struct that its first word, the command, calls for:
    // a `Value` for all of ours. Both are on this stack frame and outlive the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    if result == 0 { Ok(value.data) } else { Err(io::Error::last_os_error().into()) }
}
