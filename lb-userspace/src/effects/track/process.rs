//! Running processes as a condition.
//!
//! They are counted every second; besides a descriptor is held of each one that was found (`pidfd`), which the kernel makes
//! readable when it dies. So a death is seen at once, an appearance within a second, and nobody needs the process connector.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use futures::future::select_all;
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;

use super::{Reporter, timetable};
use crate::effects::pidfd;
use crate::effects::readable::readable;
use crate::vrrp::event::Verdict;

const PERIOD: Duration = Duration::from_secs(1);

/// Of the processes found, deaths of so many are seen at once; of the others, within a second.
const MOST_HELD: usize = 64;

/// The kernel's name of a process is cut to so many octets (`TASK_COMM_LEN` without the NUL).
const LONGEST_COMM: usize = 15;

/// What the kernel appends to the path of a program whose file was replaced, as upgrades do.
const DELETED: &str = " (deleted)";

/// Looks every second, and whenever one of those found dies.
pub(super) async fn watch(name: String, minimum: u32, reporter: Reporter) {
    let mut ticks = timetable(PERIOD);
    let mut held: Vec<AsyncFd<OwnedFd>> = Vec::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = a_death(&held) => {}
        }
        let wanted = name.clone();
        // Thousands of small files: not for a thread that others wait for.
        let Ok(found) = tokio::task::spawn_blocking(move || find(Path::new("/proc"), &wanted)).await else { return };
        held = found.iter().take(MOST_HELD).filter_map(|pid| hold(*pid)).collect();
        reporter.tell(verdict(&name, found.len(), minimum));
    }
}

fn verdict(name: &str, count: usize, minimum: u32) -> Verdict {
    let holds = u32::try_from(count).unwrap_or(u32::MAX) >= minimum;
    Verdict { holds: Some(holds), factor: 1, detail: format!("{name}: {count} running, {minimum} wanted") }
}

async fn a_death(held: &[AsyncFd<OwnedFd>]) {
    if held.is_empty() {
        return std::future::pending().await;
    }
    // A descriptor stays readable once its process is dead, so nothing is missed in between.
    let _ = select_all(held.iter().map(|one| Box::pin(one.readable()))).await;
}

/// A descriptor that becomes readable when the process dies. `None`: it is gone already. Should the number be another
/// process's by now the next count finds out.
fn hold(pid: i32) -> Option<AsyncFd<OwnedFd>> {
    let descriptor = pidfd::open(Pid::from_raw(pid)).ok()?;
    readable(descriptor).ok()
}

/// The processes of that name, in no order.
fn find(proc: &Path, name: &str) -> Vec<i32> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| is_called(&proc.join(pid.to_string()), name)).collect()
}

fn is_called(process: &Path, name: &str) -> bool {
    let Ok(stat) = fs::read_to_string(process.join("stat")) else { return false };
    match comm_of(&stat) {
        Some((comm, state)) => {
            is_alive(state)
                && ((comm == name && name.len() <= LONGEST_COMM) || program_of(process).as_deref() == Some(name))
        }
        None => false,
    }
}

/// The name stands in parentheses, and may hold some itself; behind it the state.
fn comm_of(stat: &str) -> Option<(&str, char)> {
    let (open, close) = (stat.find('(')?, stat.rfind(')')?);
    Some((stat.get(open + 1..close)?, stat.get(close + 2..)?.chars().next()?))
}

/// A zombie does no work any more.
fn is_alive(state: char) -> bool {
    !matches!(state, 'Z' | 'X' | 'x')
}

/// The file name of its program; none of kernel threads.
fn program_of(process: &Path) -> Option<String> {
    let path = fs::read_link(process.join("exe")).ok()?;
    let name = path.file_name()?.to_str()?;
    Some(name.strip_suffix(DELETED).unwrap_or(name).to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn processes_are_found_by_name_and_by_program() {
        let proc = tempfile::tempdir().unwrap();
        let processes = [
            (1, "1 (init) S 0", None),
            (20, "20 (haproxy) S 1", Some("/usr/sbin/haproxy")),
            (21, "21 (haproxy) Z 1", None),
            (22, "22 (worker: a) b) R 1", Some("/usr/sbin/haproxy (deleted)")),
            (23, "23 (a-name-that-is-) S 1", Some("/opt/a-name-that-is-too-long")),
            (24, "24 (a-name-that-is-) S 1", Some("/opt/a-name-that-is-not-it")),
        ];
        for (pid, stat, program) in processes {
            let place = proc.path().join(pid.to_string());
            fs::create_dir(&place).unwrap();
            fs::write(place.join("stat"), stat).unwrap();
            if let Some(program) = program {
                symlink(program, place.join("exe")).unwrap();
            }
        }
        fs::create_dir(proc.path().join("sys")).unwrap();
        let cases: [(&str, &[i32]); 5] = [
            ("haproxy", &[20, 22]),
            ("worker: a) b", &[22]),
            ("a-name-that-is-too-long", &[23]),
            ("a-name-that-is-", &[23, 24]),
            ("nginx", &[]),
        ];
        for (name, expected) in cases {
            let mut found = find(proc.path(), name);
            found.sort_unstable();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn there_must_be_enough_of_them() {
        for (count, minimum, holds) in [(0, 1, false), (1, 1, true), (3, 4, false), (5, 4, true), (0, 0, true)] {
            assert_eq!(verdict("x", count, minimum).holds, Some(holds), "{count} of {minimum}");
        }
    }
}
