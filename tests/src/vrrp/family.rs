//! A process and its descendants: daemons that watch over themselves are several.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process and all that descend from it, at one moment. Only of children that have not been waited for, so that no
/// number can have come to mean another process.
#[derive(Debug)]
pub struct Family {
    /// Parents before children.
    members: Vec<Pid>,
}

impl Family {
    /// Those of a process.
    pub fn of(pid: u32) -> Self {
        let mut members = vec![pid_of(pid)];
        let mut next = 0;
        while next < members.len() {
            members.extend(children(members[next]));
            next += 1;
        }
        Self { members }
    }

    /// That process alone, whatever it has started.
    pub fn only(pid: u32) -> Self {
        Self { members: vec![pid_of(pid)] }
    }

    /// Ends all by SIGKILL. They are stopped first, so that none sees another die.
    pub fn kill(&self) {
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            self.signal(signal);
        }
    }

    /// Sends a signal to all; who has ended meanwhile does not get it.
    pub fn signal(&self, signal: Signal) {
        for member in &self.members {
            let _ = kill(*member, signal);
        }
    }

    /// The youngest generation's first: of a daemon with a watcher above it, the daemon.
    pub fn descendants(&self) -> &[Pid] {
        &self.members[1..]
    }

    /// Whether any of them still runs. One that only waits to be reaped does not.
    pub fn is_alive(&self) -> bool {
        self.members.iter().any(|member| {
            let status = fs::read_to_string(format!("/proc/{member}/stat")).unwrap_or_default();
            status.rsplit_once(')').is_some_and(|(_, fields)| !fields.trim_start().starts_with('Z'))
        })
    }
}

/// Each thread has its own.
fn children(parent: Pid) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let listed: String =
        threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default()).collect();
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(pid.try_into().expect("the kernel's process numbers fit an i32"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::harness::await_that;

    #[test]
    fn children_of_any_thread_belong_to_the_family() {
        let start = || Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        let mut child = std::thread::scope(|scope| {
            let (give, take) = std::sync::mpsc::channel();
            // The thread must live: a dead one's children are the main thread's.
            scope.spawn(move || {
                give.send(start()).expect("somebody listens");
                let _ = is_done.recv();
            });
            let child = take.recv().expect("it starts");
            assert!(Family::of(std::process::id()).members.contains(&pid_of(child.id())));
            drop(done);
            child
        });
        child.kill().expect("it runs");
        child.wait().expect("it can be waited for");
    }

    #[test]
    fn a_killed_family_is_gone_with_its_grandchildren() {
        let mut shell = Command::new("sh").args(["-c", "sh -c 'sleep 60; :'; :"]).spawn().expect("sh starts");
        await_that("three generations run", || Family::of(shell.id()).members.len() == 3);
        let family = Family::of(shell.id());
        assert!(family.is_alive());

        family.kill();

        await_that("all are gone", || !family.is_alive());
        shell.wait().expect("it can be waited for");
    }
}
