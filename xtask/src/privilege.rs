//! Root, or the way to it. Building is done as whoever calls; only built programs are run through sudo, and each
//! time that is said.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Error, Result, bail};
use nix::unistd::Uid;

/// Whether we are root.
pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// A command that runs `program` as root with `variables` set: directly, or through sudo. An error names the command
/// to type where there is no sudo.
pub fn as_root(program: &Path, variables: &[(&str, &OsStr)]) -> Result<Command> {
    if is_root() {
        let mut command = Command::new(program);
        command.envs(variables.iter().copied());
        return Ok(command);
    }
    let settings: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={}", value.display())).collect();
    let by_hand = format!("env {} {}", settings.join(" "), program.display());
    if Command::new("sudo").arg("--version").output().is_err() {
        bail!("this needs root and there is no sudo; as root: {by_hand}");
    }
    println!("xtask: as root: sudo {by_hand}");
    let mut command = Command::new("sudo");
    // `env` since sudo drops most variables, and a password prompt must not be part of the tests' output.
    command.arg("env").args(settings).arg(program);
    Ok(command)
}

/// Becomes the command. No parent of it is left that could die of Ctrl-C before it has cleaned up.
pub fn become_command(mut command: Command) -> Error {
    Error::new(command.exec()).context(format!("cannot start {}", command.get_program().display()))
}
