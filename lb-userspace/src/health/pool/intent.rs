//! What operators want of backends, beside the configuration. It outlives the daemon, and a backend's leaving the
//! configuration, until it is taken back.
//!
//! A backend is named as the operator names it: by service and name. If the name gets another address, the intent goes
//! with the name; what is wanted of an address wherever it serves is kept by the address.

pub mod said;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::decide::Wanted;
use said::{About, Said, TakenBack};

/// Version of the document. Another one is not read.
const VERSION: u32 = 1;
/// Intents that are kept. Those of backends that left count too, so a file could grow without end otherwise.
pub const MOST_INTENTS: usize = 100_000;

/// Service and backend, by name.
pub type Name = (String, String);

/// All that operators want.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Intents {
    backends: BTreeMap<Name, Intent>,
    everywhere: BTreeMap<IpAddr, f64>,
    taken_back: TakenBack,
}

/// What is wanted of one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// No new flows, or none at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<Out>,
    /// A weight instead of the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// When it was last said, in seconds since the Unix epoch.
    pub since: f64,
}

/// How a backend is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Out {
    /// No new flows.
    Drain,
    /// No flows.
    Disable,
}

/// The document.
#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    backends: Vec<BackendEntry>,
    everywhere: Vec<AddressEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    taken_back: Vec<BackEntry>,
}

#[derive(Serialize, Deserialize)]
struct BackEntry {
    about: About,
    since: f64,
}

#[derive(Serialize, Deserialize)]
struct BackendEntry {
    service: String,
    backend: String,
    #[serde(flatten)]
    intent: Intent,
}

#[derive(Serialize, Deserialize)]
struct AddressEntry {
    address: IpAddr,
    since: f64,
}

/// Why a document is not understood.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is not of the right shape.
    #[error(transparent)]
    Shape(#[from] serde_json::Error),
    /// It is of another Fairway.
    #[error("it is of version {0}, and this Fairway reads version {VERSION}")]
    Version(u32),
}

impl Intents {
    /// From a document.
    ///
    /// # Errors
    /// When it is not understood.
    pub fn read(document: &[u8]) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        // First the version: another one may have any shape.
        let Versioned { version } = serde_json::from_slice(document)?;
        if version != VERSION {
            return Err(Unreadable::Version(version));
        }
        let document: Document = serde_json::from_slice(document)?;
        Ok(Self {
            backends: document.backends.into_iter().map(|one| ((one.service, one.backend), one.intent)).collect(),
            everywhere: document.everywhere.into_iter().map(|one| (one.address, one.since)).collect(),
            taken_back: document.taken_back.into_iter().map(|one| (one.about, one.since)).collect(),
        })
    }

    /// As a document.
    pub fn document(&self) -> String {
        let backends = self.backends.iter().map(|((service, backend), &intent)| BackendEntry {
            service: service.clone(),
            backend: backend.clone(),
            intent,
        });
        let everywhere = self.everywhere.iter().map(|(&address, &since)| AddressEntry { address, since });
        let back = self.taken_back.iter().map(|(about, &since)| BackEntry { about: about.clone(), since });
        let (backends, everywhere, taken_back) = (backends.collect(), everywhere.collect(), back.collect());
        let document = Document { version: VERSION, backends, everywhere, taken_back };
        serde_json::to_string_pretty(&document).expect("strings and numbers only")
    }

    /// What is wanted of a backend.
    pub fn of(&self, service: &str, backend: &str) -> Option<&Intent> {
        self.backends.get(&(service.to_owned(), backend.to_owned()))
    }

    /// Since when an address is drained everywhere.
    pub fn everywhere(&self, address: IpAddr) -> Option<f64> {
        self.everywhere.get(&address).copied()
    }

    /// Whether a backend shall have flows, and since when not.
    pub fn wanted(&self, service: &str, backend: &str, address: IpAddr) -> (Wanted, Option<f64>) {
        let own = self.of(service, backend).and_then(|intent| Some((intent.out?, intent.since)));
        match (own, self.everywhere(address)) {
            (Some((Out::Disable, since)), _) => (Wanted::Disabled, Some(since)),
            (Some((Out::Drain, since)), _) => (Wanted::Drained, Some(since)),
            (None, Some(since)) => (Wanted::DrainedEverywhere, Some(since)),
            (None, None) => (Wanted::Traffic, None),
        }
    }

    /// All of single backends.
    pub fn backends(&self) -> impl Iterator<Item = (&Name, &Intent)> {
        self.backends.iter()
    }

    /// All of addresses, with the time they were said.
    pub fn addresses(&self) -> impl Iterator<Item = (IpAddr, f64)> {
        self.everywhere.iter().map(|(&address, &since)| (address, since))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.backends.len() + self.everywhere.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes what is wanted of a backend; nothing at all is forgotten.
    pub fn change(&mut self, service: &str, backend: &str, at: f64, change: impl FnOnce(&mut Intent)) {
        let about = About::Backend(service.to_owned(), backend.to_owned());
        let since = self.after_all_known(&about, at);
        let mut intent = self.of(service, backend).copied().unwrap_or_default();
        change(&mut intent);
        self.put(&Said { about, out: intent.out, weight: intent.weight, since });
    }

    /// Drains an address everywhere from `at` on, if it is not drained already.
    pub fn set_everywhere(&mut self, address: IpAddr, at: f64) {
        if self.everywhere(address).is_none() {
            self.say_everywhere(address, Some(Out::Drain), at);
        }
    }

    /// Drains an address everywhere no more.
    pub fn end_everywhere(&mut self, address: IpAddr, at: f64) {
        self.say_everywhere(address, None, at);
    }

    fn say_everywhere(&mut self, address: IpAddr, out: Option<Out>, at: f64) {
        let about = About::Address(address);
        let since = self.after_all_known(&about, at);
        self.put(&Said { about, out, weight: None, since });
    }
}

