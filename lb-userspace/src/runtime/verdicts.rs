//! The last verdicts on disk (see `health::pool::memory`): written when some have changed, a few seconds apart, by a thread that
//! may wait. A file that is old, or cannot be read, is as good as none: it is only a head start.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::FutureExt as _;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::daemon::Daemon;
use crate::health::pool::memory::{Memory, document};
use crate::health::spec::Spec;
use crate::health::verdict::Verdict;

/// In the state directory.
const FILE: &str = "verdicts.json";
/// Older verdicts are those of another time. A restart takes seconds, an upgrade with trouble a minute.
const MOST_AGE: Duration = Duration::from_secs(300);
/// Ticks between two writings.
const SELDOM: u32 = 5;
/// Ticks after which the file is marked as right though nothing has changed.
const AFRESH: u32 = 60;

/// See the module's description.
pub(super) struct Verdicts {
    path: PathBuf,
    is_changed: bool,
    ticks: u32,
    under_way: Option<JoinHandle<io::Result<()>>>,
    /// That it cannot be written was said.
    is_told: bool,
}

impl Verdicts {
    /// Those in a state directory, and what is written there, if it is of late.
    pub(super) fn load(directory: &Path) -> (Self, Memory) {
        let path = directory.join(FILE);
        let memory = match read(&path) {
            Ok(memory) => memory,
            Err(error) if error.kind() == ErrorKind::NotFound => Memory::default(),
            Err(error) => {
                info!(%error, file = %path.display(), "the verdicts of before are not used");
                Memory::default()
            }
        };
        (Self { path, is_changed: false, ticks: 0, under_way: None, is_told: false }, memory)
    }

    /// Some have changed.
    pub(super) fn changed(&mut self) {
        self.is_changed = true;
    }

    /// Whether it is time to write. To be asked with every tick.
    fn is_due(&mut self) -> bool {
        if let Some(written) = self.under_way.as_mut().and_then(|thread| thread.now_or_never()) {
            self.under_way = None;
            if let Err(error) = written.map_err(io::Error::other).flatten()
                && !std::mem::replace(&mut self.is_told, true)
            {
                warn!(%error, file = %self.path.display(), "after a restart every verdict will be waited for: they cannot be written");
            }
        }
        self.ticks += 1;
        let patience = if self.is_changed { SELDOM } else { AFRESH };
        self.under_way.is_none() && self.ticks >= patience
    }

    fn write(&mut self, verdicts: Vec<(Arc<Spec>, Verdict)>) {
        (self.is_changed, self.ticks) = (false, 0);
        let path = self.path.clone();
        self.under_way = Some(tokio::task::spawn_blocking(move || put(&path, &document(&verdicts))));
    }
}

#[expect(clippy::disallowed_methods, reason = "how old a file is, is this file's own business")]
fn read(path: &Path) -> io::Result<Memory> {
    let written = fs::metadata(path)?.modified()?;
    let age = SystemTime::now().duration_since(written).unwrap_or_default();
    if age > MOST_AGE {
        return Err(io::Error::other(format!("written {} s ago", age.as_secs())));
    }
    Memory::read(&fs::read(path)?).map_err(io::Error::other)
}

/// Replaces the file whole. That it is on the disk is not waited for: after a power cut it would be too old.
fn put(path: &Path, document: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let fresh = path.with_extension("json.new");
    io::Write::write_all(&mut File::create(&fresh)?, document)?;
    fs::rename(fresh, path)
}

impl Daemon {
    /// To be called with every tick.
    pub(super) fn remember_verdicts(&mut self) {
        if self.checks.are_made() && self.verdicts.is_due() {
            self.verdicts.write(self.controller.pools().all_verdicts());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_or_not_understood_is_as_good_as_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state").join(FILE);
        assert_eq!(read(&path).unwrap_err().kind(), ErrorKind::NotFound);
        put(&path, b"[]").unwrap();
        assert_eq!(read(&path).unwrap(), Memory::default());
        put(&path, b"not json").unwrap();
        assert!(read(&path).is_err());
        put(&path, b"[]").unwrap();
        let long_ago = fs::metadata(&path).unwrap().modified().unwrap() - MOST_AGE - Duration::from_secs(60);
        File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        assert!(read(&path).unwrap_err().to_string().starts_with("written "));
    }
}
