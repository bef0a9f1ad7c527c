//! From one TOML value to one typed value: what a key's kind allows, and what to say where it does not. Knows neither
//! the key's name nor its place; `reader` adds both.

pub(super) mod check;
pub(super) mod vrrp;

use super::code::Code;
use super::keys::{Choices, Kind};
use super::model::{Listener, Ports, Protocol, Word};
use super::quic::{MAX_SERVER_ID, ServerId};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use toml::de::DeValue;

/// Characters of a name: it must fit a column of a table.
pub(super) const MAX_NAME: usize = 64;
/// IFNAMSIZ without the final zero.
const MAX_INTERFACE_NAME: usize = 15;
/// How alike (0 to 1) two words must be to suggest one for the other.
const ALIKE: f64 = 0.7;

/// Why a value is refused: code, a sentence's end after "`key` ", and advice.
pub(super) struct Fault {
    pub code: Code,
    pub message: String,
    pub help: Option<String>,
}

impl Fault {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

pub(super) type Converted<T> = Result<T, Fault>;

fn string<'a>(kind: &Kind, value: &'a DeValue<'_>) -> Converted<&'a str> {
    value.as_str().ok_or_else(|| wrong_type(kind, value))
}

/// The fault of a value of another type than the kind's.
pub(super) fn wrong_type(kind: &Kind, value: &DeValue<'_>) -> Fault {
    let fault = Fault::new(Code::WrongType, format!("must be {}, not {}", kind.describe(), with_article(value)));
    match (kind, value) {
        (Kind::Duration { .. }, DeValue::Integer(number)) => {
            fault.help(format!("write the unit: \"{}s\" or \"{}ms\"", number.as_str(), number.as_str()))
        }
        (
            Kind::Integer { .. } | Kind::PowerOfTwo { .. } | Kind::Port | Kind::Signed { .. } | Kind::Positive,
            DeValue::String(_),
        ) => fault.help("leave out the quotes"),
        (
            Kind::Listeners
            | Kind::Networks
            | Kind::Interfaces
            | Kind::Addresses
            | Kind::LinkAddresses
            | Kind::VirtualAddresses
            | Kind::Headers
            | Kind::StatusRanges
            | Kind::Steps,
            DeValue::String(text),
        ) => fault.help(format!("write a list: [{text:?}]")),
        (Kind::Command, DeValue::String(_)) => fault
            .help("write program and arguments apart, for no shell splits them: [\"/usr/local/bin/check\", \"-v\"]"),
        (Kind::Flag, DeValue::String(_)) => fault.help("leave out the quotes"),
        _ => fault,
    }
}

fn with_article(value: &DeValue<'_>) -> String {
    let name = value.type_str();
    let article = if name.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {name}")
}

/// [`Kind::Text`], [`Kind::Name`] and [`Kind::FileName`].
pub(super) fn text(kind: &Kind, value: &DeValue<'_>) -> Converted<String> {
    let text = string(kind, value)?;
    match kind {
        Kind::Text(max) if text.is_empty() => {
            Err(Fault::new(Code::BadValue, "is empty").help(format!("write 1 to {max} bytes, or leave the key out")))
        }
        Kind::Text(max) if text.len() > *max => {
            Err(Fault::new(Code::OutOfRange, format!("has {} bytes, more than {max}", text.len())))
        }
        Kind::Name => name(text),
        Kind::FileName => file_name(text),
        _ => Ok(text.to_owned()),
    }
}

/// [`Kind::Text`] that is a server ID.
pub(super) fn server_id(kind: &Kind, value: &DeValue<'_>) -> Converted<ServerId> {
    let text = text(kind, value)?;
    ServerId::parse(&text).ok_or_else(|| {
        Fault::new(Code::BadValue, format!("is not a server ID: {text:?}"))
            .help(format!("write 1 to {MAX_SERVER_ID} octets in hexadecimal, two digits each: \"0a01\""))
    })
}

/// A name that is shown in tables and typed on command lines.
fn name(text: &str) -> Converted<String> {
    let length = text.chars().count();
    let fault = if text.is_empty() {
        "is empty".to_owned()
    } else if length > MAX_NAME {
        format!("has {length} characters, more than {MAX_NAME}")
    } else if !text.chars().all(is_printable) {
        "has characters that cannot be printed".to_owned()
    } else if text.trim() != text {
        "begins or ends with a space".to_owned()
    } else {
        return Ok(text.to_owned());
    };
    Err(Fault::new(Code::BadName, fault).help(format!("a name has 1 to {MAX_NAME} printable characters")))
}

/// A name that is also the name of a directory, hence without a slash.
pub(super) fn file_name(text: &str) -> Converted<String> {
    if text.contains('/') || text == "." || text == ".." {
        return Err(Fault::new(Code::BadName, "cannot be the name of a directory")
            .help("the node's name is a directory below `dataplane.pin_path`: leave out slashes"));
    }
    name(text)
}

/// Whether a character takes up space of its own: `escape_debug` leaves exactly those, and the quotes, alone.
fn is_printable(character: char) -> bool {
    matches!(character, '"' | '\'' | '\\') || character.escape_debug().len() == 1
}

/// [`Kind::Path`].
pub(super) fn path(kind: &Kind, value: &DeValue<'_>) -> Converted<PathBuf> {
    let text = string(kind, value)?;
    let Kind::Path(max) = kind else { return Err(wrong_type(kind, value)) };
    if !text.starts_with('/') {
        return Err(Fault::new(Code::BadValue, "is not an absolute path").help("begin it with `/`"));
    }
    if text.contains('\0') {
        return Err(Fault::new(Code::BadValue, "has a zero byte, which no path can have"));
    }
    if text.len() > *max {
        return Err(Fault::new(Code::OutOfRange, format!("has {} bytes, more than {max}", text.len())));
    }
    Ok(PathBuf::from(text))
}

/// [`Kind::SocketAddress`]; empty is `None`.
pub(super) fn socket_address(kind: &Kind, value: &DeValue<'_>) -> Converted<Option<SocketAddr>> {
    let text = string(kind, value)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Fault::new(Code::BadValue, format!("is not an address and port: {text:?}"))
            .help("write \"127.0.0.1:9910\" or \"[::1]:9910\", or \"\" to turn it off")
    })
}

