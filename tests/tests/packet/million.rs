//! A table of connections full to the brim: what is counted after much coming and going is what is recorded, new flows for which
//! there is no room go by the lookup table, and no recorded flow is lost for them. In the kernel; `FAIRWAY_FULL=1` does it with a million.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use fairway::reconcile::half::publish;
use fairway::reconcile::image::Image;
use fairway::reconcile::write::Write;
use fairway_tests::packet::{Ip, Payload, flag};
use lb_common::abi::{Chooser, Load, Record, Root, Service, Sources, connection_state, service_flags};
use lb_common::connection::{CLOSED_TIMEOUT, Counted, SYN_TIMEOUT};
use lb_common::scheduler::Rule;
use lb_common::slot::Slot;
use zerocopy::FromBytes as _;

use super::build;
use super::ipvs::row;
use super::kernel::{self, Kernel, action};
use super::state::{SLOTS, coarse_now};
use super::world::{self, LAN, row_mac};

const SERVICE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
const PORT: u16 = 80;
const BACKENDS: u16 = 4;
/// Whom the lookup table names, and nothing else does: it has no weight.
const BY_TABLE: u16 = BACKENDS;

fn flows() -> u32 {
    if std::env::var_os("FAIRWAY_FULL").is_some() { 1_000_000 } else { 4_000 }
}

#[test]
fn what_is_counted_is_what_is_recorded_and_a_full_table_loses_nobody() {
    let flows = flows();
    let mut table = Table::new(flows);
    (0..flows).for_each(|flow| table.establish(flow));
    assert_eq!(table.recorded(), table.counted(), "when all are established");
    assert_eq!(table.recorded().values().map(|it| it.active).sum::<i32>(), flows as i32);

    // One in four is reset, and its place is another's; again and again.
    for round in 0..4 {
        let (first, next) = (round * (flows / 4), flows + round * (flows / 4));
        (first..first + flows / 4).for_each(|flow| table.reset(flow));
        table.census(Duration::from_secs(u64::from(CLOSED_TIMEOUT) + 1));
        (next..next + flows / 4).for_each(|flow| table.establish(flow));
        assert_eq!(table.recorded(), table.counted(), "after round {round}");
    }
    let recorded = table.recorded();
    let (least, most) = (recorded.values().map(|it| it.active).min(), recorded.values().map(|it| it.active).max());
    assert!(most.unwrap_or(0) - least.unwrap_or(0) <= 1, "equal backends have equally many: {recorded:?}");

    // The table is full: what comes now goes by the lookup table, and stays there.
    let strangers = 3 * flows..3 * flows + 500;
    for flow in strangers.clone() {
        assert_eq!(table.send(flow, flag::SYN), BY_TABLE);
        assert_eq!(table.send(flow, flag::ACK), BY_TABLE);
    }
    assert_eq!(table.kernel.maps.unrecorded().expect("a counter"), strangers.len() as u64);
    assert_eq!(table.recorded(), recorded, "no recorded flow is lost");
    println!("{flows} flows: {} octets of kernel memory a flow", table.memory() / u64::from(flows));
}

struct Table {
    kernel: Kernel,
    image: Image,
    flows: u32,
}

