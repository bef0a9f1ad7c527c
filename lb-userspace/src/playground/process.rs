//! Processes of a lab: a child that never outlives its guard, and an identity that tells a process from a later one
//! with the same number.

use std::fmt;
use std::fs;
use std::process::{Child, ExitStatus};
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a process may take to end after SIGTERM before it gets SIGKILL.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
const STOP_POLL: Duration = Duration::from_millis(10);

/// A child process; dropped, it is stopped.
#[derive(Debug)]
pub struct Process {
    what: String,
    child: Child,
    status: Option<ExitStatus>,
}

impl Process {
    pub(super) fn new(what: String, child: Child) -> Self {
        Self { what, child, status: None }
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The child itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait().with_context(|| format!("waiting for {}", self.what))?;
        }
        Ok(self.status)
    }

    /// Sends a signal, unless it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.ended()?.is_none() {
            kill(pid_of(self.pid()), signal).with_context(|| format!("sending {signal} to {}", self.what))?;
        }
        Ok(())
    }

    /// Ends it by SIGTERM, and by SIGKILL if it takes longer than five seconds. The status tells which it was.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        for _ in 0..STOP_PATIENCE.as_millis() / STOP_POLL.as_millis() {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            thread::sleep(STOP_POLL);
        }
        self.signal(Signal::SIGKILL)?;
        let status = self.child.wait().with_context(|| format!("waiting for {}", self.what))?;
        self.status = Some(status);
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error:#}");
        }
    }
}

/// A process number and the time the process started, in clock ticks since boot: together they name one process, where
/// the number alone may come back as somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pid: u32,
    started: u64,
}

impl Identity {
    /// The identity of a running process.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self { pid, started: start_time(&stat)? })
    }

    /// Whether this very process still runs.
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Ends the process if it still runs: SIGTERM, and SIGKILL after five seconds.
    pub fn stop(self) {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            for attempt in 0..STOP_PATIENCE.as_millis() / STOP_POLL.as_millis() {
                if !self.is_alive() {
                    return;
                }
                if attempt == 0 {
                    // It may have ended since we looked: then there is nothing to signal, which is what we want.
                    let _ = kill(pid_of(self.pid), signal);
                }
                thread::sleep(STOP_POLL);
            }
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.started)
    }
}

impl FromStr for Identity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (pid, started) = text.trim().split_once(' ').ok_or(())?;
        Ok(Self { pid: pid.parse().map_err(drop)?, started: started.parse().map_err(drop)? })
    }
}

/// Field 22 of `/proc/PID/stat`. The second field, the name in parentheses, may itself hold spaces and parentheses, so
/// fields are counted from the last one. A zombie counts as gone: it holds nothing and only its parent can reap it.
fn start_time(stat: &str) -> Option<u64> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(pid.try_into().expect("the kernel's process numbers fit an i32"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_is_found_behind_an_awkward_name() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 0 0";
        assert_eq!(start_time(stat), Some(987_654));
    }

    #[test]
    fn a_process_with_a_reused_number_is_not_the_same_one() {
        let me = Identity::of(std::process::id()).expect("this process runs");
        assert!(me.is_alive());
        assert!(!Identity { started: me.started + 1, ..me }.is_alive());
    }

    #[test]
    fn identities_survive_being_written_down() {
        let identity = Identity { pid: 7, started: 99 };
        assert_eq!(identity.to_string().parse(), Ok(identity));
    }

    #[test]
    fn a_dropped_process_has_ended() {
        let child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let process = Process::new("sleep".into(), child);
        let identity = Identity::of(process.pid()).expect("sleep runs");
        drop(process);
        assert!(!identity.is_alive());
    }
}
