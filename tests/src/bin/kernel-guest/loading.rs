//! The program against the verifier.

use aya::programs::loaded_programs;
use fairway::effects::dataplane::object::Sizes;
use fairway::effects::dataplane::{Dataplane, FORWARDING};

/// Where the verifier gives up, whatever the program (`BPF_COMPLEXITY_LIMIT_INSNS`).
const LIMIT: u32 = 1_000_000;

pub fn the_verifier_accepts_the_program() {
    let _dataplane = Dataplane::open(Sizes::for_need(1 << 14, 1000, 1 << 16)).unwrap_or_else(|error| {
        let text = format!("{error:?}");
        // Of a log of megabytes the end says why.
        let lines: Vec<&str> = text.lines().collect();
        panic!("{}", lines[lines.len().saturating_sub(60)..].join("\n"));
    });
    let loaded = loaded_programs().flatten().find(|program| program.name_as_str() == Some(FORWARDING));
    let loaded = loaded.expect("the kernel lists what was loaded");
    let verified = loaded.verified_instruction_count().expect("the kernel is newer than 5.16");
    println!("  {verified} instructions verified, {} octets of machine code", loaded.size_jitted());
    // Half of it is left for another compiler's code, and another verifier's.
    assert!(verified < LIMIT / 2, "{verified} instructions verified");
    assert!(loaded.size_jitted() > 0, "the program is interpreted");
}