fn integer(kind: &Kind, value: &DeValue<'_>, min: u32, max: u32) -> Converted<u32> {
    let DeValue::Integer(written) = value else { return Err(wrong_type(kind, value)) };
    let number = i128::from_str_radix(written.as_str(), written.radix()).ok();
    number
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| Fault::new(Code::OutOfRange, format!("must be {min} to {max}, not {written}")))
}

/// [`Kind::Integer`], [`Kind::PowerOfTwo`] and [`Kind::Port`].
pub(super) fn number(kind: &Kind, value: &DeValue<'_>) -> Converted<u32> {
    match kind {
        Kind::Integer { min, max } => integer(kind, value, *min, *max),
        Kind::Port => integer(kind, value, 1, u32::from(u16::MAX)),
        Kind::PowerOfTwo { min, max } => power_of_two(integer(kind, value, *min, *max)?),
        _ => Err(wrong_type(kind, value)),
    }
}

fn power_of_two(number: u32) -> Converted<u32> {
    if number.is_power_of_two() {
        return Ok(number);
    }
    let above = number.next_power_of_two();
    Err(Fault::new(Code::BadValue, format!("is not a power of two: {number}"))
        .help(format!("the nearest are {} and {above}", above / 2)))
}

/// [`Kind::Duration`].
pub(super) fn duration(kind: &Kind, value: &DeValue<'_>) -> Converted<Duration> {
    let text = string(kind, value)?;
    let Kind::Duration { min, max } = kind else { return Err(wrong_type(kind, value)) };
    let duration = humantime::parse_duration(text).map_err(|error| {
        Fault::new(Code::BadValue, format!("is not a duration: {error}")).help("write \"15m\", \"90s\" or \"1h 30m\"")
    })?;
    let (min, max) = (Duration::from_millis(*min), Duration::from_millis(*max));
    if (min..=max).contains(&duration) {
        return Ok(duration);
    }
    let [min, max] = [min, max].map(humantime::format_duration);
    Err(Fault::new(Code::OutOfRange, format!("must be {min} to {max}, not {text}")))
}

