//! Runs rows interleaved, round by round, and checks after each round that all its packets took the way that the row is
//! about: a packet that strays (dropped early, say) is cheap, and would make a flattering number.

use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use aya::maps::{Map, ProgramArray};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use fairway::effects::dataplane::object::{self, Object};
use fairway::effects::dataplane::{FlowTable, MappedArray, Maps};
use lb_common::counters::Reason;
use lb_common::limits::COUNTERS_PER_ELEMENT;

use super::fixture::Fixture;
use super::rows::{Fate, Row};
use super::traffic::Traffic;

/// The bench's own object.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../lb-userspace/bpf/bench.bpf.o");

/// What the verdicts are to the kernel.
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

/// What one row cost, round by round: nanoseconds a packet, whole, as the kernel reports them.
pub struct Measured {
    /// The row.
    pub row: Row,
    /// One figure a round.
    pub rounds: Vec<u32>,
    /// The first round whose packets did not take their way.
    pub error: Option<anyhow::Error>,
}

/// What the verifier and the compiler made of the packet path.
pub struct ProgramSize {
    /// Instructions that the verifier walked through, over all paths.
    pub verified: u32,
    /// Octets of machine code.
    pub machine_code: u32,
}

/// Measures all rows, interleaved.
///
/// # Errors
/// When a program does not load, or the kernel refuses a run.
pub fn measure(rows: Vec<Row>, rounds: u32) -> anyhow::Result<(Vec<Measured>, ProgramSize)> {
    pin_to_one_cpu()?;
    let mut trampoline = Trampoline::load()?;
    let mut fairways = Fairway::load_all(&rows)?;
    let size = program_size()?;
    let mut measured: Vec<Measured> =
        rows.into_iter().map(|row| Measured { row, rounds: Vec::new(), error: None }).collect();
    for round in 0..=rounds {
        for Measured { row, rounds, error } in &mut measured {
            if error.is_some() {
                continue;
            }
            let fairway = fairways.iter_mut().find(|fairway| fairway.is_for(row));
            match trampoline.round(row, fairway) {
                // The first round warms caches, and makes the records that later ones find.
                Ok(_) if round == 0 => {}
                Ok(nanoseconds) => rounds.push(nanoseconds),
                Err(wrong) => *error = Some(wrong),
            }
        }
    }
    Ok((measured, size))
}

/// Figures of one row must not depend on which CPU the next round falls on.
fn pin_to_one_cpu() -> anyhow::Result<()> {
    let mut set = nix::sched::CpuSet::new();
    set.set(nix::sched::sched_getcpu().context("asking for the present CPU")?)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set).context("staying on one CPU")
}

fn program_size() -> anyhow::Result<ProgramSize> {
    let mut ebpf = object::load(object::Sizes::for_need(0, 0, 1024))?;
    let info = object::program(&mut ebpf, "fairway")?.info()?;
    Ok(ProgramSize { verified: info.verified_instruction_count().unwrap_or(0), machine_code: info.size_jitted() })
}

/// The bench's object, loaded.
struct Trampoline {
    ebpf: Ebpf,
    traffic: MappedArray<Traffic>,
    under_test: ProgramArray<aya::maps::MapData>,
}

impl Trampoline {
    fn load() -> anyhow::Result<Self> {
        let mut ebpf = EbpfLoader::new().load(&object_bytes()?).context("loading the bench's maps")?;
        let floors = ["floor_tx", "floor_pass", "floor_mac_swap", "floor_lru", "floor_encapsulate"];
        for name in ["trampoline_v4", "trampoline_v6"].into_iter().chain(floors) {
            object::program(&mut ebpf, name)?;
        }
        let Some(Map::Array(traffic)) = ebpf.take_map("TRAFFIC") else { bail!("the bench's object has no `TRAFFIC`") };
        let under_test = ebpf.take_map("UNDER_TEST").context("the bench's object has no `UNDER_TEST`")?;
        Ok(Self { ebpf, traffic: MappedArray::new(traffic)?, under_test: ProgramArray::try_from(under_test)? })
    }

