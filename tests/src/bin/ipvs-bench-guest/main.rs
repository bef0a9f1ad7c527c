//! What forwarding a packet costs under Linux 6.1, by Fairway, by IPVS, by nftables and by the plain stack, in instructions.
//! Started by the init of the virtual machine that `cargo xtask bench ipvs` makes, whose clock counts instructions (`-icount`).
//!
//! Each row has a network namespace of its own, so that no connection of another row is found. An argument keeps the rows whose
//! names contain it. A line for each row begins with `ipvs-bench-row`, which xtask knows.

mod balancers;
mod generator;
mod network;

use std::process::ExitCode;
use std::thread;

use balancers::{BALANCERS, Balancer};
use generator::Generator;

fn main() -> ExitCode {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let mut done = true;
    for balancer in BALANCERS.iter().filter(|balancer| balancer.name.contains(&filter)) {
        match thread::spawn(|| measure(balancer)).join() {
            Ok(Ok(instructions)) => println!("ipvs-bench-row {} {instructions}", balancer.name),
            Ok(Err(error)) => {
                println!("{}: {error:#}", balancer.name);
                done = false;
            }
            Err(_) => done = false,
        }
    }
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Instructions of a packet, from the generator to where it is swallowed.
fn measure(balancer: &'static Balancer) -> anyhow::Result<u64> {
    network::set_up()?;
    let mut generator = Generator::new()?;
    // Kept until the last packet has gone through it.
    let _serving = (balancer.serve)(&mut generator)?;
    generator.instructions_per_packet()
}
