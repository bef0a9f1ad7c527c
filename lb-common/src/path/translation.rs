//! Translations that are recorded: full NAT, which gives a flow another source too, and NAT to a server that several services
//! share, where a reply does not tell by its source whose it is. What tells is its whole flow.
//!
//! A flow has two records, one of each direction: the packets that come with these addresses and ports get those
//! ([`Translation`]). The reply's is made first, under a key that nobody has, so that no two flows ever look alike to
//! a backend; then the request's. A new flow tries a bounded number of sources: so a flood of SYNs costs memory, never time.
//! It keeps its own where only the service is to be told, unless that is taken. A record is not touched but by its own flow and by the
//! census, which deletes both when neither direction has been heard of for the timeout of its state; a full table costs
//! new flows, never those that are recorded. What goes on without a record, while records may be on their way from the node that was master
//! until just now, is dropped ([`Tables::awaits_records`]).
//!
//! Which backend has a flow is not said here but by `select`, as for all others; a record that names another backend than that is
//! made anew.
//!
//! All of this is rare beside the steady path, and the kernel does it in functions that its verifier walks by themselves. What they
//! need lies in a [`Work`]: such a function takes numbers and the packet.

use super::nat::{self, End, WayBack};
use super::{Inserted, Route, RouteQuery, Step, Tables, classify, exit, live_word, probe, signs};
use crate::abi::{
    FlowKey6, FragmentEntry, Reverse, Row, Service, Sources, Translation, fragment_kind, method, reverse_flags,
};
use crate::address::Address;
use crate::checksum::Difference;
use crate::connection;
use crate::counters::Reason;
use crate::flow::Flow;
use crate::hash;
use crate::limits::SOURCE_TRIES;
use crate::own_client;
use crate::packet::ethernet::{self, Exit, Frame};
use crate::packet::transport::{Flags, Signal, destination_port_wire, ports_wire as both, source_port_wire};
use crate::packet::{Datagram, Packet, Part, ipv4, ipv6, protocol};

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

/// A client's packet for a row whose translations are recorded; the interface it leaves by.
#[inline(always)]
pub fn request<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame,
    datagram: &Datagram,
    service: &Service,
    flow: &Flow,
    flags: Flags,
    row: u32,
    task: Task,
) -> Result<u32, Reason> {
    let filled = tables.prepare(|work| {
        work.fill(task, frame, datagram, flow);
        work.flags = flags;
        (work.row, work.live, work.seed) = (row, service.live, service.seed);
    });
    filled.ok_or(Reason::Inconsistent)?;
    tables.carry_out(packet)
}

/// A backend's packet whose flow says whose it is; the interface it leaves by.
#[inline(always)]
pub fn reply<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame,
    datagram: &Datagram,
    reverse: &Reverse,
    flow: &Flow,
) -> Result<u32, Reason> {
    tables.trace(Step::Reply(reverse));
    let filled = tables.prepare(|work| {
        work.fill(Task::Reply, frame, datagram, flow);
        work.turn_back(reverse);
    });
    filled.ok_or(Reason::Inconsistent)?;
    tables.carry_out(packet)
}

/// An ICMP error about a packet that a backend sent to a client of `flow`: for the backend of a row.
#[inline(always)]
pub fn error_for_backend<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame,
    datagram: &Datagram,
    about: &Datagram,
    flow: &Flow,
    row: u32,
) -> Result<u32, Reason> {
    let filled = tables.prepare(|work| {
        work.fill(Task::ErrorForBackend, frame, datagram, flow);
        work.about = *about;
        work.row = row;
    });
    filled.ok_or(Reason::Inconsistent)?;
    tables.carry_out(packet)
}

/// An ICMP error about a client's packet to a translated backend; `flow` is that of the replies.
#[inline(always)]
pub fn error_for_client<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame,
    datagram: &Datagram,
    about: &Datagram,
    reverse: &Reverse,
    flow: &Flow,
) -> Result<u32, Reason> {
    tables.trace(Step::Reply(reverse));
    let filled = tables.prepare(|work| {
        work.fill(Task::ErrorForClient, frame, datagram, flow);
        work.about = *about;
        work.turn_back(reverse);
    });
    filled.ok_or(Reason::Inconsistent)?;
    tables.carry_out(packet)
}

