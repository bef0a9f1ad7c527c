//! What operators want of backends, on disk: it holds over restarts until it is taken back.
//!
//! The file is replaced whole, and is on the disk before the order is answered. One that cannot be understood is put
//! aside, not overwritten: somebody drained a backend for a reason.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tracing::error;

use crate::health::pool::intent::Intents;

/// In the state directory.
const FILE: &str = "overrides.json";

/// What follows when it cannot be read.
const CONSEQUENCE: &str =
    "what operators wanted of backends cannot be read, so NO BACKEND IS DRAINED OR DISABLED on account of it";

/// See the module's description.
#[derive(Debug)]
pub struct Overrides {
    directory: PathBuf,
    /// What went wrong when the file was read, and where it is now.
    warning: Option<String>,
}

impl Overrides {
    /// What is written in the state directory. Of a file that cannot be understood nothing is in force, which is said; it
    /// is kept under another name.
    pub fn load(directory: &Path) -> (Self, Intents) {
        let path = directory.join(FILE);
        let read = match fs::read(&path) {
            Ok(text) => Intents::read(&text).map_err(|error| error.to_string()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Intents::default()),
            Err(error) => Err(error.to_string()),
        };
        let (intents, warning) = match read {
            Ok(intents) => (intents, None),
            Err(why) => (Intents::default(), Some(put_aside(&path, CONSEQUENCE, &why))),
        };
        (Self { directory: directory.to_owned(), warning }, intents)
    }

    /// What an operator should know.
    pub fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    /// Writes down what is wanted.
    ///
    /// # Errors
    /// When it cannot be written; what was written before stays.
    pub fn remember(&self, intents: &Intents) -> anyhow::Result<()> {
        remember(&self.directory, FILE, &intents.document())
    }
}

/// Replaces a file of the state directory whole; it is on the disk when this returns.
///
/// # Errors
/// When it cannot be written; what was written before stays.
pub(super) fn remember(directory: &Path, file: &str, document: &str) -> anyhow::Result<()> {
    replace(directory, file, document.as_bytes()).with_context(|| {
        format!("it is done, but a restart will not remember it: writing {}", directory.join(file).display())
    })
}

fn replace(directory: &Path, name: &str, document: &[u8]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let fresh = directory.join(format!("{name}.new"));
    let mut file = File::create(&fresh)?;
    file.write_all(document)?;
    file.sync_all()?;
    fs::rename(fresh, directory.join(name))?;
    File::open(directory)?.sync_all()
}

/// Gives a file that cannot be understood a name that is free, and says so: what follows from it, which file, why, and where it is.
pub(super) fn put_aside(path: &Path, consequence: &str, why: &str) -> String {
    let name = path.file_name().unwrap_or_default().display();
    let aside = (1..).map(|number| path.with_file_name(format!("{name}.unreadable-{number}")));
    let aside = aside.into_iter().find(|aside| !aside.exists()).expect("some number is free");
    let kept = match fs::rename(path, &aside) {
        Ok(()) => format!("it is kept as {}", aside.display()),
        Err(error) => format!("nor can it be put aside: {error}"),
    };
    let message = format!("{consequence}: {}: {why}; {kept}", path.display());
    error!("{message}");
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::pool::intent::Out;

    fn some() -> Intents {
        let mut intents = Intents::default();
        intents.change("web", "web1", 1.0, |intent| intent.out = Some(Out::Drain));
        intents
    }

    #[test]
    fn what_was_said_is_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let (overrides, none) = Overrides::load(&path);
        assert!(none.is_empty());
        overrides.remember(&some()).unwrap();
        overrides.remember(&some()).unwrap();
        let (overrides, intents) = Overrides::load(&path);
        assert_eq!((intents, overrides.warning()), (some(), None));
    }

    #[test]
    fn a_file_that_is_not_understood_is_kept_and_told() {
        let directory = tempfile::tempdir().unwrap();
        for number in 1..=2 {
            fs::write(directory.path().join(FILE), format!("not json {number}")).unwrap();
            let (overrides, intents) = Overrides::load(directory.path());
            assert!(intents.is_empty());
            let warning = overrides.warning().unwrap();
            assert!(warning.contains(&format!("{FILE}.unreadable-{number}")), "{warning}");
            overrides.remember(&some()).unwrap();
            let kept = fs::read_to_string(directory.path().join(format!("{FILE}.unreadable-{number}"))).unwrap();
            assert_eq!(kept, format!("not json {number}"));
        }
    }

    #[test]
    fn that_it_cannot_be_written_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("state"), "a file, where a directory should be").unwrap();
        let (overrides, _) = Overrides::load(&directory.path().join("state"));
        let error = overrides.remember(&some()).unwrap_err();
        assert!(format!("{error:#}").starts_with("it is done, but a restart will not remember it"), "{error:#}");
    }
}
