//! `cargo xtask`: builds, runs, tests and measures Fairway. Everything a developer or CI does to the project goes
//! through here, so that both do the same. Each command says what it installs, and what it runs as root.

mod cargo;
mod debian;
mod ebpf;
mod inputs;
mod ipvs;
mod ipvs_bench;
mod kernel;
mod linker;
mod privilege;
mod run;
mod rustc_wrapper;
mod test;
mod toolchain;
mod unpacked;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

/// Builds, runs, tests and measures Fairway.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Builds and starts Fairway: the playground, or `fairway run ARGS`
    Run {
        /// Arguments of `fairway run`; without any, the playground is started
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Runs the tests, all groups or those named
    Test(test::Options),
    /// Builds the eBPF objects from their sources and puts them where user space embeds them
    Ebpf {
        /// Leave the committed objects alone: rebuild beside them, compare, and test what was built
        #[arg(long)]
        check: bool,
    },
    /// Measures the packet path, `[--json FILE] [ARGS]`, or how long a failover takes, `failover [--json FILE] [ARGS]`, or
    /// what a pair's exchange costs, `exchange [--json FILE] [ARGS]`, or the packet path beside IPVS, in instructions under Linux 6.1, `ipvs [--json FILE] [ROW]`
    Bench {
        /// Arguments of the bench program
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Records anew what IPVS does (`tests/data/ipvs`), in a virtual machine: no root, no KVM
    RecordIpvs {
        /// Scripts whose names contain this, or `modes`: the forwarding methods; without it, all
        filter: Option<String>,
    },
    /// Installs whatever `ebpf` and `test` would otherwise install when they need it
    Setup,
    /// Builds packages
    Dist,
}

fn main() -> ExitCode {
    let outcome =
        if rustc_wrapper::is_asked_for() { rustc_wrapper::run() } else { perform(Arguments::parse().command) };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not the `Debug` form: its backtrace says nothing to whoever lacks a package.
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    match task {
        Task::Run { arguments } => run::run(&arguments),
        Task::Test(options) => test::run(&options),
        Task::Ebpf { check: false } => ebpf::build_and_commit(),
        Task::Ebpf { check: true } => ebpf::check(),
        Task::Bench { arguments } => run::bench(&arguments),
        Task::RecordIpvs { filter } => ipvs::record(filter.as_deref().unwrap_or_default()),
        Task::Setup => setup(),
        Task::Dist => bail!("`dist` is not in this version"),
    }
}

fn setup() -> Result<()> {
    ebpf::Chain::find()?;
    test::find_all_tools()?;
    println!("xtask: everything that `ebpf` and `test` need is here");
    Ok(())
}
