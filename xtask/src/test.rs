//! `cargo xtask test`: the tests, in groups. Each group is a plain `cargo test`, so its output is what everyone knows.
//! Building never needs root; groups that make namespaces and load programs do, and when not root only their built
//! programs are run through sudo.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::cargo::{build, build_program, cargo, check, find_program, root};
use crate::debian::{self, Package, SYSTEM_PATH};
use crate::ebpf;
use crate::kernel;
use crate::privilege::{as_root, is_root};
use crate::unpacked::{self, Program};

/// What `cargo xtask test` takes.
#[derive(Args)]
pub struct Options {
    /// Groups to run; without any, all but `kernel`
    #[arg(value_enum)]
    groups: Vec<Group>,
    /// Also the long runs: more seeds, more packets, the group `kernel`
    #[arg(long)]
    full: bool,
    /// Arguments of the test programs: a filter, `--nocapture`
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// The groups, in the order they run: what fails fastest comes first.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// The crates' own tests: no root, no kernel
    Unit,
    /// A whole cluster, simulated from seeds: no root
    Sim,
    /// Packet tables, natively and through the kernel: root
    Packet,
    /// Real traffic through network namespaces: root
    Netns,
    /// Beside other implementations, in network namespaces: root
    Interop,
    /// In a virtual machine with the oldest kernel supported: no root, no KVM; only when named or with `--full`
    Kernel,
}

/// Runs the groups asked for. All of them run, whichever fail.
pub fn run(options: &Options) -> Result<()> {
    ebpf::verify_recorded()?;
    let groups = chosen(&options.groups, options.full)?;
    let session = Session::prepare(&groups, options)?;
    let failed: Vec<String> =
        groups.iter().filter_map(|group| session.run(*group).err()).map(|e| format!("{e:#}")).collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join("; "));
    }
    Ok(())
}

/// Runs the packet tests on the objects in `directory` instead of those embedded.
pub fn run_packet_tests_on(directory: &Path) -> Result<()> {
    if !Group::Packet.exists() {
        println!("xtask: there are no packet tests yet to run on the objects built");
        return Ok(());
    }
    let options = Options { groups: vec![Group::Packet], full: false, arguments: Vec::new() };
    let mut session = Session::prepare(&options.groups, &options)?;
    session.variables.push(("FAIRWAY_BPF_DIR", directory.display().to_string()));
    session.run(Group::Packet)
}

/// Installs or unpacks what any test runs.
pub fn find_all_tools() -> Result<()> {
    let programs: Vec<Program> = Group::ALL.iter().flat_map(|group| group.programs()).copied().collect();
    find_tools(&programs).map(drop)
}

/// Installs the tools that all tests run, unpacks of these programs what is missing, and says where all are found: a
/// PATH.
pub fn find_tools(programs: &[Program]) -> Result<String> {
    debian::ensure(TOOLS)?;
    let path = with_system_path(&env::var("PATH").unwrap_or_default());
    let missing = unpacked::missing_in(&path, programs);
    if missing.is_empty() {
        return Ok(path);
    }
    Ok(format!("{}:{path}", unpacked::ensure(&missing)?.display()))
}