/// [`Kind::Choice`].
pub(super) fn choice<T: Word>(kind: &Kind, value: &DeValue<'_>) -> Converted<T> {
    let text = string(kind, value)?;
    let Kind::Choice(choices) = kind else { return Err(wrong_type(kind, value)) };
    match T::ALL.iter().find(|(word, _)| *word == text) {
        Some((_, value)) => Ok(*value),
        None => alias(text, choices).ok_or_else(|| no_choice(text, choices)),
    }
}

/// What another program's word stands for, if that will do.
fn alias<T: Word>(text: &str, choices: &Choices) -> Option<T> {
    let (_, word) = choices.aliases.iter().find(|(alias, _)| choices.aliases_are_taken && *alias == text)?;
    T::ALL.iter().find(|(known, _)| known == word).map(|(_, value)| *value)
}

fn no_choice(text: &str, choices: &Choices) -> Fault {
    let now = (choices.now)().join("`, `");
    if choices.later.contains(&text) {
        return Fault::new(Code::NotYet, format!("= {text:?} is not in this version")).help(format!("use `{now}`"));
    }
    let fault = Fault::new(Code::UnknownChoice, format!("cannot be {text:?}"));
    let alias = choices.aliases.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(text)).map(|(_, word)| *word);
    let known = (choices.now)().into_iter().chain(choices.later.iter().copied());
    match alias.or_else(|| nearest(text, known)) {
        Some(word) if choices.later.contains(&word) => {
            fault.help(format!("`{word}` is not in this version; use `{now}`"))
        }
        Some(word) => fault.help(format!("did you mean `{word}`?")),
        None => fault.help(format!("use `{now}`")),
    }
}

/// The word most like what was written, if one is alike enough to be what was meant.
pub(crate) fn nearest<'a>(written: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    words
        .map(|word| (strsim::jaro_winkler(&written, word), word))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, word)| word)
}

/// [`Kind::Address`]: a backend's.
pub(super) fn address(kind: &Kind, value: &DeValue<'_>) -> Converted<IpAddr> {
    parse_address(string(kind, value)?)
}

fn parse_address(text: &str) -> Converted<IpAddr> {
    let address: IpAddr = text.parse().map_err(|_| {
        let fault = Fault::new(Code::BadValue, format!("is not an IP address: {text:?}"));
        if text.parse::<IpNet>().is_ok() {
            fault.help("leave out the prefix length")
        } else if text.parse::<SocketAddr>().is_ok() {
            fault.help("the port has a key of its own: `port`")
        } else {
            fault.help("write it in numbers: names are not looked up, so that a reload never waits for DNS")
        }
    })?;
    usable(address)
}

/// An address that packets can be forwarded for or to.
fn usable(address: IpAddr) -> Converted<IpAddr> {
    let (why, help) = match address {
        _ if address.is_unspecified() => {
            ("the unspecified address, which no packet is sent to", "name the address itself")
        }
        _ if address.is_multicast() => ("a multicast address; only unicast is balanced", "use a unicast address"),
        _ if address.is_loopback() => {
            ("a loopback address, which never leaves a host", "use an address other hosts can reach")
        }
        IpAddr::V4(Ipv4Addr::BROADCAST) => ("the broadcast address; only unicast is balanced", "use a unicast address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => (
            "a link-local address, which is not unique across interfaces",
            "use a global or unique local (fc00::/7) address",
        ),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => {
                return Err(
                    unusable(address, "an IPv4-mapped address, which is never on the wire").help(format!("write {v4}"))
                );
            }
            None => return Ok(address),
        },
        IpAddr::V4(_) => return Ok(address),
    };
    Err(unusable(address, why).help(help))
}

fn unusable(address: IpAddr, why: &str) -> Fault {
    Fault::new(Code::UnusableAddress, format!("cannot be {address}: it is {why}"))
}

