//! Keeping the supervisor apart from the daemon, so that what befalls one does not befall the other: a cgroup of its own,
//! the first place in the queue for a processor, memory that is never paged out, no place in the list of those that are
//! killed for want of memory. Whatever of it is not permitted is said, and done without.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::mman::{MlockAllFlags, mlockall};

/// Appended to the name of the daemon's cgroup.
const SUFFIX: &str = "-supervisor";
/// The kernel never kills a process with this score for want of memory.
const NEVER: &str = "-1000";

/// Does all of it for this process; returns what was not permitted, in words. `priority` is the realtime priority: one
/// above the VRRP thread's, since who watches must run when the watched does not stop.
pub fn stand_apart(priority: i32) -> Vec<String> {
    let locked = mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE).map_err(io::Error::from);
    let all = [
        ("no cgroup of its own, so it dies with the daemon's", own_cgroup()),
        ("memory not locked", locked),
        ("may be killed for want of memory", fs::write("/proc/self/oom_score_adj", NEVER)),
        // The last, so that what the others take is taken from nobody.
        ("no realtime scheduling, so it may be late", realtime(priority)),
    ];
    all.into_iter().filter_map(|(what, result)| result.err().map(|error| format!("{what}: {error}"))).collect()
}

fn realtime(priority: i32) -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: priority };
    // SAFETY: 0 is the calling thread; the kernel reads the parameter, which outlives the call.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn own_cgroup() -> io::Result<()> {
    // In the root cgroup there is nothing to be killed along with.
    let Some(place) = place()? else { return Ok(()) };
    match fs::create_dir(&place) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::write(place.join("cgroup.procs"), "0")
}

/// Removes the cgroup of a supervisor that has ended. Called by the daemon.
pub fn tidy() {
    if let Ok(Some(place)) = place() {
        // Not there, or a supervisor of another daemon still in it: both are well.
        let _ = fs::remove_dir(place);
    }
}

fn place() -> io::Result<Option<PathBuf>> {
    let cgroup = fs::read_to_string("/proc/self/cgroup")?;
    let Some(path) = unified(&cgroup) else { return Ok(None) };
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let Some(sibling) = sibling(path) else { return Ok(None) };
    let mount = mount_point(&mounts).ok_or_else(|| io::Error::other("no cgroup2 is mounted"))?;
    Ok(Some(Path::new(mount).join(sibling.trim_start_matches('/'))))
}

/// The cgroup of version 2, in which a process is once.
fn unified(cgroup: &str) -> Option<&str> {
    cgroup.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Beside the daemon's own; the root has no siblings.
fn sibling(path: &str) -> Option<String> {
    let path = path.trim_end_matches('/');
    (!path.is_empty()).then(|| format!("{path}{SUFFIX}"))
}

/// Fields are separated by spaces: the fifth is the place, and the one behind a lone hyphen the type.
fn mount_point(mounts: &str) -> Option<&str> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        right.starts_with("cgroup2 ").then(|| left.split(' ').nth(4)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup_stands_beside_the_daemons() {
        let cgroup = "4:memory:/init\n1:name=systemd:/\n0::/system.slice/fairway.service\n";
        assert_eq!(sibling(unified(cgroup).unwrap()).as_deref(), Some("/system.slice/fairway.service-supervisor"));
        assert_eq!(sibling(unified("0::/\n").unwrap()), None);
        assert_eq!(unified("1:cpu:/\n"), None);
    }

    #[test]
    fn the_mount_is_found_by_its_type() {
        let mounts = "\
            24 29 0:22 / /proc rw,nosuid shared:13 - proc proc rw\n\
            32 31 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw\n\
            33 31 0:28 / /sys/fs/cgroup/cpu rw shared:10 - cgroup cgroup rw,cpu\n";
        assert_eq!(mount_point(mounts), Some("/sys/fs/cgroup/unified"));
        assert_eq!(mount_point("24 29 0:22 / /proc rw - proc proc rw\n"), None);
    }
}