/// A later fragment of a datagram whose first was translated so.
#[inline(always)]
pub fn later<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame,
    datagram: &Datagram,
    entry: &FragmentEntry,
) -> Result<u32, Reason> {
    let is_request = entry.kind == fragment_kind::RECORDED_REQUEST;
    let filled = tables.prepare(|work| {
        work.task = if is_request { Task::Request } else { Task::Reply };
        work.is_decided = true;
        (work.frame, work.datagram) = (*frame, *datagram);
        work.becomes = Ends { source: entry.address, destination: entry.destination, ports_wire: 0 };
        work.row = entry.row;
    });
    filled.ok_or(Reason::Inconsistent)?;
    tables.carry_out(packet)
}

/// Does the work at hand; the interface that the packet leaves by.
pub fn carry_out<P: Packet, T: Tables>(packet: &mut P, tables: &T, work: &mut Work) -> Result<u32, Reason> {
    decide(tables, work)?;
    tables.trace(Step::Translated(&work.becomes));
    find_way(packet, tables, work)?;
    if work.quotes() {
        rewrite_quote(packet, work)?;
    }
    leave(packet, tables, work)
}

/// Finds out what the flow's addresses and ports become, and records it if a request begins it.
#[inline(always)]
pub fn decide<T: Tables>(tables: &T, work: &mut Work) -> Result<(), Reason> {
    work.begins = false;
    if work.is_decided {
        return Ok(());
    }
    match work.task {
        Task::Request | Task::OwnRequest => decide_request(tables, work),
        Task::Reply => decide_reply(tables, work, true),
        Task::ErrorForClient => decide_reply(tables, work, false),
        Task::ErrorForBackend => {
            work.becomes = tables.with_translation(&work.key, |it| Ends::of(it)).ok_or(Reason::NotTranslated)?;
            Ok(())
        }
    }
}

/// Finds out how the packet leaves, and whether it may. Nothing of it is changed before.
#[inline(always)]
pub fn find_way<P: Packet, T: Tables>(packet: &P, tables: &T, work: &mut Work) -> Result<(), Reason> {
    if work.goes_to_backend() {
        let exit = exit(tables.row(work.row).ok_or(Reason::Inconsistent)?)?;
        if work.datagram.time_to_live <= 1 {
            return Err(Reason::TimeToLive);
        }
        work.way = WayBack { exit, neighbour_known: true };
        return Ok(());
    }
    let datagram = &work.datagram;
    let query = RouteQuery {
        source: work.outer_source(),
        destination: work.becomes.destination,
        ports_wire: if work.quotes() { 0 } else { work.becomes.ports_wire },
        length: datagram.length as u16,
        protocol: datagram.protocol,
        v4: datagram.v4,
        interface: packet.interface(),
    };
    work.way = match tables.route(&query) {
        Route::Local => way_to_own_client(tables, work)?,
        route => nat::judge(packet, route, datagram)?,
    };
    Ok(())
}

/// How an answer to this host reaches it, if it is a client of the service.
#[inline(always)]
fn way_to_own_client<T: Tables>(tables: &T, work: &Work) -> Result<WayBack, Reason> {
    let interface = classify::live(tables)?.own_client().ok_or(Reason::NotTranslated)?;
    // Else it may be one of this host's connections to a backend's own address, at a server that services share.
    let is_recorded = work.is_decided || tables.with_translation(&work.key, |_| ()).is_some();
    if !is_recorded {
        return Err(Reason::NotTranslated);
    }
    if work.datagram.time_to_live <= 1 {
        return Err(Reason::TimeToLive);
    }
    let exit = Exit { mac_head: OWN_MAC_HEAD, mac_tail: OWN_MAC_TAIL, interface, tags_wire: [0; 2] };
    Ok(WayBack { exit, neighbour_known: true })
}

const OWN_MAC_HEAD: u64 = {
    let [a, b, c, d, e, f] = own_client::MAC;
    u64::from_ne_bytes([a, b, c, d, e, f, a, b])
};
const OWN_MAC_TAIL: u32 = {
    let [_, _, a, b, c, d] = own_client::MAC;
    u32::from_ne_bytes([a, b, c, d])
};

/// Rewrites what an ICMP error quotes: it must name the packet as the receiver of the error knows it.
#[inline(always)]
pub fn rewrite_quote<P: Packet>(packet: &mut P, work: &mut Work) -> Result<(), Reason> {
    work.inner = translate_quote(packet, work).ok_or(Reason::QuoteTruncated)?;
    Ok(())
}

