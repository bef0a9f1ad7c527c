//! Which virtual routers an operator has made resign: it holds over restarts, until they are resumed.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::Context as _;
use tracing::error;

/// In the state directory: a JSON list of names.
const FILE: &str = "resigned.json";

/// See the module's description.
pub struct Memory {
    directory: PathBuf,
    resigned: BTreeSet<String>,
}

impl Memory {
    /// What is written in the state directory. A file that cannot be read counts as empty, and is said.
    pub fn load(directory: PathBuf) -> Self {
        let path = directory.join(FILE);
        let resigned = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|why| {
                error!(file = %path.display(), %why, "not a list of names: no virtual router counts as resigned");
                BTreeSet::new()
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeSet::new(),
            Err(why) => {
                error!(file = %path.display(), %why, "cannot be read: no virtual router counts as resigned");
                BTreeSet::new()
            }
        };
        Self { directory, resigned }
    }

    /// Their names.
    pub fn resigned(&self) -> Vec<String> {
        self.resigned.iter().cloned().collect()
    }

    /// Notes that these resigned, or were resumed. The file is replaced whole.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note(&mut self, names: &[String], resigned: bool) -> anyhow::Result<()> {
        for name in names {
            if resigned {
                self.resigned.insert(name.clone());
            } else {
                self.resigned.remove(name);
            }
        }
        self.write().with_context(|| {
            format!("it is done, but a restart will not remember it: writing {}", self.directory.join(FILE).display())
        })
    }

    fn write(&self) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        let fresh = self.directory.join(format!("{FILE}.new"));
        std::fs::write(&fresh, serde_json::to_vec(&self.resigned)?)?;
        std::fs::rename(fresh, self.directory.join(FILE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_resigned_is_remembered_until_it_is_resumed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let mut memory = Memory::load(path.clone());
        memory.note(&["a".to_owned(), "b".to_owned()], true).unwrap();
        memory.note(&["a".to_owned()], false).unwrap();
        assert_eq!(Memory::load(path).resigned(), ["b"]);
    }

    #[test]
    fn a_broken_file_counts_as_empty() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), "not json").unwrap();
        assert!(Memory::load(directory.path().to_owned()).resigned().is_empty());
    }
}
