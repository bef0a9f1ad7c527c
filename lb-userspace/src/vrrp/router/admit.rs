//! Whether a received packet is an advertisement that this virtual router listens to (RFC 9568 section 7.1).
//!
//! Each packet that is not ends under one reason. Another address list is none: an advertisement that were dropped for it
//! would leave two masters, by one address that was forgotten on one node.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Router;
use crate::config::VrrpVersion;
use crate::happening::Happening;
use crate::vrrp::codec::{Advertisement, Form, Rejected, decode};
use crate::vrrp::event::Received;
use crate::vrrp::outbox::Outbox;

/// TTL and hop limit on the link: nobody has forwarded it (RFC 9568 section 5.1.1.3).
const ON_LINK: u8 = 255;

impl Router {
    /// The advertisement in a packet, counted either way.
    pub fn admit(&mut self, packet: &Received<'_>, out: &mut Outbox) -> Option<Advertisement> {
        match self.examine(packet) {
            Ok(advertisement) => {
                self.take_note(&advertisement, packet.source, out);
                Some(advertisement)
            }
            Err(reason) => {
                *self.counters.errors.entry(reason.name().to_string()).or_default() += 1;
                None
            }
        }
    }

    fn examine(&self, packet: &Received<'_>) -> Result<Advertisement, Rejected> {
        self.check_ends(packet)?;
        let config = self.config();
        let advertisement = decode(packet.payload, packet.source, packet.destination, config.version)?;
        if advertisement.authentication != config.authentication {
            return Err(Rejected::Authentication);
        }
        // Version 3 learns the master's interval; in version 2 all must agree (RFC 3768 section 7.1).
        let agrees = advertisement.interval == config.advertisement_interval;
        if config.version == VrrpVersion::V2 && !agrees {
            return Err(Rejected::Interval);
        }
        Ok(advertisement)
    }

    /// Where it comes from and goes to.
    fn check_ends(&self, packet: &Received<'_>) -> Result<(), Rejected> {
        let config = self.config();
        let is_own = |address| self.place.as_ref().is_some_and(|place| place.is_own(address));
        if is_own(packet.source) {
            return Err(Rejected::OwnAddress);
        }
        let unicast = !config.unicast_peers.is_empty();
        let for_us = if unicast { is_own(packet.destination) } else { packet.destination == self.group() };
        if !for_us {
            return Err(Rejected::Destination);
        }
        if unicast && !config.unicast_peers.contains(&packet.source) {
            return Err(Rejected::Source);
        }
        let least = if unicast { config.unicast_minimum_ttl } else { ON_LINK };
        if packet.ttl < least {
            return Err(Rejected::Ttl);
        }
        Ok(())
    }

    fn take_note(&mut self, advertisement: &Advertisement, source: IpAddr, out: &mut Outbox) {
        self.counters.received += 1;
        self.counters.priority_zero_received += u64::from(advertisement.priority == 0);
        match advertisement.checksum {
            Form::PseudoHeader => self.counters.checksum_pseudo_header += 1,
            Form::Plain => self.counters.checksum_plain += 1,
        }
        self.form = advertisement.checksum;
        self.compare_addresses(advertisement, source, out);
    }

    fn compare_addresses(&mut self, advertisement: &Advertisement, source: IpAddr, out: &mut Outbox) {
        let ours = self.config().addresses.iter().map(|address| address.addr());
        if ours.clone().eq(advertisement.addresses.iter().copied()) {
            self.difference = None;
            return;
        }
        let ours: BTreeSet<IpAddr> = ours.collect();
        let theirs: BTreeSet<IpAddr> = advertisement.addresses.iter().copied().collect();
        if ours == theirs {
            self.difference = None;
            return;
        }
        self.counters.address_list_differs += 1;
        let difference = difference(source, &ours, &theirs);
        if self.difference.as_ref() != Some(&difference) {
            self.difference = Some(difference.clone());
            out.tell(Happening::AddressesDiffer { router: self.name.to_string(), address: source, difference });
        }
    }
}

/// `10.0.0.2 lacks 10.0.0.9 and has 10.0.0.8 besides`.
fn difference(source: IpAddr, ours: &BTreeSet<IpAddr>, theirs: &BTreeSet<IpAddr>) -> String {
    let list = |addresses: Vec<String>| addresses.join(", ");
    let lacks = list(ours.difference(theirs).map(IpAddr::to_string).collect());
    let besides = list(theirs.difference(ours).map(IpAddr::to_string).collect());
    match (lacks.is_empty(), besides.is_empty()) {
        (false, true) => format!("{source} lacks {lacks}"),
        (true, _) => format!("{source} has {besides} besides"),
        (false, false) => format!("{source} lacks {lacks} and has {besides} besides"),
    }
}
