//! `cargo xtask test kernel`: the committed object under the oldest kernel that Fairway supports, on Debian's own build of
//! it, in a virtual machine. By software emulation, so that it runs where KVM does not, in about half a minute. It needs no
//! root: kernel and busybox are unpacked, not installed. [`crate::ipvs`] runs its own program in the same machine.
//!
//! What is tested lies in `tests/src/bin/kernel-guest`; here the machine is put together and its verdict read.

mod archive;
mod machine;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo::{build_program, check, find_program, output, target};
use crate::debian::{self, Package, SYSTEM_PATH};
use archive::Archive;

/// Runs the tests whose name contains `filter` in the machine.
pub fn test(filter: &str) -> Result<()> {
    if !filter.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        bail!("`{filter}` is not part of a test's name");
    }
    let guest = Guest {
        program: "kernel-guest",
        argument: filter,
        modules: MODULES,
        programs: &[],
        files: &[],
        cpu: "",
        kernel: "",
    };
    run(&guest, |line| println!("{line}"))
}

/// What a machine is for.
pub struct Guest<'a> {
    /// The program that runs in it.
    pub program: &'static str,
    /// The program's arguments, as the shell there splits and expands them.
    pub argument: &'a str,
    /// The drivers that it needs, each after those that it needs itself.
    pub modules: &'a [&'static str],
    /// Programs of this system that it runs besides `ip`.
    pub programs: &'a [&'static str],
    /// Further files, by name without leading slash.
    pub files: &'a [(String, Vec<u8>)],
    /// What its processor has or lacks besides, `,-FEATURE`.
    pub cpu: &'static str,
    /// Further words of the kernel's command line.
    pub kernel: &'static str,
}

/// Runs a machine until its program has ended, which must succeed. `listen` is given each line that it says.
pub fn run(guest: &Guest, listen: impl FnMut(&str)) -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("the virtual machine runs what was built here under a kernel for x86-64");
    }
    debian::ensure(&[QEMU, IPROUTE])?;
    let parts = Parts::find()?;
    let archive = parts.directory.join("initramfs.cpio");
    fs::write(&archive, parts.initramfs(guest)?.finish())?;
    println!("xtask: starting Linux {} under software emulation", parts.release()?);
    machine::run(guest, &parts.kernel()?, &archive, listen)
}

const QEMU: Package =
    Package { name: "qemu-system-x86", is_missing: || find_program(machine::EMULATOR, SYSTEM_PATH).is_none() };
const IPROUTE: Package = Package { name: "iproute2", is_missing: || find_program("ip", SYSTEM_PATH).is_none() };

/// What the drivers of the tests' machine are, each after those that it needs.
const MODULES: &[&str] = &[
    "failover",
    "net_failover",
    "virtio_ring",
    "virtio",
    "virtio_net",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "tls",
    "bonding",
    "llc",
    "stp",
    "mrp",
    "garp",
    "8021q",
];

/// Debian's kernel and busybox, unpacked.
struct Parts {
    directory: PathBuf,
}

impl Parts {
    fn find() -> Result<Self> {
        let parts = Self { directory: target().join("debs/kernel") };
        if parts.root().join("bin/busybox").exists() && parts.release().is_ok() {
            return Ok(parts);
        }
        if !debian::is_apt_here() {
            bail!("the kernel to test under is Debian 12's, and this is not a Debian");
        }
        let kernel = newest_kernel()?;
        println!("xtask: unpacking {kernel} and busybox-static under {}", parts.directory.display());
        fs::create_dir_all(&parts.directory)?;
        debian::download(&parts.directory, &[&kernel, "busybox-static"])?;
        debian::unpack(&parts.directory)?;
        Ok(parts)
    }

    fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    fn release(&self) -> Result<String> {
        let entry = self.root().join("lib/modules").read_dir()?.next().context("no kernel was unpacked")??;
        Ok(entry.file_name().to_string_lossy().into_owned())
    }

    fn kernel(&self) -> Result<PathBuf> {
        Ok(self.root().join(format!("boot/vmlinuz-{}", self.release()?)))
    }

