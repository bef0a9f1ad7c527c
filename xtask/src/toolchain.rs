//! The compiler for the eBPF programs. The BPF target has no ready-made `core`, so it is chosen by where the source of
//! `core` is, not by what manages it: Debian's packages, or a rustup toolchain with `rust-src`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo::output;
use crate::debian::{self, Package};

/// The LLVM that compiler and linker must both speak: an older linker cannot read the newer compiler's bitcode.
pub const LLVM: &str = "22";

/// A compiler that can build `core` for BPF.
pub struct Toolchain {
    /// Its rustc.
    pub rustc: PathBuf,
    /// The cargo that goes with it.
    pub cargo: PathBuf,
    /// Its libraries, among them (under rustup) the LLVM it carries.
    pub libraries: PathBuf,
    /// One line that says which compiler it is, to the commit.
    pub version: String,
}

impl Toolchain {
    /// The first that fits; on Debian and as root, it is installed if there is none.
    pub fn find() -> Result<Self> {
        if let Some(toolchain) = Self::present()? {
            return Ok(toolchain);
        }
        debian::ensure(&[DEBIAN_COMPILER, DEBIAN_LLVM].concat()).context(WITHOUT_DEBIAN)?;
        Self::present()?.context("the packages are installed, and still there is no source of `core`")
    }

    /// Sees to the LLVM that the linker is built with, where it comes from Debian like the compiler.
    pub fn ensure_llvm(&self) -> Result<()> {
        if self.rustc == Path::new(DEBIAN_RUSTC) { debian::ensure(DEBIAN_LLVM) } else { Ok(()) }
    }

    fn present() -> Result<Option<Self>> {
        for (rustc, cargo) in candidates() {
            if let Some(toolchain) = Self::examine(rustc, cargo)? {
                return Ok(Some(toolchain));
            }
        }
        Ok(None)
    }

    fn examine(rustc: PathBuf, cargo: PathBuf) -> Result<Option<Self>> {
        if !rustc.exists() || !cargo.exists() {
            return Ok(None);
        }
        let sysroot = PathBuf::from(output(plain(&rustc).args(["--print", "sysroot"]))?);
        let details = output(plain(&rustc).arg("-vV"))?;
        let Some(llvm) = details.lines().find_map(|line| line.strip_prefix("LLVM version: ")) else {
            bail!("{} does not say which LLVM it has", rustc.display());
        };
        if !has_core(&sysroot) || !llvm.starts_with(&format!("{LLVM}.")) {
            return Ok(None);
        }
        let release = details.lines().next().unwrap_or_default();
        let version = format!("{release}, LLVM {llvm}");
        Ok(Some(Self { rustc, cargo, libraries: sysroot.join("lib"), version }))
    }
}

/// A command free of what the cargo and rustup that run us have set for their own compiler.
pub fn plain(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_our_cargo(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command
}

const DEBIAN_COMPILER: &[Package] = &[
    Package { name: "rustc-web", is_missing: || !Path::new(DEBIAN_RUSTC).exists() },
    Package { name: "cargo-web", is_missing: || !Path::new(DEBIAN_CARGO).exists() },
    Package { name: "rust-web-src", is_missing: || !has_core(Path::new("/usr")) },
];

const DEBIAN_LLVM: &[Package] =
    &[Package { name: "llvm-22-dev", is_missing: || !crate::linker::is_debian_llvm_here() }];

const WITHOUT_DEBIAN: &str = "the eBPF programs need a Rust compiler with LLVM 22 and the source of `core`; \
     either Debian's, or `rustup toolchain install nightly --component rust-src`";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

fn candidates() -> Vec<(PathBuf, PathBuf)> {
    let debian = (PathBuf::from(DEBIAN_RUSTC), PathBuf::from(DEBIAN_CARGO));
    std::iter::once(debian).chain(rustup_toolchains()).collect()
}

fn rustup_toolchains() -> impl Iterator<Item = (PathBuf, PathBuf)> {
    let home = std::env::var_os("RUSTUP_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".rustup")));
    let directories = home.and_then(|home| home.join("toolchains").read_dir().ok()).into_iter().flatten().flatten();
    let mut directories: Vec<PathBuf> = directories.map(|entry| entry.path()).collect();
    directories.sort();
    directories.into_iter().map(|directory| (directory.join("bin/rustc"), directory.join("bin/cargo")))
}

fn has_core(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists()
}

fn is_of_our_cargo(variable: &str) -> bool {
    const KEPT: &[&str] = &["CARGO_HOME", "CARGO_TERM_COLOR"];
    // How to reach a registry stays the caller's choice.
    const KEPT_PREFIXES: &[&str] = &["CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_"];
    let is_kept = KEPT.contains(&variable) || KEPT_PREFIXES.iter().any(|prefix| variable.starts_with(prefix));
    let is_cargo = variable == "CARGO" || variable.starts_with("CARGO_") || variable.starts_with("RUSTC");
    (is_cargo && !is_kept) || ["RUSTFLAGS", "RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH"].contains(&variable)
}
