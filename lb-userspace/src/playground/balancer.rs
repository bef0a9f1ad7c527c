//! One node of the demo's pair: its files, its daemon, and what becomes of it when somebody kills it to see.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::ifaddrs::getifaddrs;

use super::config;
use super::lab::Lab;
use super::process::Process;
use super::ready::is_ready;
use super::topology::SERVICE_V4;

/// How often the daemon is asked whether it is ready before it is given up.
const START_TRIES: u32 = 200;
const START_POLL: Duration = Duration::from_millis(50);
/// Lines of the daemon's log that are quoted when it fails.
const LOG_TAIL: usize = 20;
/// Seconds after which a daemon that was killed is started again: long enough to look at the other one alone.
const REST: u32 = 10;

/// A balancer of the demo.
pub(super) struct Balancer {
    index: usize,
    daemon: Process,
    /// Its files.
    pub files: Files,
    /// Seconds since its daemon was killed.
    dead_for: u32,
}

/// Paths of a node's files, all in the lab's directory.
pub(super) struct Files {
    /// The configuration.
    pub config: PathBuf,
    /// The same without the last backend.
    pub fewer: PathBuf,
    /// Where the daemon is asked and commanded.
    pub socket: PathBuf,
    /// What the daemon says.
    pub log: PathBuf,
}

impl Balancer {
    /// Writes the files of the node, counted from 0, and starts its daemon.
    pub fn start(lab: &Lab, index: usize) -> Result<Self> {
        let files = write_files(lab, index)?;
        let daemon = start_daemon(lab, index, &files)?;
        Ok(Self { index, daemon, files, dead_for: 0 })
    }

    /// Its name: `lb1`.
    pub fn name(&self) -> String {
        format!("lb{}", self.index + 1)
    }

    /// Process number of the daemon.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// Waits until the daemon is ready to serve.
    pub fn wait_until_ready(&mut self, lab: &Lab) -> Result<()> {
        for _ in 0..START_TRIES {
            if let Some(status) = self.daemon.ended()? {
                bail!("fairway of {} did not start ({status}); its last lines:\n{}", self.name(), self.last_lines());
            }
            if is_ready(&lab.balancer(self.index)) {
                return Ok(());
            }
            std::thread::sleep(START_POLL);
        }
        bail!("fairway of {} does not become ready; its last lines:\n{}", self.name(), self.last_lines())
    }

    /// Whether the service's address is on this node.
    pub fn holds_service(&self, lab: &Lab) -> bool {
        let held = lab.balancer(self.index).run(|| {
            let mut addresses = getifaddrs().into_iter().flatten().filter_map(|interface| interface.address);
            addresses.any(|address| address.as_sockaddr_in().is_some_and(|v4| v4.ip() == SERVICE_V4))
        });
        held.unwrap_or(false)
    }

    /// To be called each second: says what happened if the daemon was killed, and starts it again after a while.
    ///
    /// # Errors
    /// When it ended by itself.
    pub fn look_after(&mut self, lab: &Lab) -> Result<Option<String>> {
        let Some(status) = self.daemon.ended()? else { return Ok(None) };
        if status.code().is_some() {
            bail!("fairway of {} ended by itself ({status}); its last lines:\n{}", self.name(), self.last_lines());
        }
        self.dead_for += 1;
        match self.dead_for {
            1 => Ok(Some(format!("{} was killed ({status}); it is started again in {REST} s", self.name()))),
            REST => {
                self.daemon = start_daemon(lab, self.index, &self.files)?;
                self.dead_for = 0;
                Ok(Some(format!("{} is started again, process {}", self.name(), self.pid())))
            }
            _ => Ok(None),
        }
    }

    /// Ends the daemon.
    ///
    /// # Errors
    /// When it does not end in order.
    pub fn stop(mut self) -> Result<()> {
        if self.dead_for > 0 {
            return Ok(());
        }
        let status: ExitStatus = self.daemon.stop()?;
        let name = self.name();
        ensure!(
            status.success(),
            "fairway of {name} did not stop cleanly ({status}); its last lines:\n{}",
            self.last_lines()
        );
        Ok(())
    }

    /// The end of the daemon's log.
    pub fn last_lines(&self) -> String {
        tail(&self.files.log)
    }
}

fn write_files(lab: &Lab, index: usize) -> Result<Files> {
    let directory = lab.directory();
    let file = |name: &str| directory.join(format!("lb{}{name}", index + 1));
    let files = Files {
        config: file(".toml"),
        fewer: file("-without-the-last.toml"),
        socket: file(".sock"),
        log: file(".log"),
    };
    let backends = lab.spec().backends;
    let all: Vec<usize> = (0..backends).collect();
    for (path, backends) in [(&files.config, &all[..]), (&files.fewer, &all[..backends - 1])] {
        let text = config::node_configuration(lab, index, &files.socket, backends);
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(files)
}

fn start_daemon(lab: &Lab, index: usize, files: &Files) -> Result<Process> {
    let log = File::options().append(true).create(true).open(&files.log);
    let log = log.with_context(|| format!("opening {}", files.log.display()))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run").arg("--config").arg(&files.config);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    lab.balancer(index).spawn(&mut command)
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_else(|error| format!("(no log: {error})"));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
}
