//! Reads what the tracing program writes: lines through aya-log, captured frames through a ring buffer of their own.
//! What whoever listens is too slow for is lost, counted and told; nothing waits for them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray, RingBuf};
use aya_log::EbpfLogger;
use lb_common::trace::{CaptureHeader, TraceBudget};
use log::{Log, Metadata, Record};
use nix::time::{ClockId, clock_gettime};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::OwnedMutexGuard;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{interval, sleep};
use zerocopy::FromBytes as _;

use super::words::Words;
use crate::runtime::request::TraceEvent;

/// Lines taken from the log at a time; what the kernel adds meanwhile beyond them is lost, counted.
const BATCH: usize = 4096;
/// How often to tell of what is not shown.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The tracing program's ring buffers and counters.
pub struct Reader {
    log: AsyncFd<EbpfLogger<Lines>>,
    lines: Lines,
    captures: AsyncFd<RingBuf<MapData>>,
    budget: PerCpuArray<MapData, [u64; size_of::<TraceBudget>() / 8]>,
}

impl Reader {
    /// Takes the maps out of a loaded object. Needs a tokio runtime with I/O.
    ///
    /// # Errors
    /// When the object lacks one, or it cannot be waited for.
    pub fn take(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        let captures: RingBuf<MapData> = super::super::maps::take(ebpf, "TRACE_PACKETS")?;
        let budget = super::super::maps::take(ebpf, "TRACE_BUDGET")?;
        let lines = Lines::default();
        let log =
            EbpfLogger::init_with_logger(ebpf, lines.clone()).context("opening the log of the tracing program")?;
        // SAFETY: both own their descriptor and keep it open and the same for as long as they live, which is as long as
        // the `AsyncFd` that owns them does.
        let (log, captures) = unsafe {
            (
                AsyncFd::register_with_interest(log, Interest::READABLE).context("waiting for the log")?,
                AsyncFd::register_with_interest(captures, Interest::READABLE).context("waiting for captured frames")?,
            )
        };
        Ok(Self { log, lines, captures, budget })
    }

    /// Throws away what an earlier session left unread.
    pub fn discard(&mut self) {
        self.log.get_mut().flush();
        self.lines.take();
        while self.captures.get_mut().next().is_some() {}
    }

    /// Packets that matched and were not traced, and frames that were not captured, ever.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn unseen(&self) -> anyhow::Result<(u64, u64)> {
        let all = self.budget.get(&0, 0).context("reading what was not traced")?;
        Ok(all.iter().fold((0, 0), |(skipped, uncaptured), cpu| (skipped + cpu[3], uncaptured + cpu[4])))
    }
}

/// Hands on what is read until the time is over or nobody listens any more.
/// `told` is what was unseen before the trace began.
pub async fn run(
    mut reader: OwnedMutexGuard<Reader>,
    mut output: Output,
    mut told: (u64, u64),
    time: Duration,
) -> anyhow::Result<()> {
    let reader = &mut *reader;
    let mut report = interval(REPORT_INTERVAL);
    let over = sleep(time);
    tokio::pin!(over);
    let listener = output.events.clone();
    loop {
        tokio::select! {
            // In this order, so that lines go before frames.
            biased;
            () = listener.closed() => return Ok(()),
            () = &mut over => break,
            _ = report.tick() => told = output.tell_unseen(told, reader.unseen()?),
            ready = reader.log.readable_mut() => {
                let mut ready = ready.context("waiting for the log of the trace")?;
                ready.get_inner_mut().flush();
                ready.clear_ready();
                output.lines(reader.lines.take());
            }
            ready = reader.captures.readable_mut() => {
                let mut ready = ready.context("waiting for captured frames")?;
                // The lines of these frames may have come since the log was last looked at.
                reader.log.get_mut().flush();
                output.lines(reader.lines.take());
                for _ in 0..BATCH {
                    let Some(item) = ready.get_inner_mut().next() else {
                        ready.clear_ready();
                        break;
                    };
                    output.frame(&item);
                }
            }
        }
    }
    reader.log.get_mut().flush();
    output.lines(reader.lines.take());
    while let Some(item) = reader.captures.get_mut().next() {
        output.frame(&item);
    }
    output.tell_unseen(told, reader.unseen()?);
    Ok(())
}

/// Where aya-log puts its lines, and how many there was no room for.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<(Vec<String>, u64)>>);

impl Lines {
    fn take(&self) -> (Vec<String>, u64) {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let (lines, lost) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < BATCH { lines.push(record.args().to_string()) } else { *lost += 1 }
    }

    fn flush(&self) {}
}

/// What goes to whoever listens.
pub struct Output {
    events: Sender<TraceEvent>,
    words: Words,
    lost: u64,
    /// Seconds from the monotonic clock's zero to the Unix epoch's.
    epoch: f64,
}

impl Output {
    /// # Errors
    /// When the clocks cannot be read.
    pub fn new(events: Sender<TraceEvent>, words: Words) -> anyhow::Result<Self> {
        let read = |clock| clock_gettime(clock).map(Duration::from).context("reading a clock");
        let epoch = read(ClockId::CLOCK_REALTIME)?.as_secs_f64() - read(ClockId::CLOCK_MONOTONIC)?.as_secs_f64();
        Ok(Self { events, words, lost: 0, epoch })
    }

    fn lines(&mut self, (lines, lost): (Vec<String>, u64)) {
        self.lost += lost;
        for line in lines {
            if let Some(step) = self.words.step(&line) {
                self.send(TraceEvent::Step(step));
            }
        }
    }

    fn frame(&mut self, item: &[u8]) {
        let Ok((header, octets)) = CaptureHeader::read_from_prefix(item) else { return };
        let Some(octets) = octets.get(..header.captured as usize) else { return };
        let time = self.epoch + Duration::from_nanos(header.time).as_secs_f64();
        self.send(TraceEvent::Packet(time, octets.to_vec()));
    }

    /// Says what the kernel has not shown since `told`, if there is any; what has been told now.
    fn tell_unseen(&mut self, told: (u64, u64), now: (u64, u64)) -> (u64, u64) {
        let (skipped, uncaptured) = (now.0 - told.0, now.1 - told.1);
        if skipped > 0 {
            self.send(TraceEvent::Step(format!("{skipped} more packets matched: too many in a second to show")));
        }
        if uncaptured > 0 {
            self.send(TraceEvent::Step(format!("{uncaptured} more frames are missing from the capture")));
        }
        self.tell_lost();
        now
    }

    fn tell_lost(&mut self) {
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            self.send(TraceEvent::Step(format!("{lost} more lines or frames came too fast to be read")));
        }
    }

    fn send(&mut self, event: TraceEvent) {
        if let Err(TrySendError::Full(_)) = self.events.try_send(event) {
            self.lost += 1;
        }
    }
}
