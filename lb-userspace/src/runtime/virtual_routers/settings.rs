//! What the engine needs of the configuration, and of the key file that it names.

use anyhow::Context as _;

use crate::config::{Config, Peer, VirtualRouter};
use crate::controller::Controller;
use crate::vrrp::event::{RouterSettings, Settings};
use crate::vrrp::peer::parse_key;

/// The engine's settings.
///
/// # Errors
/// When the key cannot be read.
pub(super) fn settings(config: &Config, controller: &Controller) -> anyhow::Result<Settings> {
    let followed = |name: &str| config.services.iter().any(|service| service.vrrp.as_deref() == Some(name));
    let uplinks = Controller::uplink_tracks(config);
    let with_uplinks = |router: &VirtualRouter| {
        let mut router = router.clone();
        router.tracks.extend(uplinks.iter().cloned());
        router
    };
    let routers = config.virtual_routers.iter().map(|router| RouterSettings {
        router: with_uplinks(router),
        live: followed(&router.name).then(|| controller.live_index(&router.name)).flatten(),
    });
    Ok(Settings { routers: routers.collect(), peer: key(config)?, ready_timeout: config.dataplane.ready_timeout })
}

/// The peer and the key shared with it.
///
/// # Errors
/// When the key cannot be read.
pub(in crate::runtime) fn key(config: &Config) -> anyhow::Result<Option<(Peer, Vec<u8>)>> {
    let Some(peer) = &config.peer else { return Ok(None) };
    let path = peer.key_file.display();
    let text = std::fs::read_to_string(&peer.key_file).with_context(|| format!("reading peer.key_file, {path}"))?;
    let key = parse_key(&text).with_context(|| format!("peer.key_file, {path}"))?;
    Ok(Some((peer.clone(), key)))
}
