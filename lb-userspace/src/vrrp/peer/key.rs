//! The key file of the peer link: one line, hexadecimal or any text.

use std::fmt;

/// Octets a key must have at least.
pub const SHORTEST_KEY: usize = 16;

/// Octets a key may have at most.
pub const LONGEST_KEY: usize = 1_024;

/// Why a key file holds no key. The text never quotes the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing in it.
    #[error("the key file is empty; `head -c 32 /dev/urandom | xxd -p -c 64` makes a key")]
    Empty,
    /// More than one line.
    #[error("the key file has more than one line; a key is one line")]
    Lines,
    /// Hexadecimal with half an octet.
    #[error("the key is an odd number of hexadecimal digits: is the end missing?")]
    OddDigits,
    /// Too short, by octets.
    #[error("the key has {0}; at least {SHORTEST_KEY} are needed")]
    Short(Octets),
    /// Too long, by octets.
    #[error("the key has {0}; at most {LONGEST_KEY} are taken")]
    Long(Octets),
}

/// A number of octets, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Octets(pub usize);

impl fmt::Display for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} octet{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

/// The key in a key file's text: one line. A line of hexadecimal digits alone is decoded, any other is taken as it is;
/// white space around it does not count.
///
/// # Errors
///
/// Anything but one line of [`SHORTEST_KEY`] to [`LONGEST_KEY`] octets.
pub fn parse_key(text: &str) -> Result<Vec<u8>, KeyError> {
    let line = text.trim();
    if line.is_empty() {
        return Err(KeyError::Empty);
    }
    if line.contains(['\n', '\r']) {
        return Err(KeyError::Lines);
    }
    let key = match line.bytes().map(hexadecimal_digit).collect::<Option<Vec<u8>>>() {
        Some(digits) if digits.len() % 2 == 1 => return Err(KeyError::OddDigits),
        Some(digits) => digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect(),
        None => line.as_bytes().to_vec(),
    };
    match key.len() {
        short if short < SHORTEST_KEY => Err(KeyError::Short(Octets(short))),
        long if long > LONGEST_KEY => Err(KeyError::Long(Octets(long))),
        _ => Ok(key),
    }
}

fn hexadecimal_digit(octet: u8) -> Option<u8> {
    char::from(octet).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_of_enough_octets_is_a_key() {
        let hexadecimal = (0..16).collect::<Vec<u8>>();
        assert_eq!(parse_key("000102030405060708090a0B0c0D0e0f\n"), Ok(hexadecimal));
        assert_eq!(parse_key("  correct horse battery\r\n"), Ok(b"correct horse battery".to_vec()));
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        let cases = [
            ("", KeyError::Empty),
            (" \n\n", KeyError::Empty),
            ("first line of a key\nsecond line of it", KeyError::Lines),
            ("000102030405060708090a0b0c0d0e0", KeyError::OddDigits),
            ("0123456789abcdef", KeyError::Short(Octets(8))),
            ("fifteen octets!", KeyError::Short(Octets(15))),
            (&"x".repeat(1_025), KeyError::Long(Octets(1_025))),
        ];
        for (text, error) in cases {
            assert_eq!(parse_key(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn an_error_says_how_long_the_key_is_and_not_what_it_is() {
        let error = parse_key("0123456789abcdef").unwrap_err().to_string();
        assert_eq!(error, "the key has 8 octets; at least 16 are needed");
    }
}
