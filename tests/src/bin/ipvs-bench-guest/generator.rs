//! Packets into the wire, by the kernel itself (`BPF_PROG_TEST_RUN` with live frames): they arrive as a network card's do.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use aya::maps::{Map, MapData};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use fairway::effects::dataplane::MappedArray;
use fairway_tests::bench::traffic::{SERVICE4, Segment, Traffic};
use nix::net::if_::if_nametoindex;
use nix::time::{ClockId, clock_gettime};

use crate::network::WIRE;

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../../lb-userspace/bpf/bench.bpf.o");

/// Flows, all of them known to whoever remembers flows after the first of the runs.
const FLOWS: u32 = 1 << 10;
/// Packets of the run that makes them known, and of the shorter one of the two that are compared.
const FEW: u32 = 1 << 13;
/// Packets of the longer one: what a run costs besides its packets is the same for both.
const MANY: u32 = FEW + (1 << 15);
/// Packets that the kernel makes at a time.
const BATCH: u32 = 64;

pub struct Generator {
    ebpf: Ebpf,
    traffic: MappedArray<Traffic>,
    swallowed: MappedArray<u64>,
}

impl Generator {
    /// With the end of all ways on the generator's side.
    pub fn new() -> Result<Self> {
        let mut ebpf = EbpfLoader::new().load(OBJECT).context("loading the generator")?;
        let traffic = MappedArray::new(array(&mut ebpf, "TRAFFIC")?)?;
        let swallowed = MappedArray::new(array(&mut ebpf, "SWALLOWED")?)?;
        for name in ["generate_v4", "swallow"] {
            program(&mut ebpf, name)?.load()?;
        }
        let mut generator = Self { ebpf, traffic, swallowed };
        generator.traffic.write(0, Traffic::v4(Segment::Udp, FLOWS, SERVICE4, 1))?;
        generator.swallow_at(WIRE)?;
        Ok(generator)
    }

    /// Swallows what arrives at an interface.
    pub fn swallow_at(&mut self, interface: &str) -> Result<()> {
        let swallow = program(&mut self.ebpf, "swallow")?;
        swallow.attach(interface, XdpMode::Driver).with_context(|| format!("swallowing at {interface}"))?;
        Ok(())
    }

    /// Instructions that one packet costs more, of all that the machine executes.
    pub fn instructions_per_packet(&mut self) -> Result<u64> {
        self.instructions(FEW)?;
        let [few, many] = [self.instructions(FEW)?, self.instructions(MANY)?];
        Ok((many.saturating_sub(few) + u64::from(MANY - FEW) / 2) / u64::from(MANY - FEW))
    }

    /// Instructions of a run, whose packets must all arrive.
    fn instructions(&mut self, packets: u32) -> Result<u64> {
        let (arrived, worked) = (self.swallowed.read(0)?, worked()?);
        let packet = self.traffic.read(0)?;
        let [data, wire] = [packet.packet().len() as u32, if_nametoindex(WIRE)?];
        // `struct xdp_md`
        let context = [0, data, 0, wire, 0, 0].map(u32::to_ne_bytes).concat();
        program(&mut self.ebpf, "generate_v4")?.test_run(TestRunOptions {
            data_in: Some(packet.packet()),
            ctx_in: Some(&context),
            repeat: packets,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        })?;
        let worked = self::worked()? - worked;
        let arrived = self.swallowed.read(0)? - arrived;
        ensure!(arrived == u64::from(packets), "of {packets} packets {arrived} arrived");
        Ok(worked.as_nanos() as u64)
    }
}

/// How long this thread has run, and the kernel's for packets: an instruction is a nanosecond. That is everything there is to do in
/// this machine, without what it waits for.
fn worked() -> Result<Duration> {
    let own = Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?);
    let mut all = own;
    for entry in fs::read_dir("/proc")?.flatten() {
        let is_it = fs::read_to_string(entry.path().join("comm")).is_ok_and(|name| name.trim() == "ksoftirqd/0");
        if is_it {
            let text = fs::read_to_string(entry.path().join("schedstat")).context("the kernel keeps statistics")?;
            let nanoseconds = text.split(' ').next().context("the first figure is the time it ran")?;
            all += Duration::from_nanos(nanoseconds.parse()?);
        }
    }
    Ok(all)
}

fn array(ebpf: &mut Ebpf, name: &str) -> Result<MapData> {
    match ebpf.take_map(name) {
        Some(Map::Array(array)) => Ok(array),
        _ => bail!("the bench's object has no array `{name}`"),
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    Ok(ebpf.program_mut(name).with_context(|| format!("the bench's object has no `{name}`"))?.try_into()?)
}
