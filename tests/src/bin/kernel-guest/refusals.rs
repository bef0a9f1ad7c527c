//! Where the kernel refuses a native attachment, the message says why.

use fairway::config::AttachMode;
use fairway::effects::dataplane::Dataplane;
use fairway::effects::dataplane::object::Sizes;
use fairway::nexthop::ProgramMode;

use crate::network::{index, ip};

pub fn a_bonding_mode_without_native_xdp_is_named() {
    ip("link add bond1 type bond mode balance-alb");
    let refusal = refusal("bond1");
    ip("link del bond1");
    assert_says(&refusal, "bonding mode");
}

pub fn a_vlan_interface_is_refused_by_its_driver() {
    ip("link add link lb name lb.5 type vlan id 5");
    let refusal = refusal("lb.5");
    ip("link del lb.5");
    assert_says(&refusal, "native mode");
}

pub fn an_mtu_beyond_the_driver_is_named() {
    ip("link set peer0 mtu 9000");
    let refusal = refusal("peer0");
    ip("link set peer0 mtu 1500");
    assert_says(&refusal, "MTU");
}

pub fn a_device_without_what_xdp_needs_is_named() {
    assert_says(&refusal("old"), "any_header_sg");
}

pub fn a_foreign_program_is_named() {
    let mut foreign = dataplane();
    foreign.attach(index("lb"), AttachMode::Native).expect("virtio-net takes it");
    assert_says(&refusal("lb"), "another XDP program");
}

pub fn auto_falls_back_where_native_is_refused() {
    ip("link set peer0 mtu 9000");
    let mode = dataplane().attach(index("peer0"), AttachMode::Auto);
    ip("link set peer0 mtu 1500");
    assert_eq!(mode, Ok(ProgramMode::Generic));
}

fn refusal(interface: &str) -> String {
    dataplane().attach(index(interface), AttachMode::Native).expect_err("this is not attached to natively")
}

fn assert_says(refusal: &str, word: &str) {
    println!("  {refusal}");
    assert!(refusal.contains(word), "`{word}` is not in: {refusal}");
}

fn dataplane() -> Dataplane {
    Dataplane::open(Sizes::for_need(1 << 14, 64, 1 << 12)).expect("the program loads")
}
