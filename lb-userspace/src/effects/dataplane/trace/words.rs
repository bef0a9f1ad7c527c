//! From the tracing program's terse lines to words: numbers become the names of services, backends and interfaces.
//!
//! A line is the packet's number, a keyword, and numbers (`lb-ebpf/src/trace.rs` writes them). A packet's lines follow one
//! another on its CPU, whose number is the upper part of the packet's, but lines of other CPUs may come between.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use lb_common::counters::Reason;
use lb_common::packet::protocol;
use lb_common::slot::{NONE, Slot, SlotState};

use crate::reconcile::rows::RowIndex;

/// Words lines.
pub struct Words {
    names: RowIndex,
    interface: fn(u32) -> String,
    packets: u64,
    open: BTreeMap<u64, Packet>,
}

/// What has been told of the last packet of a CPU.
#[derive(Default)]
struct Packet {
    number: u64,
    shown: u64,
    ends: Option<(IpAddr, IpAddr)>,
    ports: Option<(u16, u16)>,
    protocol: u8,
    time_to_live: u8,
    first_row: u32,
}

/// The CPU that a packet's number names.
const CPU_SHIFT: u32 = 48;

impl Words {
    /// With these names for rows and interfaces.
    pub fn new(names: RowIndex, interface: fn(u32) -> String) -> Self {
        Self { names, interface, packets: 0, open: BTreeMap::new() }
    }

    /// What a line says; `None` if that goes with a later line, or if it is not one of ours.
    pub fn step(&mut self, line: &str) -> Option<String> {
        let mut words = Numbers(line.split(' '));
        let number = words.number()?;
        let keyword = words.0.next()?;
        let cpu = number >> CPU_SHIFT;
        let mut packet = self.open.remove(&cpu).filter(|packet| packet.number == number).unwrap_or_else(|| {
            self.packets += 1;
            Packet { number, shown: self.packets, ..Packet::default() }
        });
        let said = self.say(&mut packet, keyword, &mut words);
        let shown = packet.shown;
        self.open.insert(cpu, packet);
        said.map(|said| format!("#{shown} {said}"))
    }

    fn say(&self, packet: &mut Packet, keyword: &str, words: &mut Numbers<'_>) -> Option<String> {
        match keyword {
            "packet" => {
                packet.ends = Some((words.address()?, words.address()?));
                (packet.protocol, packet.time_to_live) = (words.number()?, words.number()?);
                None
            }
            "ports" => {
                packet.ports = Some((words.number()?, words.number()?));
                None
            }
            "size" => Some(packet.describe(words.number()?, &(self.interface)(words.number()?))),
            "quote" => {
                let (client, service) = (words.socket()?, words.socket()?);
                Some(format!("an error about the flow {client} > {service}"))
            }
            "named" => Some(match words.number::<u8>()? {
                1 => "its connection ID names its backend".to_owned(),
                _ => "its connection ID names no backend that is alive".to_owned(),
            }),
            "slot" => self.slot(packet, words),
            "record" => {
                let (backend, is_new) = (words.number()?, words.number::<u8>()? == 1);
                let backend = self.backend(packet.first_row, backend);
                Some(if is_new { format!("recorded: {backend}") } else { format!("its record says {backend}") })
            }
            "refused" => Some("a record was due: the flow table is full".to_owned()),
            "reply" => {
                let (backend, service) = (words.address()?, words.socket()?);
                Some(format!("a reply of backend {backend}, turned back to come from {service}"))
            }
            "row" => Some(self.row(words.number()?)),
            "becomes" => {
                let (source, destination) = (words.socket()?, words.socket()?);
                Some(format!("its translation is recorded: it becomes {source} > {destination}"))
            }
            "verdict" => self.verdict(words.number()?, words.number()?),
            _ => None,
        }
    }

    fn slot(&self, packet: &mut Packet, words: &mut Numbers<'_>) -> Option<String> {
        let (index, slot): (u32, _) = (words.number()?, Slot(words.number()?));
        packet.first_row = words.number()?;
        let current = self.backend(packet.first_row, slot.current());
        let state = match slot.state() {
            SlotState::Settled => "settled".to_owned(),
            SlotState::Unsettled => {
                format!("unsettled, before that {}", self.backend(packet.first_row, slot.previous()))
            }
            SlotState::Exceptions => "settled but for recorded flows".to_owned(),
        };
        Some(format!("slot {index}: {current} ({state})"))
    }

    fn backend(&self, first_row: u32, index: u16) -> String {
        if index == NONE {
            return "no backend".to_owned();
        }
        match self.names.get(first_row + u32::from(index)) {
            Some(owner) => owner.identity.to_string(),
            None => format!("backend {index}"),
        }
    }

    fn row(&self, number: u32) -> String {
        match self.names.get(number) {
            Some(owner) => format!("to {} of {}, {} (row {number})", owner.identity, owner.service, owner.listener),
            None => format!("to row {number}"),
        }
    }

