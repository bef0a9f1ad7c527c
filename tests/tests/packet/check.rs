//! A case and the one function that holds it against both homes of the packet path.

use fairway::native::{NativePacket, NativeTables, process};
use fairway::reconcile::image::Image;
use fairway::reconcile::write::Write;
use fairway_tests::packet::Frame;
use fairway_tests::packet::verify::wrong_checksum;
use lb_common::abi::{ClientKey, Counters, FlowKey6, Record, Translation, connection_state};
use lb_common::counters::Reason;
use lb_common::flow::SECOND;
use lb_common::path::quic::By;
use lb_common::path::signs::Sign;
use lb_common::path::{Route, Verdict};

use super::kernel::{self, FLOWS, Kernel, action};
use super::state::{
    Kept, Loads, SLOTS, Seed, Totals, coarse_now, crowd, kept, kernel_clients, kernel_connections, kernel_loads,
    kernel_records, kernel_translations, latest_refusal, native_loads, native_tables, reset, seed_client,
    seed_connection, seed_record, seed_translation, set_awaiting, set_live, timeless,
};
use super::world::{self, DEAF, Flavour, LAN, STEERING};

/// Packets into the tables of [`world`], and what becomes of each.
pub struct Case {
    name: String,
    interface: u32,
    writes: Vec<Write>,
    seeds: Vec<(FlowKey6, Seed)>,
    full: Option<Flavour>,
    counts_before: Vec<Write>,
    connections: Vec<(FlowKey6, Seed, u32)>,
    full_connections: Option<Flavour>,
    kept_connections: Option<Vec<Kept>>,
    loads: Option<Loads>,
    translations: Vec<(FlowKey6, Translation)>,
    translated: Option<usize>,
    unrecorded: u64,
    clients: Vec<(ClientKey, Seed)>,
    full_clients: bool,
    remembered: Option<Vec<(ClientKey, u16)>>,
    steps: Vec<(Vec<u8>, Want)>,
    turns: Vec<(usize, bool)>,
    awaits: Vec<(usize, bool)>,
    signs: Vec<(usize, (u32, Sign))>,
    went_by: Vec<(usize, (u16, By))>,
    records: Option<Vec<Kept>>,
    refused: bool,
}

/// What becomes of a packet.
pub enum Want {
    /// It leaves as `frame` by `interface`.
    Sent { interface: u32, frame: Vec<u8>, count: Option<(u32, Counters)> },
    /// The host gets it, untouched.
    Pass(Reason),
    /// It answers a probe: the host gets it as `frame`, by the steering device.
    Answers { frame: Vec<u8> },
    /// It does not fit into a tunnel: its sender is told so by `frame`.
    TooBig { frame: Vec<u8> },
    /// It is gone.
    Drop(Reason),
    /// User space gets it as `frame` with the IP header at `network`, and it is gone.
    HandedOver { network: usize, frame: Vec<u8> },
}

impl Want {
    /// Sent by `interface` and counted for `row`, with so many octets of IP.
    pub fn sent(interface: u32, frame: &Frame, row: u32, bytes: usize, connections: u64) -> Self {
        let count = Counters { packets: 1, bytes: bytes as u64, connections };
        Self::Sent { interface, frame: frame.octets(), count: Some((row, count)) }
    }

    /// What is counted for which row.
    pub fn count(self) -> Option<(u32, Counters)> {
        match self {
            Self::Sent { count, .. } => count,
            Self::Pass(_) | Self::Answers { .. } | Self::TooBig { .. } | Self::Drop(_) | Self::HandedOver { .. } => {
                None
            }
        }
    }
}

/// A case without packets yet.
pub fn case(name: impl Into<String>) -> Case {
    Case {
        name: name.into(),
        interface: LAN,
        writes: vec![],
        seeds: vec![],
        full: None,
        counts_before: vec![],
        connections: vec![],
        full_connections: None,
        kept_connections: None,
        loads: None,
        translations: vec![],
        translated: None,
        unrecorded: 0,
        clients: vec![],
        full_clients: false,
        remembered: None,
        steps: vec![],
        turns: vec![],
        awaits: vec![],
        signs: vec![],
        went_by: vec![],
        records: None,
        refused: false,
    }
}

