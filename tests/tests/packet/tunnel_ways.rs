//! Plain packets go into tunnels over IPv4 by a short way. What comes out must be, octet for octet, what the way for all packets makes:
//! whatever the inner header says that the outer one copies, whatever is spread, and whether or not it fits.

use fairway::native::{NativePacket, process};
use fairway::reconcile::image::Image;
use fairway_tests::packet::{flag, internet};
use lb_common::abi::encapsulation;
use lb_common::counters::Reason;

use super::build::Change as _;
use super::check::action_of;
use super::kernel;
use super::random::Random;
use super::state::{SLOTS, native_tables, reset};
use super::tunnel::Cell;
use super::world::{self, FLAVOURS, LAN, client, port};

/// Of each kind of packet and encapsulation.
const PACKETS: u64 = 500;
const KINDS: [u8; 4] = [encapsulation::IPIP, encapsulation::GUE, encapsulation::FOU, encapsulation::GRE];
/// Masks of the bits of the outer source address that flows differ in.
const SPREADS: [[u8; 4]; 3] = [[0; 4], [0, 0, 0xff, 0xff], [0xff; 4]];

#[test]
fn both_ways_put_the_same_around_a_plain_packet() {
    let mut kernel = kernel::shared();
    reset(&mut kernel);
    let mut image = Image::new(SLOTS as usize, world::ROWS as usize);
    world::writes().iter().for_each(|write| image.apply(write));
    let (mut short, mut general) = (native_tables(image.clone()), native_tables(image));
    // Traced, a packet takes the way for all.
    general.traced = true;
    let mut random = Random(1);
    for (flavour, kind) in FLAVOURS.into_iter().filter(|f| f.v4).flat_map(|f| KINDS.map(|kind| (f, kind))) {
        let cell = Cell { flavour, outer_v4: true, kind, service: port::DIRECT };
        for n in 0..PACKETS {
            if n % 100 == 0 {
                let [a, b, c, d] = SPREADS[random.below(SPREADS.len())];
                let spread = u64::from_ne_bytes([0, 0, 0, 0, a, b, c, d]);
                let room = [1480, 65_535 - 32][random.below(2)];
                for write in cell.writes_of(flavour.row(port::DIRECT, 0), room, &[], spread) {
                    kernel.maps.apply(&write).expect("a write");
                    short.apply(&write);
                    general.apply(&write);
                }
            }
            let packet = plain(cell, &mut random);
            let [by_short, by_general] = [&short, &general].map(|native| {
                let mut frame = NativePacket::new(&packet, LAN);
                (process(&mut frame, native), frame.frame().to_vec())
            });
            assert_eq!(by_short, by_general, "{cell}, packet {n}, the short way and the general: {packet:02x?}");
            let (action, out) = kernel.run(&packet, LAN);
            let wanted = (action_of(by_general.0), &by_general.1);
            assert_eq!((action, &out), wanted, "{cell}, packet {n}, in the kernel and natively: {packet:02x?}");
        }
        assert_eq!(*short.counters.borrow(), *general.counters.borrow(), "{cell}");
        assert_eq!(*short.reasons.borrow(), *general.reasons.borrow(), "{cell}");
    }
    let reasons = general.reasons.borrow();
    let [answered, dropped] = [Reason::TooBigAnswered, Reason::TimeToLive].map(|reason| reasons[&reason]);
    let sent: u64 = general.counters.borrow().values().map(|counters| counters.packets).sum();
    let fates = format!("{sent} sent, {answered} answered, {dropped} dropped");
    assert!(sent > 2000 && answered > 100 && dropped > 100, "too few: {fates}");
}

/// A packet whose header says anything at all, of what makes no difference to whether it is plain, and sometimes of what does.
fn plain(cell: Cell, random: &mut Random) -> Vec<u8> {
    let f = cell.flavour;
    let sent = f.request(port::DIRECT).sourced(f.client(client::NEAR), random.next() as u16);
    let sent = if f.tcp && random.one_in(8) { sent.flags(flag::SYN) } else { sent };
    let mut octets = sent.octets();
    octets.resize(octets.len().max(100), 0x5a);
    octets[15] = random.next() as u8;
    let length = match random.below(8) {
        0 => random.next() as u16,
        1 => [20, 1480, 1481, 65_535 - 33, 65_535 - 32, 65_535 - 31, 65_535][random.below(7)],
        _ => 20 + random.below(1461) as u16,
    };
    octets[16..18].copy_from_slice(&length.to_be_bytes());
    octets[18..20].copy_from_slice(&[random.next() as u16, 0, 0xffff][random.below(3)].to_be_bytes());
    octets[20] = [0, 0x40, 0x80, 0xc0][random.below(4)];
    octets[22] = [random.next() as u8, random.below(4) as u8, 255][random.below(3)];
    octets[24..26].fill(0);
    let sum = internet(&octets[14..34]).to_be_bytes();
    octets[24..26].copy_from_slice(&sum);
    octets
}
