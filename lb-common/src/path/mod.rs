//! The path of one packet: classify → live? → select → forward → count. A packet that is not for a service is passed on before
//! anything else can touch it; whatever is addressed to a service and not understood is dropped under a reason.

pub mod access;
pub mod classify;
mod direct;
mod fragment;
mod icmp;
mod live_word;
pub mod nat;
pub mod oversize;
pub mod own_client;
pub mod plain;
mod probe;
pub mod quic;
mod select;
pub mod signs;
pub mod stateful;
pub mod translation;
pub mod tunnel;

use crate::abi::{
    Access, BucketKey, Chooser, ClientKey, Destination, Displacements, FlowKey6, FragmentEntry, FragmentKey, Load,
    ProbeTarget, Ranges, Record, Reverse, Root, Row, ServerKey, Service, Sources, Translation, Tunnel, method,
    reverse_flags, root_flags, row_state,
};
use crate::access::Limit;
use crate::address::Address;
use crate::connection::Counted;
use crate::counters::{Fate, Reason};
use crate::flow::Flow;
use crate::packet::ethernet::{self, Exit, Frame, ethertype};
use crate::packet::transport::{self, Flags};
use crate::packet::{Datagram, Packet, Part, ipv4, ipv6, protocol};
use crate::scheduler::Go;
use crate::scheduler::locality::Servers;
use crate::slot::Slot;
use plain::Plain;
use translation::{Ends, Task, Work};