/// A user's PATH often lacks the directories of programs like `ip`.
fn with_system_path(path: &str) -> String {
    let mut directories: Vec<&str> = Vec::new();
    for directory in path.split(':').chain(SYSTEM_PATH.split(':')) {
        if !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    directories.join(":")
}

/// Their installation starts nothing, unlike that of [`Group::programs`].
const TOOLS: &[Package] = &[
    Package { name: "curl", is_missing: || find_program("curl", SYSTEM_PATH).is_none() },
    Package { name: "ethtool", is_missing: || find_program("ethtool", SYSTEM_PATH).is_none() },
    Package { name: "iproute2", is_missing: || find_program("ip", SYSTEM_PATH).is_none() },
];

/// Other implementations, and servers that a floating address is for.
const PEERS: &[Program] =
    &[unpacked::KEEPALIVED, unpacked::ZEBRA, unpacked::VRRPD, unpacked::BFDD, unpacked::HAPROXY, unpacked::NGINX];

/// What the checks of health are tested against.
const SERVERS: &[Program] = &[unpacked::NGINX, unpacked::REDIS, unpacked::DNSMASQ, unpacked::MSMTPD];

impl Group {
    const ALL: [Self; 6] = [Self::Unit, Self::Sim, Self::Packet, Self::Netns, Self::Interop, Self::Kernel];

    /// What to give to `cargo test`.
    fn selection(self) -> Vec<&'static str> {
        if self == Self::Unit {
            return vec!["-p", "lb-common", "-p", "lb-userspace", "-p", "xtask", "-p", "fairway-ipvs"];
        }
        let mut selection = vec!["-p", "fairway-tests"];
        for target in self.targets() {
            selection.extend(if *target == LIBRARY { vec!["--lib"] } else { vec!["--test", *target] });
        }
        selection
    }

    /// The test targets of the tests package; none for the crates' own tests and for those in an emulated machine.
    fn targets(self) -> &'static [&'static str] {
        match self {
            Self::Unit | Self::Kernel => &[],
            Self::Sim => &[
                "simulation",
                "simulation_exchange",
                "simulation_pair",
                "simulation_pools",
                "simulation_reload",
                "simulation_translations",
                "simulation_vrrp",
            ],
            Self::Packet => &[LIBRARY, "packet", "trace"],
            Self::Netns => &["nexthop", "netns", "check_promise"],
            Self::Interop => &["interop"],
        }
    }

    /// What its test programs are told about threads: those that mostly wait use more than there are cores.
    fn threads(self) -> Vec<String> {
        let count = match self {
            Self::Interop => 8,
            Self::Netns => 5,
            Self::Unit | Self::Sim | Self::Packet | Self::Kernel => return Vec::new(),
        };
        vec![format!("--test-threads={count}")]
    }

    fn needs_root(self) -> bool {
        matches!(self, Self::Packet | Self::Netns | Self::Interop)
    }

    /// What it runs beside Fairway and the tools of every system.
    fn programs(self) -> &'static [Program] {
        match self {
            Self::Unit | Self::Sim | Self::Packet | Self::Kernel => &[],
            Self::Netns => SERVERS,
            Self::Interop => PEERS,
        }
    }

    fn exists(self) -> bool {
        let tests = root().join("tests/tests");
        let is_there = |name: &&str| {
            *name == LIBRARY
                || tests.join(name).with_extension("rs").exists()
                || tests.join(name).join("main.rs").exists()
        };
        self.targets().iter().all(is_there)
    }
}

/// The tests in the tests package's own library, by the name of their program.
const LIBRARY: &str = "fairway_tests";

fn chosen(groups: &[Group], full: bool) -> Result<Vec<Group>> {
    if groups.is_empty() {
        let is_due = |group: &Group| group.exists() && (full || *group != Group::Kernel);
        return Ok(Group::ALL.into_iter().filter(is_due).collect());
    }
    if let Some(missing) = groups.iter().find(|group| !group.exists()) {
        bail!("there are no `{}` tests in this version", missing.targets().join("`, `"));
    }
    Ok(groups.to_vec())
}

/// What all groups of one run share.
struct Session<'a> {
    options: &'a Options,
    variables: Vec<(&'static str, String)>,
}

impl<'a> Session<'a> {
    fn prepare(groups: &[Group], options: &'a Options) -> Result<Self> {
        let mut session = Self { options, variables: Vec::new() };
        if options.full {
            session.variables.push(("FAIRWAY_FULL", "1".to_owned()));
        }
        let programs: Vec<Program> = groups.iter().flat_map(|group| group.programs()).copied().collect();
        if !programs.is_empty() {
            let path = find_tools(&programs)?;
            session.variables.push(("FAIRWAY_TOOLS_PATH", path));
        }
        if groups.iter().any(|group| group.needs_root()) {
            let fairway = build_program("fairway", &[])?;
            session.variables.push(("FAIRWAY_BIN", fairway.display().to_string()));
        }
        Ok(session)
    }

    fn run(&self, group: Group) -> Result<()> {
        if group == Group::Kernel {
            return kernel::test(self.options.arguments.first().map_or("", String::as_str));
        }
        if group.needs_root() && !is_root() { self.run_through_sudo(group) } else { self.run_by_cargo(group) }
    }

    fn run_by_cargo(&self, group: Group) -> Result<()> {
        let mut command = cargo(&["test", "--no-fail-fast"]);
        command.args(group.selection()).envs(self.variables.iter().map(|(name, value)| (*name, value)));
        check(command.arg("--").args(group.threads()).args(&self.options.arguments))
    }

    fn run_through_sudo(&self, group: Group) -> Result<()> {
        let selection = [vec!["test", "--no-run"], group.selection()].concat();
        let executables = build(&selection)?;
        for target in group.targets() {
            let test = executables.iter().find(|test| test.name == *target).context("cargo built no such test")?;
            check(&mut self.root_command(group, &test.path)?)?;
        }
        Ok(())
    }

    /// As cargo would run it: in its package's directory, which it can also ask for.
    fn root_command(&self, group: Group, test: &Path) -> Result<Command> {
        let package = root().join("tests");
        let mut variables: Vec<(&str, &OsStr)> =
            self.variables.iter().map(|(name, value)| (*name, OsStr::new(value))).collect();
        variables.push(("CARGO_MANIFEST_DIR", package.as_os_str()));
        let arguments = [group.threads(), self.options.arguments.clone()].concat();
        let mut command = as_root(test, &arguments, &variables)?;
        command.current_dir(&package);
        Ok(command)
    }
}
