//! `cargo xtask run` and `cargo xtask bench`: build as the caller, then become the built program, as root.

use anyhow::{Result, bail};

use crate::cargo::build_program;
use crate::ebpf;
use crate::privilege::{as_root, become_command};

/// Starts the playground, or the daemon with `arguments`.
pub fn run(arguments: &[String]) -> Result<()> {
    if let Err(error) = ebpf::verify_recorded() {
        println!("xtask: warning: {error:#}");
    }
    let fairway = build_program("fairway", &[])?;
    let subcommand = if arguments.is_empty() { "demo" } else { "run" };
    Err(become_command(as_root(&fairway, &[&[subcommand.to_owned()], arguments].concat(), &[])?))
}

/// Starts the benches with `arguments`.
pub fn bench(arguments: &[String]) -> Result<()> {
    if arguments.first().is_some_and(|first| first == "failover") {
        bail!("`bench failover` is not in this version");
    }
    ebpf::verify_recorded()?;
    let bench = build_program("bench", &["--release"])?;
    Err(become_command(as_root(&bench, arguments, &[])?))
}
