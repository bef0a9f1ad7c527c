//! What the tables shall hold of services that go by QUIC's connection IDs.

use std::collections::BTreeMap;

use lb_common::abi::{ConnectionIds, ServerKey};
use zerocopy::transmute;

use super::placed::{Placed, identity_of};
use crate::config::{ServerId, Service as ServiceConfig, UdpMode};
use crate::scheduler::pool::Pool;

/// Whether a service goes by connection IDs, where its listener is UDP's.
pub fn is_quic(config: &ServiceConfig) -> bool {
    config.udp == UdpMode::Quic
}

/// What listeners of a service say of connection IDs, whose packets are counted at this place.
pub fn connection_ids(config: &ServiceConfig, place: u16) -> ConnectionIds {
    // All are of one length. Without any it does not matter.
    let length = config.backends.iter().find_map(|backend| backend.server_id).map_or(1, |id| id.octets().len() as u8);
    ConnectionIds::new(place, config.quic.bits(), length)
}

/// Whose the server IDs of a service are, by index in its pool. Those that were removed have none: what names them goes by the lookup
/// table.
pub fn server_ids(placed: &Placed, pool: &Pool) -> BTreeMap<ServerKey, u16> {
    let backends = placed.config.backends.iter().filter(|_| is_quic(&placed.config));
    let named = backends.filter_map(|backend| {
        let member = pool.member(&identity_of(backend))?;
        Some((key(backend.server_id?, placed.pool), member.index))
    });
    named.collect()
}

fn key(id: ServerId, pool: u32) -> ServerKey {
    let mut octets = [0; 16];
    octets[..id.octets().len()].copy_from_slice(id.octets());
    ServerKey { id: transmute!(octets), pool: pool.into() }
}
