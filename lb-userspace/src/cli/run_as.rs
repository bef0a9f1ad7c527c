//! `fairway run-as`, which the daemon starts for hooks and scripts. Not for people: hidden.

use clap::Args;

use super::failure::Failure;
use crate::effects::run_as;

/// What cannot be started exits with this, as in a shell.
const NOT_STARTED: u8 = 127;

/// Who, and what.
#[derive(Args, Debug)]
pub struct RunAsOptions {
    /// Name of the user
    user: String,
    /// Program and arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Returns only when it fails. The daemon shows the message: it is the last line of the output.
pub fn run_as(options: &RunAsOptions) -> Result<(), Failure> {
    match run_as::run_as(&options.user, &options.command) {
        Ok(never) => match never {},
        Err(error) => Err(Failure::new(NOT_STARTED, format!("{error:#}"))),
    }
}
