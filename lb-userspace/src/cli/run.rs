//! `fairway run`: sets up logging and a runtime, and hands over to the daemon.

use std::io;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use super::failure::Failure;
use super::{CONFIG, output};
use crate::runtime::{self, LogFormat};

/// What the daemon takes.
#[derive(Args, Debug)]
pub struct RunOptions {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// Where it keeps what outlives it, instead of node.state_dir
    #[arg(long, value_name = "DIRECTORY")]
    state_dir: Option<PathBuf>,
    /// How it logs, to standard error; how much: RUST_LOG (info unless set)
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// Runs the daemon.
pub fn run(options: RunOptions) -> Result<(), Failure> {
    log_to_stderr(options.log_format);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the daemon's threads")?;
    let RunOptions { config, state_dir, log_format } = options;
    Ok(runtime.block_on(runtime::run(runtime::Options { config, state_dir, log_format }))?)
}

/// Sets up the log of a process that goes on.
pub(super) fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let logging = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    match format {
        LogFormat::Text => logging.with_ansi(output::coloured_aside()).init(),
        LogFormat::Json => logging.json().flatten_event(true).init(),
    }
}