impl Case {
    /// Packets of the case.
    pub fn packets(&self) -> usize {
        self.steps.len()
    }

    /// The packets come in by another interface than `LAN`.
    pub fn by(mut self, interface: u32) -> Self {
        self.interface = interface;
        self
    }

    /// The tables differ from the shared ones.
    pub fn with(mut self, writes: impl IntoIterator<Item = Write>) -> Self {
        self.writes.extend(writes);
        self
    }

    /// From here on this node is live for the virtual router that some services follow, or not.
    pub fn live(mut self, live: bool) -> Self {
        self.turns.push((self.steps.len(), live));
        self
    }

    /// From here on records of flows of services that follow that virtual router may be on their way, or not.
    pub fn awaits(mut self, awaits: bool) -> Self {
        self.awaits.push((self.steps.len(), awaits));
        self
    }

    /// Backends of stateful services count something from before.
    pub fn counted_before(mut self, write: Write) -> Self {
        self.counts_before.push(write);
        self
    }

    /// A record is there.
    pub fn knowing(mut self, flow: FlowKey6, seed: Seed) -> Self {
        self.seeds.push((flow, seed));
        self
    }

    /// The flow table of the flavour is full of others' records.
    pub fn with_full_table(mut self, flavour: Flavour) -> Self {
        self.full = Some(flavour);
        self
    }

    /// A record of a stateful service is there, and this load counts it.
    pub fn connected(mut self, flow: FlowKey6, seed: Seed, load: u32) -> Self {
        self.connections.push((flow, seed, load));
        self
    }

    /// The table of stateful services is full of others' records.
    pub fn with_full_connections(mut self, flavour: Flavour) -> Self {
        self.full_connections = Some(flavour);
        self
    }

    /// These records of stateful services are there in the end, and no others.
    pub fn keeps(mut self, records: impl IntoIterator<Item = Kept>) -> Self {
        self.kept_connections = Some(records.into_iter().collect());
        self
    }

    /// This is what backends of stateful services have in the end, by load: active and inactive connections, and whether they are
    /// full.
    pub fn counts(mut self, loads: impl IntoIterator<Item = (u32, (i32, i32, bool))>) -> Self {
        self.loads = Some(loads.into_iter().collect());
        self
    }

    /// A client is remembered.
    pub fn remembering(mut self, client: ClientKey, seed: Seed) -> Self {
        self.clients.push((client, seed));
        self
    }

    /// No other client can be remembered.
    pub fn with_full_clients(mut self) -> Self {
        self.full_clients = true;
        self
    }

    /// These clients are remembered in the end, with these backends, and no others.
    pub fn remembers(mut self, clients: impl IntoIterator<Item = (ClientKey, u16)>) -> Self {
        self.remembered = Some(clients.into_iter().collect());
        self
    }

    /// The records of a translated flow are there: what its client sends, and what that becomes.
    pub fn translating(mut self, key: FlowKey6, becomes: FlowKey6) -> Self {
        let turned = |key: FlowKey6| FlowKey6 {
            source: key.destination,
            destination: key.source,
            ports_wire: key.ports_wire.rotate_left(16),
            ..key
        };
        let record = |key: FlowKey6, state| Translation {
            last_seen: coarse_now(),
            source: key.source,
            destination: key.destination,
            ports_wire: key.ports_wire,
            live: 0,
            state,
        };
        self.translations.push((key, record(becomes, connection_state::ESTABLISHED)));
        self.translations.push((turned(becomes), record(turned(key), 0)));
        self
    }

