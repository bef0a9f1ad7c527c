//! The command line: what can be typed, and which file here does it. Commands that need the daemon ask it over its Unix
//! socket ([`client`]) and only show the answer; whatever they show as a table they also print as JSON.

mod backend;
mod check;
mod client;
mod doctor;
mod explain;
mod failure;
mod output;
mod pcap;
mod plan;
mod run;
mod run_as;
mod service;
mod show;
mod status;
mod supervise;
mod table;
mod trace;
mod units;
mod vrrp;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config;
use crate::playground;
use client::Client;
use failure::Failure;
use output::Output;

/// Where the daemon is asked unless `--socket` says otherwise; the default of `admin.socket` too.
const SOCKET: &str = "/run/fairway/admin.sock";
/// Where packages put the configuration.
const CONFIG: &str = "/etc/fairway/fairway.toml";

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 failure, 2 bad configuration or usage, 3 daemon not reachable, \
                          4 permission, 5 partly applied, 6 differs";

/// An XDP layer-4 load balancer
#[derive(Debug, Parser)]
#[command(name = "fairway", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Run(run::RunOptions),
    /// Validate a configuration file and show every problem in it
    #[command(visible_alias = "validate")]
    Check(check::CheckOptions),
    /// Show what a reload would change
    Diff(plan::PlanOptions),
    /// Apply a configuration file; on any problem the old one stays in force
    Reload(plan::PlanOptions),
    /// Show the state of everything on one screen
    Status(Asking),
    /// Show one kind of thing as a table
    Show(show::ShowOptions),
    /// Hand virtual routers over to another node, or take part again
    #[command(subcommand)]
    Vrrp(vrrp::VrrpCommand),
    /// Drain, disable or weigh a backend, whatever the configuration says; it holds until it is taken back
    #[command(subcommand)]
    Backend(backend::BackendCommand),
    /// Add, change and remove services beside the configuration file; they hold over restarts until they are taken back
    #[command(subcommand)]
    Service(service::ServiceCommand),
    /// Say which backend a packet goes to, and why
    Explain(explain::ExplainOptions),
    /// Show each step of matching packets for a while
    Trace(trace::TraceOptions),
    /// Look for what of this host would keep Fairway from working well
    Doctor(doctor::DoctorOptions),
    /// Print the JSON schema of the configuration file
    Schema,
    /// Play with Fairway in network namespaces of this machine
    Demo(playground::DemoOptions),
    #[command(hide = true)]
    DemoServer(playground::ServerOptions),
    /// Become a user, then a program: how the daemon starts hooks and scripts
    #[command(hide = true)]
    RunAs(run_as::RunAsOptions),
    /// Watch the daemon, and release what it holds when it dies or hangs: started by the daemon itself
    #[command(hide = true)]
    Supervise(supervise::SuperviseOptions),
}

/// What every command takes that asks the daemon.
#[derive(Args, Debug)]
struct Asking {
    /// Socket of the daemon
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,
    /// How to print the answer
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Output,
}

impl Asking {
    fn client(&self) -> Client {
        Client::new(&self.socket)
    }
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(options) => run::run(options),
        Command::Check(options) => check::check(&options),
        Command::Diff(options) => client::block_on(plan::diff(&options)),
        Command::Reload(options) => client::block_on(plan::reload(&options)),
        Command::Status(asking) => client::block_on(status::status(&asking)),
        Command::Show(options) => client::block_on(show::show(&options)),
        Command::Vrrp(command) => client::block_on(vrrp::order(&command)),
        Command::Backend(command) => client::block_on(backend::order(&command)),
        Command::Service(command) => client::block_on(service::order(&command)),
        Command::Explain(options) => client::block_on(explain::explain(&options)),
        Command::Trace(options) => client::block_on(trace::trace(&options)),
        Command::Doctor(options) => doctor::doctor(&options),
        Command::Schema => output::json(&config::schema()),
        Command::Demo(options) => Ok(playground::demo(&options)?),
        Command::DemoServer(options) => Ok(playground::serve(&options)?),
        Command::RunAs(options) => run_as::run_as(&options),
        Command::Supervise(options) => supervise::supervise(&options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_documentation_names_every_command() {
        let page = include_str!("../../../docs/cli.md");
        let mut commands = vec![(String::from("fairway"), Cli::command())];
        while let Some((name, command)) = commands.pop() {
            let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
            for command in visible {
                let is_there = page.lines().any(|line| line.contains(&name) && line.contains(command.get_name()));
                assert!(is_there, "docs/cli.md says nothing of `{name} {}`", command.get_name());
                commands.push((format!("{name} {}", command.get_name()), command.clone()));
            }
        }
    }
}
