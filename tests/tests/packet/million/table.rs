//! A kernel with one stateful service, and a client for each of its connections.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use aya::programs::Xdp;
use fairway::reconcile::half::publish;
use fairway::reconcile::image::Image;
use fairway::reconcile::write::Write;
use fairway_tests::packet::{Ip, Payload, flag};
use lb_common::abi::{Chooser, Load, Record, Root, Service, Sources, connection_state, service_flags};
use lb_common::connection::{Counted, SYN_TIMEOUT};
use lb_common::scheduler::Rule;
use lb_common::slot::Slot;
use zerocopy::FromBytes as _;

use crate::build;
use crate::ipvs::row;
use crate::kernel::{self, Kernel, action};
use crate::state::{SLOTS, coarse_now};
use crate::world::{self, LAN, row_mac};

const SERVICE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
const PORT: u16 = 80;
/// Backends that connections are given to.
pub const BACKENDS: u16 = 4;
/// Whom the lookup table names, and nothing else does: it has no weight.
pub const BY_TABLE: u16 = BACKENDS;
/// Where a frame has its client's address.
const SOURCE: Range<usize> = 26..30;
/// Where it has TCP's flags.
const FLAGS: usize = 47;
/// What records of its connections name.
pub const POOL: u32 = 1;

/// The kernel, with a service whose connections go to whoever has least.
pub struct Table {
    pub kernel: Kernel,
    pub image: Image,
    flows: u32,
}

impl Table {
    /// With room for so many connections; those that were reset are remembered for `closed_timeout` seconds.
    pub fn new(flows: u32, closed_timeout: u32) -> Self {
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
            closed_timeout,
            ..Chooser::default()
        };
        let service = Service {
            address: SERVICE.into(),
            port_wire: PORT.to_be(),
            protocol: 6,
            flags: service_flags::USED,
            pool: POOL,
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

    pub fn establish(&mut self, flow: u32) {
        let backend = self.send(flow, flag::SYN);
        assert_ne!(backend, BY_TABLE, "flow {flow}");
        assert_eq!(self.send(flow, flag::ACK), backend, "flow {flow}");
    }

    pub fn reset(&mut self, flow: u32) {
        assert_ne!(self.send(flow, flag::RST), BY_TABLE, "flow {flow}");
    }

    /// Which backend has a packet of a flow: each is of a client of its own.
    pub fn send(&mut self, flow: u32, flags: u8) -> u16 {
        Client::default().send(self.kernel.program(), flow, flags)
    }

    /// A census as it will be after a while.
    pub fn census(&mut self, later: Duration) {
        let now = Duration::from_nanos(coarse_now()) + later;
        self.kernel.maps.census(&self.image, now).expect("the tables can be read");
    }

    /// What the records count as, by backend.
    pub fn recorded(&self) -> BTreeMap<u16, Counted> {
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
    pub fn counted(&self) -> BTreeMap<u16, Counted> {
        let has = |index: u16| {
            let load = self.kernel.maps.choosers.load(index.into()).expect("a load");
            (index, Counted { active: load.active_count, inactive: load.inactive_count })
        };
        (0..=BACKENDS).map(has).filter(|(_, counted)| *counted != Counted::default()).collect()
    }

    /// What the kernel says that the table takes; 0 before Linux 6.4, which does not know.
    pub fn memory(&self) -> u64 {
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

/// Sends packets; for as many threads as there are, each with one.
pub struct Client(Vec<u8>);

impl Default for Client {
    fn default() -> Self {
        let payload = Payload::Tcp { ports: (40_000, PORT), flags: 0, data: vec![] };
        Self(build::frame(Ip::new(Ipv4Addr::UNSPECIFIED.into(), SERVICE.into(), payload)).octets())
    }
}

impl Client {
    /// Which backend has a packet of a flow.
    pub fn send(&mut self, program: &Xdp, flow: u32, flags: u8) -> u16 {
        // Nobody looks at checksums here.
        self.0[SOURCE].copy_from_slice(&(u32::from(Ipv4Addr::new(11, 0, 0, 0)) + flow).to_be_bytes());
        self.0[FLAGS] = flags;
        let (verdict, out) = kernel::run(program, &self.0, LAN);
        assert_eq!(verdict, action::TRANSMIT, "flow {flow}");
        (0..=BACKENDS).find(|&index| out[..6] == row_mac(index.into())).expect("one of them has it")
    }
}