    /// The table of translations is full of others', but for room for so many records.
    pub fn with_room_for_translations(mut self, flavour: Flavour, room: usize) -> Self {
        let free = 2 * FLOWS as usize - self.translations.len() - room;
        for (key, _) in crowd(flavour, free) {
            self.translations.push((key, Translation { last_seen: coarse_now(), ..Translation::default() }));
        }
        self
    }

    /// So many records of translations are there in the end.
    pub fn translates(mut self, records: usize) -> Self {
        self.translated = Some(records);
        self
    }

    /// So many flows of a stateful service could not be recorded.
    pub fn refuses_connections(mut self, count: u64) -> Self {
        self.unrecorded = count;
        self
    }

    /// A request is forwarded to `row` and counted there.
    pub fn forwards(self, packet: &Frame, want: &Frame, row: u32) -> Self {
        self.counted(packet, want, row, LAN, 0)
    }

    /// As [`Self::forwards`], and it is counted as a new connection.
    pub fn opens(self, packet: &Frame, want: &Frame, row: u32) -> Self {
        self.counted(packet, want, row, LAN, 1)
    }

    /// As [`Self::forwards`], out of any interface and with any count of connections.
    pub fn counted(mut self, packet: &Frame, want: &Frame, row: u32, interface: u32, connections: u64) -> Self {
        let bytes = packet.ip.octets().len();
        self.steps.push((packet.octets(), Want::sent(interface, want, row, bytes, connections)));
        self
    }

    /// A packet that is not for a row leaves: a reply.
    pub fn returns(mut self, packet: &Frame, want: &Frame, interface: u32) -> Self {
        self.steps.push((packet.octets(), Want::Sent { interface, frame: want.octets(), count: None }));
        self
    }

    /// The packet before is a sign, counted for this row.
    pub fn signs(mut self, row: u32, sign: Sign) -> Self {
        self.signs.push((self.steps.len() - 1, (row, sign)));
        self
    }

    /// The packet before went by this, counted at this place.
    pub fn went_by(mut self, place: u16, by: By) -> Self {
        self.went_by.push((self.steps.len() - 1, (place, by)));
        self
    }

    pub fn passes(self, packet: impl Into<Octets>, reason: Reason) -> Self {
        self.ends(packet, Want::Pass(reason))
    }

    /// The host gets it as `want`, by the steering device: it answers a probe.
    pub fn answers(self, packet: &Frame, want: &Frame) -> Self {
        self.ends(packet, Want::Answers { frame: want.octets() })
    }

    pub fn drops(self, packet: impl Into<Octets>, reason: Reason) -> Self {
        self.ends(packet, Want::Drop(reason))
    }

    pub fn ends(mut self, packet: impl Into<Octets>, want: Want) -> Self {
        self.steps.push((packet.into().0, want));
        self
    }

    /// These records are there in the end, and no others.
    pub fn leaves(mut self, records: impl IntoIterator<Item = Kept>) -> Self {
        self.records = Some(records.into_iter().collect());
        self
    }

    /// A record could not be made, which is noted.
    pub fn refuses(mut self) -> Self {
        self.refused = true;
        self
    }
}

/// The octets of a packet, however given.
pub struct Octets(pub Vec<u8>);

impl From<&Frame> for Octets {
    fn from(frame: &Frame) -> Self {
        Self(frame.octets())
    }
}

impl From<Vec<u8>> for Octets {
    fn from(octets: Vec<u8>) -> Self {
        Self(octets)
    }
}

