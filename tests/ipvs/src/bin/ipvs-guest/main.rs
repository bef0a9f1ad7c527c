//! Records what IPVS does with scripted connections. Started by the init of a virtual machine that `cargo xtask record-ipvs`
//! makes, with the files of the scripts; its output is their new text, each line after [`mark`]s that xtask knows.
//!
//! Each script runs in a network namespace of its own, and so with an IPVS of its own. Connections are packets of a raw socket
//! to the service's address: IPVS looks at what the host itself sends too. Nobody answers them; backends are addresses on a
//! device that swallows everything, and the method is direct routing, for which IPVS sees one direction only. The machine's
//! clock skips what nobody waits for, so minutes pass in no time.
//!
//! The argument `modes` records what clients and servers see of IPVS's forwarding methods, in a lab; `sync` what its sync daemon sends.

mod modes;
mod network;
mod recorder;
mod sync;
mod table;
mod traffic;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use fairway_ipvs::mark;
use fairway_ipvs::script::Script;

use recorder::Recorder;

fn main() -> ExitCode {
    if let Err(error) = network::silence_kernel() {
        println!("{error:#}");
    }
    for argument in std::env::args().skip(1) {
        let recorded = match argument.as_str() {
            MODES => record_modes(),
            SYNC => sync::measure().map(|text| show(sync::FILE, &text)),
            _ => record_script(&argument),
        };
        if let Err(error) = recorded {
            println!("{argument}: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The argument that asks for forwarding methods instead of a script.
const MODES: &str = "modes";
/// The argument that asks what a node tells the other.
const SYNC: &str = "sync";

fn record_modes() -> Result<()> {
    for (name, replies) in fairway_ipvs::modes::METHODS {
        show(&fairway_ipvs::modes::file(name), &modes::observe(name, replies)?);
    }
    Ok(())
}

fn record_script(file: &str) -> Result<()> {
    let script = Script::parse(&fs::read_to_string(file)?)?;
    let name = file.rsplit('/').next().context("it has a name")?;
    network::set_up()?;
    show(name, &Recorder::new()?.record(&script)?.to_string());
    Ok(())
}

fn show(name: &str, text: &str) {
    println!("{}{name}", mark::BEGIN);
    text.lines().for_each(|line| println!("{}{line}", mark::LINE));
    println!("{}", mark::END);
}
