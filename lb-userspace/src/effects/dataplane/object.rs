//! The compiled XDP program: found, sized, loaded. The object is committed beside the sources, so that building Fairway
//! needs no eBPF toolchain.

#[cfg(test)]
mod frames;

use std::io;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use anyhow::Context as _;
use aya::programs::tc;
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, Xdp};
use aya::util::KernelVersion;
use aya::{Ebpf, EbpfLoader};
use lb_common::limits::{COUNTERS_PER_ELEMENT, MAX_ROWS, SLOTS_PER_ELEMENT};
use nix::sys::time::TimeValLike as _;
use nix::time::{ClockId, clock_getres};

use super::addressed::Tables;
use super::preallocated::Preallocated;

/// The object that this binary was built with.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../bpf/fairway.bpf.o");

/// Names a directory whose `fairway.bpf.o` is loaded instead of the built-in object: for trying a freshly built one.
pub const OBJECT_DIRECTORY_VARIABLE: &str = "FAIRWAY_BPF_DIR";

/// How large the maps are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Slots of all lookup tables together.
    pub slots: u32,
    /// Rows: one for each backend of each listener.
    pub rows: u32,
    /// Records in each flow table.
    pub flows: u32,
    /// Records in each table of stateful services.
    pub connections: u32,
    /// Translated flows in each table of these: two records each.
    pub translations: u32,
    /// Tables of stateful services of which all memory is taken at once.
    pub preallocated: Preallocated,
}

/// Slots that there is room for at least: 4 Mi, in 16 MiB.
const LEAST_SLOTS: u32 = 1 << 22;
/// Rows that there is room for at least.
const LEAST_ROWS: u32 = 1 << 16;

impl Sizes {
    /// Room for what a configuration needs, twice over: tables are copied before they diverge, and rows move when a pool
    /// outgrows its place.
    pub fn for_need(slots: u64, rows: u64, flows: u32) -> Self {
        let slots = u32::try_from(2 * slots).unwrap_or(u32::MAX - 15).max(LEAST_SLOTS).next_multiple_of(16);
        let rows = u32::try_from(2 * rows).unwrap_or(u32::MAX).clamp(LEAST_ROWS, 2 * MAX_ROWS as u32);
        let preallocated = Preallocated::default();
        Self { slots, rows, flows, connections: flows, translations: flows, preallocated }
    }
}

/// The object's programs and maps, and the tables that its programs address.
pub struct Object {
    ebpf: Ebpf,
    /// Until they are mapped.
    pub tables: Tables,
}

impl Deref for Object {
    type Target = Ebpf;

    fn deref(&self) -> &Ebpf {
        &self.ebpf
    }
}

impl DerefMut for Object {
    fn deref_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }
}

/// Loads the object's maps, sized; programs are loaded by [`program`].
///
/// # Errors
/// When the kernel refuses: too old, no permission, or no memory.
pub fn load(sizes: Sizes) -> anyhow::Result<Object> {
    let mut bytes = bytes()?;
    let tables = Tables::new()?;
    tables.write_into(&mut bytes)?;
    sizes.preallocated.write_into(&mut bytes)?;
    let tick = tick_nanoseconds()?;
    let ebpf = EbpfLoader::new()
        .override_global("TICK_NANOSECONDS", &tick, true)
        .map_max_entries("SLOTS", sizes.slots / SLOTS_PER_ELEMENT as u32)
        .map_max_entries("REFUSALS", sizes.slots / SLOTS_PER_ELEMENT as u32)
        .map_max_entries("ROWS", sizes.rows)
        .map_max_entries("TUNNELS", sizes.rows)
        .map_max_entries("SIGNS", sizes.rows)
        .map_max_entries("COUNTERS", sizes.rows.div_ceil(COUNTERS_PER_ELEMENT as u32))
        .map_max_entries("LOADS", sizes.rows)
        .map_max_entries("CONNECTIONS_V4", sizes.connections)
        .map_max_entries("CONNECTIONS_V6", sizes.connections)
        .map_max_entries("CLIENTS", sizes.connections)
        .map_max_entries("TRANSLATIONS_V4", 2 * sizes.translations)
        .map_max_entries("TRANSLATIONS_V6", 2 * sizes.translations)
        .map_max_entries("FLOWS_V4", sizes.flows)
        .map_max_entries("FLOWS_V6", sizes.flows)
        .map_max_entries("UDP_FLOWS_V4", sizes.flows)
        .map_max_entries("UDP_FLOWS_V6", sizes.flows)
        .load(&bytes)
        .context(
            "loading the XDP program's maps (this needs Linux 6.1 or newer, and root or CAP_BPF and CAP_NET_ADMIN)",
        )?;
    Ok(Object { ebpf, tables })
}

