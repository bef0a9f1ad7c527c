//! What a lab leaves in the system, and its removal: by the lab itself when it ends, or by a later run when the one that
//! made it crashed.
//!
//! Each lab has a directory under [`ROOT`], named like its namespaces (`fw1234` for those of process 1234). It says
//! which process made the lab (`owner`) and which it started (`children`), by number and start time, so that nothing is
//! ever taken for a leftover on the strength of a number alone, and nothing of a living lab is touched.

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::process::Identity;
use super::tools;

const ROOT: &str = "/run/fairway-lab";
const NAMESPACES: &str = "/run/netns";
const BPFFS: &str = "/sys/fs/bpf";

/// Where a lab keeps its files: configs, sockets, logs.
pub(super) fn directory(prefix: &str) -> PathBuf {
    Path::new(ROOT).join(prefix)
}

/// Where the processes started in a lab are noted.
pub(super) fn children(prefix: &str) -> PathBuf {
    directory(prefix).join("children")
}

/// Where the daemons of a lab pin what they load.
pub(super) fn pins(prefix: &str) -> PathBuf {
    Path::new(BPFFS).join(prefix)
}

/// Takes a prefix for a lab of this process: from here on, whatever bears it can be told to be ours.
pub(super) fn claim(prefix: &str) -> Result<()> {
    let directory = directory(prefix);
    fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    let owner = Identity::of(std::process::id()).context("this process is not in /proc: is it mounted?")?;
    fs::write(directory.join("owner"), owner.to_string())
        .with_context(|| format!("writing {}/owner", directory.display()))
}

/// Removes all that bears the prefix. Goes on after a failure and reports the first.
pub(super) fn remove(prefix: &str) -> Result<()> {
    stop_children(prefix);
    [remove_namespaces(prefix), remove_tree(&pins(prefix)), remove_tree(&directory(prefix))].into_iter().collect()
}

/// Removes the labs whose makers are gone and returns their prefixes.
pub fn clean() -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for prefix in entries(ROOT)? {
        if is_orphan(&prefix) {
            remove(&prefix).with_context(|| format!("removing what a crashed run left as {prefix}-*"))?;
            removed.push(prefix);
        }
    }
    Ok(removed)
}

fn is_orphan(prefix: &str) -> bool {
    let owner = fs::read_to_string(directory(prefix).join("owner")).unwrap_or_default();
    match owner.parse::<Identity>() {
        Ok(owner) => !owner.is_alive(),
        // Its maker may be between creating the directory and signing it.
        Err(()) => pid_in(prefix).is_some_and(|pid| Identity::of(pid).is_none()),
    }
}

/// `1234` of `fw1234` and of `fw1234x2`.
fn pid_in(prefix: &str) -> Option<u32> {
    prefix.strip_prefix("fw")?.split('x').next()?.parse().ok()
}

/// Each attempt but the first is due to another who removes the same, and removes at least what that one has not.
const MOST_ATTEMPTS: usize = 20;

fn stop_children(prefix: &str) {
    let noted = fs::read_to_string(children(prefix)).unwrap_or_default();
    noted.lines().filter_map(|line| line.parse::<Identity>().ok()).for_each(Identity::stop);
}

/// Two may clean at once, and then each finds some of it gone: what is still there is listed anew.
fn remove_namespaces(prefix: &str) -> Result<()> {
    let mut outcome = Ok(());
    for _ in 0..MOST_ATTEMPTS {
        let names = namespaces(prefix)?;
        if names.is_empty() {
            return Ok(());
        }
        let lines: String = names.iter().map(|name| format!("netns delete {name}\n")).collect();
        outcome = ip_batch(None, &lines);
    }
    outcome
}

fn namespaces(prefix: &str) -> Result<Vec<String>> {
    let ours = format!("{prefix}-");
    Ok(entries(NAMESPACES)?.into_iter().filter(|name| name.starts_with(&ours)).collect())
}

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The names in a directory; none if it is not there.
fn entries(directory: &str) -> Result<Vec<String>> {
    let names = |entries: fs::ReadDir| -> io::Result<Vec<String>> {
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    match fs::read_dir(directory).and_then(names) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        other => other.with_context(|| format!("listing {directory}")),
    }
}

/// Runs lines through one `ip -batch`, within a namespace or outside of all. Stops at the first line that fails.
pub(super) fn ip_batch(namespace: Option<&str>, lines: &str) -> Result<()> {
    let mut command = Command::new(tools::ip()?);
    if let Some(namespace) = namespace {
        command.args(["-netns", namespace]);
    }
    let mut child = command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting ip")?;
    // A broken pipe means that a line failed; the output says which.
    let _ = child.stdin.take().expect("stdin is piped").write_all(lines.as_bytes());
    let output = child.wait_with_output().context("waiting for ip")?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let failed = failed_line(&message, lines).unwrap_or("");
    bail!("ip -netns {}: {failed}: {}", namespace.unwrap_or("(none)"), message.trim().replace('\n', "; "))
}

/// The line that `Command failed -:3` points at.
fn failed_line<'a>(message: &str, lines: &'a str) -> Option<&'a str> {
    let number: usize = message.rsplit("Command failed -:").next()?.trim().parse().ok()?;
    lines.lines().nth(number.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failing_line_of_a_batch_is_quoted() {
        let message = "RTNETLINK answers: File exists\nCommand failed -:2\n";
        assert_eq!(failed_line(message, "link set lo up\nroute add default\n"), Some("route add default"));
        assert_eq!(failed_line("nothing of the kind", "a\n"), None);
    }

    #[test]
    fn a_prefix_tells_its_process() {
        assert_eq!(pid_in("fw1234"), Some(1234));
        assert_eq!(pid_in("fw1234x2"), Some(1234));
        assert_eq!(pid_in("somebody-else"), None);
    }

    #[test]
    fn what_somebody_else_put_there_is_no_leftover() {
        assert!(!is_orphan("somebody-else"));
        assert!(!is_orphan(&format!("fw{}", std::process::id())));
    }
}
