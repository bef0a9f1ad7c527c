//! One network namespace of a lab, known by its name under `/run/netns`: threads and processes are put into it here.
//!
//! A thread that calls `setns` moves alone, and what it creates afterwards (sockets, child processes) belongs to the
//! namespace for good. So nothing here needs `nsenter`, and unlike `ip netns exec` it leaves mounts alone: bpffs stays
//! visible.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use super::process::{Identity, Process};

/// A network namespace of a lab.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
    /// Where the processes started here are noted, so that they can be found after a crash of this one.
    children: PathBuf,
}

impl Namespace {
    pub(super) fn new(name: String, children: PathBuf) -> Self {
        Self { name, children }
    }

    /// The name `ip netns` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// A line for the host's shell that runs `command` in here.
    pub fn shell_line(&self, command: &str) -> String {
        format!("nsenter --net={} {command}", self.path().display())
    }

    /// Moves the calling thread, for the rest of its life. Meant for threads made for the purpose.
    pub fn enter(&self) -> Result<()> {
        let path = self.path();
        let file = File::open(&path).with_context(|| format!("opening the network namespace {}", path.display()))?;
        setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("entering the network namespace {}", self.name))
    }

    /// Runs `work` in here on a thread of its own. Sockets it opens stay in here, wherever they are used later.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> Result<R> {
        let inside = || -> Result<R> {
            self.enter()?;
            Ok(work())
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Starts a process in here, in a process group of its own: a Ctrl-C at the terminal reaches only its parent, which
    /// then decides in which order things end.
    pub fn spawn(&self, command: &mut Command) -> Result<Process> {
        let what = command.get_program().to_string_lossy().into_owned();
        command.process_group(0);
        let child = self
            .run(|| command.spawn())?
            .with_context(|| format!("starting {what} in the network namespace {}", self.name))?;
        let process = Process::new(what, child);
        self.note(process.pid())?;
        Ok(process)
    }

    /// Sets kernel settings, given as paths below `/proc/sys`. What lies under `net` there is the calling thread's.
    pub fn set_sysctls(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.run(|| {
            settings.iter().try_for_each(|(key, value)| {
                fs::write(format!("/proc/sys/{key}"), value)
                    .map_err(|error| anyhow!("setting {key} to {value} in {}: {error}", self.name))
            })
        })?
    }

    fn note(&self, pid: u32) -> Result<()> {
        let Some(identity) = Identity::of(pid) else { return Ok(()) }; // gone already: nothing to find later
        let mut file = File::options().append(true).create(true).open(&self.children)?;
        writeln!(file, "{identity}").with_context(|| format!("noting process {pid} in {}", self.children.display()))
    }
}
