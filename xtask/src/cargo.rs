//! Calls of cargo and of other programs: where the project is, and what a failed command is reported as.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The top of the checkout.
pub fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
    Path::new(&manifest).parent().expect("xtask lies in the workspace").to_path_buf()
}

/// Where xtask keeps what it makes itself: tools, eBPF builds, unpacked packages.
pub fn target() -> PathBuf {
    root().join("target")
}

/// The cargo that runs us, on the workspace.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs a command to its end; its failure is ours.
pub fn check(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", line(command)))?;
    if !status.success() {
        bail!("{status}: {}", line(command));
    }
    Ok(())
}

/// What a command prints, without the white space around it.
pub fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start {}", line(command)))?;
    if !output.status.success() {
        bail!("{}: {}", output.status, line(command));
    }
    Ok(String::from_utf8(output.stdout).context("output is not UTF-8")?.trim().to_owned())
}

/// A program that cargo has built.
pub struct Executable {
    /// The name of its target: `fairway`, `packet`, ...
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

/// Runs a cargo command that only builds, and says which programs came out of it.
pub fn build(arguments: &[&str]) -> Result<Vec<Executable>> {
    let messages = output(cargo(arguments).arg("--message-format=json-render-diagnostics"))?;
    Ok(messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok()).filter_map(executable).collect())
}

/// Builds the program called `name`. From the whole workspace, though only that: so that its dependencies have the
/// features they have in the tests, and are compiled once for both.
pub fn build_program(name: &str, arguments: &[&str]) -> Result<PathBuf> {
    let arguments = [&["build", "--workspace", "--bin", name], arguments].concat();
    let built = build(&arguments)?.into_iter().find(|executable| executable.name == name);
    Ok(built.with_context(|| format!("cargo built no program called {name}"))?.path)
}

/// The file called `name` that a shell with this PATH would run.
pub fn find_program(name: &str, path: &str) -> Option<PathBuf> {
    env::split_paths(path).map(|directory| directory.join(name)).find(|file| is_executable(file))
}

#[derive(Deserialize)]
struct Artifact {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

fn executable(artifact: Artifact) -> Option<Executable> {
    Some(Executable { name: artifact.target.name, path: artifact.executable? })
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
