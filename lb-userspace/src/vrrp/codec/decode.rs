//! From octets to an advertisement, or to the reason why not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::{
    ADVERTISEMENT, AUTHENTICATION_DATA, Advertisement, Form, HEADER, NO_AUTHENTICATION, Rejected, SIMPLE_TEXT, sum,
};
use crate::config::VrrpVersion;
use crate::vrrp::timing::CENTISECOND;

/// The twelve bits of the version 3 interval; the four above are reserved and ignored (RFC 9568 section 5.2.6).
const CENTISECONDS: u16 = 0x0fff;

/// Which virtual router it is about, to be asked before anything else: a packet of another virtual router is no error of
/// ours. `None`: too short to say ([`Rejected::Length`]).
pub fn vrid(payload: &[u8]) -> Option<u8> {
    payload.get(1).copied()
}

/// The advertisement in `payload`, which came from `source` to `destination` over the family that these are of.
///
/// What follows the message is taken for padding (short Ethernet frames are padded, and not all drivers take it off).
/// A message whose checksum is right in both forms is said to have the pseudo-header.
///
/// # Errors
/// One of the first group of [`Rejected`].
pub fn decode(
    payload: &[u8],
    source: IpAddr,
    destination: IpAddr,
    version: VrrpVersion,
) -> Result<Advertisement, Rejected> {
    let header: &[u8; HEADER] = payload.first_chunk().ok_or(Rejected::Length)?;
    check_version_and_type(header[0], version)?;
    let message = cut_padding(payload, header[3], source.is_ipv4(), version)?;
    let checksum = check_sum(message, source, destination, version)?;
    let body = &message[HEADER..];
    let (addresses, data) = body.split_at(body.len() - trailer(version));
    Ok(Advertisement {
        version,
        vrid: header[1],
        priority: header[2],
        interval: interval(header, version)?,
        addresses: parse_addresses(addresses, source.is_ipv4()),
        authentication: authentication(header, data, version)?,
        checksum,
    })
}

fn check_version_and_type(octet: u8, version: VrrpVersion) -> Result<(), Rejected> {
    let expected = match version {
        VrrpVersion::V2 => 2,
        VrrpVersion::V3 => 3,
    };
    if octet >> 4 != expected {
        return Err(Rejected::Version);
    }
    if octet & 0x0f != ADVERTISEMENT {
        return Err(Rejected::Type);
    }
    Ok(())
}

/// The message without what follows it.
fn cut_padding(payload: &[u8], count: u8, is_ipv4: bool, version: VrrpVersion) -> Result<&[u8], Rejected> {
    if count == 0 {
        return Err(Rejected::Count);
    }
    let length = HEADER + usize::from(count) * address_length(is_ipv4) + trailer(version);
    payload.get(..length).ok_or(Rejected::Length)
}

fn address_length(is_ipv4: bool) -> usize {
    if is_ipv4 { size_of::<Ipv4Addr>() } else { size_of::<Ipv6Addr>() }
}

/// Octets behind the addresses.
fn trailer(version: VrrpVersion) -> usize {
    match version {
        VrrpVersion::V2 => AUTHENTICATION_DATA,
        VrrpVersion::V3 => 0,
    }
}

fn check_sum(message: &[u8], source: IpAddr, destination: IpAddr, version: VrrpVersion) -> Result<Form, Rejected> {
    let may_be_plain = version == VrrpVersion::V2 || source.is_ipv4();
    if version == VrrpVersion::V3 && sum::with_pseudo_header(source, destination, message) == [0; 2] {
        return Ok(Form::PseudoHeader);
    }
    if may_be_plain && sum::plain(message) == [0; 2] {
        return Ok(Form::Plain);
    }
    Err(Rejected::Checksum)
}

fn interval(header: &[u8; HEADER], version: VrrpVersion) -> Result<Duration, Rejected> {
    let interval = match version {
        VrrpVersion::V2 => Duration::from_secs(u64::from(header[5])),
        VrrpVersion::V3 => CENTISECOND * u32::from(u16::from_be_bytes([header[4], header[5]]) & CENTISECONDS),
    };
    if interval.is_zero() { Err(Rejected::Interval) } else { Ok(interval) }
}

fn authentication(header: &[u8; HEADER], data: &[u8], version: VrrpVersion) -> Result<Option<[u8; 8]>, Rejected> {
    match (version, header[4]) {
        (VrrpVersion::V3, _) | (VrrpVersion::V2, NO_AUTHENTICATION) => Ok(None),
        (VrrpVersion::V2, SIMPLE_TEXT) => Ok(Some(*data.first_chunk().ok_or(Rejected::Length)?)),
        (VrrpVersion::V2, _) => Err(Rejected::Authentication),
    }
}

fn parse_addresses(octets: &[u8], is_ipv4: bool) -> Vec<IpAddr> {
    if is_ipv4 {
        octets.as_chunks().0.iter().map(|address: &[u8; 4]| IpAddr::from(*address)).collect()
    } else {
        octets.as_chunks().0.iter().map(|address: &[u8; 16]| IpAddr::from(*address)).collect()
    }
}