/// In words: `drain`, `disable, weight 50`.
impl std::fmt::Display for Intent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let out = self.out.map(|out| match out {
            Out::Drain => "drained".to_owned(),
            Out::Disable => "disabled".to_owned(),
        });
        let words: Vec<String> = out.into_iter().chain(self.weight.map(|weight| format!("weight {weight}"))).collect();
        f.write_str(&words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_comes_back_as_it_went() {
        let mut intents = Intents::default();
        intents.change("web", "web1", 1.5, |intent| intent.out = Some(Out::Drain));
        intents.change("web", "web2", 2.5, |intent| (intent.out, intent.weight) = (Some(Out::Disable), Some(7)));
        intents.set_everywhere("10.0.0.11".parse().unwrap(), 3.5);
        assert_eq!(Intents::read(intents.document().as_bytes()).unwrap(), intents);
    }

    #[test]
    fn a_later_version_is_refused_whatever_it_looks_like() {
        let error = Intents::read(br#"{"version": 2, "pools": {}}"#).unwrap_err();
        assert_eq!(error.to_string(), "it is of version 2, and this Fairway reads version 1");
        assert!(matches!(Intents::read(b"{}"), Err(Unreadable::Shape(_))));
        assert!(matches!(Intents::read(b"\0\xff"), Err(Unreadable::Shape(_))));
    }

    #[test]
    fn what_is_taken_back_leaves_nothing() {
        let mut intents = Intents::default();
        intents.change("web", "web1", 1.0, |intent| intent.weight = Some(0));
        intents.change("web", "web1", 2.0, |intent| intent.weight = None);
        assert!(intents.is_empty());
    }

    #[test]
    fn the_drain_of_an_address_keeps_its_time_when_it_is_said_again() {
        let mut intents = Intents::default();
        let address = "10.0.0.11".parse().unwrap();
        intents.set_everywhere(address, 1.0);
        intents.set_everywhere(address, 2.0);
        assert_eq!(intents.everywhere(address), Some(1.0));
    }
}
