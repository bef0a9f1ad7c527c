//! The kernel's side: the loaded program, its maps, and a network namespace of its own with the interfaces, routes and
//! neighbours that [`super::world`] describes, so that the FIB helper answers what the native tables say.

use std::fs::File;
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use aya::maps::{HashMap, Map, MapData};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use fairway::effects::dataplane::Maps;
use fairway::effects::dataplane::object::{self, Object};
use fairway::effects::dataplane::preallocated::Preallocated;
use fairway::effects::steering::{Claim, Ports};
use lb_common::abi::UnresolvedFrame;
use nix::sched::{CloneFlags, setns, unshare};

use super::world::{self, DEAF, FLAVOURS, Flavour, LAN, VLAN, WAN, client, neighbour_mac, own_mac};

/// Records that fit into each flow table.
pub const FLOWS: u32 = 64;
/// What XDP programs return.
pub mod action {
    pub const DROP: u32 = 1;
    pub const PASS: u32 = 2;
    pub const TRANSMIT: u32 = 3;
    pub const REDIRECT: u32 = 4;
}
/// The kernel's test run takes no shorter frame.
pub const SHORTEST: usize = 14;

/// The loaded program and what it reads.
pub struct Kernel {
    pub ebpf: Object,
    pub maps: Maps,
    pub fragments: FragmentMap,
    pub namespace: File,
    /// Probes under way.
    _probes: Vec<Claim>,
}

/// Keys and values as octets.
pub type FragmentMap = HashMap<MapData, [u8; 40], [u8; 40]>;

static KERNEL: LazyLock<Mutex<Kernel>> = LazyLock::new(|| Mutex::new(Kernel::new(1 << 17)));

/// The one that the tests share, for this thread alone. A test that failed may have left it in any state: who takes it
/// resets what it relies on.
pub fn shared() -> MutexGuard<'static, Kernel> {
    let kernel = KERNEL.lock().unwrap_or_else(PoisonError::into_inner);
    enter(&kernel.namespace);
    kernel
}

impl Kernel {
    /// Loads the program, with the shared tables, in a namespace of its own.
    pub fn new(slots: u32) -> Self {
        Self::with_connections(slots, FLOWS)
    }

    /// The same, with room for so many connections of stateful services.
    pub fn with_connections(slots: u32, connections: u32) -> Self {
        let namespace = std::thread::spawn(make_namespace).join().expect("a namespace (this needs root)");
        let preallocated = Preallocated { v4: true, v6: true };
        let rows = world::ROWS;
        let sizes = object::Sizes { slots, rows, flows: FLOWS, connections, translations: FLOWS, preallocated };
        let mut ebpf = object::load(sizes).expect("the object");
        let mut maps = Maps::take(&mut ebpf).expect("all maps");
        object::program(&mut ebpf, "fairway").expect("the program passes the verifier");
        let fragments = ebpf.take_map("FRAGMENTS").expect("the fragment table");
        let fragments = match fragments {
            Map::LruHashMap(_) => HashMap::try_from(fragments).expect("keys of 40 octets, values of 40"),
            other => panic!("the fragment table is {other:?}"),
        };
        for write in world::writes() {
            maps.apply(&write).expect("a write");
        }
        let (mut targets, ports) = maps.probes.take().expect("nobody took them");
        let ports = Arc::new(Ports::new(ports));
        let mut claims = vec![];
        for (kind, number, index, target) in world::probes() {
            targets.write(index as usize, target).expect("a target");
            claims.push(ports.claim(kind, number, index).expect("a free number"));
        }
        maps.set_vlan(VLAN, WAN, [world::tag_wire(world::INNER), 0]).expect("a VLAN");
        Self { ebpf, maps, fragments, namespace, _probes: claims }
    }

    /// The verifier's effort.
    pub fn verified_instructions(&mut self) -> u32 {
        let info = self.program().info().expect("the program's facts");
        info.verified_instruction_count().expect("since Linux 5.16")
    }

    /// Runs the program on a frame that came in by `interface`; the action and the frame as it is then.
    pub fn run(&mut self, frame: &[u8], interface: u32) -> (u32, Vec<u8>) {
        run(self.program(), frame, interface)
    }

