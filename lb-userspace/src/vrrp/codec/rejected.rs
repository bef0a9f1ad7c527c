//! Why a received packet is not taken as an advertisement: RFC 6527's error counters, by name.

use std::fmt;

/// A reason. Every packet that is discarded is counted under exactly one.
///
/// The first group is what [`decode`](super::decode) finds; the second is the engine's to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rejected {
    /// Another version than the virtual router's.
    Version,
    /// Not an advertisement.
    Type,
    /// No addresses (erratum 8299).
    Count,
    /// Shorter than its header, or than its count of addresses says.
    Length,
    /// Wrong in both forms, or in the one that the version and family allow.
    Checksum,
    /// An interval of 0 (erratum 8301); version 2: another than ours (RFC 3768 section 7.1).
    Interval,
    /// Version 2: an authentication type that is unknown, or type or password not as configured.
    Authentication,
    /// TTL or hop limit below what is asked for (RFC 9568 section 7.1).
    Ttl,
    /// Not to the multicast group, or not to us.
    Destination,
    /// Not from a configured unicast peer.
    Source,
    /// From our own address: a loop, or an address used twice.
    OwnAddress,
}

impl Rejected {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::Version,
        Self::Type,
        Self::Count,
        Self::Length,
        Self::Checksum,
        Self::Interval,
        Self::Authentication,
        Self::Ttl,
        Self::Destination,
        Self::Source,
        Self::OwnAddress,
    ];

    /// As metrics and JSON call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Type => "type",
            Self::Count => "count",
            Self::Length => "length",
            Self::Checksum => "checksum",
            Self::Interval => "interval",
            Self::Authentication => "authentication",
            Self::Ttl => "ttl",
            Self::Destination => "destination",
            Self::Source => "source",
            Self::OwnAddress => "own-address",
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
