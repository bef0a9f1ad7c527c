//! What went wrong: counted by what was attempted and how it failed, and what is wrong at present, told once.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use nix::errno::Errno;

use crate::happening::Happening;

/// Different problems kept at a time; beyond it new ones are only counted.
const MOST_PROBLEMS: usize = 64;

/// Failures so far, and problems that persist.
#[derive(Debug, Default)]
pub struct Troubles {
    counts: BTreeMap<String, u64>,
    present: BTreeMap<String, String>,
    news: Vec<Happening>,
}

impl Troubles {
    /// Counts a failure that passes.
    pub fn count(&mut self, attempt: &str, error: &io::Error) {
        *self.counts.entry(format!("{attempt}: {}", name(error))).or_default() += 1;
    }

    /// Counts a failure and tells of it, once until it is over or says something else.
    pub fn tell(&mut self, what: &str, error: &io::Error, advice: &str) {
        self.count(what, error);
        let message = if advice.is_empty() { format!("{what}: {error}") } else { format!("{what}: {error}; {advice}") };
        if self.present.get(what) == Some(&message) {
            return;
        }
        if self.present.len() < MOST_PROBLEMS || self.present.contains_key(what) {
            self.present.insert(what.to_owned(), message.clone());
            self.news.push(Happening::Warning { router: None, message });
        }
    }

    /// That problem is over, if there was one.
    pub fn over(&mut self, what: &str) {
        self.present.remove(what);
    }

    /// Whether anything is wrong at present that another attempt might mend.
    pub fn persist(&self) -> bool {
        !self.present.is_empty()
    }

    /// What is to be told since the last time.
    pub fn news(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.news)
    }

    /// Failures by `attempt: ERRNO`.
    pub fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }

    /// What is wrong now.
    pub fn present(&self) -> BTreeSet<String> {
        self.present.values().cloned().collect()
    }
}

/// `ENETDOWN`, or the kind of error where it is not the kernel's.
fn name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{:?}", Errno::from_raw(number)),
        None => format!("{:?}", error.kind()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_once_until_it_is_over() {
        let mut troubles = Troubles::default();
        let refused = io::Error::from_raw_os_error(libc::EPERM);
        troubles.tell("join 224.0.0.18 on eth0", &refused, "grant CAP_NET_RAW");
        troubles.tell("join 224.0.0.18 on eth0", &refused, "grant CAP_NET_RAW");
        assert_eq!(troubles.news().len(), 1);
        assert_eq!(troubles.counts()["join 224.0.0.18 on eth0: EPERM"], 2);

        troubles.over("join 224.0.0.18 on eth0");
        assert!(troubles.present().is_empty());
        troubles.tell("join 224.0.0.18 on eth0", &refused, "grant CAP_NET_RAW");
        assert_eq!(troubles.news().len(), 1, "it is back");
    }
}
