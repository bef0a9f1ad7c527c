//! What the project needs from Debian. Installed when we are root, named otherwise; what would start a service on
//! someone's host is only unpacked, see [`crate::unpacked`].

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo::{check, find_program};
use crate::privilege::is_root;

/// A package, and how to see without dpkg that what it brings is here.
#[derive(Clone, Copy)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// Whether it is missing.
    pub is_missing: fn() -> bool,
}

/// Installs what is missing of `packages`, or says which command would.
pub fn ensure(packages: &[Package]) -> Result<()> {
    let missing: Vec<&str> =
        packages.iter().filter(|package| (package.is_missing)()).map(|package| package.name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get install --no-install-recommends {}", missing.join(" "));
    if !is_apt_here() {
        bail!("missing, and this is not a Debian: {} (the names are those of Debian 12)", missing.join(", "));
    }
    if !is_root() {
        bail!("missing: {}; install with: sudo {by_hand}", missing.join(", "));
    }
    println!("xtask: {by_hand}");
    refresh_lists()?;
    check(apt_get(&["install", "--yes", "--quiet=2", "--no-install-recommends"]).args(missing))
}

/// Where tests find programs: also the directories that only root's PATH has.
pub const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// apt-get, asking nothing and waiting for whoever else holds dpkg's lock.
pub fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments);
    command
}

/// Fetches the lists of packages. It needs root.
pub fn refresh_lists() -> Result<()> {
    check(&mut apt_get(&["update", "--quiet=2"])).context("cannot refresh the package lists")
}

/// Whether packages can be had.
pub fn is_apt_here() -> bool {
    find_program("apt-get", SYSTEM_PATH).is_some()
}

/// Puts packages, as files, into a directory. It needs no root.
pub fn download(directory: &Path, packages: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(["download", "--quiet=2"]).args(packages).current_dir(directory);
    check(&mut command).context("cannot download; if the package lists are old or missing: sudo apt-get update")
}

/// Unpacks all packages that lie in a directory under `root` there, and deletes them.
pub fn unpack(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            check(Command::new("dpkg-deb").arg("-x").arg(&file).arg(directory.join("root")))?;
            fs::remove_file(file)?;
        }
    }
    Ok(())
}
