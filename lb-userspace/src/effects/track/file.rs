//! A number in a file as a condition: an operator, or a program, says how this node is.
//!
//! The kernel tells of changes in the file's directory (inotify), so that one is seen within milliseconds. Besides the file
//! is read every second, because not everything is told: a directory that appears, a link to a file elsewhere.

use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

use super::{Reporter, timetable};
use crate::effects::readable::readable;
use crate::vrrp::event::Verdict;

const PERIOD: Duration = Duration::from_secs(1);

/// A number with its line end is shorter.
const MOST_OCTETS: u64 = 64;

/// The priority has 254 values; a larger number could not do more.
const LARGEST: i64 = 254;

/// Not `IN_MODIFY`: a shell's `echo 5 > file` makes it empty first, and what counts is what it is when it is closed.
const CHANGES: AddWatchFlags = AddWatchFlags::IN_CLOSE_WRITE
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_ONLYDIR);

/// Looks whenever something changes in the directory, and every second.
pub(super) async fn watch(path: PathBuf, reporter: Reporter) {
    let directory = Directory::of(&path);
    let mut ticks = timetable(PERIOD);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = changed(directory.as_ref()) => {}
        }
        if let Some(directory) = &directory {
            directory.watch();
        }
        reporter.tell(verdict(look(&path)));
    }
}

/// Waits for a change; for ever where the kernel does not tell.
async fn changed(directory: Option<&Directory>) {
    match directory {
        Some(directory) => directory.changed().await,
        None => std::future::pending().await,
    }
}

/// The directory of the file, as the kernel watches it.
struct Directory {
    path: PathBuf,
    notifier: Inotify,
    changes: AsyncFd<OwnedFd>,
}

impl Directory {
    /// `None` when the kernel has no more watches for us: then the file is only read every second.
    fn of(file: &Path) -> Option<Self> {
        let notifier = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok()?;
        let changes = readable(notifier.as_fd().try_clone_to_owned().ok()?).ok()?;
        Some(Self { path: file.parent()?.to_owned(), notifier, changes })
    }

    /// Again and again, since it may be another directory by now; for the same one nothing changes.
    fn watch(&self) {
        // It may not be there yet.
        let _ = self.notifier.add_watch(&self.path, CHANGES);
    }

    async fn changed(&self) {
        loop {
            let Ok(mut ready) = self.changes.readable().await else { return std::future::pending().await };
            match self.notifier.read_events() {
                Err(_) => ready.clear_ready(),
                Ok(_) => return,
            }
        }
    }
}

/// What is in it; `None`: there is no such file.
fn look(path: &Path) -> io::Result<Option<String>> {
    match fs::File::open(path) {
        Ok(file) => {
            let mut text = String::new();
            file.take(MOST_OCTETS).read_to_string(&mut text)?;
            Ok(Some(text))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// An empty file says nothing is wrong, as one does that is not there. What is no number says nothing at all.
fn verdict(content: io::Result<Option<String>>) -> Verdict {
    let unknown = |detail: String| Verdict { holds: None, factor: 1, detail };
    match content {
        Err(error) => unknown(format!("it cannot be read: {error}")),
        Ok(None) => number(0, "no such file".to_owned()),
        Ok(Some(text)) if text.trim().is_empty() => number(0, "it is empty".to_owned()),
        Ok(Some(text)) => match text.trim().parse::<i64>() {
            Ok(value) => number(value, format!("it says {value}")),
            Err(_) => unknown(format!("no whole number: {:?}", text.trim())),
        },
    }
}

fn number(value: i64, detail: String) -> Verdict {
    let factor = i32::try_from(value.clamp(-LARGEST, LARGEST)).expect("clamped to three digits");
    Verdict { holds: Some(value == 0), factor, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_not_zero_does_not_hold() {
        let cases = [
            (None, Some(true), 0, "no such file"),
            (Some(""), Some(true), 0, "it is empty"),
            (Some("0\n"), Some(true), 0, "it says 0"),
            (Some(" 5 \n"), Some(false), 5, "it says 5"),
            (Some("-12"), Some(false), -12, "it says -12"),
            (Some("99999999999"), Some(false), 254, "it says 99999999999"),
            (Some("ill"), None, 1, "no whole number: \"ill\""),
        ];
        for (text, holds, factor, detail) in cases {
            let expected = Verdict { holds, factor, detail: detail.to_owned() };
            assert_eq!(verdict(Ok(text.map(str::to_owned))), expected);
        }
    }

    #[test]
    fn what_is_no_file_is_not_known() {
        let verdict = verdict(look(Path::new("/proc")));
        assert_eq!(verdict.holds, None, "{verdict:?}");
    }
}
