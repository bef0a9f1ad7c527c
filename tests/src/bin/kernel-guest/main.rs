//! The tests that `cargo xtask test kernel` runs inside a virtual machine with the oldest kernel that Fairway supports:
//! the program loads, attaches natively to virtio-net and to a bond, and forwards. Started by the machine's `/init`
//! with the network that `xtask/src/kernel/machine.rs` plugs together; it changes it as it pleases.
//!
//! One test after the other, since they share the network. An argument keeps those whose name contains it.

mod counting;
mod forwarding;
mod frame;
mod loading;
mod network;
mod refusals;
mod wire;

use std::panic::catch_unwind;
use std::process::ExitCode;

/// A test: what it says, and what checks it.
type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    ("the_verifier_accepts_every_program", loading::the_verifier_accepts_every_program),
    ("instructions_per_packet_are_few", counting::instructions_per_packet_are_few),
    ("virtio_net_forwards_natively", forwarding::virtio_net_forwards_natively),
    ("tags_are_pushed_replaced_and_popped", forwarding::tags_are_pushed_replaced_and_popped),
    ("connections_are_made_through_direct_and_nat", forwarding::connections_are_made_through_direct_and_nat),
    ("a_bond_forwards_natively_by_either_port", forwarding::a_bond_forwards_natively_by_either_port),
    ("a_vlan_on_a_bond_is_reached", forwarding::a_vlan_on_a_bond_is_reached),
    ("a_bonding_mode_without_native_xdp_is_named", refusals::a_bonding_mode_without_native_xdp_is_named),
    ("a_vlan_interface_is_refused_by_its_driver", refusals::a_vlan_interface_is_refused_by_its_driver),
    ("an_mtu_beyond_the_driver_is_named", refusals::an_mtu_beyond_the_driver_is_named),
    ("a_device_without_what_xdp_needs_is_named", refusals::a_device_without_what_xdp_needs_is_named),
    ("a_foreign_program_is_named", refusals::a_foreign_program_is_named),
    ("auto_falls_back_where_native_is_refused", refusals::auto_falls_back_where_native_is_refused),
];

fn main() -> ExitCode {
    let filter = std::env::args().nth(1).unwrap_or_default();
    network::set_up();
    let mut failed = Vec::new();
    let chosen: Vec<&Test> = TESTS.iter().filter(|(name, _)| name.contains(&filter)).collect();
    for (name, test) in &chosen {
        let outcome = catch_unwind(test);
        println!("test {name} ... {}", if outcome.is_ok() { "ok" } else { "FAILED" });
        if outcome.is_err() {
            failed.push(*name);
        }
    }
    println!("test result: {} of {} passed", chosen.len() - failed.len(), chosen.len());
    if failed.is_empty() && !chosen.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
