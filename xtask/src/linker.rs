//! bpf-linker, which turns the compiler's bitcode into an eBPF object. Built from its published source in the version
//! wanted, under `target/tools`; what is on the PATH is left alone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cargo::{cargo, check, output, target};
use crate::toolchain::{LLVM, Toolchain, plain};

/// The linker, and what it needs to run.
pub struct Linker {
    /// The directory it is in, under the name rustc calls it by.
    pub directory: PathBuf,
    /// Where it finds LLVM, if not where the system looks.
    pub libraries: Option<PathBuf>,
    /// Its version, and that of its LLVM.
    pub version: String,
}

impl Linker {
    /// Takes the DWARF out of an object and leaves the BTF that was made from it: a third of the size, and committed. Where
    /// Debian's LLVM is not, the object keeps it, and differs from the recorded one in its tools anyway.
    pub fn strip(&self, object: &Path) -> Result<()> {
        if !is_debian_llvm_here() {
            return Ok(());
        }
        let mut command = plain(&Path::new(DEBIAN_LLVM_PREFIX).join("bin/llvm-objcopy"));
        check(command.arg("--strip-debug").arg(object))
    }

    /// The linker that goes with `toolchain`, built on first use (one to two minutes).
    pub fn find(toolchain: &Toolchain) -> Result<Self> {
        toolchain.ensure_llvm()?;
        let variant = if is_debian_llvm_here() { &DEBIAN_LLVM } else { &COMPILERS_LLVM };
        let installed = target().join("tools").join(variant.name);
        let mut linker = Self {
            directory: installed.join("bin"),
            libraries: (!variant.is_debian_llvm()).then(|| toolchain.libraries.clone()),
            version: String::new(),
        };
        if linker.ask_version().ok() != Some(format!("bpf-linker {}", variant.version)) {
            variant.install(&installed, toolchain)?;
        }
        linker.version = format!("{}, {}", linker.ask_version()?, variant.llvm_version(toolchain)?);
        Ok(linker)
    }

    fn ask_version(&self) -> Result<String> {
        let program = self.directory.join("bpf-linker");
        anyhow::ensure!(program.exists(), "{} is not there", program.display());
        let mut command = plain(&program);
        command.envs(self.libraries.iter().map(|libraries| ("LD_LIBRARY_PATH", libraries)));
        output(command.arg("--version")).context("bpf-linker was built and does not run")
    }
}

/// Whether Debian's LLVM is here with what linking to it takes.
pub fn is_debian_llvm_here() -> bool {
    Path::new(DEBIAN_LLVM_PREFIX).join("bin/llvm-config").exists()
        && Path::new(DEBIAN_LLVM_PREFIX).join("lib/libLLVM.so").exists()
}

/// One way to build bpf-linker.
struct Variant {
    name: &'static str,
    version: &'static str,
    features: &'static [&'static str],
}

/// The wanted one.
const DEBIAN_LLVM: Variant =
    Variant { name: "debian-llvm", version: "0.13.0", features: &["--no-default-features", "--features", "llvm-22"] };

/// Where there is no LLVM to link with: the last release that can use the LLVM within a rustup toolchain.
const COMPILERS_LLVM: Variant = Variant { name: "compilers-llvm", version: "0.10.3", features: &[] };

const DEBIAN_LLVM_PREFIX: &str = "/usr/lib/llvm-22";

impl Variant {
    fn is_debian_llvm(&self) -> bool {
        self.name == DEBIAN_LLVM.name
    }

    fn install(&self, installed: &Path, toolchain: &Toolchain) -> Result<()> {
        println!("xtask: building bpf-linker {} (LLVM {LLVM}) under {}", self.version, installed.display());
        let building = installed.join("build");
        let mut command =
            cargo(&["install", "bpf-linker", "--quiet", "--locked", "--force", "--version", self.version]);
        command.args(self.features).arg("--root").arg(installed).env("CARGO_TARGET_DIR", &building);
        // It only drives LLVM: what it is itself compiled with changes how long that takes, and nothing else.
        command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1").env("CARGO_PROFILE_RELEASE_DEBUG", "false");
        if self.is_debian_llvm() {
            command.env("LLVM_PREFIX", DEBIAN_LLVM_PREFIX);
            // Otherwise the build script may find another LLVM's directory and no `libLLVM.so` in it.
            command.env("RUSTFLAGS", format!("-L {DEBIAN_LLVM_PREFIX}/lib"));
        } else {
            command.env("LD_LIBRARY_PATH", &toolchain.libraries);
        }
        check(&mut command).context("cannot build bpf-linker")?;
        Ok(fs::remove_dir_all(building)?)
    }

    fn llvm_version(&self, toolchain: &Toolchain) -> Result<String> {
        if !self.is_debian_llvm() {
            return Ok(format!("LLVM of {}", toolchain.version));
        }
        let config = Path::new(DEBIAN_LLVM_PREFIX).join("bin/llvm-config");
        Ok(format!("LLVM {}", output(plain(&config).arg("--version"))?))
    }
}