    /// The program itself.
    pub fn program(&mut self) -> &Xdp {
        object::program(&mut self.ebpf, "fairway").expect("loaded before")
    }

    /// Frames handed to user space since the last call: where the IP header starts, and the frame.
    pub fn handed_over(&mut self) -> Vec<(usize, Vec<u8>)> {
        let mut frames = Vec::new();
        let ring = self.maps.unresolved.as_mut().expect("nobody took it");
        while let Some(item) = ring.next() {
            let word = |at: usize| u32::from_ne_bytes(item[at..at + 4].try_into().expect("four octets")) as usize;
            let (length, network) = (word(0), word(4));
            assert_eq!(item.len(), size_of::<UnresolvedFrame>());
            frames.push((network, item[8..8 + length].to_vec()));
        }
        frames
    }
}

/// Moves this thread into a namespace: test runs look interfaces up there.
pub fn enter(namespace: &File) {
    setns(namespace, CloneFlags::CLONE_NEWNET).expect("entering the namespace");
}

/// Runs a loaded program on a frame; for threads that do not hold the fixture.
pub fn run(program: &Xdp, frame: &[u8], interface: u32) -> (u32, Vec<u8>) {
    // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
    let context = [0, frame.len() as u32, 0, interface, 0, 0].map(u32::to_ne_bytes).concat();
    let mut out = vec![0; frame.len() + 64];
    let result = program
        .test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        })
        .expect("a test run");
    out.truncate(result.data_size_out as usize);
    (result.return_value, out)
}

/// Leaves this thread in a new namespace, which lives as long as its file.
fn make_namespace() -> File {
    unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace");
    for (name, index) in [("lan", LAN), ("wan", WAN), ("deaf", DEAF), ("vlan", VLAN)] {
        let mac = mac_text(own_mac(index));
        ip(&format!("link add {name} index {index} address {mac} mtu 65535 type veth peer name p-{name} mtu 65535"));
    }
    set("ipv4/conf/all/forwarding", "1");
    set("ipv6/conf/all/forwarding", "1");
    for family in ["ipv4", "ipv6"] {
        set(&format!("{family}/conf/deaf/forwarding"), "0");
    }
    for name in ["lan", "wan", "deaf", "vlan"] {
        set(&format!("ipv6/conf/{name}/accept_dad"), "0");
        ip(&format!("link set p-{name} up"));
        ip(&format!("link set {name} up"));
    }
    for flavour in [FLAVOURS[0], FLAVOURS[2]] {
        add_routes(flavour);
    }
    File::open("/proc/thread-self/ns/net").expect("this thread's namespace")
}

/// As [`world::routes`]: one route for each client and nothing else, so that a flipped bit leads nowhere.
fn add_routes(flavour: Flavour) {
    let at = |n| flavour.client(n);
    ip(&format!("addr add {} dev wan", at(client::SELF)));
    for (n, name) in [
        (client::NEAR, "wan"),
        (client::SAME_SIDE, "lan"),
        (client::UNRESOLVED, "wan"),
        (client::GATEWAY, "wan"),
        (client::ON_VLAN, "vlan"),
    ] {
        ip(&format!("route add {} dev {name}", at(n)));
        if n != client::UNRESOLVED {
            ip(&format!("neigh add {} lladdr {} dev {name} nud permanent", at(n), mac_text(neighbour_mac(n))));
        }
    }
    for far in [at(client::FAR), flavour.excluded_client()] {
        ip(&format!("route add {far} via {} dev wan", at(client::GATEWAY)));
    }
    ip(&format!("route add {} dev wan mtu lock 1300", at(client::NARROW)));
    ip(&format!("route add blackhole {}", at(client::BLACKHOLE)));
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("the command `ip` of iproute2");
    assert!(status.success(), "ip {arguments}");
}

fn set(key: &str, value: &str) {
    std::fs::write(format!("/proc/sys/net/{key}"), value).unwrap_or_else(|error| panic!("{key}: {error}"));
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}
