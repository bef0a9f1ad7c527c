//! `cargo xtask ebpf`: from lb-ebpf and lb-common to the objects that user space embeds. The objects are committed, so
//! that building Fairway takes stable Rust only; this is for whoever changes the packet path, and for CI.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::cargo::{check as check_command, root, target};
use crate::inputs::{self, Inputs, differences, hash};
use crate::linker::Linker;
use crate::rustc_wrapper;
use crate::test;
use crate::toolchain::{Toolchain, plain};

/// Builds the objects and replaces the committed ones.
pub fn build_and_commit() -> Result<()> {
    let built = Chain::find()?.build(Lock::MayChange)?;
    fs::create_dir_all(committed_directory())?;
    for (name, bytes) in &built.objects {
        fs::write(committed_directory().join(name), bytes)?;
    }
    fs::write(committed_directory().join(inputs::FILE), built.inputs.text())?;
    println!("xtask: wrote {} and {}", names(&built), inputs::FILE);
    Ok(())
}

/// Builds the objects beside the committed ones, compares, and runs the packet tests on what was built.
pub fn check() -> Result<()> {
    verify_recorded()?;
    let built = Chain::find()?.build(Lock::MustFit)?;
    let recorded = recorded()?;
    if built.inputs.tools == recorded.tools {
        compare(&built, &recorded)?;
        println!("xtask: {} come out byte for byte as committed", names(&built));
    } else {
        println!("xtask: bytes not compared, since these are not the tools the committed objects were built with:");
        print_tools("here", &built.inputs.tools);
        print_tools("recorded", &recorded.tools);
    }
    test::run_packet_tests_on(&built_directory())
}

/// Fails when the committed objects are not made from the sources in the checkout. Needs no eBPF toolchain.
pub fn verify_recorded() -> Result<()> {
    let recorded = recorded()?;
    let mut changed = differences(&recorded.sources, &Inputs::of_checkout(&root())?);
    changed.extend(differences(&recorded.flags, &flags()));
    if !changed.is_empty() {
        bail!("the eBPF objects are older than their sources; run `cargo xtask ebpf`. Changed: {}", changed.join(", "));
    }
    for (name, expected) in &recorded.objects {
        let bytes = fs::read(committed_directory().join(name)).with_context(|| format!("{name} is recorded"))?;
        if hash(&bytes) != *expected {
            bail!("{name} is not the object that {} records; run `cargo xtask ebpf`", inputs::FILE);
        }
    }
    Ok(())
}

/// Compiler and linker.
pub struct Chain {
    toolchain: Toolchain,
    linker: Linker,
}

/// Objects and what they were made from.
struct Built {
    objects: BTreeMap<String, Vec<u8>>,
    inputs: Inputs,
}

/// Whether lb-ebpf's lock file may be brought up to date (a new version of lb-common, say).
#[derive(PartialEq)]
enum Lock {
    MayChange,
    MustFit,
}

impl Chain {
    /// The chain that is here, or that can be installed.
    pub fn find() -> Result<Self> {
        let toolchain = Toolchain::find()?;
        let linker = Linker::find(&toolchain)?;
        Ok(Self { toolchain, linker })
    }

    fn build(&self, lock: Lock) -> Result<Built> {
        println!("xtask: building the eBPF programs with {} and {}", self.toolchain.version, self.linker.version);
        let mut cargo = plain(&self.toolchain.cargo);
        cargo.args(["build", "--quiet", "--release", "--target", TARGET, "-Z", "build-std=core"]);
        cargo.args((lock == Lock::MustFit).then_some("--locked"));
        cargo.current_dir(root().join("lb-ebpf")).env("CARGO_TARGET_DIR", target().join("ebpf"));
        // The compiler is a stable one; `build-std` and the BPF target are not stable.
        cargo.env("RUSTC", &self.toolchain.rustc).env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", RUSTFLAGS);
        // Incremental builds split the crate elsewhere and give other objects: a user's own setting must not.
        cargo.env("PATH", self.path()?).env("CARGO_INCREMENTAL", "0");
        cargo.envs(self.linker.libraries.iter().map(|libraries| ("LD_LIBRARY_PATH", libraries)));
        rustc_wrapper::ask_for(&mut cargo)?;
        check_command(&mut cargo)?;
        self.collect()
    }

    fn path(&self) -> Result<std::ffi::OsString> {
        let path = env::var_os("PATH").unwrap_or_default();
        Ok(env::join_paths(std::iter::once(self.linker.directory.clone()).chain(env::split_paths(&path)))?)
    }

    fn collect(&self) -> Result<Built> {
        let mut built = Built { objects: BTreeMap::new(), inputs: Inputs::default() };
        fs::create_dir_all(built_directory())?;
        for program in PROGRAMS {
            let name = format!("{program}.bpf.o");
            let object = built_directory().join(&name);
            fs::copy(target().join("ebpf").join(TARGET).join("release").join(program), &object)?;
            self.linker.strip(&object)?;
            let bytes = fs::read(&object)?;
            built.inputs.objects.insert(name.clone(), hash(&bytes));
            built.objects.insert(name, bytes);
        }
        built.inputs.sources = Inputs::of_checkout(&root())?;
        built.inputs.flags = flags();
        built.inputs.tools.insert("rustc".to_owned(), self.toolchain.version.clone());
        built.inputs.tools.insert("bpf-linker".to_owned(), self.linker.version.clone());
        Ok(built)
    }
}

/// The binaries of lb-ebpf.
const PROGRAMS: &[&str] = &["fairway", "bench", "lab"];

const TARGET: &str = "bpfel-unknown-none";

/// `allows-misaligned-mem-access`: otherwise every load from a packet is split into bytes, a quarter of the time of
/// the packet path. `v3`: 32-bit registers and atomics that return a value, which every kernel since 5.12 has.
const RUSTFLAGS: &str =
    "-C link-arg=--btf -C debuginfo=2 -C target-cpu=v3 -C target-feature=+allows-misaligned-mem-access";

fn flags() -> BTreeMap<String, String> {
    BTreeMap::from([("rustflags".to_owned(), RUSTFLAGS.to_owned())])
}

fn committed_directory() -> PathBuf {
    root().join("lb-userspace/bpf")
}

fn built_directory() -> PathBuf {
    target().join("ebpf/objects")
}

fn recorded() -> Result<Inputs> {
    let file = committed_directory().join(inputs::FILE);
    Inputs::parse(&fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?)
}

fn compare(built: &Built, recorded: &Inputs) -> Result<()> {
    let differing = differences(&recorded.objects, &built.inputs.objects);
    if !differing.is_empty() {
        bail!(
            "not what the same tools build here from the same sources: {}; run `cargo xtask ebpf` and commit \
             lb-userspace/bpf (built: {})",
            differing.join(", "),
            built_directory().display()
        );
    }
    Ok(())
}

fn names(built: &Built) -> String {
    built.objects.keys().cloned().collect::<Vec<_>>().join(", ")
}

fn print_tools(whose: &str, tools: &BTreeMap<String, String>) {
    for (name, version) in tools {
        println!("xtask:   {whose}: {name}: {version}");
    }
}