    fn initramfs(&self, guest: &Guest) -> Result<Archive> {
        let program = build_program(guest.program, &[])?;
        let mut archive = Archive::default();
        for directory in ["proc", "sys", "dev", "run", "tmp"] {
            archive.directory(directory);
        }
        archive.program("init", INIT.as_bytes());
        archive.file("arguments", guest.argument.as_bytes());
        archive.program("bin/busybox", &fs::read(self.root().join("bin/busybox"))?);
        let ip = find_program("ip", SYSTEM_PATH).context("iproute2 is installed")?;
        let stripped = stripped(&program, &self.directory)?;
        let mut programs = vec![("bin/ip".to_owned(), ip), ("bin/guest".to_owned(), stripped)];
        for name in guest.programs {
            let program = find_program(name, SYSTEM_PATH).with_context(|| format!("there is no {name}"))?;
            programs.push((format!("bin/{name}"), program));
        }
        for (name, program) in &programs {
            archive.program(name, &fs::read(program)?);
            for library in libraries(program)? {
                archive.program(&library, &fs::read(format!("/{library}"))?);
            }
        }
        for (name, content) in guest.files {
            archive.file(name, content);
        }
        let modules = self.modules(guest.modules)?;
        archive.file("modules", modules.iter().map(|(name, _)| format!("{name}\n")).collect::<String>().as_bytes());
        for (name, file) in &modules {
            archive.file(&format!("lib/modules/{name}.ko"), &fs::read(file)?);
        }
        Ok(archive)
    }

    /// Files of the modules named; some kernels have one built in.
    fn modules(&self, names: &[&'static str]) -> Result<Vec<(&'static str, PathBuf)>> {
        let directory = self.root().join("lib/modules").join(self.release()?);
        let listing = output(Command::new("find").arg(directory).args(["-name", "*.ko"]))?;
        let file = |name: &str| listing.lines().find(|line| line.ends_with(&format!("/{name}.ko")));
        Ok(names.iter().filter_map(|name| Some((*name, PathBuf::from(file(name)?)))).collect())
    }
}

/// Becomes process 1 of the machine.
const INIT: &str = "#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t bpf bpf /sys/fs/bpf
mount -t tmpfs tmpfs /run
for module in $(cat /modules); do insmod /lib/modules/$module.ko; done
guest $(cat /arguments)
echo \"$fairway_verdict $?\"
poweroff -f
";

/// The newest of Debian 12's kernels, in the flavour for virtual machines: it has what is needed, in a third of the size.
fn newest_kernel() -> Result<String> {
    const PATTERN: &str = r"^linux-image-6\.1\.0-[0-9]+-cloud-amd64$";
    let listing = output(Command::new("apt-cache").args(["search", "--names-only", PATTERN]))?;
    let names = listing.lines().filter_map(|line| line.split(' ').next());
    let number = |name: &&str| name.split('-').nth(3).and_then(|number| number.parse::<u32>().ok());
    let newest = names.max_by_key(number).context(
        "apt knows no linux-image-6.1.0-…-cloud-amd64: the package lists are missing (sudo apt-get update) \
         or not those of Debian 12",
    )?;
    Ok(newest.to_owned())
}

/// A copy without debugging information, which would be most of what the machine unpacks.
fn stripped(program: &Path, directory: &Path) -> Result<PathBuf> {
    let copy = directory.join(program.file_name().context("a program has a name")?);
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(&copy).arg(program);
    check(&mut strip).context("`strip` comes with the linker that Rust needs (package binutils)")?;
    Ok(copy)
}

/// The shared libraries of a program, without the leading slash.
fn libraries(program: &Path) -> Result<Vec<String>> {
    // Where the machine will look for them, which knows nothing of the caller's paths.
    let listing = output(Command::new("ldd").arg(program).env_remove("LD_LIBRARY_PATH"))?;
    let words = listing.split_whitespace().filter_map(|word| word.strip_prefix('/'));
    Ok(words.map(str::to_owned).collect())
}