impl Table {
    fn new(flows: u32) -> Self {
        let mut kernel = Kernel::with_connections(1 << 17, flows);
        kernel::enter(&kernel.namespace);
        let mut image = Image::new(SLOTS as usize, world::ROWS as usize);
        let weight = |index: u16| u32::from(index != BY_TABLE);
        let load = |index: u16| Load { weight: weight(index), ..Load::default() };
        let chooser = Chooser {
            places: Chooser::pair(0, u32::from(BACKENDS) + 1),
            rule: Rule::WeightedLeastConnection as u32,
            fin_timeout: 120,
            syn_timeout: SYN_TIMEOUT,
            closed_timeout: CLOSED_TIMEOUT,
            ..Chooser::default()
        };
        let service = Service {
            address: SERVICE.into(),
            port_wire: PORT.to_be(),
            protocol: 6,
            flags: service_flags::USED,
            pool: 1,
            shift: 64 - 4,
            idle_timeout: 3600,
            chooser: 1,
            ..Service::default()
        };
        let mut writes = vec![Write::Slots(0, vec![Slot::settled(BY_TABLE).0; 16]), Write::ClearLoads(0, 8)];
        writes.extend((0..=BACKENDS).map(|index| Write::Row(index.into(), row(index))));
        writes.extend((0..=BACKENDS).map(|index| Write::Load(index.into(), load(index))));
        writes.push(Write::Chooser(1, chooser));
        writes.extend(publish(&Root::default(), &[service], &[], &Sources::default()).expect("one entry"));
        for write in writes {
            image.apply(&write);
            kernel.maps.apply(&write).expect("a write");
        }
        Self { kernel, image, flows }
    }

    fn establish(&mut self, flow: u32) {
        let backend = self.send(flow, flag::SYN);
        assert_ne!(backend, BY_TABLE, "flow {flow}");
        assert_eq!(self.send(flow, flag::ACK), backend, "flow {flow}");
    }

    fn reset(&mut self, flow: u32) {
        assert_ne!(self.send(flow, flag::RST), BY_TABLE, "flow {flow}");
    }

    /// Which backend has a packet of a flow: each is of a client of its own.
    fn send(&mut self, flow: u32, flags: u8) -> u16 {
        let client = Ipv4Addr::from(u32::from(Ipv4Addr::new(11, 0, 0, 0)) + flow);
        let payload = Payload::Tcp { ports: (40_000, PORT), flags, data: vec![] };
        let frame = build::frame(Ip::new(client.into(), SERVICE.into(), payload)).octets();
        let (verdict, out) = self.kernel.run(&frame, LAN);
        assert_eq!(verdict, action::TRANSMIT, "flow {flow}");
        (0..=BACKENDS).find(|&index| out[..6] == row_mac(index.into())).expect("one of them has it")
    }

    /// A census as it will be after a while.
    fn census(&mut self, later: Duration) {
        let now = Duration::from_nanos(coarse_now()) + later;
        self.kernel.maps.census(&self.image, now).expect("the tables can be read");
    }

    /// What the records count as, by backend.
    fn recorded(&self) -> BTreeMap<u16, Counted> {
        let mut recorded: BTreeMap<u16, Counted> = BTreeMap::new();
        let count = |_: &[u8; 16], octets: &[u8; 16]| {
            let record = Record::read_from_bytes(octets).expect("16 octets");
            assert_ne!(record.state, connection_state::CLOSED, "the census takes these");
            let counted = recorded.entry(record.backend).or_default();
            *counted = counted.plus(Counted::one(record.state));
        };
        self.kernel.maps.connections_v4.for_each(count).expect("it can be read");
        recorded
    }

    /// What the backends have counted.
    fn counted(&self) -> BTreeMap<u16, Counted> {
        let has = |index: u16| {
            let load = self.kernel.maps.choosers.load(index.into()).expect("a load");
            (index, Counted { active: load.active_count, inactive: load.inactive_count })
        };
        (0..=BACKENDS).map(has).filter(|(_, counted)| *counted != Counted::default()).collect()
    }

    /// What the kernel says that the table takes; 0 before Linux 6.4, which does not know.
    fn memory(&self) -> u64 {
        let facts = std::fs::read_dir("/proc/self/fdinfo").expect("proc").filter_map(|entry| {
            let text = std::fs::read_to_string(entry.ok()?.path()).ok()?;
            let fact = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
            let is_it = fact("map_type:") == Some(1)
                && fact("key_size:") == Some(16)
                && fact("value_size:") == Some(16)
                && fact("max_entries:") == Some(self.flows.into());
            is_it.then(|| fact("memlock:"))?
        });
        facts.max().unwrap_or(0)
    }
}
