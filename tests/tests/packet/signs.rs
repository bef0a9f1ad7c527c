//! Signs that a backend does not do well: SYNs sent again, resets and ICMP errors on the way back.

use std::thread::sleep;
use std::time::Duration;

use fairway::native::{NativePacket, process};
use fairway::reconcile::image::Image;
use fairway_tests::packet::{Frame, Ip, flag};
use lb_common::abi::Signs;
use lb_common::counters::Reason;
use lb_common::flow::SECOND;
use lb_common::path::signs::Sign;

use super::build::{CLIENT_PORT, Change as _, to_client};
use super::check::{Case, case, check};
use super::kernel;
use super::quotes::{WHOLE, error};
use super::state::{SLOTS, coarse_now, native_tables, reset};
use super::world::{self, FLAVOURS, Flavour, LAN, WAN, client, port};

#[test]
fn what_comes_back_from_translated_backends_is_a_sign() {
    check(cases());
}

pub fn cases() -> Vec<Case> {
    FLAVOURS.into_iter().flat_map(|f| resets(f).into_iter().chain(errors(f))).collect()
}

fn resets(f: Flavour) -> Vec<Case> {
    let row = f.row(port::NAT, 0);
    let reply = f.reply(row, port::BACKEND, client::NEAR);
    let outside = to_client(&reply.sourced(f.vip(), port::NAT));
    let plain = case(format!("{f}: an ordinary reply is no sign")).returns(&reply, &outside, WAN);
    if !f.tcp {
        return vec![plain];
    }
    let mut resets = case(format!("{f}: a reset of a translated backend is counted for its row"));
    for flags in [flag::RST, flag::RST | flag::ACK] {
        resets = resets.returns(&reply.flags(flags), &outside.flags(flags), WAN).signs(row, Sign::Reset);
    }
    // What our own probes are told is their business, and what is left alone is nobody's.
    let own = f.reply(row, port::BACKEND, client::SELF);
    let excluded = f.reply(f.row(port::NAT_EXCLUDED, 0), port::BACKEND, client::NEAR);
    let excluded = excluded.destined(f.excluded_client(), CLIENT_PORT);
    let mut left_alone = case(format!("{f}: a reset that answers this host, or is left alone, is no sign"));
    for packet in [own, excluded] {
        left_alone = left_alone.passes(&packet.flags(flag::RST | flag::ACK), Reason::NotTranslated);
    }
    vec![plain, resets, left_alone]
}

fn errors(f: Flavour) -> Vec<Case> {
    let row = f.row(port::NAT, 0);
    let asked = f.request(port::NAT).ip;
    let got = f.request(port::NAT).destined(f.backend(row), port::BACKEND).ip;
    let kinds: &[(u8, u8, bool)] = if f.v4 {
        &[(3, 3, true), (3, 1, true), (3, 4, false), (11, 0, false)]
    } else {
        &[(1, 4, true), (1, 3, true), (2, 0, false), (3, 0, false)]
    };
    let of_kind = |&(kind, code, is_sign): &(u8, u8, bool)| {
        let about = |ip, from| error(f, (kind, code), ip, WHOLE).with(|frame: &mut Frame| frame.ip.source = from);
        let case = case(format!("{f}: an error of type {kind}, code {code} about a translated backend"));
        let case = case.returns(&about(&got, f.backend(row)), &to_client(&about(&asked, f.vip())), WAN);
        if is_sign { case.signs(row, Sign::Unreachable) } else { case }
    };
    let own = Ip { source: f.client(client::SELF), ..got.clone() };
    let about_own = error(f, (kinds[0].0, kinds[0].1), &own, WHOLE).with(|frame| frame.ip.source = f.backend(row));
    let own = case(format!("{f}: an error about a packet of this host's own, a probe's say, is no sign"))
        .passes(&about_own, Reason::NotTranslated);
    kinds.iter().map(of_kind).chain([own]).collect()
}

#[test]
fn a_syn_that_comes_again_after_a_while_is_a_sign_and_one_that_comes_at_once_is_none() {
    let mut kernel = kernel::shared();
    reset(&mut kernel);
    let mut image = Image::new(SLOTS as usize, world::ROWS as usize);
    world::writes().iter().for_each(|write| image.apply(write));
    let native = native_tables(image);
    let flavours = FLAVOURS.into_iter().filter(|f| f.tcp).collect::<Vec<_>>();
    let before: Vec<Signs> = flavours.iter().map(|f| signs(&kernel, *f)).collect();
    // Again at once, as by a network that doubles packets; again after so many milliseconds; the rest goes on with it.
    let waits = [(0, 0), (0, 0), (350, 1), (0, 1), (350, 2)];
    let mut waited = 0;
    for (milliseconds, counted) in waits {
        sleep(Duration::from_millis(milliseconds));
        waited += milliseconds;
        native.clock.set(coarse_now().max(native.clock.get() + milliseconds));
        for (f, before) in flavours.iter().zip(&before) {
            for packet in [syn(*f), syn(*f).flags(flag::ACK)] {
                kernel.run(&packet.octets(), LAN);
                process(&mut NativePacket::new(&packet.octets(), LAN), &native);
            }
            let natively = native.signs.borrow().get(&f.row(port::DIRECT, 0)).copied().unwrap_or_default();
            assert_eq!(natively.syn_retransmissions, counted, "{f} natively after {waited} ms");
            let in_kernel = signs(&kernel, *f).syn_retransmissions - before.syn_retransmissions;
            assert_eq!(in_kernel, counted, "{f} in the kernel after {waited} ms");
        }
    }
    // Nobody waits for so long: it is another connection.
    native.clock.set(native.clock.get() + 10 * SECOND);
    process(&mut NativePacket::new(&syn(flavours[0]).octets(), LAN), &native);
    assert_eq!(native.signs.borrow()[&flavours[0].row(port::DIRECT, 0)].syn_retransmissions, 2);
}

/// From a port that no other test uses: the kernel keeps marks between tests.
fn syn(f: Flavour) -> Frame {
    f.request(port::DIRECT).sourced(f.client(client::NEAR), 61_000).flags(flag::SYN)
}

fn signs(kernel: &kernel::Kernel, f: Flavour) -> Signs {
    kernel.maps.signs(f.row(port::DIRECT, 0)).expect("a row")
}
