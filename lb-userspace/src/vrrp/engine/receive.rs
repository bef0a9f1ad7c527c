//! VRRP packets find their virtual router.

use std::time::Duration;

use super::Engine;
use crate::vrrp::codec;
use crate::vrrp::event::Received;

impl Engine {
    /// A packet came in. One that concerns no virtual router of ours is counted as stray.
    pub(super) fn received(&mut self, now: Duration, packet: &Received<'_>) {
        let index = match self.concerned(packet) {
            Ok(index) => index,
            Err(reason) => {
                *self.stray.entry(reason.to_string()).or_default() += 1;
                return;
            }
        };
        let router = &mut self.routers[index];
        let form = router.form;
        let Some(advertisement) = router.admit(packet, &mut self.out) else { return };
        self.testament_is_stale |= router.form != form;
        self.touched.insert(index);
        let suspected = router.suspects() && advertisement.priority > 0;
        let intent = router.hear(now, &self.node, &advertisement, packet.source, &mut self.out);
        if suspected {
            self.peer_lives_unheard(now);
        }
        if let Some(intent) = intent {
            self.carry_out(now, index, intent);
        }
    }

    fn concerned(&self, packet: &Received<'_>) -> Result<usize, &'static str> {
        let vrid = codec::vrid(packet.payload).ok_or("length")?;
        let key = (packet.interface, packet.source.is_ipv4(), vrid);
        if let Some(index) = self.by_packet.get(&key) {
            return Ok(*index);
        }
        let any = (packet.interface, false, 0)..=(packet.interface, true, u8::MAX);
        Err(if self.by_packet.range(any).next().is_some() { "vrid" } else { "interface" })
    }
}
