//! The kernel's side of the packet path: the loaded program, its maps and where it is attached.

mod addressed;
mod attach;
mod batch;
mod census;
mod choosers;
mod flow_table;
mod flow_view;
mod forget;
pub mod grace;
mod ledger;
pub mod link;
mod live_words;
mod maps;
mod mmap;
pub mod object;
pub mod preallocated;
mod records;
mod trace;
mod transfers;
mod translations;
mod unresolved;

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::Context as _;
use aya::maps::{MapData, RingBuf};
use lb_common::abi::{BucketKey, ClientKey, Destination, FlowKey6, QuicCounters, Record, Translation};
use lb_common::counters::{Fate, Reason};
use lb_common::path::translation::{Ends, turned};
use lb_common::scheduler::locality::Servers;
use tokio::sync::mpsc;
use zerocopy::{FromBytes as _, IntoBytes as _};

pub use attach::Held;
pub use census::Tally;
pub use choosers::Choosers;
pub use flow_table::FlowTable;
pub use flow_view::FlowView;
pub use ledger::{Account, Ledger};
pub use live_words::LiveWords;
pub use maps::{Maps, ProbeTables};
pub use mmap::MappedArray;
use object::Object;
pub use records::{Records, Walks};
pub use trace::TraceSession;
pub use translations::{TranslationWalks, Translations};
pub use unresolved::Sender;

use crate::config::AttachMode;
use crate::controller::view::{Problem, QuicTotals, Totals};
use crate::nexthop::ProgramMode;
use crate::reconcile::image::Image;
use crate::reconcile::rows::RowIndex;
use crate::reconcile::write::Write;
use crate::runtime::request::{TraceEvent, TraceQuery};

/// The program that forwards.
pub const FORWARDING: &str = "fairway";
/// The program that sends probes to direct backends.
pub const STEERING: &str = "fairway_steer";
/// The program that stores what another node tells of flows.
pub const STORING: &str = "fairway_store";
/// The program that forwards and says how.
pub const TRACING: &str = "fairway_trace";

/// The loaded program with its maps and attachments. Dropping it detaches.
pub struct Dataplane {
    ebpf: Object,
    maps: Maps,
    attachments: attach::Attachments,
    ledger: Ledger,
    /// The program that is attached, or will be.
    program: &'static str,
    tracer: Option<trace::Tracer>,
}