    /// The numbers are those of `fate` in the tracing program.
    fn verdict(&self, fate: u32, number: u32) -> Option<String> {
        let reason = || Reason::ALL.get(number as usize).map(|reason| reason.name());
        match fate {
            0 => Some(format!("sent back out of {}", (self.interface)(number))),
            1 => Some(format!("sent out of {}", (self.interface)(number))),
            2 => Some(format!("passed to this host: {}", reason()?)),
            3 => Some(format!("dropped: {}", reason()?)),
            _ => None,
        }
    }
}

impl Packet {
    fn describe(&self, octets: u32, interface: &str) -> String {
        let Some((source, destination)) = self.ends else { return format!("a frame without IP, in by {interface}") };
        let (from, to) = match self.ports {
            Some((from, to)) => {
                (SocketAddr::new(source, from).to_string(), SocketAddr::new(destination, to).to_string())
            }
            None => (source.to_string(), destination.to_string()),
        };
        let (protocol, time_to_live) = (protocol_name(self.protocol), self.time_to_live);
        format!("{from} > {to}, {protocol}, {octets} octets, time to live {time_to_live}, in by {interface}")
    }
}

fn protocol_name(number: u8) -> String {
    match number {
        protocol::TCP => "tcp".to_owned(),
        protocol::UDP => "udp".to_owned(),
        protocol::SCTP => "sctp".to_owned(),
        protocol::ESP => "esp".to_owned(),
        protocol::AH => "ah".to_owned(),
        protocol::ICMP => "icmp".to_owned(),
        protocol::ICMPV6 => "icmpv6".to_owned(),
        other => format!("protocol {other}"),
    }
}

/// The words of a line, one after the other.
struct Numbers<'a>(std::str::Split<'a, char>);

impl Numbers<'_> {
    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.0.next()?.parse().ok()
    }

    /// IPv4 addresses come in their v4-mapped form.
    fn address(&mut self) -> Option<IpAddr> {
        self.number::<Ipv6Addr>().map(|address| address.to_canonical())
    }

    fn socket(&mut self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.address()?, self.number()?))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{Listener, Ports, Protocol};
    use crate::reconcile::rows::RowOwner;

    #[test]
    fn the_lines_of_a_packet_become_its_story() {
        let story = worded(&[
            "7 packet ::ffff:10.0.0.1 ::ffff:192.0.2.1 6 64",
            "7 ports 40000 80",
            "7 size 60 3",
            "7 slot 4711 65538 16",
            "7 record 1 0",
            "7 row 17",
            "7 verdict 1 4",
        ]);
        assert_eq!(
            story,
            [
                "#1 10.0.0.1:40000 > 192.0.2.1:80, tcp, 60 octets, time to live 64, in by eth3",
                "#1 slot 4711: backend 2 (unsettled, before that two)",
                "#1 its record says two",
                "#1 to two of web, tcp://192.0.2.1:80 (row 17)",
                "#1 sent out of eth4",
            ]
        );
    }

    #[test]
    fn a_connection_id_names_a_backend_or_none() {
        let story = worded(&["7 size 60 3", "7 named 1", "7 row 17", "8 size 60 3", "8 named 0", "8 slot 4711 1 16"]);
        assert_eq!(
            story,
            [
                "#1 a frame without IP, in by eth3",
                "#1 its connection ID names its backend",
                "#1 to two of web, tcp://192.0.2.1:80 (row 17)",
                "#2 a frame without IP, in by eth3",
                "#2 its connection ID names no backend that is alive",
                "#2 slot 4711: two (unsettled, before that backend 0)",
            ]
        );
    }

    #[test]
    fn packets_of_two_cpus_are_told_apart() {
        let other = (1u64 << CPU_SHIFT) + 7;
        let [size, dropped] = [format!("{other} size 0 2"), format!("{other} verdict 3 {}", Reason::TimeToLive as u32)];
        let story = worded(&["7 size 0 1", &size, "7 verdict 2 0", &dropped]);
        assert_eq!(
            story,
            [
                "#1 a frame without IP, in by eth1",
                "#2 a frame without IP, in by eth2",
                "#1 passed to this host: not-ip",
                "#2 dropped: time-to-live",
            ]
        );
    }

    #[test]
    fn lines_that_are_not_ours_say_nothing() {
        assert!(worded(&["", "7", "seven size 1 1", "7 size one 1", "7 verdict 9 9", "7 verdict 3 9999"]).is_empty());
    }

    fn worded(lines: &[&str]) -> Vec<String> {
        let mut names = RowIndex::default();
        let address = "192.0.2.1".parse().expect("an address");
        let owner = RowOwner {
            service: Arc::from("web"),
            identity: Arc::from("two"),
            listener: Listener { protocol: Protocol::Tcp, address, ports: Ports::One(80) },
        };
        names.insert(17, owner, "10.0.0.12".parse().expect("an address"));
        let mut words = Words::new(names, |index| format!("eth{index}"));
        lines.iter().filter_map(|line| words.step(line)).collect()
    }
}
