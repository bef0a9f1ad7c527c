//! A packet to be translated, and what is found out about it on the way.

use crate::abi::{FlowKey6, Reverse, Translation, reverse_flags};
use crate::address::Address;
use crate::checksum::Difference;
use crate::flow::Flow;
use crate::packet::ethernet::{Exit, Frame};
use crate::packet::transport::{Flags, destination_port_wire, ports_wire as both, source_port_wire};
use crate::packet::{Datagram, Part};
use crate::path::nat::WayBack;

/// What the addresses and ports of a packet become.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ends {
    /// The source address.
    pub source: Address,
    /// The destination address.
    pub destination: Address,
    /// Both ports, as they lie in a packet.
    pub ports_wire: u32,
}

/// What is to be done with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Task {
    /// A client's packet goes to the backend of `row`.
    Request,
    /// The same of a packet of this host's own under `nat`: it gets another source port.
    OwnRequest,
    /// A backend's goes to its client.
    Reply,
    /// An ICMP error about a reply goes to the backend of `row`.
    ErrorForBackend,
    /// An ICMP error about a request goes to its client.
    ErrorForClient,
}

/// A packet to be translated, and what is known of it. Values are those of the path so far, but for the offsets: they come out of
/// memory, and are checked again.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// What is to be done.
    pub task: Task,
    /// The addresses and ports are those of `becomes` already: a later fragment.
    pub is_decided: bool,
    /// The flow begins with this packet: `record` was made for it, under `key`.
    pub begins: bool,
    /// TCP's flags.
    pub flags: Flags,
    /// A reply without a record is not translated.
    pub recorded_only: bool,
    /// Its frame.
    pub frame: Frame,
    /// Its datagram.
    pub datagram: Datagram,
    /// Of an error: the datagram that it quotes.
    pub about: Datagram,
    /// The flow, in the direction of the packet or of what an error answers.
    pub key: FlowKey6,
    /// The other direction, as it arrives.
    pub back: FlowKey6,
    /// A record in the making.
    pub record: Translation,
    /// What the flow's addresses and ports become.
    pub becomes: Ends,
    /// How the packet leaves.
    pub way: WayBack,
    /// What the rewritten quote adds to a checksum over it.
    pub inner: Difference,
    /// The row of a request; of a reply that which signs are counted for.
    pub row: u32,
    /// The live word of the service.
    pub live: u32,
    /// Names the prefixes whose replies are left alone, for one without a record; 0 = none.
    pub exclude: u32,
    /// Keys the hash of the sources that are tried.
    pub seed: u64,
}

impl Ends {
    #[inline(always)]
    pub(super) fn of(translation: &Translation) -> Self {
        let Translation { source, destination, ports_wire, .. } = *translation;
        Self { source, destination, ports_wire }
    }
}

impl From<&Translation> for Ends {
    fn from(translation: &Translation) -> Self {
        Self::of(translation)
    }
}

impl Work {
    #[inline(always)]
    pub(super) fn fill(&mut self, task: Task, frame: &Frame, datagram: &Datagram, flow: &Flow) {
        (self.task, self.is_decided) = (task, false);
        self.frame = *frame;
        self.datagram = *datagram;
        self.key.source = flow.source;
        self.key.destination = flow.destination;
        self.key.ports_wire = flow.ports_wire;
        self.key.protocol = flow.protocol as u32;
    }

    /// Whether it is an ICMP error.
    #[inline(always)]
    pub fn quotes(&self) -> bool {
        matches!(self.task, Task::ErrorForBackend | Task::ErrorForClient)
    }

    /// Whether it is on its way to a backend, not to a client.
    #[inline(always)]
    pub fn goes_to_backend(&self) -> bool {
        matches!(self.task, Task::Request | Task::OwnRequest | Task::ErrorForBackend)
    }

    /// The source address that the packet itself gets.
    ///
    /// Of an error that is what its sender is known by, if it is the flow's; a router on the way keeps its own, but for a backend that
    /// may have no route to it.
    #[inline(always)]
    pub(super) fn outer_source(&self) -> Address {
        let (own, becomes) = (self.datagram.source, self.becomes.source);
        let is_masked = self.task == Task::ErrorForBackend && becomes != self.key.source;
        if !self.quotes() || own == self.key.source || is_masked { becomes } else { own }
    }

    /// What becomes of a reply without a record, and what is counted for it.
    #[inline(always)]
    pub fn turn_back(&mut self, reverse: &Reverse) {
        self.recorded_only = reverse.flags & reverse_flags::RECORDED_ONLY != 0;
        (self.row, self.live, self.exclude) = (reverse.row, reverse.live, reverse.exclude);
        let ports_wire = self.key.ports_wire;
        let fallback = if reverse.service_port_wire == 0 {
            ports_wire
        } else {
            both(reverse.service_port_wire, destination_port_wire(ports_wire))
        };
        self.becomes = Ends { source: reverse.service, destination: self.key.destination, ports_wire: fallback };
    }

    /// Nothing yet.
    pub const fn new() -> Self {
        const NOWHERE: Address = Address { high: 0, low: 0 };
        const DATAGRAM: Datagram = Datagram {
            source: NOWHERE,
            destination: NOWHERE,
            network: 0,
            transport: 0,
            length: 0,
            identification_wire: 0,
            v4: false,
            protocol: 0,
            time_to_live: 0,
            part: Part::Whole,
        };
        const KEY: FlowKey6 = FlowKey6 { source: NOWHERE, destination: NOWHERE, ports_wire: 0, protocol: 0 };
        Self {
            task: Task::Request,
            is_decided: false,
            begins: false,
            flags: Flags(0),
            recorded_only: false,
            frame: Frame { ethertype_wire: 0, network: 0 },
            datagram: DATAGRAM,
            about: DATAGRAM,
            key: KEY,
            back: KEY,
            record: Translation {
                last_seen: 0,
                source: NOWHERE,
                destination: NOWHERE,
                ports_wire: 0,
                live: 0,
                state: 0,
            },
            becomes: Ends { source: NOWHERE, destination: NOWHERE, ports_wire: 0 },
            way: WayBack {
                exit: Exit { mac_head: 0, mac_tail: 0, interface: 0, tags_wire: [0; 2] },
                neighbour_known: false,
            },
            inner: Difference::NONE,
            row: 0,
            live: 0,
            exclude: 0,
            seed: 0,
        }
    }
}

impl Default for Work {
    fn default() -> Self {
        Self::new()
    }
}

/// The key of the packets that answer those with these ends.
#[inline(always)]
pub fn turned(ends: &Ends, protocol: u32) -> FlowKey6 {
    let (source, destination) = (ends.destination, ends.source);
    FlowKey6 { source, destination, ports_wire: turned_ports(ends.ports_wire), protocol }
}

#[inline(always)]
pub(super) fn turned_ports(ports_wire: u32) -> u32 {
    both(destination_port_wire(ports_wire), source_port_wire(ports_wire))
}
