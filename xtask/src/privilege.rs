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
pub fn as_root(program: &Path, arguments: &[String], variables: &[(&str, &OsStr)]) -> Result<Command> {
    if is_root() {
        let mut command = Command::new(program);
        command.args(arguments).envs(variables.iter().copied());
        return Ok(command);
    }
    // `env` since sudo drops most variables.
    let mut words = vec!["env".to_owned()];
    words.extend(variables.iter().map(|(name, value)| format!("{name}={}", value.display())));
    words.push(program.display().to_string());
    words.extend_from_slice(arguments);
    let by_hand = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    if Command::new("sudo").arg("--version").output().is_err() {
        bail!("this needs root and there is no sudo; as root: {by_hand}");
    }
    println!("xtask: as root: sudo {by_hand}");
    let mut command = Command::new("sudo");
    command.args(words);
    Ok(command)
}

/// Becomes the command. No parent of it is left that could die of Ctrl-C before it has cleaned up.
pub fn become_command(mut command: Command) -> Error {
    Error::new(command.exec()).context(format!("cannot start {}", command.get_program().display()))
}

/// A word as one can paste it into a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-+=./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
