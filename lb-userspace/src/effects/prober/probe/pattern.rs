//! What an answer must hold, compiled.

use std::fmt;

use regex::bytes::Regex;

use crate::config::check::Pattern;
use crate::config::compiled;

/// Of what is shown of an answer in a reason, so many octets.
const MOST_SHOWN: usize = 60;

/// A compiled [`Pattern`].
#[derive(Debug)]
pub(super) enum Matcher {
    Contains(Vec<u8>),
    Matches(Regex),
}

impl Matcher {
    /// # Errors
    /// When a regular expression is none, or too large to be compiled.
    pub(super) fn new(pattern: &Pattern) -> Result<Self, String> {
        match pattern {
            Pattern::Contains(octets) => Ok(Self::Contains(octets.clone())),
            Pattern::Matches(text) => {
                compiled(text).map(Self::Matches).ok_or_else(|| format!("/{text}/ is no regular expression"))
            }
        }
    }

    /// Where the first match ends.
    pub(super) fn find_end(&self, octets: &[u8]) -> Option<usize> {
        match self {
            Self::Contains(wanted) if wanted.is_empty() => Some(0),
            Self::Contains(wanted) => {
                octets.windows(wanted.len()).position(|window| window == wanted).map(|start| start + wanted.len())
            }
            Self::Matches(regex) => regex.find(octets).map(|found| found.end()),
        }
    }
}

/// `"text"`, `/expression/`.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contains(octets) => Shown(octets).fmt(f),
            Self::Matches(regex) => write!(f, "/{regex}/"),
        }
    }
}

/// Octets in quotes, escaped; of many, the first.
pub(super) struct Shown<'a>(pub(super) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, more) = match self.0.get(..MOST_SHOWN) {
            Some(shown) if shown.len() < self.0.len() => (shown, "…"),
            _ => (self.0, ""),
        };
        write!(f, "\"{}{more}\"", shown.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_ends_after_its_last_octet() {
        let contains = |text: &str| Matcher::new(&Pattern::Contains(text.into())).unwrap();
        let matches = |text: &str| Matcher::new(&Pattern::Matches(text.into())).unwrap();
        assert_eq!(contains("PONG").find_end(b"+PONG\r\n"), Some(5));
        assert_eq!(contains("PONG").find_end(b"+PON"), None);
        assert_eq!(contains("").find_end(b""), Some(0));
        assert_eq!(matches(r"^[0-9]+\.[0-9]").find_end(b"8.0.36"), Some(3));
        assert_eq!(matches(r"(?-u)\xff").find_end(b"a\xffb"), Some(2));
        assert_eq!(matches("ok$").find_end(b"not ok yet"), None);
    }

    #[test]
    fn what_is_no_expression_says_why() {
        let error = Matcher::new(&Pattern::Matches("(".into())).unwrap_err();
        assert_eq!(error, "/(/ is no regular expression");
    }

    #[test]
    fn octets_are_shown_escaped_and_short() {
        assert_eq!(Shown(b"a\r\n\xff\"").to_string(), r#""a\r\n\xff\"""#);
        assert_eq!(Shown(&[b'x'; 61]).to_string().chars().count(), MOST_SHOWN + 3);
        assert_eq!(Shown(&[b'x'; 60]).to_string().chars().count(), MOST_SHOWN + 2);
    }
}