/// An item of [`Kind::Listeners`]: `tcp://203.0.113.10:80`, `udp://[2001:db8::1]:*`, `esp://203.0.113.10`.
pub(super) fn listener(text: &str) -> Converted<Listener> {
    let shape = || bad_listener(text, "write \"tcp://ADDRESS:PORT\", say, or \"esp://ADDRESS\"");
    let (scheme, rest) = text.split_once("://").ok_or_else(shape)?;
    let protocol = Protocol::ALL.iter().find(|(word, _)| *word == scheme).map(|(_, protocol)| *protocol);
    let protocols = || Protocol::ALL.iter().map(|(word, _)| *word).collect::<Vec<_>>().join("`, `");
    let protocol = protocol
        .ok_or_else(|| bad_listener(text, format!("the protocol is one of `{}`, in lower case", protocols())))?;
    let port = if protocol.has_ports() { ":PORT" } else { "" };
    let brackets = |what: &str| bad_listener(text, format!("put {what} in brackets: \"{scheme}://[ADDRESS]{port}\""));
    if rest.parse::<std::net::Ipv6Addr>().is_ok() {
        return Err(brackets("an IPv6 address"));
    }
    let (host, ports) = match rest.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
        Some((host, port)) if protocol.has_ports() => (host, listener_ports(text, port)?),
        None if !protocol.has_ports() => (rest, Ports::Every),
        Some(_) => return Err(bad_listener(text, format!("{scheme} has no ports: write \"{scheme}://ADDRESS\""))),
        None => return Err(bad_listener(text, "add the port, a range as `:8000-8099`, or `:*` for every port")),
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if bracketed.is_some() != bracketed.unwrap_or(host).contains(':') {
        return Err(brackets("an IPv6 address, and no other,"));
    }
    let address = parse_address(bracketed.unwrap_or(host))?;
    Ok(Listener { protocol, address, ports })
}

fn listener_ports(text: &str, ports: &str) -> Converted<Ports> {
    if ports == "*" {
        return Ok(Ports::Every);
    }
    let Some((first, last)) = ports.split_once('-') else { return Ok(Ports::One(listener_port(text, ports)?)) };
    let (first, last) = (listener_port(text, first)?, listener_port(text, last)?);
    if first >= last {
        return Err(bad_listener(text, "the second port of a range is higher than the first"));
    }
    Ok(Ports::Range(first, last))
}

fn listener_port(text: &str, port: &str) -> Converted<u16> {
    match port.parse() {
        Ok(0) => Err(bad_listener(text, "port 0 is no port; write `*` for every port")),
        // `parse` takes a leading plus sign.
        Ok(number) if port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
        _ => Err(bad_listener(text, "ports are 1 to 65535; one, a range as `8000-8099`, or `*` for every port")),
    }
}

fn bad_listener(text: &str, help: impl Into<String>) -> Fault {
    Fault::new(Code::BadValue, format!("is not a listener: {text:?}")).help(help)
}

/// An item of [`Kind::Networks`]; an address stands for itself.
pub(super) fn network(text: &str) -> Converted<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let network: IpNet = text.parse().map_err(|_| {
        Fault::new(Code::BadValue, format!("is not a network: {text:?}")).help("write \"10.0.0.0/8\" or \"fd00::/8\"")
    })?;
    if network.addr() == network.network() {
        return Ok(network);
    }
    Err(Fault::new(Code::BadValue, format!("is a host's address with a network's length: {text:?}"))
        .help(format!("write \"{}\"", network.trunc())))
}

/// An item of [`Kind::Interfaces`]: what the kernel takes for a name.
pub(super) fn interface(text: &str) -> Converted<String> {
    let named = |c: char| !c.is_whitespace() && !c.is_control() && c != '/' && c != ':';
    if (1..=MAX_INTERFACE_NAME).contains(&text.len()) && text.chars().all(named) && text != "." && text != ".." {
        return Ok(text.to_owned());
    }
    Err(Fault::new(Code::BadName, format!("is not the name of an interface: {text:?}"))
        .help(format!("1 to {MAX_INTERFACE_NAME} bytes without space, slash and colon; `ip link` lists them")))
}
