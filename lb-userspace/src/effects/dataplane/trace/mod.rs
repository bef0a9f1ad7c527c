//! Tracing packets: the tracing program takes the forwarding program's place on every link for a while, and its log is
//! read, worded and handed on. The two programs share their maps, so forwarding goes on as before, only slower.
//!
//! A session lives in a task; it ends by itself when its time is over or nobody listens any more. Whoever holds it then
//! puts the forwarding program back (`Dataplane::stop_trace`).

mod reader;
mod words;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use aya::Ebpf;
use aya::maps::{Array, MapData};
use aya::util::nr_cpus;
use lb_common::address::Address;
use lb_common::trace::{TraceFilter, terms};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};
use tokio::task::JoinHandle;

use crate::reconcile::rows::RowIndex;
use crate::runtime::request::{TraceEvent, TraceQuery};
use reader::Reader;
use words::Words;

/// Packets traced in a second, by all CPUs together: some 10,000 lines.
const PACKETS_PER_SECOND: usize = 1250;
/// What each CPU may trace in a second at least: a flow is mostly one CPU's.
const LEAST_PACKETS_PER_SECOND: usize = 100;
/// Events that may wait for whoever listens; more are lost, counted.
const QUEUE: usize = 1024;

/// A trace that is under way. Dropping it ends the reading; the program stays until `Dataplane::stop_trace`.
pub struct TraceSession {
    task: JoinHandle<anyhow::Result<()>>,
}

impl TraceSession {
    /// Waits until the trace is over: its time is up, nobody listens any more, or its log cannot be read. To be asked
    /// until it answers, and not after.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        (&mut self.task).await.context("reading the trace")?
    }
}

impl Drop for TraceSession {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The tracing program's own maps.
pub struct Tracer {
    filter: Array<MapData, [u8; size_of::<TraceFilter>()]>,
    reader: Arc<Mutex<Reader>>,
}

impl Tracer {
    /// Takes the maps out of a loaded object. Needs a tokio runtime with I/O.
    ///
    /// # Errors
    /// When the object lacks one, or it cannot be waited for.
    pub fn take(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        let filter = super::maps::take(ebpf, "TRACE_FILTER")?;
        Ok(Self { filter, reader: Arc::new(Mutex::new(Reader::take(ebpf)?)) })
    }

    /// Says which packets to trace and claims the log; `None` while a session has it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn prepare(&mut self, query: &TraceQuery) -> anyhow::Result<Option<Claim>> {
        let Ok(mut reader) = self.reader.clone().try_lock_owned() else { return Ok(None) };
        reader.discard();
        let octets: [u8; size_of::<TraceFilter>()] = zerocopy::transmute!(filter(query)?);
        self.filter.set(0, octets, 0).context("setting the filter of the trace")?;
        Ok(Some(Claim(reader)))
    }
}

/// The log, for one session.
pub struct Claim(OwnedMutexGuard<Reader>);

impl Claim {
    /// Starts handing on what is traced. `names` are those of now: a row that gets another owner during the session keeps
    /// the name it had.
    ///
    /// # Errors
    /// When the clocks or the counters cannot be read.
    pub fn start(
        self,
        query: &TraceQuery,
        names: RowIndex,
    ) -> anyhow::Result<(TraceSession, mpsc::Receiver<TraceEvent>)> {
        let (events, receiver) = mpsc::channel(QUEUE);
        let words = Words::new(names, interface_name);
        let output = reader::Output::new(events, words)?;
        let time = Duration::from_secs(query.seconds.into());
        let told = self.0.unseen()?;
        let task = tokio::spawn(reader::run(self.0, output, told, time));
        Ok((TraceSession { task }, receiver))
    }
}

/// The filter as the program reads it.
fn filter(query: &TraceQuery) -> anyhow::Result<TraceFilter> {
    let term = |given, bit| if given { bit } else { 0 };
    let cpus = nr_cpus().map_err(|(file, error)| anyhow!("reading {file}: {error}"))?;
    Ok(TraceFilter {
        address: query.address.map(Address::from).unwrap_or_default(),
        port_wire: query.port.unwrap_or_default().to_be(),
        protocol: query.protocol.unwrap_or_default(),
        terms: term(query.address.is_some(), terms::ADDRESS)
            | term(query.port.is_some(), terms::PORT)
            | term(query.protocol.is_some(), terms::PROTOCOL)
            | term(query.packets, terms::OCTETS),
        budget: (PACKETS_PER_SECOND / cpus).max(LEAST_PACKETS_PER_SECOND) as u32,
    })
}

fn interface_name(index: u32) -> String {
    match nix::net::if_::if_indextoname(index) {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(_) => format!("interface {index}"),
    }
}
