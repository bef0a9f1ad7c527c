//! Programs of Debian packages whose installation would start a service on someone's host: unpacked under
//! `target/debs`, with the libraries that the system lacks, and run by small scripts there. No root, nothing installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cargo::{output, target};
use crate::debian::{SYSTEM_PATH, apt_get, download, is_apt_here, refresh_lists, unpack};
use crate::privilege::is_root;

/// A program to unpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// What it is called.
    pub name: &'static str,
    /// The package that it comes from.
    package: &'static str,
    /// The file in that package.
    file: &'static str,
    surroundings: Surroundings,
}

/// What a program needs around it besides its libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Surroundings {
    Plain,
    /// A group `frrvty` and `/var/tmp/frr`, which the installation of FRR would make: here it sees a file of groups and a
    /// `/var/tmp` of its own. Needs root, as FRR's daemons do.
    Frr,
}

/// The web server of the namespace tests.
pub const NGINX: Program = plain("nginx", "nginx-light", "usr/sbin/nginx");
/// A peer that speaks VRRP.
pub const KEEPALIVED: Program = plain("keepalived", "keepalived", "usr/sbin/keepalived");
/// A server that uses a floating address.
pub const HAPROXY: Program = plain("haproxy", "haproxy", "usr/sbin/haproxy");
/// A server that a check of lines asks.
pub const REDIS: Program = plain("redis-server", "redis-server", "usr/bin/redis-server");
/// A name server.
pub const DNSMASQ: Program = plain("dnsmasq", "dnsmasq-base", "usr/sbin/dnsmasq");
/// A mail server of a single process.
pub const MSMTPD: Program = plain("msmtpd", "msmtp-mta", "usr/bin/msmtpd");
/// FRR's kernel side, without which none of its daemons works.
pub const ZEBRA: Program = frr("zebra", "usr/lib/frr/zebra");
/// Another peer that speaks VRRP.
pub const VRRPD: Program = frr("vrrpd", "usr/lib/frr/vrrpd");
/// A peer that speaks BFD.
pub const BFDD: Program = frr("bfdd", "usr/lib/frr/bfdd");
const fn plain(name: &'static str, package: &'static str, file: &'static str) -> Program {
    Program { name, package, file, surroundings: Surroundings::Plain }
}

const fn frr(name: &'static str, file: &'static str) -> Program {
    Program { name, package: "frr", file, surroundings: Surroundings::Frr }
}

/// The directory with scripts that run these programs, which are unpacked on first use.
pub fn ensure(programs: &[Program]) -> Result<PathBuf> {
    let place = Place::new();
    let missing: Vec<Program> = programs.iter().copied().filter(|program| !place.script(program).exists()).collect();
    if missing.is_empty() {
        return Ok(place.scripts());
    }
    let names = missing.iter().map(|program| program.name).collect::<Vec<_>>().join(", ");
    if !is_apt_here() {
        bail!("missing, and this is not a Debian: {names}; install them, with their services disabled");
    }
    println!("xtask: unpacking under {}: {names}", place.directory.display());
    fs::create_dir_all(place.scripts())?;
    let packages = with_dependencies(&packages_of(&missing))?;
    download(&place.directory, &packages.iter().map(String::as_str).collect::<Vec<_>>())?;
    unpack(&place.directory)?;
    // The scripts come last: they say that all they need is there.
    missing.iter().try_for_each(|program| place.write_script(program))?;
    Ok(place.scripts())
}

fn packages_of(programs: &[Program]) -> Vec<&'static str> {
    let mut packages: Vec<&str> = programs.iter().map(|program| program.package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// The packages and whatever else an installation would bring along, which is what this system lacks of their libraries.
fn with_dependencies(packages: &[&str]) -> Result<Vec<String>> {
    let simulate = || {
        output(apt_get(&["install", "--simulate", "--no-install-recommends"]).args(packages))
            .context("apt-get finds no way to install them; if its lists are old or missing: sudo apt-get update")
    };
    let plan = match simulate() {
        Err(_) if is_root() => {
            refresh_lists()?;
            simulate()
        }
        plan => plan,
    }?;
    let mut all: Vec<String> = packages.iter().map(|package| (*package).to_owned()).collect();
    all.extend(installed_by(&plan).filter(|name| !packages.contains(name)).map(str::to_owned));
    Ok(all)
}

/// The packages that `apt-get install --simulate` says it would install: `Inst NAME (VERSION ...)`.
fn installed_by(plan: &str) -> impl Iterator<Item = &str> {
    plan.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next())
}