/// What the packet path asks of the maps and the kernel. Every method is one look-up; none decides anything.
pub trait Tables {
    /// Where look-ups start.
    fn root(&self) -> Option<&Root>;
    /// The displacements of one half.
    fn displacements(&self, half: u32) -> Option<&Displacements>;
    /// An entry of the service table, over both halves.
    fn service(&self, index: u32) -> Option<&Service>;
    /// The same by half and place in it, both as small as they have to be.
    #[inline(always)]
    fn service_in(&self, half: u32, entry: u32) -> Option<&Service> {
        self.service(classify::over_both(half, entry))
    }
    /// An entry of the reverse table, over both halves.
    fn reverse(&self, index: u32) -> Option<&Reverse>;
    /// Ranges of ports, over both halves.
    fn ranges(&self, index: u32) -> Option<&Ranges>;
    /// The index of the listener that a port belongs to: what [`classify::listener`] says. Asked through here so that the kernel may find
    /// out apart.
    #[inline(always)]
    fn listener(&self, word: u64, address: Address, port_wire: u16, protocol: u8) -> u32
    where
        Self: Sized,
    {
        classify::listener(self, word, address, port_wire, protocol)
    }
    /// The index of the entry of translated backends that has a port with others: what [`classify::of_several`] says. Asked through here
    /// so that the kernel may find out apart.
    #[inline(always)]
    fn of_several(&self, word: u64, backend: Address, port_wire: u16, protocol: u8) -> u32
    where
        Self: Sized,
    {
        classify::of_several(self, word, backend, port_wire, protocol)
    }
    /// Whether this node is live for a virtual router, by the index of its live word: one load. Out of range: not live.
    fn is_live(&self, index: u32) -> bool;
    /// Whether records of connections that began at the node that was master may still be on their way, by the index of the live word:
    /// one load.
    fn awaits_records(&self, index: u32) -> bool;
    /// The word of a slot: one load.
    fn slot(&self, index: u32) -> Option<Slot>;
    /// Whether a listener takes AH to an address: what [`classify::takes_ah`] says. Asked through here so that the kernel may find out
    /// apart.
    #[inline(always)]
    fn takes_ah(&self, address: Address) -> bool
    where
        Self: Sized,
    {
        classify::takes_ah(self, address)
    }
    /// How to reach a backend.
    fn row(&self, index: u32) -> Option<&Row>;
    /// What packets of a `tunnel` row are put into.
    fn tunnel(&self, row: u32) -> Option<&Tunnel>;
    /// Puts a packet into another: what [`tunnel::wrap`] does. Asked through here so that the kernel may do it apart.
    #[inline(always)]
    fn wrap<P: Packet>(&self, packet: &mut P, question: tunnel::Question) -> Result<u32, Reason>
    where
        Self: Sized,
    {
        tunnel::wrap(packet, self, question)
    }
    /// Whether one more packet that does not fit may be answered now.
    fn may_answer(&self) -> bool;
    /// Counts a packet of `bytes` forwarded by a row.
    fn count(&self, row: u32, bytes: u32, opens: bool);
    /// Counts a sign that the backend of a row does not do well; none beyond all rows.
    fn note_sign(&self, row: u32, sign: signs::Sign);
    /// Leaves the mark of a SYN at a place below [`crate::limits::SYN_MARKS`]; the mark that was there, or 0.
    fn mark_syn(&self, place: u32, mark: u64) -> u64;
    /// Counts a packet that was not forwarded.
    fn count_reason(&self, reason: Reason);
    /// Coarse monotonic time in nanoseconds.
    fn now(&self) -> u64;
    /// Coarse time in nanoseconds since whenever, which tells how long ago another packet was, and nothing of user space's clock. In the
    /// kernel it costs less.
    #[inline(always)]
    fn ticked(&self) -> u64 {
        self.now()
    }
    /// Runs `act` on the record of a flow, if there is one.
    fn with_record<R>(&self, flow: &Flow, act: impl FnOnce(&mut Record) -> R) -> Option<R>;
    /// Makes a record of a flow that has none.
    fn insert_record(&self, flow: &Flow, record: Record) -> Inserted;
    /// Notes that a record for a flow of `slot` could not be made.
    fn note_refusal(&self, slot: u32, now: u64);
    /// Whose a flow of a stateful service is: what [`stateful::owner`] says. Asked through here so that the kernel may do it apart.
    #[inline(always)]
    fn owner(&self, service: &Service, flow: &Flow, flags: Option<Flags>) -> u32
    where
        Self: Sized,
    {
        stateful::owner(self, service, flow, flags)
    }
    /// Whether a service lets a packet in: what [`access::admission`] says. Asked through here so that the kernel may do it apart.
    #[inline(always)]
    fn admission(&self, service: &Service, flow: &Flow, flags: Option<Flags>) -> u32
    where
        Self: Sized,
    {
        access::admission(self, service, flow, flags)
    }
    /// Which backend a packet's connection ID names: what [`quic::find`] says. Asked through here so that the kernel may do it apart.
    #[inline(always)]
    fn by_connection_id<P: Packet>(&self, packet: &P, question: quic::Question) -> u32
    where
        Self: Sized,
    {
        quic::find(packet, self, question)
    }
    /// The index in its pool of the backend that has a server ID.
    fn server(&self, key: &ServerKey) -> Option<u32>;
    /// Counts a packet of a service that goes by connection IDs, at its place.
    fn count_quic(&self, place: u32, by: quic::By);
    /// Which clients may come to a service, but for when its bucket is full again.
    fn access(&self, index: u32) -> Option<Access>;
    /// What the longest prefix of a set says that holds `client`: one of [`crate::abi::admission`]; `None` if none does.
    fn prefix_admission(&self, set: u32, client: Address) -> Option<u32>;
    /// Takes a token out of the bucket of a service, by its access rules; whether there was one.
    fn take_of_service(&self, access: u32, limit: Limit, now: u64) -> bool;
    /// Takes a token out of the bucket of a client; whether there was one.
    fn take_of_client(&self, client: &BucketKey, limit: Limit, now: u64) -> bool;
    /// Who chooses backends in a stateful service, but for whose turn it is.
    fn chooser(&self, index: u32) -> Option<Chooser>;
    /// Whose turn it is in a stateful service, for all CPUs; 0 if there is no such one.
    fn turn(&self, chooser: u32) -> u64;
    /// Puts `after` in the place of whose turn it is, if it is still `before`; whether it was.
    fn take_turn(&self, chooser: u32, before: u64, after: u64) -> bool;
    /// Any number.
    fn random(&self) -> u32;
    /// What a backend of a stateful service may take, and what it has.
    fn load(&self, index: u32) -> Option<Load>;
    /// Changes the counts of a load.
    fn count_connections(&self, load: u32, change: Counted);
    /// Notes that the backend of a load is full.
    fn close(&self, load: u32);
    /// Runs `act` on the record of a flow of a stateful service, if there is one.
    fn with_connection<R>(&self, flow: &Flow, act: impl FnOnce(&mut Record) -> R) -> Option<R>;
    /// Makes a record of a flow of a stateful service that has none.
    fn insert_connection(&self, flow: &Flow, record: Record) -> Inserted;
    /// Says that the record of a flow is so now, where another node is to know: one that took the place of an earlier flow's with the same
    /// ends, or whose connection is established. `stateful`: it is one of a stateful service.
    fn tell_record(&self, flow: &Flow, record: Record, stateful: bool);
    /// Counts a flow of a stateful service that could not be recorded.
    fn note_unrecorded(&self);
    /// Runs `act` on what is remembered of a client, if anything is.
    fn with_client<R>(&self, client: &ClientKey, act: impl FnOnce(&mut Record) -> R) -> Option<R>;
    /// Remembers a client of whom nothing is.
    fn insert_client(&self, client: &ClientKey, record: Record) -> Inserted;
    /// Runs `act` on who is remembered for a destination, at first on [`Servers::default`]; `None` if nobody can be.
    fn with_servers<R>(&self, destination: &Destination, act: impl FnOnce(&mut Servers) -> R) -> Option<R>;
    /// Runs `step` with 0, 1, … up to below `times`, until it says to stop.
    fn repeat<F: FnMut(u32) -> Go>(&self, times: u32, step: F);
    /// The sources that full NAT gives flows, of the live half.
    fn sources(&self) -> Option<&Sources>;
    /// Runs `act` on what the packets of a translated flow become, if it is recorded.
    fn with_translation<R>(&self, key: &FlowKey6, act: impl FnOnce(&mut Translation) -> R) -> Option<R>;
    /// Records what they become, if nothing is.
    fn insert_translation(&self, key: &FlowKey6, translation: &Translation) -> Inserted;
    /// Forgets it.
    fn remove_translation(&self, key: &FlowKey6);
    /// Notes what is to be translated by a record.
    fn prepare(&self, note: impl FnOnce(&mut Work)) -> Option<()>;
    /// Translates what was noted just now: what [`translation::carry_out`] does, in the kernel by functions of their own. The
    /// interface that the packet leaves by.
    fn carry_out<P: Packet>(&self, packet: &mut P) -> Result<u32, Reason>;
    /// Notes a backend's packet that may answer this host: what [`own_client::take_up`] does, in the kernel by functions of their own.
    fn take_up<P: Packet>(&self, packet: &P) -> bool;
    /// What the first fragment of a datagram decided.
    fn fragment(&self, key: &FragmentKey) -> Option<FragmentEntry>;
    /// Remembers what the first fragment of a datagram decided.
    fn remember_fragment(&self, key: &FragmentKey, entry: FragmentEntry);
    /// Whether replies to `destination` are left alone, by the excluded prefixes named `exclude`.
    fn is_excluded(&self, exclude: u32, destination: Address) -> bool;
    /// The target that a probe under way asks from a local port, or with an identifier, by [`crate::probe::place`]: one load.
    fn probed(&self, place: u32) -> Option<u32>;
    /// Whom a probe asks.
    fn probe_target(&self, index: u32) -> Option<&ProbeTarget>;
    /// The host's route for a packet that came in by `interface`.
    fn route(&self, query: &RouteQuery) -> Route;
    /// For a VLAN interface, the interface below it and its tags.
    fn vlan(&self, interface: u32) -> Option<(u32, [u32; 2])>;
    /// Hands the frame as it now is to user space; `network` is where its IP header starts.
    fn hand_over(&self, network: usize) -> bool;
    /// Whether a tracer is told what happens: then the packet takes the path that says it step by step.
    #[inline(always)]
    fn is_traced(&self) -> bool {
        false
    }
    /// Tells a tracer what happens; the forwarding program compiles it away.
    #[inline(always)]
    fn trace(&self, _step: Step) {}
}

