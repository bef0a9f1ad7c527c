//! The link between the two nodes of a pair, as one of them has it configured.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fairway::playground::Lab;

/// See the module's description.
pub struct PeerLink {
    /// The other node.
    pub other: IpAddr,
    /// Between two heartbeats, and how many may be missed; as by default where it is not said.
    pub heartbeat: Option<(Duration, u32)>,
    /// How long a node that stepped down or restarted leaves the other alone.
    pub hold: &'static str,
}

impl PeerLink {
    /// The `[peer]` of Fairway's configuration, with a key that both nodes of the lab share.
    ///
    /// # Errors
    /// When the lab's directory cannot be written.
    pub fn for_fairway(&self, lab: &Lab) -> Result<String> {
        let key = lab.directory().join("peer.key");
        fs::write(&key, "6b".repeat(32)).context("writing the pair's key")?;
        let heartbeat = self
            .heartbeat
            .map(|(interval, misses)| format!("heartbeat = \"{}ms\"\nmisses = {misses}\n", interval.as_millis()));
        let Self { other, hold, .. } = self;
        Ok(format!(
            "\n[peer]\naddresses = [\"{other}\"]\nkey_file = \"{key}\"\n{heartbeat}hold = \"{hold}\"\n",
            key = key.display(),
            heartbeat = heartbeat.unwrap_or_default(),
        ))
    }
}
