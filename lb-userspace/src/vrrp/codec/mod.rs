//! VRRP messages as octets: RFC 9568 section 5.2 (version 3), RFC 3768 section 5.3 (version 2).
//!
//! Knows nothing of virtual routers, of TTLs and of who may send: [`decode`] says whether octets are a well-formed
//! advertisement of a version, the engine whether it is welcome. Bad octets are data: each ends under exactly one
//! [`Rejected`].
//!
//! ```text
//!  version 3                                         version 2
//!  0        type and version (0x31)                  0        type and version (0x21)
//!  1        VRID                                     1        VRID
//!  2        priority                                 2        priority
//!  3        count of addresses                       3        count of addresses
//!  4, 5     4 bits reserved, 12 bits centiseconds    4        authentication type
//!                                                    5        interval in seconds
//!  6, 7     checksum                                 6, 7     checksum
//!  8...     addresses                                8...     addresses, then 8 octets of authentication data
//! ```

mod decode;
mod encode;
#[cfg(test)]
mod fuzz;
mod rejected;
mod sum;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

pub use decode::{decode, vrid};
pub use encode::{depends_on_destination, encode};
pub use rejected::Rejected;

use crate::config::VrrpVersion;

/// The only type there is: an advertisement (RFC 9568 section 5.2.2).
const ADVERTISEMENT: u8 = 1;
/// Octets before the addresses, in both versions.
const HEADER: usize = 8;
/// Octets after the addresses, version 2 only (RFC 3768 section 5.3.10), whatever the authentication type.
const AUTHENTICATION_DATA: usize = 8;
/// Offset of the checksum.
const CHECKSUM: usize = 6;
/// Authentication types of version 2 (RFC 2338 section 5.3.6); RFC 3768 leaves only the first.
const NO_AUTHENTICATION: u8 = 0;
/// An eight-octet password in clear text.
const SIMPLE_TEXT: u8 = 1;
/// Addresses that one advertisement can hold: the count is an octet.
pub const MOST_ADDRESSES: usize = 255;

/// An advertisement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// Version, and with it the format.
    pub version: VrrpVersion,
    /// Virtual router identifier.
    pub vrid: u8,
    /// The sender's priority; 0: it is leaving.
    pub priority: u8,
    /// Time between the sender's advertisements: on the wire centiseconds (version 3) or seconds (version 2).
    pub interval: Duration,
    /// The virtual router's addresses in the sender's order, all of the family it is sent over.
    pub addresses: Vec<IpAddr>,
    /// Password, authentication type 1 of version 2; `None`: type 0, and always in version 3.
    pub authentication: Option<[u8; 8]>,
    /// Form of the checksum. It is a choice for version 3 over IPv4 only: version 2 has always the plain form, IPv6
    /// always the one with pseudo-header, whatever is said here on sending; receiving says which it was.
    pub checksum: Form,
}

/// What a checksum is over (RFC 9568 section 5.2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Pseudo-header of addresses, protocol and length, and the message.
    PseudoHeader,
    /// The message alone.
    Plain,
}