/// Rewrites the packet's own ends, and sends it on; the interface it leaves by.
#[inline(always)]
pub fn leave<P: Packet, T: Tables>(packet: &mut P, tables: &T, work: &Work) -> Result<u32, Reason> {
    let frame = Frame { network: packet.forget(work.frame.network).ok_or(Reason::Inconsistent)?, ..work.frame };
    let datagram = checked(packet, &work.datagram).ok_or(Reason::Inconsistent)?;
    match work.task {
        Task::Reply if datagram.protocol == protocol::TCP && datagram.part != Part::Later => {
            signs::reply(packet, tables, datagram.transport, work.row);
        }
        Task::ErrorForClient => signs::error(packet, tables, &datagram, work.row),
        Task::Request | Task::OwnRequest | Task::Reply | Task::ErrorForBackend => {}
    }
    if datagram.part == Part::First && !work.quotes() {
        super::fragment::remember_translation(tables, &datagram, work);
    }
    rewrite(packet, &datagram, work).ok_or(Reason::Truncated)?;
    if !work.goes_to_backend() {
        return nat::leave(packet, tables, &classify::live(tables)?, &frame, &datagram, work.way);
    }
    ethernet::rewrite(packet, &frame, &work.way.exit).ok_or(Reason::NoHeadroom)?;
    Ok(work.way.exit.interface)
}

#[inline(always)]
fn decide_request<T: Tables>(tables: &T, work: &mut Work) -> Result<(), Reason> {
    if work.datagram.time_to_live <= 1 {
        return Err(Reason::TimeToLive);
    }
    let row = tables.row(work.row).ok_or(Reason::Inconsistent)?;
    let now = tables.now();
    let (live, signal) = (work.live as u16, work.flags.signal());
    let target_wire = nat::to_backend_port(work.key.ports_wire, row.port_wire);
    let known = tables.with_translation(&work.key, |it| {
        let fits = it.destination == row.address
            && destination_port_wire(it.ports_wire) == destination_port_wire(target_wire)
            && it.live == live;
        if fits {
            it.last_seen = now;
            it.state = connection::next_state(it.state, signal);
        }
        (Ends::of(it), fits)
    });
    if let Some((becomes, fits)) = known {
        work.becomes = becomes;
        if fits {
            return Ok(());
        }
        forget(tables, work);
    }
    if continues(work) && tables.awaits_records(work.live) {
        return Err(Reason::RecordAwaited);
    }
    begin(tables, work, row, destination_port_wire(target_wire), now)
}

/// Deletes both records of a flow that goes elsewhere now.
#[inline(always)]
fn forget<T: Tables>(tables: &T, work: &mut Work) {
    work.back = turned(&work.becomes, work.key.protocol);
    tables.remove_translation(&work.back);
    tables.remove_translation(&work.key);
}

/// Records a flow under the first source that nobody has.
#[inline(always)]
fn begin<T: Tables>(tables: &T, work: &mut Work, row: &Row, port_wire: u16, now: u64) -> Result<(), Reason> {
    let key = &work.key;
    let (client, client_port_wire) = (key.source, source_port_wire(key.ports_wire));
    let (service, service_port_wire) = (key.destination, destination_port_wire(key.ports_wire));
    let is_own = work.task == Task::OwnRequest;
    let sources = if is_own || row.method == method::FULL_NAT {
        Some(tables.sources().ok_or(Reason::Inconsistent)?)
    } else {
        None
    };
    let mut spread = hash::flow(work.seed ^ service.low ^ service.high, client, key.ports_wire);
    work.back.source = row.address;
    work.back.protocol = key.protocol;
    work.record = Translation {
        last_seen: now,
        source: service,
        destination: client,
        ports_wire: both(service_port_wire, client_port_wire),
        live: work.live as u16,
        state: 0,
    };
    let mut attempt = 0;
    while attempt < SOURCE_TRIES {
        let (source, source_port_wire) = match sources {
            Some(sources) if is_own => (client, port_among(sources.first_port, sources.ports, spread)),
            Some(sources) => sources.pick(client.is_v4(), work.live, spread).ok_or(Reason::NoSourcePort)?,
            None if attempt == 0 => (client, client_port_wire),
            None => (client, port_among(FIRST_FREE_PORT, PORTS_ABOVE, spread)),
        };
        work.back.destination = source;
        work.back.ports_wire = both(port_wire, source_port_wire);
        let inserted = tables.insert_translation(&work.back, &work.record);
        let is_ours = match inserted {
            Inserted::Done => true,
            Inserted::Full => return Err(Reason::TranslationsFull),
            // Of this very flow, if another CPU had a packet of it a moment earlier.
            Inserted::Exists => is_of(tables, &work.back, &work.record),
        };
        if is_ours {
            work.becomes = Ends { source, destination: row.address, ports_wire: both(source_port_wire, port_wire) };
            return finish(tables, work, now);
        }
        // Steele and Vigna's constant for a linear congruential generator: its high bits serve.
        spread = spread.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        attempt += 1;
    }
    Err(Reason::NoSourcePort)
}

