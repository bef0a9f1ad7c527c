//! How a command fails: with an exit code that scripts can rely on, and a message for whoever typed it.

use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

use crate::controller::view::Problem;
use crate::playground::NeedsRoot;

/// Something failed that has no code of its own.
pub const FAILURE: u8 = 1;
/// A configuration or a command line that makes no sense.
pub const BAD_INPUT: u8 = 2;
/// The daemon does not answer.
pub const UNREACHABLE: u8 = 3;
/// The kernel or the socket's mode said no.
pub const PERMISSION: u8 = 4;
/// The configurations differ.
pub const DIFFERS: u8 = 6;

/// Why a command did not do what was asked, or its non-zero verdict.
#[derive(Debug)]
pub struct Failure {
    exit: u8,
    message: String,
}

impl Failure {
    /// With a message.
    pub fn new(exit: u8, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// A verdict; what there is to say has been printed.
    pub fn verdict(exit: u8) -> Self {
        Self::new(exit, "")
    }

    /// Says it and ends with its code.
    pub fn tell(&self) -> ExitCode {
        // Problems of a configuration come rendered, each with its own heading.
        let rendered = self.message.starts_with("error") || self.message.starts_with("warning");
        let prefix = if rendered { "" } else { "fairway: " };
        if !self.message.is_empty() {
            let _ = writeln!(io::stderr(), "{prefix}{}", self.message.trim_end()); // nobody reads it, nobody is told
        }
        ExitCode::from(self.exit)
    }

    /// Its exit code and message.
    #[cfg(test)]
    pub fn parts(&self) -> (u8, &str) {
        (self.exit, &self.message)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        // A problem that claims success would make scripts go on.
        Self::new(problem.exit.max(FAILURE), problem.message)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let exit = if let Some(problem) = error.downcast_ref::<Problem>() {
            problem.exit.max(FAILURE)
        } else if error.is::<NeedsRoot>() || error.chain().any(denied) {
            PERMISSION
        } else {
            FAILURE
        };
        Self::new(exit, format!("{error:#}"))
    }
}

fn denied(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn a_denied_system_call_anywhere_in_the_chain_is_a_matter_of_permission() {
        let error = Err::<(), _>(io::Error::from(ErrorKind::PermissionDenied)).context("loading").unwrap_err();
        assert_eq!(Failure::from(error).parts(), (PERMISSION, "loading: permission denied"));
    }

    #[test]
    fn a_problem_keeps_its_exit_code_under_context() {
        let problem = Problem { exit: 2, message: "no such key".to_owned() };
        let error = anyhow::Error::new(problem).context("starting");
        assert_eq!(Failure::from(error).parts(), (2, "starting: no such key"));
    }
}