/// Where packages are unpacked and scripts lie.
struct Place {
    directory: PathBuf,
}

impl Place {
    fn new() -> Self {
        Self { directory: target().join("debs") }
    }

    fn scripts(&self) -> PathBuf {
        self.directory.join("bin")
    }

    fn script(&self, program: &Program) -> PathBuf {
        self.scripts().join(program.name)
    }

    /// Where the packages' files are.
    fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    fn write_script(&self, program: &Program) -> Result<()> {
        let file = self.root().join(program.file);
        if !file.exists() {
            bail!("the package {} brings no {}", program.package, program.file);
        }
        let libraries = self.libraries();
        let text = match program.surroundings {
            Surroundings::Plain => plain_script(&file, &libraries),
            Surroundings::Frr => frr_script(&file, &libraries, &self.groups_of_frr()?),
        };
        let script = self.script(program);
        fs::write(&script, text)?;
        Ok(fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?)
    }

    fn libraries(&self) -> String {
        let (root, triplet) = (self.root(), format!("{}-linux-gnu", std::env::consts::ARCH));
        let directories = [format!("usr/lib/{triplet}"), format!("lib/{triplet}"), format!("usr/lib/{triplet}/frr")];
        directories.map(|directory| root.join(directory).display().to_string()).join(":")
    }

    /// A file of groups as this system's, with the one that FRR looks up at start.
    fn groups_of_frr(&self) -> Result<PathBuf> {
        let file = self.directory.join("group");
        let groups = fs::read_to_string("/etc/group").context("reading /etc/group")?;
        fs::write(&file, format!("{}\nfrrvty:x:{ROOTS_GROUP}:\n", groups.trim_end()))?;
        Ok(file)
    }
}

/// FRR's user has to be in that group, and here it is root.
const ROOTS_GROUP: u32 = 0;

fn plain_script(program: &Path, libraries: &str) -> String {
    format!("#!/bin/sh\nLD_LIBRARY_PATH='{libraries}' exec '{}' \"$@\"\n", program.display())
}

/// `unshare` and `sh` are replaced by the program, so whoever starts the script has its process number.
fn frr_script(program: &Path, libraries: &str, groups: &Path) -> String {
    format!(
        "#!/bin/sh
PATH=\"$PATH:{SYSTEM_PATH}\"
exec unshare --mount sh -c '
    mount --bind \"{groups}\" /etc/group && mount -t tmpfs tmpfs /var/tmp || exit
    LD_LIBRARY_PATH=\"{libraries}\" exec \"{program}\" -u root -g root \"$@\"' sh \"$@\"\n",
        groups = groups.display(),
        program = program.display(),
    )
}

/// The programs among these that no directory of `path` has.
pub fn missing_in(path: &str, programs: &[Program]) -> Vec<Program> {
    programs.iter().copied().filter(|program| crate::cargo::find_program(program.name, path).is_none()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_names_what_would_be_installed() {
        let plan = "Reading package lists...\nInst libyang2 (2.1.30-2 Debian:12 [amd64])\nInst frr (8.4 [amd64])\n\
                    Conf libyang2 (2.1.30-2 Debian:12 [amd64])\n";
        assert_eq!(installed_by(plan).collect::<Vec<_>>(), ["libyang2", "frr"]);
    }

    #[test]
    fn programs_of_one_package_are_fetched_once() {
        assert_eq!(packages_of(&[ZEBRA, KEEPALIVED, VRRPD]), ["frr", "keepalived"]);
    }

    #[test]
    fn a_program_that_the_system_has_is_not_missing() {
        let shell = plain("sh", "dash", "bin/sh");
        let nothing = plain("no-such-program", "none", "usr/bin/no-such-program");
        assert_eq!(missing_in(SYSTEM_PATH, &[shell, nothing]), [nothing]);
    }
}
