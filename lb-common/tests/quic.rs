//! Where QUIC's packets name a server.

use lb_common::abi::ConnectionIds;
use lb_common::packet::Packet;
use lb_common::packet::transport::UDP_HEADER;
use lb_common::path::quic::{Question, named};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A UDP datagram, and what of the frame lies behind it.
struct Octets<'a>(&'a [u8]);

impl Packet for Octets<'_> {
    fn load<T: FromBytes + Copy>(&self, offset: usize) -> Option<T> {
        T::read_from_prefix(self.0.get(offset..)?).ok().map(|(value, _)| value)
    }

    fn store<T: IntoBytes + Immutable + Copy>(&mut self, _: usize, _: T) -> Option<()> {
        unreachable!("nothing is written")
    }

    fn front<T: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned>(&mut self) -> Option<&mut T> {
        unreachable!("nothing is written")
    }

    fn adjust_head(&mut self, _: i32) -> Option<()> {
        unreachable!("nothing is written")
    }

    fn truncate(&mut self, _: usize) -> Option<()> {
        unreachable!("nothing is written")
    }

    fn interface(&self) -> u32 {
        0
    }
}

const SHORT: u8 = 0x40;
const INITIAL: u8 = 0xc0;
/// What follows a connection ID, at least.
const REST: usize = 24;

/// A datagram with this payload in a frame of so many octets more.
fn datagram(payload: &[u8], behind: usize) -> Vec<u8> {
    let length = (UDP_HEADER + payload.len()) as u16;
    let header = [40_000u16, 443, length, 0].map(u16::to_be_bytes);
    [header.as_flattened(), payload, &[0; 64][..behind]].concat()
}

fn short(id: &[u8]) -> Vec<u8> {
    [&[SHORT], id, &[0x55; REST]].concat()
}

fn long(version: u32, length: u8, id: &[u8]) -> Vec<u8> {
    [&[INITIAL], version.to_be_bytes().as_slice(), &[length], id, &[0], &[0x55; REST]].concat()
}

/// The server ID in a payload, for server IDs of so many octets under configuration 2; and whether the header is long.
fn asked(payload: &[u8], length: u8) -> Option<(Option<Vec<u8>>, bool)> {
    let octets = datagram(payload, 0);
    let ids = ConnectionIds::new(1, 1 << 2, length);
    let (id, is_long) = named(&Octets(&octets), Question { transport: 0, ids, pool: 1, first_row: 0 })?;
    Some((id.map(|id| id.octets()[..length as usize].to_vec()), is_long))
}

/// A connection ID of configuration 2 with a server ID that counts up from 1.
fn id(server: u8, nonce: usize) -> Vec<u8> {
    let server: Vec<u8> = (1..=server).collect();
    [&[0x40 | 9], server.as_slice(), &[0xee; 16][..nonce]].concat()
}

#[test]
fn a_server_id_of_every_length_is_found_under_both_headers() {
    for length in 1..=15u8 {
        let expected: Vec<u8> = (1..=length).collect();
        let id = id(length, 4);
        assert_eq!(asked(&short(&id), length), Some((Some(expected.clone()), false)), "short, {length}");
        assert_eq!(asked(&long(1, id.len() as u8, &id), length), Some((Some(expected), true)), "long, {length}");
    }
}

#[test]
fn the_version_does_not_matter() {
    let id = id(3, 8);
    for version in [1, 0x6b33_43cf, 0, 0xface_b00c] {
        assert_eq!(asked(&long(version, 12, &id), 3), Some((Some(vec![1, 2, 3]), true)), "version {version:#x}");
    }
}

#[test]
fn a_connection_id_that_is_too_short_or_too_long_names_no_server() {
    let server = [id(3, 16), vec![0; 255]].concat();
    for (length, found) in [(0, false), (1, false), (7, false), (8, true), (20, true), (21, false), (255, false)] {
        let (named, is_long) = asked(&long(1, length, &server[..length as usize]), 3).expect("a header");
        assert_eq!((named.is_some(), is_long), (found, true), "of {length} octets");
    }
}

#[test]
fn another_configuration_names_no_server() {
    for configuration in 0..8u8 {
        let mut id = id(3, 8);
        id[0] = configuration << 5;
        let named = asked(&short(&id), 3).expect("a header").0;
        assert_eq!(named.is_some(), configuration == 2, "{configuration}");
        let named = asked(&long(1, 12, &id), 3).expect("a header").0;
        assert_eq!(named.is_some(), configuration == 2, "{configuration}");
    }
}

#[test]
fn a_datagram_that_is_cut_short_names_no_server() {
    let payload = short(&id(3, 8));
    for length in 0..payload.len() {
        let named = asked(&payload[..length], 3).and_then(|found| found.0);
        // One and three octets of ID, and the nonce; and eight octets from the server ID on.
        assert_eq!(named.is_some(), length >= 10, "{length} octets of a short header's packet");
    }
    let payload = long(1, 12, &id(3, 8));
    for length in 0..payload.len() {
        let named = asked(&payload[..length], 3).and_then(|found| found.0);
        assert_eq!(named.is_some(), length >= 15, "{length} octets of a long header's packet");
    }
}

#[test]
fn what_lies_behind_the_datagram_is_not_read() {
    // A frame is padded to 60 octets.
    let octets = datagram(&short(&id(3, 8))[..4], 18);
    let question = Question { transport: 0, ids: ConnectionIds::new(1, 1 << 2, 3), pool: 1, first_row: 0 };
    assert_eq!(named(&Octets(&octets), question), Some((None, false)));
}

#[test]
fn an_empty_datagram_has_no_header() {
    assert_eq!(asked(&[], 3), None);
    assert_eq!(asked(&[SHORT], 3), None);
}
