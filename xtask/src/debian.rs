//! What the project needs from Debian. Installed when we are root, named otherwise; a package whose installation would
//! start a service on someone's host is unpacked under `target/` instead.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo::{check, find_program, output, target};
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
    check(&mut apt_get(&["update", "--quiet=2"])).context("cannot refresh the package lists")?;
    check(apt_get(&["install", "--yes", "--quiet=2", "--no-install-recommends"]).args(missing))
}

/// The directory with a `nginx` that needs nothing installed, unpacked on first use. It needs no root.
pub fn unpacked_nginx() -> Result<PathBuf> {
    let directory = target().join("debs");
    let programs = directory.join("bin");
    if programs.join("nginx").exists() {
        return Ok(programs);
    }
    if !is_apt_here() {
        bail!("nginx is missing, and this is not a Debian: install it, with its service disabled");
    }
    println!("xtask: unpacking nginx under {}", directory.display());
    fs::create_dir_all(&programs)?;
    download(&directory, &["nginx"])?;
    unpack(&directory)?;
    let libraries = missing_libraries(&directory.join("root/usr/sbin/nginx"))?;
    if !libraries.is_empty() {
        download(&directory, NGINX_LIBRARIES)?;
        unpack(&directory)?;
    }
    write_launcher(&directory)?;
    Ok(programs)
}

/// Where tests find programs: also the directories that only root's PATH has.
pub const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where Debian's nginx gets the libraries from that a small system may lack.
const NGINX_LIBRARIES: &[&str] = &["libpcre2-8-0", "libssl3", "zlib1g", "libcrypt1"];

/// apt-get, asking nothing and waiting for whoever else holds dpkg's lock.
fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments);
    command
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

fn missing_libraries(program: &Path) -> Result<Vec<String>> {
    let listing = output(Command::new("ldd").arg(program))?;
    Ok(listing.lines().filter(|line| line.contains("not found")).map(str::to_owned).collect())
}

fn write_launcher(directory: &Path) -> Result<()> {
    let root = directory.join("root");
    let libraries =
        format!("{0}/usr/lib/{1}:{0}/lib/{1}", root.display(), format!("{}-linux-gnu", std::env::consts::ARCH));
    let script = format!("#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {}/usr/sbin/nginx \"$@\"\n", root.display());
    let file = directory.join("bin/nginx");
    fs::write(&file, script)?;
    Ok(fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?)
}
