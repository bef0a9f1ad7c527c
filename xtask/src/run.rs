//! `cargo xtask run` and `cargo xtask bench`: build as the caller, then become the built program, as root.

use std::ffi::OsStr;

use anyhow::Result;

use crate::cargo::build_program;
use crate::ebpf;
use crate::privilege::{as_root, become_command};
use crate::{ipvs_bench, test, unpacked};

/// Starts the playground, or the daemon with `arguments`.
pub fn run(arguments: &[String]) -> Result<()> {
    if let Err(error) = ebpf::verify_recorded() {
        println!("xtask: warning: {error:#}");
    }
    let fairway = build_program("fairway", &[])?;
    let subcommand = if arguments.is_empty() { "demo" } else { "run" };
    Err(become_command(as_root(&fairway, &[&[subcommand.to_owned()], arguments].concat(), &[])?))
}

/// Starts the benches with `arguments`: of a packet's cost, `failover`, `exchange`, or `ipvs`.
pub fn bench(arguments: &[String]) -> Result<()> {
    ebpf::verify_recorded()?;
    match arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        Some(("failover", rest)) => return bench_daemon("failover", &[unpacked::KEEPALIVED], rest),
        Some(("exchange", rest)) => return bench_daemon("exchange", &[], rest),
        Some(("ipvs", rest)) => return ipvs_bench::run(rest),
        _ => {}
    }
    let bench = build_program("bench", &["--release"])?;
    Err(become_command(as_root(&bench, arguments, &[])?))
}

/// Starts a bench that itself starts the product.
fn bench_daemon(program: &str, tools: &[unpacked::Program], arguments: &[String]) -> Result<()> {
    let path = test::find_tools(tools)?;
    let fairway = build_program("fairway", &["--release"])?;
    let bench = build_program(program, &["--release"])?;
    let variables = [("FAIRWAY_TOOLS_PATH", OsStr::new(&path)), ("FAIRWAY_BIN", fairway.as_os_str())];
    Err(become_command(as_root(&bench, arguments, &variables)?))
}
