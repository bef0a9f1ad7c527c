//! Values that only virtual routers, the peer link and the hook hold.

use super::{Converted, Fault, integer, interface as interface_name, name, parse_address, string, wrong_type};
use crate::config::code::Code;
use crate::config::keys::Kind;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr};
use toml::de::DeValue;

/// [`Kind::Flag`].
pub(in super::super) fn flag(kind: &Kind, value: &DeValue<'_>) -> Converted<bool> {
    value.as_bool().ok_or_else(|| wrong_type(kind, value))
}

/// [`Kind::Signed`].
pub(in super::super) fn signed(kind: &Kind, value: &DeValue<'_>) -> Converted<i32> {
    let (Kind::Signed { min, max }, DeValue::Integer(written)) = (kind, value) else {
        return Err(wrong_type(kind, value));
    };
    let number = i32::from_str_radix(written.as_str(), written.radix()).ok();
    number
        .filter(|number| (*min..=*max).contains(number))
        .ok_or_else(|| Fault::new(Code::OutOfRange, format!("must be {min} to {max}, not {written}")))
}

/// [`Kind::Positive`].
pub(in super::super) fn positive(kind: &Kind, value: &DeValue<'_>) -> Converted<f64> {
    let number = match value {
        DeValue::Integer(_) => f64::from(integer(kind, value, 0, u32::MAX)?),
        DeValue::Float(written) => written.as_str().parse().unwrap_or(f64::NAN),
        _ => return Err(wrong_type(kind, value)),
    };
    if number.is_finite() && number > 0.0 {
        return Ok(number);
    }
    Err(Fault::new(Code::OutOfRange, "must be above 0, and finite"))
}

/// [`Kind::OptionalName`]; empty is `None`.
pub(in super::super) fn optional_name(kind: &Kind, value: &DeValue<'_>) -> Converted<Option<String>> {
    let text = string(kind, value)?;
    if text.is_empty() { Ok(None) } else { name(text).map(Some) }
}

/// [`Kind::Interface`].
pub(in super::super) fn one_interface(kind: &Kind, value: &DeValue<'_>) -> Converted<String> {
    interface_name(string(kind, value)?)
}

/// [`Kind::LinkAddress`].
pub(in super::super) fn link_address(kind: &Kind, value: &DeValue<'_>) -> Converted<IpAddr> {
    address_on_link(string(kind, value)?)
}

/// An item of [`Kind::LinkAddresses`].
pub(in super::super) fn address_on_link(text: &str) -> Converted<IpAddr> {
    match text.parse::<Ipv6Addr>() {
        Ok(address) if address.is_unicast_link_local() => Ok(IpAddr::V6(address)),
        _ => parse_address(text),
    }
}

/// An item of [`Kind::Addresses`].
pub(in super::super) fn one_address(text: &str) -> Converted<IpAddr> {
    parse_address(text)
}

/// An item of [`Kind::VirtualAddresses`]: an address alone is a /32 or /128.
pub(in super::super) fn virtual_address(text: &str) -> Converted<IpNet> {
    let Some((host, length)) = text.split_once('/') else { return address_on_link(text).map(IpNet::from) };
    let address = address_on_link(host)?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = length.parse::<u8>().ok().filter(|length| (1..=longest).contains(length)).ok_or_else(|| {
        Fault::new(Code::BadValue, format!("has no prefix length between 1 and {longest}: {text:?}"))
            .help(format!("write \"{address}/{longest}\""))
    })?;
    Ok(IpNet::new(address, length).expect("the length was compared with the longest"))
}

/// [`Kind::Network`].
pub(in super::super) fn one_network(kind: &Kind, value: &DeValue<'_>) -> Converted<IpNet> {
    super::network(string(kind, value)?)
}

/// An item of [`Kind::Command`].
pub(in super::super) fn argument(text: &str) -> Converted<String> {
    if text.contains('\0') {
        return Err(Fault::new(Code::BadValue, "has a zero byte, which no argument can have"));
    }
    Ok(text.to_owned())
}