/// How long a tick of the kernel's timer takes: the resolution of the clock that only moves with it.
fn tick_nanoseconds() -> anyhow::Result<u64> {
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).context("asking how long a tick of the kernel takes")?;
    u64::try_from(tick.num_nanoseconds()).context("no tick takes less than no time")
}

/// Loads one of the object's programs into the kernel, if it is not yet.
///
/// # Errors
/// When the verifier refuses it; the message carries the end of its log.
pub fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> anyhow::Result<&'a mut Xdp> {
    let program: &mut Xdp = ebpf
        .program_mut(name)
        .with_context(|| format!("the eBPF object has no program `{name}`"))?
        .try_into()
        .with_context(|| format!("`{name}` is not an XDP program"))?;
    if program.fd().is_err() {
        again(|| program.load(), is_interrupted)
            .with_context(|| format!("the kernel refused the XDP program `{name}`"))?;
    }
    Ok(program)
}

/// So often the verifier is asked again that was interrupted.
const ATTEMPTS: u32 = 5;

/// Whether the verifier, which takes its time, gave up since there was a signal for this thread (a debugger's, or that of a machine
/// that is put to sleep).
fn is_interrupted(error: &ProgramError) -> bool {
    matches!(error, ProgramError::LoadError { io_error, .. } if io_error.kind() == io::ErrorKind::WouldBlock)
}

/// Does something until it is not interrupted, a few times at most.
fn again<T, E>(mut act: impl FnMut() -> Result<T, E>, is_interrupted: impl Fn(&E) -> bool) -> Result<T, E> {
    for _ in 1..ATTEMPTS {
        match act() {
            Err(error) if is_interrupted(&error) => {}
            result => return result,
        }
    }
    act()
}

/// Loads the steering program and attaches it to the way out of a device.
///
/// # Errors
/// When the kernel refuses.
pub fn attach_steering(ebpf: &mut Ebpf, device: &str) -> anyhow::Result<()> {
    let program: &mut SchedClassifier = ebpf
        .program_mut(super::STEERING)
        .with_context(|| format!("the eBPF object has no program `{}`", super::STEERING))?
        .try_into()
        .with_context(|| format!("`{}` is not a classifier", super::STEERING))?;
    if program.fd().is_err() {
        again(|| program.load(), is_interrupted).context("the kernel refused the steering program")?;
    }
    // Before it could hang on the device itself, a program hung on a queueing discipline.
    if KernelVersion::current().is_ok_and(|version| version < KernelVersion::new(6, 6, 0)) {
        tc::qdisc_add_clsact(device).with_context(|| format!("preparing {device} for the steering program"))?;
    }
    program
        .attach(device, TcAttachType::Egress)
        .with_context(|| format!("attaching the steering program to {device}"))?;
    Ok(())
}

pub(super) fn bytes() -> anyhow::Result<Vec<u8>> {
    let Some(directory) = std::env::var_os(OBJECT_DIRECTORY_VARIABLE) else { return Ok(OBJECT.to_vec()) };
    let path = PathBuf::from(directory).join("fairway.bpf.o");
    std::fs::read(&path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_interrupted_is_done_again_a_few_times_and_what_is_refused_is_not() {
        for (interruptions, kind, done, attempts) in [
            (0, io::ErrorKind::WouldBlock, true, 1),
            (2, io::ErrorKind::WouldBlock, true, 3),
            (9, io::ErrorKind::WouldBlock, false, ATTEMPTS),
            (1, io::ErrorKind::PermissionDenied, false, 1),
        ] {
            let mut count = 0;
            let act = || {
                count += 1;
                if count <= interruptions { Err(io::Error::from(kind)) } else { Ok(()) }
            };
            let result = again(act, |error| error.kind() == io::ErrorKind::WouldBlock);
            assert_eq!((result.is_ok(), count), (done, attempts), "{interruptions} times {kind}");
        }
    }
}
