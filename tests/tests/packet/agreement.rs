//! Native path and kernel path agree on random packets: verdict, octets, counters, records.

use fairway::native::{NativePacket, process};
use fairway::reconcile::image::Image;
use fairway_tests::packet::verify::wrong_checksum;
use lb_common::abi::Record;
use lb_common::counters::Reason;
use lb_common::path::Verdict;

use super::check::action_of;
use super::kernel::{self, Kernel};
use super::random::{self, Random};
use super::state::{
    SLOTS, Seed, Totals, coarse_now, forget, kept, kernel_connections, kernel_loads, kernel_records,
    kernel_translations, native_loads, native_tables, reset, seed_record, set_awaiting, set_live, timeless,
};
use super::world::{self, FLAVOURS, LAN, STEERING, WAN, port};

/// Packets in the usual run, and with `FAIRWAY_FULL=1`.
const PACKETS: u64 = 100_000;
const PACKETS_IN_FULL: u64 = 5_000_000;
/// Packets between two comparisons of all that the path has written. No more than records fit into one flow table, so
/// that none is ever full: natively both families and protocols share one.
const BATCH: u64 = 48;

#[test]
fn both_homes_agree_on_random_packets() {
    let full = std::env::var_os("FAIRWAY_FULL").is_some_and(|value| value == "1");
    let packets = if full { PACKETS_IN_FULL } else { PACKETS };
    let first: u64 = std::env::var("FAIRWAY_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut kernel = kernel::shared();
    reset(&mut kernel);
    let mut image = Image::new(SLOTS as usize, world::ROWS as usize);
    world::writes().iter().for_each(|write| image.apply(write));
    let mut fates = Fates::default();
    let mut before = Totals::read(&kernel);
    let mut native = native_tables(image);
    for seed in first..first + packets.div_ceil(BATCH) {
        // Traced, it takes the path that knows everything, for plain packets too: so the kernel's short one is held against it.
        native.traced = seed.is_multiple_of(2);
        native.steps.borrow_mut().clear();
        native.clock.set(coarse_now());
        native.flows.borrow_mut().clear();
        native.fragments.borrow_mut().clear();
        native.counters.borrow_mut().clear();
        native.reasons.borrow_mut().clear();
        native.signs.borrow_mut().clear();
        native.handed_over.borrow_mut().clear();
        forget(&mut kernel);
        native.connections.borrow_mut().clear();
        native.clients.borrow_mut().clear();
        native.destinations.borrow_mut().clear();
        native.translations.borrow_mut().clear();
        native.client_buckets.borrow_mut().clear();
        for write in world::resting() {
            native.apply(&write);
            kernel.maps.apply(&write).expect("a write");
        }
        let mut random = Random(seed);
        seed_records(&mut random, &mut kernel, &native);
        for n in 0..BATCH {
            if random.one_in(4) {
                set_live(&kernel, &mut native, random.one_in(2));
                set_awaiting(&kernel, &mut native, random.one_in(3));
            }
            let (packet, whole) = random::packet(&mut random);
            let interface = if random.one_in(8) { WAN } else { LAN };
            let verdict = one(&mut kernel, &native, &packet, interface, whole)
                .unwrap_or_else(|what| panic!("FAIRWAY_SEED={seed}, packet {n} by {interface}: {what}\n{packet:02x?}"));
            fates.note(verdict);
        }
        let handed: Vec<usize> = kernel.handed_over().into_iter().map(|(network, _)| network).collect();
        assert_eq!(handed, *native.handed_over.borrow(), "FAIRWAY_SEED={seed}: frames handed over");
        let now = Totals::read(&kernel);
        let in_kernel = now.clone().since(&before);
        assert_eq!(in_kernel, Totals::of(&native), "FAIRWAY_SEED={seed}: counters (kernel, native)");
        before = now;
        let natively: Vec<_> = native.flows.borrow().iter().map(|(key, record)| (*key, kept(record))).collect();
        assert_eq!(kernel_records(&kernel), natively, "FAIRWAY_SEED={seed}: records (kernel, native)");
        let natively: Vec<_> = native.connections.borrow().iter().map(|(key, it)| (*key, kept(it))).collect();
        assert_eq!(kernel_connections(&kernel), natively, "FAIRWAY_SEED={seed}: connections (kernel, native)");
        let natively: Vec<_> = native.translations.borrow().iter().map(|(key, it)| (*key, timeless(it))).collect();
        assert_eq!(kernel_translations(&kernel), natively, "FAIRWAY_SEED={seed}: translations (kernel, native)");
        assert_eq!(kernel_loads(&kernel), native_loads(&native), "FAIRWAY_SEED={seed}: loads (kernel, native)");
    }
    println!("{fates:?}");
    fates.assert_varied();
}

/// Runs one packet in both homes.
fn one(
    kernel: &mut Kernel,
    native: &fairway::native::NativeTables,
    packet: &[u8],
    interface: u32,
    whole: bool,
) -> Result<Verdict, String> {
    let mut frame = NativePacket::new(packet, interface);
    let verdict = process(&mut frame, native);
    let (action, out) = kernel.run(packet, interface);
    if action != action_of(verdict) {
        return Err(format!("the kernel returned {action}, natively it is {verdict:?}"));
    }
    if out != frame.frame() {
        return Err(format!("{verdict:?}: the kernel made\n{out:02x?}, natively it is\n{:02x?}", frame.frame()));
    }
    match verdict {
        Verdict::Pass(_) if out != packet => Err(format!("{verdict:?} changed it to\n{out:02x?}")),
        Verdict::Transmit | Verdict::Redirect(_) if whole && wrong_checksum(packet).is_none() => wrong_checksum(&out)
            .map_or(Ok(verdict), |layer| Err(format!("the checksum of {layer} is wrong in\n{out:02x?}"))),
        _ => Ok(verdict),
    }
}

/// A few records of flows that the packets may be of.
fn seed_records(random: &mut Random, kernel: &mut Kernel, native: &fairway::native::NativeTables) {
    for f in FLAVOURS {
        let service = [port::UNSETTLED, port::EXCEPTIONS, port::KEPT][random.below(3)];
        let seed = Seed {
            pool: f.row(service, 0),
            backend: random.below(4) as u16,
            state: 1 + random.below(3) as u16,
            age: 0,
        };
        let record =
            Record { last_seen: native.clock.get(), pool: seed.pool, backend: seed.backend, state: seed.state };
        seed_record(kernel, native, &f.flow(service), record);
    }
}

/// How many packets ended how: a generator that only makes strangers proves nothing.
#[derive(Default, Debug)]
struct Fates {
    forwarded: u64,
    /// Of probes.
    answers: u64,
    passed: u64,
    dropped: u64,
    reasons: std::collections::BTreeMap<Reason, u64>,
}

impl Fates {
    fn note(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Redirect(STEERING) => self.answers += 1,
            Verdict::Transmit | Verdict::Redirect(_) => self.forwarded += 1,
            Verdict::Pass(reason) | Verdict::Drop(reason) => {
                *if matches!(verdict, Verdict::Pass(_)) { &mut self.passed } else { &mut self.dropped } += 1;
                *self.reasons.entry(reason).or_default() += 1;
            }
        }
    }

    fn assert_varied(&self) {
        let all = self.forwarded + self.answers + self.passed + self.dropped;
        assert!(self.forwarded * 4 > all, "too few are forwarded: {self:?}");
        assert!(self.answers * 50 > all, "too few are answers to probes: {self:?}");
        assert!(self.reasons.len() >= 14, "too few reasons: {self:?}");
    }
}
