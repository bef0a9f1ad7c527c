//! xtask in the place of rustc, while the eBPF programs are built: it passes every call on, with two changes that make
//! the bytes the same in whatever directory, by whatever user, from whatever cargo home they are built.
//!
//! Cargo gives each crate a `metadata` value, from which symbol names are made, and for a path dependency outside the
//! workspace (lb-common) and for `core` it depends on the directory. And debug information holds the paths of sources;
//! remapping them by `RUSTFLAGS` would take a list of prefixes that is known only after cargo has unpacked them.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::privilege::become_command;

/// Set by [`ask_for`] and looked for at start, since a wrapper cannot be given arguments of its own.
const VARIABLE: &str = "FAIRWAY_XTASK_IS_RUSTC_WRAPPER";

/// Makes a cargo command call rustc through us.
pub fn ask_for(cargo: &mut Command) -> Result<()> {
    cargo.env("RUSTC_WRAPPER", env::current_exe()?).env(VARIABLE, "1");
    Ok(())
}

/// Whether we were started as the wrapper.
pub fn is_asked_for() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// Becomes rustc.
pub fn run() -> Result<()> {
    let mut words = env::args_os().skip(1);
    let mut command = Command::new(words.next().context("a wrapper is called with rustc's path")?);
    let package = package();
    command.args(words.map(|word| with_steady_metadata(word, package.as_deref())));
    if let Some(package) = package {
        command.args(remaps(&package));
    }
    Err(become_command(command))
}

/// The package being compiled, none when cargo only asks what rustc can do.
fn package() -> Option<String> {
    Some(format!("{}-{}", env::var("CARGO_PKG_NAME").ok()?, env::var("CARGO_PKG_VERSION").ok()?))
}

fn with_steady_metadata(word: OsString, package: Option<&str>) -> OsString {
    match (word.to_str(), package) {
        (Some(word), Some(package)) if word.starts_with("metadata=") => format!("metadata={package}").into(),
        _ => word,
    }
}

/// Sources appear as `/NAME-VERSION/src/...`, generated ones as `/NAME-VERSION/out/...`.
fn remaps(package: &str) -> Vec<String> {
    let remap =
        |directory: PathBuf, below: &str| format!("--remap-path-prefix={}=/{package}{below}", directory.display());
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    // Debian's source of `core` is reached through a symbolic link, and the working directory is recorded resolved.
    let resolved = manifest.as_ref().and_then(|directory| directory.canonicalize().ok());
    let generated = env::var_os("OUT_DIR").map(PathBuf::from);
    let sources = [resolved, manifest].into_iter().flatten().map(|directory| remap(directory, ""));
    sources.chain(generated.map(|directory| remap(directory, "/out"))).collect()
}
