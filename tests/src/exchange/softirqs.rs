//! How much of a thread's time the kernel spent on packets, by the programs of `lb-ebpf/src/softirq.rs`. It handles them in the name of
//! whoever runs on the processor, so what a thread is charged with may be somebody else's; its own are a part of this too.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use aya::maps::{HashMap, MapData};
use aya::programs::{ProgramError, RawTracePoint};
use aya::{Ebpf, EbpfLoader};

/// The benches' object.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../lb-userspace/bpf/bench.bpf.o");

/// See the module's description. It watches until it is dropped.
pub struct Softirqs {
    times: HashMap<MapData, u32, u64>,
    _ebpf: Ebpf,
}

impl Softirqs {
    /// Watches no thread yet.
    ///
    /// # Errors
    /// When the kernel has no such tracepoints.
    pub fn watch() -> Result<Self> {
        let mut ebpf = EbpfLoader::new().load(OBJECT).context("loading the benches' maps")?;
        for name in ["softirq_entry", "softirq_exit"] {
            let Some(program) = ebpf.program_mut(name) else { bail!("the benches' object has no `{name}`") };
            let program: &mut RawTracePoint = program.try_into()?;
            let attach = |program: &mut RawTracePoint| -> Result<(), ProgramError> {
                program.load()?;
                program.attach(name).map(drop)
            };
            attach(program).with_context(|| format!("watching the kernel's `{name}`"))?;
        }
        let times = ebpf.take_map("PACKETS_OF").context("the benches' object has no `PACKETS_OF`")?;
        Ok(Self { times: times.try_into()?, _ebpf: ebpf })
    }

    /// Time of packets in the name of a thread since this was first asked for.
    ///
    /// # Errors
    /// When too many threads are watched.
    pub fn of(&mut self, thread: u32) -> Result<Duration> {
        if let Ok(time) = self.times.get(&thread, 0) {
            return Ok(Duration::from_nanos(time));
        }
        self.times.insert(thread, 0, 0).context("watching a thread")?;
        Ok(Duration::ZERO)
    }
}
