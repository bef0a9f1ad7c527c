//! Sending advertisements.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::place::is_link_local;
use super::{Duty, Phase, Router, virtual_mac};
use crate::vrrp::codec::{Advertisement, depends_on_destination, encode};
use crate::vrrp::effect::{Advertise, Effect};
use crate::vrrp::outbox::Outbox;

/// RFC 9568 section 5.1.1.2.
pub const GROUP_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
/// RFC 9568 section 5.1.2.2.
pub const GROUP_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12));

/// The lowest priority of a router that takes part.
pub const LOWEST: u8 = 1;
/// Answers to foreign advertisements do not come closer than this, so that a flood is not answered with a flood.
const CLOSEST: Duration = Duration::from_millis(1);

impl Router {
    /// The multicast group of its family.
    pub fn group(&self) -> IpAddr {
        if self.config().is_ipv4() { GROUP_V4 } else { GROUP_V6 }
    }

    /// One advertisement, as one packet for all destinations or, where the checksum covers the destination, one for each.
    /// None without an interface and an address to speak from.
    pub fn advertisements(&self, priority: u8) -> Vec<Advertise> {
        let Some(place) = &self.place else { return Vec::new() };
        let Some(source) = place.source else { return Vec::new() };
        let config = self.config();
        let advertisement = self.advertisement(priority);
        let multicast = config.unicast_peers.is_empty();
        let destinations = if multicast { vec![self.group()] } else { config.unicast_peers.clone() };
        let each = if depends_on_destination(&advertisement, config.is_ipv4()) { 1 } else { destinations.len() };
        let source_mac = if multicast && config.virtual_mac { virtual_mac(config) } else { place.mac };
        let packet = |destinations: &[IpAddr]| Advertise {
            interface: place.index,
            source,
            destinations: destinations.to_vec(),
            source_mac,
            payload: encode(&advertisement, source, destinations[0]),
        };
        destinations.chunks(each).map(packet).collect()
    }

    fn advertisement(&self, priority: u8) -> Advertisement {
        let config = self.config();
        let mut addresses: Vec<IpAddr> = config.addresses.iter().map(|address| address.addr()).collect();
        // The first IPv6 address is a link-local one, if there is one (RFC 9568 section 5.2.9, erratum 8300).
        addresses.sort_by_key(|address| !matches!(address, IpAddr::V6(address) if is_link_local(*address)));
        Advertisement {
            version: config.version,
            vrid: config.vrid,
            priority,
            interval: config.advertisement_interval,
            addresses,
            authentication: config.authentication,
            checksum: self.checksum(),
        }
    }

    /// Says that we are master. The timer that says so again is the caller's.
    pub fn say_master(&mut self, out: &mut Outbox) {
        self.counters.sent += 1;
        self.advertisements(self.priority).into_iter().for_each(|packet| out.push(Effect::Advertise(packet)));
    }

    /// Says that we are leaving: priority 0. An interface that is down cannot carry it.
    pub fn say_farewell(&mut self, out: &mut Outbox) {
        if !self.place.as_ref().is_some_and(|place| place.running) {
            return;
        }
        self.counters.priority_zero_sent += 1;
        self.advertisements(0).into_iter().for_each(|packet| out.push(Effect::Advertise(packet)));
    }

    /// Says once that we *were* master, to a better one that may not know: if it never heard us, clients and switches that
    /// learned us meanwhile would stay with us until its next refresh. RFC 9568 section 6.4.3 has it answer a lower
    /// priority at once, and it announces its addresses anew (as keepalived does). Priority 1, the lowest there is,
    /// contests nothing: not the master, should its own priority have dropped just now, nor a third node's timer.
    ///
    /// Not from the virtual MAC address: that would bring the switches back to us, and clients have nothing else to learn.
    pub fn say_parting(&mut self, out: &mut Outbox) {
        if self.config().virtual_mac {
            return;
        }
        self.counters.sent += 1;
        self.advertisements(LOWEST).into_iter().for_each(|packet| out.push(Effect::Advertise(packet)));
    }

    /// Says at once that we are master, and again one interval later; nothing unless we serve.
    pub fn assert_master(&mut self, now: Duration, out: &mut Outbox) {
        let interval = self.config().advertisement_interval;
        let Phase::Master(master) = &mut self.phase else { return };
        let Duty::Serving { next } = &mut master.duty else { return };
        if now < master.advertised + CLOSEST {
            return;
        }
        *next = now + interval;
        master.advertised = now;
        self.say_master(out);
    }
}
