//! Random packets: mostly of services and their backends, then cut, flipped, tagged. From a seed, so that a failure can
//! be run again.

use fairway_tests::packet::{Fragment, Frame, Ip, Payload};

use super::build::Change as _;
use super::world::{FLAVOURS, Flavour, client, port};

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

/// A packet, and whether it is whole: then its checksums are right and must stay so.
pub fn packet(random: &mut Random) -> (Vec<u8>, bool) {
    let f = random.of(&FLAVOURS);
    let mut frame = match random.below(9) {
        0..4 => request(random, f),
        4 | 5 => reply(random, f),
        6 => answer(random, f),
        _ => icmp(random, f),
    };
    decorate(random, &mut frame);
    if random.one_in(5) {
        fragment(random, &mut frame);
    }
    let mut octets = frame.octets();
    let mut whole = true;
    if random.one_in(6) {
        octets.truncate(14 + random.below(octets.len() - 13));
        whole = false;
    }
    while random.one_in(4) {
        let at = random.below(octets.len());
        octets[at] ^= 1 << random.below(8);
        whole = false;
    }
    (octets, whole)
}

/// Few clients and ports, so that packets meet records and fragments of earlier ones.
fn request(random: &mut Random, f: Flavour) -> Frame {
    let service = match random.below(usize::from(port::END - port::DIRECT)) as u16 + port::DIRECT {
        port::OTHERS => port::NONE,
        97..port::DRAINED => port::UNSETTLED,
        108 | 109 | 111..port::ALLOWS => port::BY_CLIENT,
        service => service,
    };
    if random.one_in(16) {
        return secured(random, f);
    }
    if random.one_in(12) {
        let address = random.of(&[f.ranged(), f.ranged_nat(), f.wild()]);
        let sent = f.to(address, random.of(&[7999, 8000, 8001, 8099, 8100, 64_999, 65_000, 65_535, 0, port::EXACT]));
        return sent.sourced(f.client(random.of(&CLIENTS)), 40_000).flags(random.of(&[16, 2]));
    }
    let address = match random.below(14) {
        0 => f.wild(),
        1 => f.wild_nat(),
        2 => f.stranger(),
        3 | 4 => return following(random, f),
        _ => f.vip(),
    };
    let sent = f.to(address, if random.one_in(10) { port::EXACT } else { service });
    let sent = if service >= port::SCTP || random.one_in(40) { association(random, sent) } else { sent };
    sent.sourced(f.client(random.of(&CLIENTS)), 40_000 + random.below(4) as u16).flags(random.of(&[16, 16, 2, 17, 4]))
}

/// The same by SCTP.
fn association(random: &mut Random, sent: Frame) -> Frame {
    sent.with(|frame| {
        let ports = *frame.ip.payload.ports().expect("TCP or UDP");
        let (chunk, tag) = (random.of(&[0, 0, 1, 1, 6, 7, 8, 10, 14, 16, 0xc1]), random.of(&[0, 0, 7]));
        frame.ip.payload = Payload::Sctp { ports, tag, chunk, data: vec![1; 49] };
    })
}

/// Of IPsec, or to its address.
fn secured(random: &mut Random, f: Flavour) -> Frame {
    let sent = f.to(f.secured(), random.of(&[port::IKE, port::NONE])).sourced(f.client(random.of(&CLIENTS)), port::IKE);
    let octets = [59, 4, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5].to_vec();
    sent.with(|frame| match random.below(4) {
        0 => frame.ip.payload = Payload::Other(50, octets),
        1 => frame.ip.payload = Payload::Other(51, octets),
        _ => {}
    })
}

/// Of a service that follows a virtual router, or of another port of its address.
fn following(random: &mut Random, f: Flavour) -> Frame {
    let service = random.of(&[port::FOLLOWS_DIRECT, port::FOLLOWS_DIRECT, port::FOLLOWS_NAT, port::NONE]);
    let sent = f.to(f.followed(), service);
    sent.sourced(f.client(random.of(&CLIENTS)), 40_000 + random.below(4) as u16).flags(random.of(&[16, 2]))
}

const CLIENTS: [u8; 4] = [client::NEAR, client::SAME_SIDE, client::UNRESOLVED, client::FAR];

fn reply(random: &mut Random, f: Flavour) -> Frame {
    let (service, from) = backend(random);
    let (service, from) =
        if random.one_in(8) { (port::RANGES, random.of(&[7999, 8000, 8050, 8099, 8100])) } else { (service, from) };
    let clients =
        [client::NEAR, client::SAME_SIDE, client::UNRESOLVED, client::SELF, client::BLACKHOLE, client::ON_VLAN];
    let reply = f.reply(f.row(service, random.below(4) as u16), from, random.of(&clients));
    if random.one_in(8) { reply.destined(f.excluded_client(), 40_000) } else { reply }
}