/// Runs the cases in both homes; says all that fail.
pub fn check(cases: Vec<Case>) {
    let mut kernel = kernel::shared();
    let mut image = Image::new(SLOTS as usize, world::ROWS as usize);
    world::writes().iter().for_each(|write| image.apply(write));
    let failures: Vec<String> = cases.iter().flat_map(|case| failures(case, &mut kernel, &image)).collect();
    assert!(failures.is_empty(), "{} failures in {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn failures(case: &Case, kernel: &mut Kernel, image: &Image) -> Vec<String> {
    let mut image = image.clone();
    reset(kernel);
    for write in &case.writes {
        image.apply(write);
        kernel.maps.apply(write).expect("a write");
    }
    let mut native = native_tables(image);
    if case.interface == DEAF {
        native.routes.values_mut().for_each(|route| *route = Route::Disabled);
    }
    let strangers = case.full_connections.iter();
    let strangers: Vec<_> = strangers.flat_map(|f| crowd(*f, FLOWS as usize - case.connections.len())).collect();
    let crowd =
        case.full.iter().flat_map(|flavour| crowd(*flavour, FLOWS as usize - case.seeds.len())).collect::<Vec<_>>();
    for (key, seed) in case.seeds.iter().chain(&crowd) {
        let last_seen = native.clock.get().saturating_sub(seed.age * SECOND);
        let record = Record { last_seen, pool: seed.pool, backend: seed.backend, state: seed.state };
        seed_record(kernel, &native, key, record);
    }
    for write in &case.counts_before {
        native.apply(write);
        kernel.maps.apply(write).expect("a write");
    }
    let known = case.connections.iter().map(|(key, seed, load)| (key, seed, Some(*load)));
    for (key, seed, load) in known.chain(strangers.iter().map(|(key, seed)| (key, seed, None))) {
        let last_seen = native.clock.get().saturating_sub(seed.age * SECOND);
        let record = Record { last_seen, pool: seed.pool, backend: seed.backend, state: seed.state };
        seed_connection(kernel, &mut native, key, record, load);
    }
    let crowd_of_clients = (0..FLOWS as usize - case.clients.len()).filter(|_| case.full_clients).map(stranger);
    for (client, seed) in case.clients.iter().copied().chain(crowd_of_clients) {
        let last_seen = native.clock.get().saturating_sub(seed.age * SECOND);
        let record = Record { last_seen, pool: seed.pool, backend: seed.backend, state: seed.state };
        seed_client(kernel, &native, &client, record);
    }
    for (key, translation) in &case.translations {
        seed_translation(kernel, &native, key, *translation);
    }
    let unrecorded_before = kernel.maps.unrecorded().expect("a counter");
    let mut failures = Vec::new();
    let mut before = Totals::read(kernel);
    for (i, (packet, want)) in case.steps.iter().enumerate() {
        case.turns.iter().filter(|(at, _)| *at == i).for_each(|&(_, live)| set_live(kernel, &mut native, live));
        case.awaits.iter().filter(|(at, _)| *at == i).for_each(|&(_, on)| set_awaiting(kernel, &mut native, on));
        let mut say = |what: String| failures.push(format!("· {} (packet {}): {what}", case.name, i + 1));
        let mut frame = NativePacket::new(packet, case.interface);
        native.counters.borrow_mut().clear();
        native.reasons.borrow_mut().clear();
        native.signs.borrow_mut().clear();
        native.quic_counters.borrow_mut().clear();
        let signs: Vec<(u32, Sign)> = case.signs.iter().filter(|(at, _)| *at == i).map(|(_, sign)| *sign).collect();
        let verdict = process(&mut frame, &native);
        let counted = Totals::of(&native);
        let went_by = case.went_by.iter().find(|(at, _)| *at == i).map(|(_, by)| *by);
        compare(want, &signs, went_by, case.interface, verdict, frame.frame(), &counted, packet, &mut |what| {
            say(format!("natively, {what}"))
        });
        if let Want::HandedOver { network, .. } = want
            && native.handed_over.borrow_mut().pop() != Some(*network)
        {
            say("natively, it was not handed over".into());
        }
        if packet.len() < kernel::SHORTEST {
            continue;
        }
        let (returned, out) = kernel.run(packet, case.interface);
        if returned != action_of(verdict) {
            say(format!("the kernel returned {returned}, natively it is {verdict:?}"));
        }
        if out != frame.frame() {
            say(format!("the kernel's octets differ:\n  {out:02x?}\n  {:02x?}", frame.frame()));
        }
        let now = Totals::read(kernel);
        let in_kernel = now.clone().since(&std::mem::replace(&mut before, now));
        if in_kernel != counted {
            say(format!("the kernel counted {in_kernel:?}, natively it is {counted:?}"));
        }
        let handed: Vec<_> = kernel.handed_over();
        let expected: Vec<(usize, Vec<u8>)> = match want {
            Want::HandedOver { network, frame } => vec![(*network, frame.clone())],
            _ => vec![],
        };
        if handed != expected {
            say(format!("the kernel handed over {handed:02x?}"));
        }
    }
    let mut say = |what: String| failures.push(format!("· {}: {what}", case.name));
    compare_records(case, &crowd, &native, kernel, &mut say);
    compare_connections(case, &strangers, &native, kernel, &mut say);
    let natively: Vec<_> = native.translations.borrow().iter().map(|(key, it)| (*key, timeless(it))).collect();
    let in_kernel = kernel_translations(kernel);
    if in_kernel != natively {
        say(format!("the kernel's translations are {in_kernel:?}, natively they are {natively:?}"));
    }
    if case.translated.is_some_and(|records| records != natively.len()) {
        say(format!("there are {} records of translations instead of {:?}", natively.len(), case.translated));
    }
    let unrecorded = kernel.maps.unrecorded().expect("a counter") - unrecorded_before;
    if (unrecorded, native.unrecorded.get()) != (case.unrecorded, case.unrecorded) {
        say(format!("{unrecorded} flows unrecorded in the kernel, {} natively", native.unrecorded.get()));
    }
    failures
}

/// Holds one packet's fate against what the case says.
fn compare(
    want: &Want,
    signs: &[(u32, Sign)],
    went_by: Option<(u16, By)>,
    came_by: u32,
    verdict: Verdict,
    out: &[u8],
    counted: &Totals,
    sent: &[u8],
    say: &mut dyn FnMut(String),
) {
    let mut totals = Totals::default();
    for (row, sign) in signs {
        *totals.sign(*row, *sign) += 1;
    }
    if let Some((place, by)) = went_by {
        *totals.went_by(place, by) += 1;
    }
    let expected = match want {
        Want::Sent { interface, .. } if *interface == came_by => Verdict::Transmit,
        Want::Sent { interface, .. } => Verdict::Redirect(*interface),
        Want::TooBig { .. } => Verdict::Transmit,
        Want::Pass(reason) => Verdict::Pass(*reason),
        Want::Answers { .. } => Verdict::Redirect(STEERING),
        Want::Drop(reason) => Verdict::Drop(*reason),
        Want::HandedOver { .. } => Verdict::Drop(Reason::NeighbourPending),
    };
    if verdict != expected {
        say(format!("it is {verdict:?} instead of {expected:?}"));
    }
    match want {
        Want::Sent { frame, count, .. } => {
            totals.rows.extend(count.iter().map(|(row, counters)| (*row, *counters)));
            same_octets(out, frame, say);
            if let Some(layer) = wrong_checksum(out) {
                say(format!("the checksum of {layer} is wrong"));
            }
        }
        Want::Answers { frame } => {
            totals.reasons.insert(Reason::ProbeAnswer, 1);
            same_octets(out, frame, say);
            if let Some(layer) = wrong_checksum(out) {
                say(format!("the checksum of {layer} is wrong"));
            }
        }
        Want::TooBig { frame } => {
            totals.reasons.insert(Reason::TooBigAnswered, 1);
            same_octets(out, frame, say);
            if let Some(layer) = wrong_checksum(out) {
                say(format!("the checksum of {layer} is wrong"));
            }
        }
        Want::HandedOver { frame, .. } => same_octets(out, frame, say),
        Want::Pass(_) => same_octets(out, sent, say),
        Want::Drop(_) => {}
    }
    if let Verdict::Pass(reason) | Verdict::Drop(reason) = expected {
        totals.reasons.insert(reason, 1);
    }
    if *counted != totals {
        say(format!("it counted {counted:?} instead of {totals:?}"));
    }
}

fn same_octets(out: &[u8], want: &[u8], say: &mut dyn FnMut(String)) {
    if out != want {
        say(format!("it came out as\n  {out:02x?} instead of\n  {want:02x?}"));
    }
}

fn compare_records(
    case: &Case,
    crowd: &[(FlowKey6, Seed)],
    native: &NativeTables,
    kernel: &Kernel,
    say: &mut dyn FnMut(String),
) {
    let in_kernel = kernel_records(kernel);
    let natively: Vec<(FlowKey6, Kept)> =
        native.flows.borrow().iter().map(|(key, record)| (*key, kept(record))).collect();
    if in_kernel != natively {
        say(format!("the kernel's records are {in_kernel:?}, natively they are {natively:?}"));
    }
    let others = |key: &FlowKey6| !crowd.iter().any(|(member, _)| member == key);
    let mine: Vec<Kept> = natively.iter().filter(|(key, _)| others(key)).map(|(_, kept)| *kept).collect();
    if let Some(records) = &case.records
        && *records != mine
    {
        say(format!("records left are {mine:?} instead of {records:?}"));
    }
    let noted = latest_refusal(kernel) >= native.clock.get();
    if (noted, !native.refusals.borrow().is_empty()) != (case.refused, case.refused) {
        say(format!("refusal noted in the kernel: {noted}, natively: {:?}", native.refusals.borrow()));
    }
}

/// A client of nobody.
fn stranger(n: usize) -> (ClientKey, Seed) {
    let address = std::net::Ipv4Addr::from(n as u32).into();
    (ClientKey { address, pool: u64::MAX }, Seed { pool: u32::MAX, backend: 0, state: 0, age: 0 })
}

fn compare_connections(
    case: &Case,
    strangers: &[(FlowKey6, Seed)],
    native: &NativeTables,
    kernel: &Kernel,
    say: &mut dyn FnMut(String),
) {
    let in_kernel = kernel_connections(kernel);
    let natively: Vec<(FlowKey6, Kept)> =
        native.connections.borrow().iter().map(|(key, record)| (*key, kept(record))).collect();
    if in_kernel != natively {
        say(format!("the kernel's connections are {in_kernel:?}, natively they are {natively:?}"));
    }
    let is_mine = |key: &FlowKey6| !strangers.iter().any(|(stranger, _)| stranger == key);
    let mut mine: Vec<Kept> = natively.iter().filter(|(key, _)| is_mine(key)).map(|(_, kept)| *kept).collect();
    mine.sort_unstable();
    if let Some(mut expected) = case.kept_connections.clone() {
        expected.sort_unstable();
        if expected != mine {
            say(format!("connections left are {mine:?} instead of {expected:?}"));
        }
    }
    let natively: Vec<(ClientKey, u16)> =
        native.clients.borrow().iter().map(|(client, record)| (*client, record.backend)).collect();
    let in_kernel = kernel_clients(kernel);
    if in_kernel != natively {
        say(format!("the kernel remembers {in_kernel:?}, natively it is {natively:?}"));
    }
    if let Some(expected) = &case.remembered
        && *expected != natively
    {
        say(format!("remembered are {natively:?} instead of {expected:?}"));
    }
    let (in_kernel, natively) = (kernel_loads(kernel), native_loads(native));
    if in_kernel != natively {
        say(format!("the kernel's loads are {in_kernel:?}, natively they are {natively:?}"));
    }
    if let Some(expected) = &case.loads
        && *expected != natively
    {
        say(format!("loads are {natively:?} instead of {expected:?}"));
    }
}

/// The action of a verdict.
pub fn action_of(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Transmit => action::TRANSMIT,
        Verdict::Redirect(_) => action::REDIRECT,
        Verdict::Pass(_) => action::PASS,
        Verdict::Drop(_) => action::DROP,
    }
}
