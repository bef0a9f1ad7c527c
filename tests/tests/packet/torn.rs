//! Entries are never read torn: the kernel's program runs while user space flips halves and replaces MAC addresses.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aya::programs::Xdp;
use fairway::reconcile::half::publish;
use fairway::reconcile::write::Write;
use lb_common::abi::{Root, Row, Service, Sources, method, row_state, service_flags};
use lb_common::slot::Slot;

use super::kernel::{self, Kernel, action};
use super::world::{FLAVOURS, LAN, mac_head, port};

/// How long readers and writer run against each other.
const RUN: Duration = Duration::from_millis(1500);
/// More than one, since the writer that wakes up takes the processor of a reader.
const READERS: usize = 2;
/// MAC addresses replaced between two flips.
const SWAPS: u64 = 20_000;
/// Configuration `n` has rows and slots of its own; of its two next hops the last octet differs.
const FIRST_ROW: [u32; 2] = [8, 24];
const FIRST_SLOT: [u32; 2] = [64, 128];
const NEXT_HOPS: [u8; 2] = [0x11, 0xee];

/// The whole frame tells which configuration it went by: every octet of its MAC addresses.
fn mac(configuration: usize, next_hop: u8) -> [u8; 6] {
    let c = 0xa0 + configuration as u8;
    [2, next_hop, c, next_hop, c, next_hop]
}

fn own(configuration: usize) -> [u8; 6] {
    [2 + 4 * configuration as u8; 6]
}

fn head(configuration: usize, next_hop: u8) -> u64 {
    mac_head(mac(configuration, next_hop), own(configuration))
}

fn row(configuration: usize) -> Row {
    Row {
        mac_head: head(configuration, NEXT_HOPS[0]),
        mac_tail: u32::from_ne_bytes([own(configuration)[0]; 4]),
        interface: LAN,
        address: FLAVOURS[0].backend(configuration as u32).into(),
        state: row_state::ALIVE,
        port_wire: (9000 + configuration as u16).to_be(),
        method: method::NAT,
        ..Row::default()
    }
}

fn service(configuration: usize) -> Service {
    Service {
        address: FLAVOURS[0].vip().into(),
        port_wire: port::DIRECT.to_be(),
        protocol: 6,
        flags: service_flags::USED,
        first_slot: FIRST_SLOT[configuration],
        first_row: FIRST_ROW[configuration],
        pool: configuration as u32,
        shift: 60,
        idle_timeout: 300,
        ..Service::default()
    }
}

#[test]
fn entries_are_never_read_torn() {
    let Kernel { mut ebpf, mut maps, namespace, .. } = Kernel::new(1 << 12);
    let mut root = Root::default();
    // The shared tables are replaced: this test has one service, in two configurations.
    for configuration in 0..2 {
        maps.apply(&Write::Row(FIRST_ROW[configuration], row(configuration))).expect("a row");
        maps.apply(&Write::Slots(FIRST_SLOT[configuration], vec![Slot::settled(0).0; 16])).expect("slots");
    }
    let mut flip = |maps: &mut fairway::effects::dataplane::Maps, configuration: usize| {
        for write in publish(&root, &[service(configuration)], &[], &Sources::default()).expect("one entry") {
            maps.apply(&write).expect("a write");
            if let Write::Flip(new) = write {
                root = new;
            }
        }
    };
    flip(&mut maps, 0);
    let packet = FLAVOURS[0].request(port::DIRECT).octets();
    let stop = AtomicBool::new(false);
    let program = &*fairway::effects::dataplane::object::program(&mut ebpf, "fairway").expect("loaded before");
    let (seen, flips) = thread::scope(|scope| {
        let readers = [(); READERS].map(|()| {
            scope.spawn(|| {
                kernel::enter(&namespace);
                read(program, &packet, &stop)
            })
        });
        #[expect(clippy::disallowed_methods, reason = "a test that runs for a while")]
        let end = Instant::now() + RUN;
        let mut flips = 0u64;
        #[expect(clippy::disallowed_methods, reason = "a test that runs for a while")]
        while Instant::now() < end && !readers.iter().any(|reader| reader.is_finished()) {
            flips += 1;
            flip(&mut maps, flips as usize % 2);
            for swap in 0..SWAPS {
                // Another one is there while the next flip waits for its grace period.
                let next_hop = NEXT_HOPS[(swap + flips / 2) as usize % 2];
                for (configuration, row) in FIRST_ROW.into_iter().enumerate() {
                    let write = Write::RowMac(row, head(configuration, next_hop));
                    maps.apply(&write).expect("a MAC address");
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        let seen = readers.map(|reader| reader.join().expect("no packet was torn"));
        (seen.concat().concat(), flips)
    });
    println!("{flips} flips, {} MAC addresses, packets by configuration and next hop: {seen:?}", flips * 2 * SWAPS);
    assert!(flips > 10, "{flips} flips");
    assert!(seen.iter().all(|count| *count > 100), "packets met both of everything: {seen:?}");
}

/// Sends packets until told to stop; how many went by each configuration and next hop.
fn read(program: &Xdp, packet: &[u8], stop: &AtomicBool) -> [[u64; 2]; 2] {
    let mut seen = [[0; 2]; 2];
    while !stop.load(Ordering::Relaxed) {
        let (action, out) = kernel::run(program, packet, LAN);
        assert_eq!(action, action::TRANSMIT, "the service was not there for a moment");
        let (configuration, next_hop) = whole(&out).unwrap_or_else(|| panic!("torn: {out:02x?}"));
        seen[configuration][next_hop] += 1;
    }
    seen
}

/// Which configuration and next hop a frame went by; `None` when it is not all of one.
fn whole(out: &[u8]) -> Option<(usize, usize)> {
    (0..2).flat_map(|configuration| (0..2).map(move |next_hop| (configuration, next_hop))).find(
        |&(configuration, next_hop)| {
            let row = row(configuration);
            out[..6] == mac(configuration, NEXT_HOPS[next_hop])
                && out[6..12] == own(configuration)
                && out[30..34] == row.address.v4_wire().to_ne_bytes()
                && out[36..38] == row.port_wire.to_ne_bytes()
        },
    )
}

/// Slots of a lookup table that is rewritten whole.
const SLOTS: u32 = 65_536;
/// Far above what stores take, even unoptimised; system calls, one a slot, would take longer.
const SOON: Duration = Duration::from_millis(50);

#[test]
fn a_table_of_65536_slots_is_rewritten_by_stores() {
    let mut kernel = kernel::shared();
    let words = |owner| Write::Slots(SLOTS, vec![Slot::settled(owner).0; SLOTS as usize]);
    let fastest = (0..5u16)
        .map(|owner| {
            let write = words(owner);
            #[expect(clippy::disallowed_methods, reason = "a test that measures")]
            let start = Instant::now();
            kernel.maps.apply(&write).expect("slots");
            start.elapsed()
        })
        .min()
        .expect("five times");
    println!("rewriting {SLOTS} slots took {fastest:?}");
    assert!(fastest < SOON, "{fastest:?}");
    let last = kernel.maps.slot_word(2 * SLOTS - 1).expect("a slot");
    assert_eq!(last, Slot::settled(4).0);
}
