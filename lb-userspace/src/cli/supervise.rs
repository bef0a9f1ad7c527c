//! `fairway supervise`, which the daemon starts beside itself. Not for people: hidden.

use clap::Args;

use super::failure::Failure;
use super::run::log_to_stderr;
use crate::effects::supervisor;
use crate::runtime::LogFormat;

/// How it stands to the daemon.
#[derive(Args, Debug)]
pub struct SuperviseOptions {
    /// Realtime priority
    priority: i32,
    /// Name of the node
    node: String,
    /// How it logs, to standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// Watches the daemon at the other end of standard input until it has ended.
pub fn supervise(options: &SuperviseOptions) -> Result<(), Failure> {
    log_to_stderr(options.log_format);
    Ok(supervisor::supervise(options.priority, &options.node)?)
}