impl Dataplane {
    /// Loads program and maps; attaches nothing.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open(sizes: object::Sizes) -> anyhow::Result<Self> {
        let mut ebpf = object::load(sizes)?;
        let maps = Maps::take(&mut ebpf)?;
        object::program(&mut ebpf, FORWARDING)?;
        let (attachments, ledger) = (attach::Attachments::default(), Ledger::default());
        Ok(Self { ebpf, maps, attachments, ledger, program: FORWARDING, tracer: None })
    }

    /// Carries out writes in their order.
    ///
    /// # Errors
    /// At the first one that fails; those before it stay, and are right by themselves.
    pub fn write(&mut self, writes: &[Write]) -> anyhow::Result<()> {
        writes.iter().try_for_each(|write| self.maps.apply(write))
    }

    /// The live words, mapped once more: for whoever writes them, on a thread of its own.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn live_words(&self) -> anyhow::Result<LiveWords> {
        LiveWords::from_fd(self.maps.live_words.descriptor()?)
    }

    /// The records of flows by descriptors of their own: for whoever shares them with another node, on a thread of its own. Who asks
    /// first is told of each that is made.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn records(&mut self) -> anyhow::Result<Records> {
        let storing = object::program(&mut self.ebpf, STORING)?.fd().context("the program that stores records")?;
        let storing = storing.as_fd().try_clone_to_owned().context("duplicating a program's descriptor")?;
        let recorded = self.maps.recorded.take();
        Records::of(&self.maps, recorded, storing)
    }

    /// Whether this node is live for the virtual router of a live word.
    pub fn is_live(&self, index: u32) -> bool {
        self.maps.live_words.is_live(index)
    }

    /// Whether records may be on their way from the node that was its master, of the virtual router of a live word.
    pub fn awaits_records(&self, index: u32) -> bool {
        self.maps.live_words.awaits_records(index)
    }

    /// Takes note of who has which row, for the counters.
    ///
    /// # Errors
    /// When the kernel does not tell a row's counters.
    pub fn assign_rows(&mut self, index: &RowIndex) -> anyhow::Result<()> {
        self.ledger.assign(&self.maps, index)
    }

    /// Attaches to an interface; how, or why not.
    pub fn attach(&mut self, interface: u32, mode: AttachMode) -> Result<ProgramMode, String> {
        self.attachments.attach(&mut self.ebpf, self.program, interface, mode)
    }

    /// Takes over what a daemon that died has left attached. Interfaces are adopted when they are attached to.
    pub fn inherit(&mut self, held: Vec<Held>) {
        self.attachments.inherit(held);
    }

    /// Whether the program of a daemon that died still forwards on some interface that is ours now.
    pub fn is_unrelieved(&self) -> bool {
        self.attachments.is_unrelieved()
    }

    /// Puts our program in the place of those, with no packet in between; where that fails, how attaching anew went.
    pub fn relieve(&mut self) -> Vec<(u32, Result<ProgramMode, String>)> {
        self.attachments.relieve(&mut self.ebpf, self.program)
    }

    /// Detaches whatever was inherited and not adopted.
    pub fn disown(&mut self) {
        self.attachments.disown();
    }

    /// Everything that is attached, for the supervisor to hold too.
    ///
    /// # Errors
    /// When this process has no descriptors left.
    pub fn held(&self) -> std::io::Result<Vec<Held>> {
        self.attachments.held()
    }

    /// Detaches from an interface.
    pub fn detach(&mut self, interface: u32) {
        self.attachments.detach(interface);
    }

    /// Reads the flow tables and deletes records that have had their time.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn census(&mut self, image: &Image, now: Duration) -> anyhow::Result<Tally> {
        self.maps.census(image, now)
    }

    /// The tables that hold records of flows, for a walk on another thread.
    ///
    /// # Errors
    /// When this process has no descriptors left.
    pub fn flow_view(&self) -> anyhow::Result<FlowView> {
        FlowView::new(&self.maps)
    }

    /// What was forwarded, by backend, of services that `wanted` takes.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn totals(&self, wanted: impl Fn(&str) -> bool) -> anyhow::Result<BTreeMap<Account, Totals>> {
        self.ledger.totals(&self.maps, wanted)
    }

    /// Packets that were not forwarded, by reason; those of one fate.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn reasons(&self, fate: Fate) -> anyhow::Result<BTreeMap<String, u64>> {
        let of_fate = Reason::ALL.iter().filter(|reason| reason.fate() == fate);
        of_fate.map(|&reason| Ok((reason.name().to_owned(), self.maps.reason(reason)?))).collect()
    }

    /// Records that could not be made.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn refusals(&self) -> anyhow::Result<u64> {
        self.maps.refusals()
    }

    /// Flows of stateful services that could not be recorded.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn unrecorded(&self) -> anyhow::Result<u64> {
        self.maps.unrecorded()
    }

    /// What packets went by at a place of services that go by connection IDs.
    ///
    /// # Errors
    /// When there is no such place.
    pub fn quic(&self, place: u16) -> anyhow::Result<QuicTotals> {
        let QuicCounters { routed, beginning, unknown } = self.maps.quic_counters(place)?;
        Ok(QuicTotals { connection_id: routed, beginning, unknown })
    }

    /// Who chooses in stateful services, and what their backends have.
    pub fn choosers(&self) -> &Choosers {
        &self.maps.choosers
    }

    /// When the bucket of a service is full again, by its access rules, in coarse monotonic nanoseconds.
    ///
    /// # Errors
    /// When there are no such rules.
    pub fn service_bucket(&self, access: u16) -> anyhow::Result<u64> {
        self.maps.service_bucket(access.into())
    }

    /// When the bucket of a client is; `None` if nothing is known of it.
    pub fn client_bucket(&self, client: &BucketKey) -> Option<u64> {
        self.maps.client_bucket(client)
    }

    /// The record of a flow of a stateful service, if there is one.
    pub fn connection(&self, key: &FlowKey6) -> Option<Record> {
        let octets = if key.source.is_v4() {
            self.maps.connections_v4.get(&narrow(key)).ok().flatten()?
        } else {
            self.maps.connections_v6.get(&key.as_bytes().try_into().expect("a key is 40 octets")).ok().flatten()?
        };
        Record::read_from_bytes(&octets).ok()
    }

    /// What is remembered of a client of a stateful service.
    pub fn client(&self, key: &ClientKey) -> Option<Record> {
        let octets = self.maps.clients.get(key.as_bytes().try_into().expect("a key is 24 octets")).ok().flatten()?;
        Record::read_from_bytes(&octets).ok()
    }

    /// Who is remembered for a destination of a stateful service.
    pub fn servers(&self, key: &Destination) -> Option<Servers> {
        let octets = self.maps.destinations.get(key.as_bytes().try_into().expect("a key is 24 octets"), 0).ok()?;
        Servers::read_from_bytes(&octets).ok()
    }

    /// What a packet of a translated flow becomes, and the same of the packets that answer it; nothing if neither is recorded.
    pub fn translation(&self, key: &FlowKey6) -> Vec<(FlowKey6, Translation)> {
        let read = |key: &FlowKey6| {
            let octets = if key.source.is_v4() {
                self.maps.translations_v4.get(&narrow(key)).ok().flatten()?
            } else {
                let key = key.as_bytes().try_into().expect("a key is 40 octets");
                self.maps.translations_v6.get(&key).ok().flatten()?
            };
            Some((*key, Translation::read_from_bytes(&octets).ok()?))
        };
        let Some(one) = read(key) else { return Vec::new() };
        [Some(one), read(&turned(&Ends::from(&one.1), key.protocol))].into_iter().flatten().collect()
    }

    /// The record of a flow, if there is one.
    pub fn record(&self, key: &FlowKey6, udp: bool) -> Option<Record> {
        let octets = if key.source.is_v4() {
            let table = if udp { &self.maps.udp_flows_v4 } else { &self.maps.flows_v4 };
            table.get(&narrow(key)).ok().flatten()?
        } else {
            let table = if udp { &self.maps.udp_flows_v6 } else { &self.maps.flows_v6 };
            table.get(&key.as_bytes().try_into().expect("a key is 40 octets")).ok().flatten()?
        };
        Record::read_from_bytes(&octets).ok()
    }

    /// Says which interface and tags a VLAN interface stands for.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_vlan(&mut self, interface: u32, below: u32, tags_wire: [u32; 2]) -> anyhow::Result<()> {
        self.maps.set_vlan(interface, below, tags_wire)
    }

    /// Puts the tracing program in place and hands on what it says of packets that `query` takes, with these names for
    /// rows. Needs a tokio runtime with I/O. When the session has ended, [`Self::stop_trace`] is due.
    ///
    /// # Errors
    /// When a trace is running already, which goes on, or the kernel refuses: then the forwarding program is in place.
    pub fn start_trace(
        &mut self,
        query: &TraceQuery,
        names: &RowIndex,
    ) -> Result<(TraceSession, mpsc::Receiver<TraceEvent>), Problem> {
        let started = self.try_start_trace(query, names);
        started.map_err(|error| Problem { exit: 1, message: format!("{error:#}") })
    }

    /// Puts the forwarding program back. May be called again if it fails, and when there is no trace.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn stop_trace(&mut self) -> anyhow::Result<()> {
        if self.program != FORWARDING {
            let back = self.attachments.replace(&mut self.ebpf, FORWARDING);
            back.context("putting the forwarding program back in place of the tracing one")?;
            self.program = FORWARDING;
        }
        Ok(())
    }

    fn try_start_trace(
        &mut self,
        query: &TraceQuery,
        names: &RowIndex,
    ) -> anyhow::Result<(TraceSession, mpsc::Receiver<TraceEvent>)> {
        let tracer = match &mut self.tracer {
            Some(tracer) => tracer,
            none => none.insert(trace::Tracer::take(&mut self.ebpf)?),
        };
        let claim = tracer.prepare(query)?.context("a trace is running already; there can be only one at a time")?;
        let session = claim.start(query, names.clone())?;
        // Noted first: if only some interfaces take it, all of them must be put back.
        self.program = TRACING;
        match self.attachments.replace(&mut self.ebpf, TRACING) {
            Ok(()) => Ok(session),
            Err(error) => {
                self.stop_trace()?;
                Err(error.context("putting the tracing program in place"))
            }
        }
    }

    /// The tables of probes; once.
    ///
    /// # Errors
    /// When they were taken before.
    pub fn probe_tables(&mut self) -> anyhow::Result<ProbeTables> {
        self.maps.probes.take().context("the tables of probes are in use")
    }

    /// Attaches the steering program to the way out of a device. It goes with the device, or with this.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach_steering(&mut self, device: &str) -> anyhow::Result<()> {
        object::attach_steering(&mut self.ebpf, device)
    }

    /// The ring buffer of replies that wait for a neighbour; once.
    pub fn unresolved(&mut self) -> Option<RingBuf<MapData>> {
        self.maps.unresolved.take()
    }
}

/// The key of an IPv4 flow, as octets.
fn narrow(key: &FlowKey6) -> [u8; 16] {
    zerocopy::transmute!([key.source.v4_wire(), key.destination.v4_wire(), key.ports_wire, key.protocol])
}
