//! From an advertisement to octets.

use std::net::IpAddr;

use super::{ADVERTISEMENT, Advertisement, CHECKSUM, Form, MOST_ADDRESSES, NO_AUTHENTICATION, SIMPLE_TEXT, sum};
use crate::config::VrrpVersion;
use crate::vrrp::timing::{CENTISECOND, LONGEST_V2, LONGEST_V3, intervals};

/// Whether the octets differ by destination, because a pseudo-header holds it. If so, unicast peers each need an
/// encoding of their own; else one does for all of them.
pub fn depends_on_destination(advertisement: &Advertisement, is_ipv4: bool) -> bool {
    form(advertisement, is_ipv4) == Form::PseudoHeader
}

/// The VRRP message, checksum included, as sent from `source` to `destination`.
///
/// What the configuration does not allow does not fail here but comes out as the nearest thing that the format can say:
/// an interval beyond [`intervals`] as the bound, parts of a centisecond (version 2: of a second) left out, addresses
/// beyond [`MOST_ADDRESSES`] or of another family than `source` left out.
pub fn encode(advertisement: &Advertisement, source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let is_ipv4 = source.is_ipv4();
    let (count, addresses) = addresses(advertisement, is_ipv4);
    let version = match advertisement.version {
        VrrpVersion::V2 => 2,
        VrrpVersion::V3 => 3,
    };
    let mut message = vec![version << 4 | ADVERTISEMENT, advertisement.vrid, advertisement.priority, count];
    message.extend(interval_field(advertisement));
    message.extend([0; 2]);
    message.extend(addresses);
    if advertisement.version == VrrpVersion::V2 {
        message.extend(advertisement.authentication.unwrap_or_default());
    }
    let checksum = match form(advertisement, is_ipv4) {
        Form::PseudoHeader => sum::with_pseudo_header(source, destination, &message),
        Form::Plain => sum::plain(&message),
    };
    message[CHECKSUM..CHECKSUM + 2].copy_from_slice(&checksum);
    message
}

/// The form that is sent: there is a choice for version 3 over IPv4 only.
fn form(advertisement: &Advertisement, is_ipv4: bool) -> Form {
    match (advertisement.version, is_ipv4) {
        (VrrpVersion::V2, _) => Form::Plain,
        (VrrpVersion::V3, false) => Form::PseudoHeader,
        (VrrpVersion::V3, true) => advertisement.checksum,
    }
}

/// How many addresses, and their octets.
fn addresses(advertisement: &Advertisement, is_ipv4: bool) -> (u8, Vec<u8>) {
    let mut octets = Vec::new();
    let mut count = 0;
    for address in advertisement.addresses.iter().filter(|address| address.is_ipv4() == is_ipv4).take(MOST_ADDRESSES) {
        match address {
            IpAddr::V4(address) => octets.extend(address.octets()),
            IpAddr::V6(address) => octets.extend(address.octets()),
        }
        count += 1;
    }
    (count, octets)
}

/// Octets 4 and 5.
fn interval_field(advertisement: &Advertisement) -> [u8; 2] {
    let allowed = intervals(advertisement.version);
    let interval = advertisement.interval.clamp(*allowed.start(), *allowed.end());
    match advertisement.version {
        VrrpVersion::V2 => {
            let seconds = u8::try_from(interval.as_secs()).expect("at most LONGEST_V2: 255 seconds");
            let kind = if advertisement.authentication.is_some() { SIMPLE_TEXT } else { NO_AUTHENTICATION };
            [kind, seconds]
        }
        VrrpVersion::V3 => {
            let centiseconds = interval.as_millis() / CENTISECOND.as_millis();
            u16::try_from(centiseconds).expect("at most LONGEST_V3: 4,095 centiseconds").to_be_bytes()
        }
    }
}

const _: () = assert!(LONGEST_V2.as_secs() == u8::MAX as u64 && LONGEST_V3.as_millis() == 0xfff * 10);