/// Ports below are not given to a flow that cannot have its own: firewalls take them for servers'.
pub const FIRST_FREE_PORT: u32 = 1024;
const PORTS_ABOVE: u32 = 65_536 - FIRST_FREE_PORT;

/// Whether the record under a key is the same as one that was to be made.
#[inline(always)]
fn is_of<T: Tables>(tables: &T, key: &FlowKey6, record: &Translation) -> bool {
    let same = tables.with_translation(key, |it| {
        let same = it.source == record.source
            && it.destination == record.destination
            && it.ports_wire == record.ports_wire
            && it.state == 0;
        if same {
            it.last_seen = record.last_seen;
            it.live = record.live;
        }
        same
    });
    same == Some(true)
}

/// Makes the second record of a flow, for the client's packets.
#[inline(always)]
fn finish<T: Tables>(tables: &T, work: &mut Work, now: u64) -> Result<(), Reason> {
    work.record = Translation {
        last_seen: now,
        source: work.becomes.source,
        destination: work.becomes.destination,
        ports_wire: work.becomes.ports_wire,
        live: work.live as u16,
        state: connection::first_state(work.key.protocol == protocol::TCP as u32),
    };
    match tables.insert_translation(&work.key, &work.record) {
        Inserted::Done => {
            work.begins = true;
            Ok(())
        }
        Inserted::Exists => Ok(()),
        Inserted::Full => {
            tables.remove_translation(&work.back);
            Err(Reason::TranslationsFull)
        }
    }
}

/// What a reply becomes; `notes`: it is one, and not only quoted.
#[inline(always)]
fn decide_reply<T: Tables>(tables: &T, work: &mut Work, notes: bool) -> Result<(), Reason> {
    let now = tables.now();
    let known = tables.with_translation(&work.key, |it| {
        let is_reply = it.state == 0;
        if is_reply && notes {
            it.last_seen = now;
        }
        (Ends::of(it), it.live, is_reply)
    });
    if let Some((becomes, live, true)) = known {
        (work.becomes, work.live) = (becomes, live.into());
        return live_word::check(tables, work.live);
    }
    live_word::check(tables, work.live)?;
    if work.recorded_only {
        return Err(if is_awaited_reply(tables, work) { Reason::RecordAwaited } else { Reason::NotTranslated });
    }
    let is_left_alone = work.exclude != 0 && tables.is_excluded(work.exclude, work.key.destination);
    if is_left_alone { Err(Reason::NotTranslated) } else { Ok(()) }
}

/// Whether a packet of a connection is not its first.
#[inline(always)]
fn continues(work: &Work) -> bool {
    work.key.protocol == protocol::TCP as u32 && !matches!(work.flags.signal(), Signal::Opens)
}

/// Whether the record of a reply may be on its way: it goes to a port that only flows get, so the host has no use for it, and
/// would reset the backend.
#[inline(always)]
fn is_awaited_reply<T: Tables>(tables: &T, work: &Work) -> bool {
    let port = u16::from_be(destination_port_wire(work.key.ports_wire)) as u32;
    work.key.protocol == protocol::TCP as u32
        && tables.awaits_records(work.live)
        && tables.sources().is_some_and(|sources| port.wrapping_sub(sources.first_port) < sources.ports)
}

