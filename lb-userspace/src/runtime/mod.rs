//! The daemon: it owns the clock, feeds the controller with what happens, and carries out what it decides.
//!
//! One task runs the loop ([`daemon`]); the admin side asks it by [`request::Request`]s, one after the other, so that every
//! answer is of one moment. The next-hop resolver and the sender of unresolved replies are tasks of their own.

mod checks;
mod claims;
mod clock;
mod daemon;
mod exchange;
mod explain;
mod flows;
mod forwarding;
mod in_force;
mod layer;
mod limiter;
mod overrides;
mod own_client;
mod perform;
mod pools;
mod rehearsal;
mod reload;
pub mod request;
mod sizes;
mod verdicts;
mod virtual_routers;
mod vrrp;

use std::path::PathBuf;

use anyhow::Context as _;

/// How the daemon is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Overrides `[node] state_dir`.
    pub state_dir: Option<PathBuf>,
    /// How logs are written.
    pub log_format: LogFormat,
}

/// How logs are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// [`Problem`](crate::controller::view::Problem) when the configuration is not valid; others when the kernel refuses what the daemon cannot do without.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let source = reload::Source::new(options.config);
    let text = source.read()?;
    let (mut config, warnings) = reload::parse(&text)?;
    if let Some(directory) = options.state_dir {
        config.node.state_dir = directory;
    }
    let mut runtime = layer::RuntimeLayer::load(&config.node.state_dir);
    let state_dir = config.node.state_dir.clone();
    let (mut config, warnings) = runtime.start(&text, (config, warnings));
    config.node.state_dir = state_dir;
    eprint!("{warnings}");
    let started = daemon::Daemon::start(source, text, runtime, config, options.log_format).await;
    let mut daemon = started.context("starting")?;
    let result = daemon.serve().await;
    daemon.stop().await;
    result
}
