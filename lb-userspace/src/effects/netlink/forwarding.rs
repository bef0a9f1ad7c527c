//! Whether the kernel forwards what comes in by an interface. Replies of translated backends are routed by its table, which
//! it refuses for interfaces that it would not route from itself.

use std::fs;

/// The setting for `family`, `ipv4` or `ipv6`; `None` where there is no such interface or family. In the network namespace
/// of the calling thread.
pub fn forwards(interface: &str, family: &str) -> Option<bool> {
    let value = fs::read_to_string(format!("/proc/sys/net/{family}/conf/{interface}/forwarding")).ok()?;
    Some(value.trim() != "0")
}