/// How making a record ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inserted {
    /// It is there.
    Done,
    /// Another CPU was first.
    Exists,
    /// The table is full.
    Full,
}

/// A question to the host's routing table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteQuery {
    /// Source address after translation.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Ports after translation, as they lie in the packet.
    pub ports_wire: u32,
    /// Octets from the IP header on.
    pub length: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Whether it is IPv4.
    pub v4: bool,
    /// The interface that the packet came in by.
    pub interface: u32,
}

/// The host's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// The next hop is known.
    Forward(Exit),
    /// The destination is this host, or one it does not route to (broadcast, no route at all): the host's to answer. The
    /// kernel does not tell these apart.
    Local,
    /// There is a route, but its neighbour is not known.
    NeighbourUnknown,
    /// There is one that forbids: a black hole, unreachable, prohibited.
    None,
    /// The host does not forward on this interface.
    Disabled,
    /// The packet is larger than the route's MTU.
    TooBig,
}

/// What becomes of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Sent back out of the interface that it came in by.
    Transmit,
    /// Sent out of another interface.
    Redirect(u32),
    /// The host's stack gets it.
    Pass(Reason),
    /// It is gone.
    Drop(Reason),
}

/// What a tracer is told, in the order it happens.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// The packet was read to its IP header.
    Datagram(&'a Datagram),
    /// Its ports, as they lie in the packet.
    Ports(u32),
    /// It is an ICMP error about a packet of this flow.
    Quote(&'a Flow),
    /// It belongs to this flow of a service.
    Flow(&'a Flow),
    /// It follows the virtual router of this live word, and whether this node is live for it.
    Live(u32, bool),
    /// The service has access rules, which say this: one of the numbers of [`access`].
    Admission(u32),
    /// The service is this one.
    Service(&'a Service),
    /// The flow falls on this slot, whose word this is.
    Slot(u32, Slot),
    /// A record says which backend of the pool has the flow.
    Recorded(u16),
    /// No record says so; one was made for this backend.
    NewRecord(u16),
    /// This datagram goes to this backend of the pool; nothing is recorded.
    Chosen(u16),
    /// Its connection ID names this backend of the pool, or none that is alive: then the lookup table says.
    Named(Option<u16>),
    /// A record was due and could not be made.
    Refused,
    /// The packet goes to this row.
    Row(u32),
    /// It is a reply that is turned back.
    Reply(&'a Reverse),
    /// Its flow's translation is recorded: addresses and ports become these.
    Translated(&'a Ends),
    /// What became of it.
    Verdict(Verdict),
}

/// Decides a packet's fate, and rewrites it if it is forwarded. Nearly all packets go by [`plain`]; what it leaves, and every packet that
/// a tracer is told of, by [`process_any`].
#[inline(always)]
pub fn process<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Verdict {
    let plain = if tables.is_traced() { Plain::No } else { plain::begin(packet, tables, |verdict| verdict) };
    match plain {
        Plain::No => process_any(packet, tables),
        Plain::Done(verdict) => verdict,
        Plain::ToWrap(row) => plain::wrap(packet, tables, row),
    }
}

/// The same by the path that knows every packet.
#[inline(always)]
pub fn process_any<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Verdict {
    let fate = match steer(packet, tables) {
        Err(Reason::NotTranslated) => own_client::answer(packet, tables),
        fate => fate,
    };
    let verdict = verdict(packet, tables, fate);
    tables.trace(Step::Verdict(verdict));
    verdict
}

/// What is done with a packet that leaves by an interface, or does not.
#[inline(always)]
fn verdict<P: Packet, T: Tables>(packet: &P, tables: &T, fate: Result<u32, Reason>) -> Verdict {
    match fate {
        Ok(interface) if interface == packet.interface() => Verdict::Transmit,
        Ok(interface) => Verdict::Redirect(interface),
        Err(reason) => {
            tables.count_reason(reason);
            match reason.fate() {
                Fate::Pass => Verdict::Pass(reason),
                // The packet is gone, and its frame holds the answer.
                Fate::Drop if reason as u32 == Reason::TooBigAnswered as u32 => Verdict::Transmit,
                Fate::Drop => Verdict::Drop(reason),
            }
        }
    }
}

/// The interface that the rewritten packet leaves by, or why it does not.
#[inline(always)]
fn steer<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Result<u32, Reason> {
    let frame = ethernet::parse(packet).ok_or(Reason::Malformed)?;
    let datagram = match frame.ethertype_wire {
        ethertype::IPV4 => ipv4::parse(packet, frame.network).ok_or(Reason::Malformed)?,
        ethertype::IPV6 => {
            let ends_at_ah = |datagram: &Datagram| tables.takes_ah(datagram.destination);
            ipv6::parse(packet, frame.network, ends_at_ah).ok_or(Reason::Malformed)?
        }
        tag if ethernet::is_tag(tag) => return Err(Reason::TooDeep),
        _ => return Err(Reason::NotIp),
    };
    tables.trace(Step::Datagram(&datagram));
    if datagram.part == Part::Later {
        return fragment::later(packet, tables, &frame, &datagram);
    }
    // Of protocols that are balanced: the bits of the first word that are ports.
    let ports = match datagram.protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => Some(u32::MAX),
        protocol::ESP | protocol::AH => Some(packet.nothing()),
        _ => None,
    };
    let result = match (ports, datagram.protocol) {
        (Some(ports), _) => of_flow(packet, tables, &frame, &datagram, ports),
        (None, protocol::ICMP) if datagram.v4 => icmp::steer(packet, tables, &frame, &datagram),
        (None, protocol::ICMPV6) if !datagram.v4 => icmp::steer(packet, tables, &frame, &datagram),
        (None, protocol::UNREADABLE) => Err(classify::not_understood(tables, datagram.destination, Reason::Unreadable)),
        (None, _) => Err(Reason::NotService),
    };
    if datagram.part == Part::First
        && let Err(Reason::NotService | Reason::NoBackendPassed | Reason::NotMaster) = result
    {
        fragment::remember_host(tables, &datagram);
    }
    result
}

/// A packet of a protocol that is balanced. Ports come first in those that have any, and something else in the others: `ports` are the
/// bits that are ports.
#[inline(always)]
fn of_flow<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame,
    datagram: &Datagram,
    ports: u32,
) -> Result<u32, Reason> {
    let Some(first) = packet.load::<u32>(datagram.transport) else {
        return Err(classify::not_understood(tables, datagram.destination, Reason::Truncated));
    };
    let ports_wire = first & ports;
    if !protocol::is_portless(datagram.protocol) {
        tables.trace(Step::Ports(ports_wire));
    }
    let flow =
        Flow { source: datagram.source, destination: datagram.destination, ports_wire, protocol: datagram.protocol };
    let live = classify::live(tables)?;
    if let Some(service) = live.service(tables, &flow) {
        return request(packet, tables, frame, datagram, service, &flow);
    }
    if let Some(reverse) = live.reverse_of_source(tables, &flow) {
        if reverse.flags & reverse_flags::RECORDED != 0 {
            return translation::reply(packet, tables, frame, datagram, reverse, &flow);
        }
        return nat::reply(packet, tables, &live, frame, datagram, reverse, ports_wire);
    }
    if live.has(root_flags::PROBES) && matches!(datagram.protocol, protocol::TCP | protocol::UDP) {
        return probe::answer(packet, tables, frame, datagram, ports_wire);
    }
    Err(Reason::NotService)
}

/// A packet of a client for a service.
#[inline(always)]
fn request<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame,
    datagram: &Datagram,
    service: &Service,
    flow: &Flow,
) -> Result<u32, Reason> {
    tables.trace(Step::Flow(flow));
    live_word::check(tables, service.live)?;
    let flags = transport::flags(packet, datagram.transport, flow.protocol).ok_or(Reason::Truncated)?;
    access::check(tables, service, flow, flags)?;
    let row = select::row(packet, tables, service, flow, flags, datagram.transport)?;
    if datagram.part == Part::First {
        fragment::remember_request(tables, datagram, service, row);
    }
    if flags.opens() {
        signs::syn(packet, tables, service, flow, datagram.transport, row);
    }
    let interface = forward(packet, tables, frame, datagram, row, Some(flow.ports_wire), |packet, task| {
        translation::request(packet, tables, frame, datagram, service, flow, flags, row, task)
    })?;
    tables.count(row, datagram.length, flags.opens());
    Ok(interface)
}

/// Sends a packet to the backend of a row. `ports_wire` is `None` for a later fragment, which has none to translate. `recorded` does
/// so if translations of the row are recorded; it is told whether the packet is a client's or this host's own.
#[inline(always)]
fn forward<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame,
    datagram: &Datagram,
    index: u32,
    ports_wire: Option<u32>,
    recorded: impl FnOnce(&mut P, Task) -> Result<u32, Reason>,
) -> Result<u32, Reason> {
    tables.trace(Step::Row(index));
    let row = tables.row(index).ok_or(Reason::Inconsistent)?;
    match row.method {
        method::DIRECT => direct::forward(packet, frame, datagram, row),
        method::NAT | method::NAT_OR_OWN if !is_own(packet, tables, row) => {
            nat::request(packet, frame, datagram, row, ports_wire)
        }
        method::NAT_OR_OWN | method::RECORDED_NAT_OR_OWN | method::RECORDED_NAT | method::FULL_NAT => {
            recorded(packet, if is_own(packet, tables, row) { Task::OwnRequest } else { Task::Request })
        }
        method::TUNNEL => tunnel::forward(packet, tables, datagram, index, ports_wire),
        method::LOCAL => Err(Reason::LocalBackend),
        _ => Err(Reason::Inconsistent),
    }
}

/// Whether a packet is this host's own, on its way to a backend that knows this host by other ends too. Rows say whether to ask.
#[inline(always)]
fn is_own<P: Packet, T: Tables>(packet: &P, tables: &T, row: &Row) -> bool {
    matches!(row.method, method::NAT_OR_OWN | method::RECORDED_NAT_OR_OWN)
        && classify::live(tables).is_ok_and(|live| live.own_client() == Some(packet.interface()))
}

/// How a row's frames leave, while its next hop is known.
#[inline(always)]
fn exit(row: &Row) -> Result<Exit, Reason> {
    // SAFETY: a reference is valid for reads. Volatile because user space replaces the word while packets flow, and one
    // load must serve both the test and the store.
    let mac_head = unsafe { core::ptr::read_volatile(&row.mac_head) };
    if mac_head == 0 {
        return Err(Reason::NextHopUnknown);
    }
    Ok(Exit { mac_head, mac_tail: row.mac_tail, interface: row.interface, tags_wire: row.tags_wire })
}

/// Whether a backend may keep the flows it has.
#[inline(always)]
fn is_alive(row: &Row) -> bool {
    // SAFETY: a reference is valid for reads. Volatile because user space replaces the word while packets flow.
    let state = unsafe { core::ptr::read_volatile(&row.state) };
    state & row_state::ALIVE != 0
}