    /// One round of a row: nanoseconds a packet.
    fn round(&mut self, row: &mut Row, mut fairway: Option<&mut Fairway>) -> anyhow::Result<u32> {
        if let Some(fairway) = &mut fairway
            && row.starts_empty()
        {
            fairway.forget_flows()?;
        }
        self.aim(row.fixture, fairway.as_deref_mut())?;
        let (verdict, nanoseconds) = self.run(row)?;
        let expected = match row.fate {
            Fate::Transmitted => XDP_TX,
            Fate::Passed(_) => XDP_PASS,
        };
        ensure!(verdict == expected, "the last packet's verdict is {verdict}, not {expected}");
        if let Some(fairway) = fairway {
            fairway.check(row)?;
        }
        Ok(nanoseconds)
    }

    fn aim(&mut self, fixture: Fixture, fairway: Option<&mut Fairway>) -> anyhow::Result<()> {
        let program = match (fixture, fairway) {
            (Fixture::Floor(name), _) => object::program(&mut self.ebpf, name)?,
            (_, Some(fairway)) => object::program(&mut fairway.ebpf, "fairway")?,
            (fixture, None) => bail!("no program was loaded for {fixture:?}"),
        };
        self.under_test.set(0, program.fd()?, 0).context("aiming the trampoline")
    }

    fn run(&mut self, row: &mut Row) -> anyhow::Result<(u32, u32)> {
        self.traffic.write(0, row.traffic)?;
        let name = if row.traffic.is_v6() { "trampoline_v6" } else { "trampoline_v4" };
        let trampoline: &Xdp = self.ebpf.program(name).context("the bench's object lacks a trampoline")?.try_into()?;
        let mut options = TestRunOptions::new();
        options.data_in = Some(row.traffic.packet());
        options.repeat = row.packets;
        let result = trampoline.test_run(options).context("BPF_PROG_TEST_RUN")?;
        // Where the flows were left off is where the next round goes on.
        row.traffic = self.traffic.read(0)?;
        Ok((result.return_value, u32::try_from(result.duration.as_nanos()).context("a round of over four seconds")?))
    }
}

fn object_bytes() -> anyhow::Result<std::borrow::Cow<'static, [u8]>> {
    let Some(directory) = std::env::var_os(object::OBJECT_DIRECTORY_VARIABLE) else { return Ok(OBJECT.into()) };
    let path = PathBuf::from(directory).join("bench.bpf.o");
    Ok(std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?.into())
}

/// Fairway over one fixture's tables: a program and maps of its own.
struct Fairway {
    fixture: Fixture,
    /// Rows of different traffic have flow tables of their own when they record.
    records: u32,
    ebpf: Object,
    maps: Maps,
    rows: u32,
    tally: Tally,
    records_checked: bool,
}

impl Fairway {
    fn load_all(rows: &[Row]) -> anyhow::Result<Vec<Self>> {
        let mut loaded: Vec<Self> = Vec::new();
        for row in rows {
            if !matches!(row.fixture, Fixture::Floor(_)) && !loaded.iter().any(|fairway| fairway.is_for(row)) {
                loaded.push(Self::load(row).with_context(|| format!("preparing {}", row.name))?);
            }
        }
        Ok(loaded)
    }

    fn load(row: &Row) -> anyhow::Result<Self> {
        let tables = row.fixture.tables();
        let rows = tables.rows();
        let flows = (2 * row.records).max(1024);
        let sizes = object::Sizes::for_need(tables.slots(), u64::from(rows), flows);
        let mut ebpf = object::load(object::Sizes { preallocated: row.fixture.preallocated(), ..sizes })?;
        object::program(&mut ebpf, "fairway")?;
        let mut maps = Maps::take(&mut ebpf)?;
        tables.writes()?.iter().try_for_each(|write| maps.apply(write))?;
        let tally = Tally::read(&maps, rows)?;
        Ok(Self { fixture: row.fixture, records: row.records, ebpf, maps, rows, tally, records_checked: false })
    }

    fn is_for(&self, row: &Row) -> bool {
        self.fixture == row.fixture && self.records == row.records
    }

    fn forget_flows(&mut self) -> anyhow::Result<()> {
        let mut keys = Vec::new();
        let table = self.table();
        table.for_each(|key, _| keys.push(*key))?;
        keys.iter().try_for_each(|key| table.remove(key)).context("emptying the flow table")?;
        self.records_checked = false;
        Ok(())
    }

