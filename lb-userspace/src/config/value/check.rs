//! Values that only checks hold.

use super::{Converted, Fault, string, wrong_type};
use crate::config::check::{ExpectStep, Octets, Pattern};
use crate::config::code::Code;
use crate::config::keys::Kind;
use regex::bytes::Regex;
use toml::de::DeValue;

/// Octets of a compiled expression: one that needs more is a mistake.
const MAX_REGEX: usize = 1 << 20;

/// [`Kind::Share`].
pub(in super::super) fn share(kind: &Kind, value: &DeValue<'_>) -> Converted<f64> {
    let share = match value {
        DeValue::Integer(written) => written.as_str().parse().unwrap_or(f64::NAN),
        DeValue::Float(written) => written.as_str().parse().unwrap_or(f64::NAN),
        _ => return Err(wrong_type(kind, value)),
    };
    if (0.0..=1.0).contains(&share) {
        return Ok(share);
    }
    Err(Fault::new(Code::OutOfRange, "must be 0.0 to 1.0").help("a half is 0.5"))
}

/// [`Kind::Regex`].
pub(in super::super) fn regex(kind: &Kind, value: &DeValue<'_>) -> Converted<String> {
    expression(string(kind, value)?)
}

fn expression(text: &str) -> Converted<String> {
    match regex::bytes::RegexBuilder::new(text).size_limit(MAX_REGEX).build() {
        Ok(_) => Ok(text.to_owned()),
        Err(regex::Error::CompiledTooBig(_)) => {
            Err(Fault::new(Code::OutOfRange, "is a regular expression that is too large").help("repeat less in it"))
        }
        Err(error) => Err(Fault::new(Code::BadValue, format!("is no regular expression: {}", last_line(&error)))
            .help("write \"^ok\", say; in TOML '...' leaves backslashes alone")),
    }
}

/// The crate draws the expression above what it says of it.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// The expression that was checked when the file was read.
pub fn compiled(expression: &str) -> Option<Regex> {
    regex::bytes::RegexBuilder::new(expression).size_limit(MAX_REGEX).build().ok()
}

/// [`Kind::Text`] that stands for octets: `\r`, `\n`, `\t`, `\0`, `\\`, `\xHH`.
pub(in super::super) fn octets(kind: &Kind, value: &DeValue<'_>) -> Converted<Octets> {
    unescape(&super::text(kind, value)?)
}

fn unescape(text: &str) -> Converted<Octets> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    let mut encoded = [0; 4];
    while let Some(character) = rest.next() {
        if character != '\\' {
            octets.extend_from_slice(character.encode_utf8(&mut encoded).as_bytes());
            continue;
        }
        octets.push(match rest.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                let number = Some(&digits).filter(|digits| digits.chars().all(|digit| digit.is_ascii_hexdigit()));
                number
                    .filter(|digits| digits.len() == 2)
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                    .ok_or_else(|| {
                        Fault::new(Code::BadValue, format!("has `\\x{digits}`, which is no octet"))
                            .help("write two digits: `\\x0d`")
                    })?
            }
            other => {
                let written = other.map_or_else(String::new, String::from);
                return Err(Fault::new(Code::BadValue, format!("has `\\{written}`, which stands for nothing"))
                    .help("`\\r`, `\\n`, `\\t`, `\\0` and `\\xHH` stand for octets, `\\\\` for a backslash"));
            }
        });
    }
    Ok(octets)
}

/// An item of [`Kind::Headers`].
pub(in super::super) fn header(text: &str) -> Converted<(String, String)> {
    let shape = || Fault::new(Code::BadValue, format!("is no header field: {text:?}")).help("write \"Name: value\"");
    let (name, value) = text.split_once(':').ok_or_else(shape)?;
    let is_token = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet);
    if name.is_empty() || !name.bytes().all(is_token) || value.chars().any(char::is_control) {
        return Err(shape());
    }
    Ok((name.to_owned(), value.trim().to_owned()))
}

/// An item of [`Kind::StatusRanges`]: `204`, `200-299`.
pub(in super::super) fn status(text: &str) -> Converted<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let code = |text: &str| text.parse().ok().filter(|code| (100..=599).contains(code));
    match (code(first), code(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(Fault::new(Code::BadValue, format!("is neither a status code nor a range: {text:?}"))
            .help("write \"200\" or \"200-299\"")),
    }
}

/// An item of [`Kind::Steps`].
pub(in super::super) fn step(text: &str) -> Converted<ExpectStep> {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let fault = || {
        Fault::new(Code::BadValue, format!("is no step: {text:?}"))
            .help("write \"send PING\\\\r\\\\n\", \"expect +PONG\" or \"match ^220\"")
    };
    if rest.is_empty() {
        return Err(fault());
    }
    match verb {
        "send" => Ok(ExpectStep::Send(unescape(rest)?)),
        "expect" => Ok(ExpectStep::Expect(Pattern::Contains(unescape(rest)?))),
        "match" => Ok(ExpectStep::Expect(Pattern::Matches(expression(rest)?))),
        _ => Err(fault()),
    }
}
