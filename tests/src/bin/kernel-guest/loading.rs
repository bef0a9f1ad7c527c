//! The programs against the verifier.

use aya::programs::{Program, ProgramInfo};
use fairway::effects::dataplane::object;

/// Where the verifier gives up, whatever the program (`BPF_COMPLEXITY_LIMIT_INSNS`).
const LIMIT: u32 = 1_000_000;
/// What programs may take of it: the rest is left for another compiler's code. This kernel's verifier walks more than later ones,
/// which know sooner that they were somewhere before.
const MOST: u32 = LIMIT / 4 * 3;

pub fn the_verifier_accepts_every_program() {
    let mut ebpf = object::load(object::Sizes::for_need(1 << 14, 1000, 1 << 16)).expect("the maps are made");
    let mut refused = Vec::new();
    for (name, program) in ebpf.programs_mut() {
        match load(program) {
            Ok(facts) => check(name, &facts),
            Err(error) => refused.push(format!("{name}: {}", end_of(&error))),
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

/// Packets' programs and the one for probes on their way out, each as what it is.
fn load(program: &mut Program) -> anyhow::Result<ProgramInfo> {
    match program {
        Program::Xdp(program) => program.load()?,
        Program::SchedClassifier(program) => program.load()?,
        other => anyhow::bail!("a program of the kind {:?} is new", other.prog_type()),
    }
    Ok(program.info()?)
}

fn check(name: &str, facts: &ProgramInfo) {
    let verified = facts.verified_instruction_count().expect("the kernel is newer than 5.16");
    println!("  {name}: {verified} instructions verified, {} octets of machine code", facts.size_jitted());
    assert!(verified < MOST, "{name}: {verified} instructions verified");
    assert!(facts.size_jitted() > 0, "{name} is interpreted");
}

/// Of a log of megabytes the end says why.
fn end_of(error: &anyhow::Error) -> String {
    let text = format!("{error:?}");
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