/// Rewrites both ends of a packet, its checksums, and its time to live; `None` when the transport header is cut short: nothing is
/// written then.
#[inline(always)]
fn rewrite<P: Packet>(packet: &mut P, datagram: &Datagram, work: &Work) -> Option<()> {
    let outer = Ends { source: work.outer_source(), ..work.becomes };
    let change = addresses(datagram, &outer);
    if work.quotes() {
        let sum = if datagram.v4 { work.inner } else { work.inner.and(change) };
        probe::mend_icmp(packet, datagram.transport, sum)?;
    } else if datagram.part != Part::Later {
        let (old, new) = (work.key.ports_wire, outer.ports_wire);
        nat::mend_transport(packet, datagram.transport, datagram.protocol, change.double(old, new))?;
        packet.store(datagram.transport, new)?;
    }
    write_addresses(packet, datagram, &outer)?;
    if datagram.v4 { ipv4::hop(packet, datagram.network, change) } else { ipv6::hop(packet, datagram.network) }
}

/// Rewrites the packet that an ICMP error quotes; what that adds to a checksum over it.
#[inline(always)]
fn translate_quote<P: Packet>(packet: &mut P, work: &Work) -> Option<Difference> {
    let about = checked(packet, &work.about)?;
    // It goes the other way than the flow.
    let (old, ports_wire) = (turned_ports(work.key.ports_wire), turned_ports(work.becomes.ports_wire));
    let quoted = Ends { source: work.becomes.destination, destination: work.becomes.source, ports_wire };
    let change = addresses(&about, &quoted);
    let ports = Difference::NONE.double(old, ports_wire);
    let header = if about.v4 { ipv4::mend(packet, about.network, change)? } else { Difference::NONE };
    write_addresses(packet, &about, &quoted)?;
    packet.store(about.transport, ports_wire)?;
    let transport = nat::mend_transport(packet, about.transport, about.protocol, change.and(ports));
    Some(change.and(ports).and(header).and(transport.unwrap_or(Difference::NONE)))
}

/// What other addresses add to a checksum over a datagram.
#[inline(always)]
fn addresses(datagram: &Datagram, becomes: &Ends) -> Difference {
    Difference::NONE.address(datagram.source, becomes.source).address(datagram.destination, becomes.destination)
}

#[inline(always)]
fn write_addresses<P: Packet>(packet: &mut P, datagram: &Datagram, becomes: &Ends) -> Option<()> {
    nat::write_address(packet, datagram, End::Source, becomes.source)?;
    nat::write_address(packet, datagram, End::Destination, becomes.destination)
}

/// The key of the packets that answer those with these ends.
#[inline(always)]
pub fn turned(ends: &Ends, protocol: u32) -> FlowKey6 {
    let (source, destination) = (ends.destination, ends.source);
    FlowKey6 { source, destination, ports_wire: turned_ports(ends.ports_wire), protocol }
}

#[inline(always)]
fn turned_ports(ports_wire: u32) -> u32 {
    both(destination_port_wire(ports_wire), source_port_wire(ports_wire))
}

/// One of so many ports, as it lies in a packet, by the low half of a hash.
#[inline(always)]
fn port_among(first: u32, ports: u32, spread: u64) -> u16 {
    // The middle of it: the lowest bits of a linear congruential generator repeat soon.
    let part = (spread >> 24) as u32;
    let port = first as u64 + ((part as u64 * ports as u64) >> 32);
    (port as u16).to_be()
}

/// A datagram out of memory, its offsets checked; `None` if one is beyond any header's.
#[inline(always)]
pub fn checked<P: Packet>(packet: &P, datagram: &Datagram) -> Option<Datagram> {
    let network = packet.forget(datagram.network)?;
    let transport = packet.forget(datagram.transport)?;
    Some(Datagram { network, transport, ..*datagram })
}

impl Sources {
    /// A source address of a family for a service of a live word, and a port as it lies in a packet; `None` if there are none.
    #[inline(always)]
    fn pick(&self, v4: bool, live: u32, spread: u64) -> Option<(Address, u16)> {
        let share = self.shares.get(live as usize)?;
        let (first, count, addresses) =
            if v4 { (share.v4_first, share.v4_count, &self.v4) } else { (share.v6_first, share.v6_count, &self.v6) };
        let index = first as u64 + (((spread >> 48) * count as u64) >> 16);
        if count == 0 || self.ports == 0 {
            return None;
        }
        let address = addresses.get(index as usize)?;
        Some((*address, port_among(self.first_port, self.ports, spread)))
    }
}

impl Ends {
    #[inline(always)]
    fn of(translation: &Translation) -> Self {
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
    fn fill(&mut self, task: Task, frame: &Frame, datagram: &Datagram, flow: &Flow) {
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
    fn outer_source(&self) -> Address {
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
