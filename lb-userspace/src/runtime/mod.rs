//! The daemon: it owns the clock and carries out what the controller decides.

pub mod request;

use std::path::PathBuf;

/// What the daemon is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Overrides `node.state_dir`.
    pub state_dir: Option<PathBuf>,
    /// How it logs.
    pub log_format: LogFormat,
}

/// How the daemon logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Runs the daemon until it is told to stop.
pub async fn run(_: Options) -> anyhow::Result<()> {
    anyhow::bail!("this build has no daemon")
}
