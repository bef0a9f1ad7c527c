//! What QUIC's connection IDs say of servers, typed. As with [`super::model`], a value that exists is valid.

use std::fmt;

use serde::{Serialize, Serializer};

/// Octets of the longest server ID: QUIC-LB's limit.
pub(super) const MAX_SERVER_ID: usize = 15;

/// Who a backend is in the connection IDs that it gives: 1 to 15 octets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId {
    octets: [u8; MAX_SERVER_ID],
    length: u8,
}

impl ServerId {
    /// Reads pairs of hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> =
            text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
        let (pairs, rest) = digits.as_chunks::<2>();
        if pairs.is_empty() || pairs.len() > MAX_SERVER_ID || !rest.is_empty() {
            return None;
        }
        let mut octets = [0; MAX_SERVER_ID];
        for (octet, [high, low]) in octets.iter_mut().zip(pairs) {
            *octet = high << 4 | low;
        }
        Some(Self { octets, length: pairs.len() as u8 })
    }

    /// Its octets.
    pub fn octets(&self) -> &[u8] {
        &self.octets[..self.length.into()]
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.octets().iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ServerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The configuration IDs, 0 to 6, of connection IDs that name servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Configurations {
    /// What servers use.
    pub usual: u8,
    /// What they used before, or will.
    pub other: Option<u8>,
}

impl Configurations {
    /// A bit for each.
    pub fn bits(self) -> u8 {
        1 << self.usual | self.other.map_or(0, |other| 1 << other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_id_is_read_in_either_case_and_printed_in_lower() {
        let id = ServerId::parse("0aF1").unwrap();
        assert_eq!(id.octets(), [0x0a, 0xf1]);
        assert_eq!(id.to_string(), "0af1");
        assert_eq!(ServerId::parse(&"5e".repeat(15)).unwrap().octets(), [0x5e; 15]);
    }

    #[test]
    fn what_is_no_server_id_is_none() {
        for text in ["", "0", "0x01", "0g", "010", "é1", &"5e".repeat(16)] {
            assert_eq!(ServerId::parse(text), None, "{text:?}");
        }
    }
}
