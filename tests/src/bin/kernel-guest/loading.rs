//! The programs against the verifier.

use aya::programs::Xdp;
use fairway::effects::dataplane::object;

/// Where the verifier gives up, whatever the program (`BPF_COMPLEXITY_LIMIT_INSNS`).
const LIMIT: u32 = 1_000_000;

pub fn the_verifier_accepts_every_program() {
    let mut ebpf = object::load(object::Sizes::for_need(1 << 14, 1000, 1 << 16)).expect("the maps are made");
    let names: Vec<String> = ebpf.programs().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        let program = object::program(&mut ebpf, &name).unwrap_or_else(|error| panic!("{name}: {}", end_of(&error)));
        check(&name, program);
    }
}

fn check(name: &str, program: &Xdp) {
    let facts = program.info().expect("the kernel describes what is loaded");
    let verified = facts.verified_instruction_count().expect("the kernel is newer than 5.16");
    println!("  {name}: {verified} instructions verified, {} octets of machine code", facts.size_jitted());
    // Half of it is left for another compiler's code, and another verifier's.
    assert!(verified < LIMIT / 2, "{name}: {verified} instructions verified");
    assert!(facts.size_jitted() > 0, "{name} is interpreted");
}

/// Of a log of megabytes the end says why.
fn end_of(error: &anyhow::Error) -> String {
    let text = format!("{error:?}");
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