/// What a probe of ours is answered, or something close to it.
fn answer(random: &mut Random, f: Flavour) -> Frame {
    let number = 49_999 + random.below(6) as u16;
    let from = if random.one_in(8) { f.stranger() } else { f.vip() };
    let data = vec![1; random.below(60)];
    let payload = match random.below(4) {
        0 => Payload::Echo { kind: random.of(&[0, 129]), identifier: number, data },
        _ => f.payload(port::DIRECT, number),
    };
    super::build::frame(Ip::new(from, f.client(client::SELF), payload))
}

/// A translated service, and the port of its backends.
fn backend(random: &mut Random) -> (u16, u16) {
    match random.below(7) {
        0 => (port::OTHERS, 7777),
        6 => (port::FOLLOWS_NAT, port::BACKEND),
        1 => (port::NAT_EXCLUDED, port::BACKEND),
        2 if random.one_in(4) => (port::NAT, port::NONE),
        3 => (port::NAT_TAGGED, port::BACKEND),
        _ => (port::NAT, port::BACKEND),
    }
}

/// An error about a request or an answer.
fn icmp(random: &mut Random, f: Flavour) -> Frame {
    let mut about = match random.below(11) {
        0..5 => {
            let request = request(random, f);
            let (source, destination) = (request.ip.source, request.ip.destination);
            request.with(|frame| {
                (frame.ip.source, frame.ip.destination) = (destination, source);
                if let Some(ports) = frame.ip.payload.ports() {
                    *ports = (ports.1, ports.0);
                }
            })
        }
        5..8 => {
            let (service, from) = backend(random);
            let row = f.row(service, random.below(4) as u16);
            f.request(service).destined(f.backend(row), from)
        }
        8 | 9 => {
            let answer = answer(random, f);
            let (source, destination) = (answer.ip.source, answer.ip.destination);
            answer.with(|frame| {
                (frame.ip.source, frame.ip.destination) = (destination, source);
                if let Some(ports) = frame.ip.payload.ports() {
                    *ports = (ports.1, ports.0);
                }
            })
        }
        _ => request(random, f),
    };
    decorate(random, &mut about);
    let quoted = about.ip.octets();
    let end = if random.one_in(2) { quoted.len() } else { random.below(quoted.len() + 1) };
    let kind = if f.v4 {
        random.of(&[3, 3, 3, 3, 4, 11, 12, 11, 8, 5])
    } else {
        random.of(&[1, 2, 2, 2, 3, 4, 1, 4, 128, 137])
    };
    let error = Payload::Icmp { kind: (kind, random.below(5) as u8), data: quoted[..end].to_vec() };
    let from = if random.one_in(3) { about.ip.destination } else { f.client(50) };
    super::build::frame(Ip::new(from, about.ip.source, error))
}

fn decorate(random: &mut Random, frame: &mut Frame) {
    let tags = [(0x8100, 5), (0x88a8, 6), (0x8100, 0xe007)];
    while random.one_in(5) {
        let tag = random.of(&tags);
        frame.tags.push(tag);
    }
    if random.one_in(6) {
        frame.ip.ttl = random.below(3) as u8;
    }
    if let Payload::Udp { summed, .. } = &mut frame.ip.payload {
        *summed = !random.one_in(4);
    }
    if frame.ip.source.is_ipv4() {
        if random.one_in(5) {
            frame.ip.options = vec![1; 4 * (1 + random.below(10))];
        }
        return;
    }
    while random.one_in(3) && frame.ip.extensions.len() < 7 {
        let number = random.of(&[0, 43, 60, 51]);
        let more = random.below(3);
        let mut rest = vec![0; if number == 51 { (more + 2) * 4 } else { (more + 1) * 8 } - 1];
        rest[0] = more as u8;
        frame.ip.extensions.push((number, rest));
    }
}

/// One of the fragments that an earlier or later packet of the same flow may also be one of.
fn fragment(random: &mut Random, frame: &mut Frame) {
    let header = match frame.ip.payload {
        Payload::Tcp { .. } => 20,
        Payload::Sctp { .. } => 16,
        _ => 8,
    };
    let end = header + frame.ip.payload.data().len();
    let bounds = [(0, 24, true), (24, 40, true), (40, end, false), (0, end, false), (0, 8, true)];
    let (start, end, more) = random.of(&bounds);
    if end > 40 {
        frame.ip.fragment = Some(Fragment { identification: random.below(3) as u32, start, end, more });
    }
}