    /// Where this fixture's flows are recorded.
    fn table(&mut self) -> &mut FlowTable<16> {
        match self.fixture {
            Fixture::Stateful(_) => &mut self.maps.connections_v4,
            _ => &mut self.maps.flows_v4,
        }
    }

    /// Whether all packets since the last check took the way of their row.
    fn check(&mut self, row: &Row) -> anyhow::Result<()> {
        let mut expected = std::mem::take(&mut self.tally);
        let packets = u64::from(row.packets);
        match row.fate {
            Fate::Transmitted => expected.forwarded += packets,
            Fate::Passed(reason) => reason.into_iter().for_each(|reason| expected.reasons[reason as usize] += packets),
        }
        self.tally = Tally::read(&self.maps, self.rows)?;
        ensure!(self.tally == expected, "not all packets took their way: {}", expected.difference(&self.tally));
        if !self.records_checked {
            let mut records = 0usize;
            self.table().for_each(|_, _| records += 1)?;
            ensure!(records == row.records as usize, "{records} records instead of {}", row.records);
            // Nothing takes a record away again, so that one look will do.
            self.records_checked = true;
        }
        Ok(())
    }
}

/// Fairway's own counters at one moment.
#[derive(Default, PartialEq, Eq, Debug)]
struct Tally {
    forwarded: u64,
    reasons: Vec<u64>,
}

impl Tally {
    fn read(maps: &Maps, rows: u32) -> anyhow::Result<Self> {
        Ok(Self {
            forwarded: forwarded(maps, rows)?,
            reasons: Reason::ALL.iter().map(|reason| maps.reason(*reason)).collect::<anyhow::Result<_>>()?,
        })
    }

    fn difference(&self, found: &Self) -> String {
        let reasons = Reason::ALL.iter().map(|reason| (reason.name(), *reason as usize));
        let reasons = reasons.map(|(name, index)| (name, self.reasons[index], found.reasons[index]));
        std::iter::once(("forwarded", self.forwarded, found.forwarded))
            .chain(reasons)
            .filter(|(_, expected, found)| expected != found)
            .map(|(what, expected, found)| format!("{what} {found} instead of {expected}"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

fn forwarded(maps: &Maps, rows: u32) -> anyhow::Result<u64> {
    let mut sum = 0;
    for element in 0..rows.div_ceil(COUNTERS_PER_ELEMENT as u32) {
        sum += maps.counters_element(element)?.iter().map(|counters| counters.packets).sum::<u64>();
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::super::rows;
    use super::*;

    fn measured(name: &str, change: fn(&mut Row)) -> Measured {
        let mut row = rows::all().into_iter().find(|row| row.name == name).expect("a row of this name");
        row.packets = 1000;
        change(&mut row);
        let (mut measured, _) = measure(vec![row], 2).expect("root, and a kernel that loads the objects");
        measured.remove(0)
    }

    #[test]
    fn a_row_whose_packets_take_their_way_has_a_figure_a_round() {
        let measured = measured("direct-tcp-hit", |_| {});
        assert!(measured.error.is_none(), "{:#}", measured.error.expect("just seen"));
        assert_eq!(measured.rounds.len(), 2);
    }

    #[test]
    fn a_row_whose_packets_stray_is_an_error() {
        let strayed = measured("direct-tcp-hit", |row| row.fate = Fate::Passed(Some(Reason::NotService)));
        assert!(strayed.error.expect("an error").to_string().contains("verdict is 3, not 2"));
        let wrong_reason = measured("pass", |row| row.fate = Fate::Passed(Some(Reason::NotIp)));
        let error = wrong_reason.error.expect("an error").to_string();
        assert!(error.contains("not-ip 0 instead of 1000, not-a-service 1000 instead of 0"), "{error}");
    }

    #[test]
    fn a_row_that_makes_other_records_than_it_says_is_an_error() {
        let measured = measured("direct-unsettled-hit", |row| row.records = 2);
        assert_eq!(measured.error.expect("an error").to_string(), "1 records instead of 2");
    }
}
