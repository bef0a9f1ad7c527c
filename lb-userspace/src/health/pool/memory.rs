//! What checks said last, in the form that outlives the daemon: a daemon that starts again makes its first tables from it, the
//! tables that were, and moves no flow while its own first probes are under way. The first word of a check of its own counts
//! instead.
//!
//! A check is known again by a hash of what it asks of whom. After an upgrade that changed the form of that none is, which
//! only means that verdicts are waited for.

use std::collections::HashMap;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use crate::health::spec::Spec;
use crate::health::verdict::{AgentWish, CheckState, FailureKind, Verdict};

/// What is written of a check.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    spec: u64,
    state: CheckState,
    why: String,
    failure: Option<FailureKind>,
    percent: Option<u8>,
    drain: Option<bool>,
}

/// What a check says, told to another node: by the same hash.
#[derive(Clone, Debug, PartialEq)]
pub struct Opinion {
    /// The check's hash.
    pub check: u64,
    /// Its verdict.
    pub verdict: Verdict,
}

/// What checks say, but for those that have not said anything and those that say what was said before or elsewhere.
pub fn opinions(verdicts: &[(Arc<Spec>, Verdict)]) -> Vec<Opinion> {
    let own = verdicts.iter().filter(|(_, verdict)| {
        verdict.state != CheckState::Unknown && !AT_SECOND_HAND.iter().any(|words| verdict.why.ends_with(words))
    });
    own.map(|(spec, verdict)| Opinion { check: key(spec), verdict: verdict.clone() }).collect()
}

/// What is added to reasons that are not this daemon's own checks'.
const AT_SECOND_HAND: [&str; 2] = ["; before the last start", "; says the peer"];

/// See the module's description.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory(HashMap<u64, Verdict>);

impl Memory {
    /// What a document says.
    ///
    /// # Errors
    /// When it is none of ours.
    pub fn read(document: &[u8]) -> Result<Self, serde_json::Error> {
        let entries: Vec<Entry> = serde_json::from_slice(document)?;
        let verdict = |entry: Entry| {
            let Entry { spec, state, why, failure, percent, drain } = entry;
            (spec, Verdict { state, why, failure, agent: AgentWish { percent, drain } })
        };
        Ok(Self(entries.into_iter().map(verdict).collect()))
    }

    /// What a check said.
    pub fn of(&self, spec: &Spec) -> Option<Verdict> {
        let verdict = self.0.get(&key(spec))?;
        Some(Verdict { why: format!("{}{}", verdict.why, AT_SECOND_HAND[0]), ..verdict.clone() })
    }

    /// What another node's checks say.
    pub fn of_peer(opinions: Vec<Opinion>) -> Self {
        let said = |Opinion { check, verdict }: Opinion| {
            (check, Verdict { why: format!("{}{}", verdict.why, AT_SECOND_HAND[1]), ..verdict })
        };
        Self(opinions.into_iter().map(said).collect())
    }

    /// What is said of a check, as it was said.
    pub fn as_said(&self, spec: &Spec) -> Option<&Verdict> {
        self.0.get(&key(spec))
    }
}

/// The document that says this. Checks that have not said anything are left out.
pub fn document(verdicts: &[(Arc<Spec>, Verdict)]) -> Vec<u8> {
    let entry = |(spec, verdict): &(Arc<Spec>, Verdict)| {
        let Verdict { state, why, failure, agent } = verdict;
        let AgentWish { percent, drain } = *agent;
        let why = AT_SECOND_HAND.iter().find_map(|words| why.strip_suffix(words)).unwrap_or(why).to_owned();
        (*state != CheckState::Unknown).then(|| Entry {
            spec: key(spec),
            state: *state,
            why,
            failure: *failure,
            percent,
            drain,
        })
    };
    let entries: Vec<Entry> = verdicts.iter().filter_map(entry).collect();
    serde_json::to_vec(&entries).expect("numbers and text have a form in JSON")
}

fn key(spec: &Spec) -> u64 {
    let mut hasher = SipHasher13::new();
    spec.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::check::{Probe, Timing};
    use crate::health::spec::{Target, Way};

    fn spec(port: u16) -> Arc<Spec> {
        let second = Duration::from_secs(1);
        let timing = Timing { interval: second, fast_interval: second, timeout: second, rise: 2, fall: 3 };
        let target = Target { address: [10, 0, 0, 11].into(), port, way: Way::Plain };
        Arc::new(Spec { probe: Probe::Tcp, target, timing, named: None })
    }

    #[test]
    fn what_was_said_is_known_again_and_what_was_not_is_not() {
        let agent = AgentWish { percent: Some(50), drain: Some(false) };
        let down =
            Verdict { state: CheckState::Down, why: "refused".to_owned(), failure: Some(FailureKind::Refused), agent };
        let said = vec![(spec(80), down.clone()), (spec(81), Verdict::default())];
        let memory = Memory::read(&document(&said)).expect("it was written a moment ago");
        let known = memory.of(&spec(80)).expect("it is known");
        assert_eq!(known, Verdict { why: "refused; before the last start".to_owned(), ..down });
        assert_eq!((memory.of(&spec(81)), memory.of(&spec(82))), (None, None));
        let again = Memory::read(&document(&[(spec(80), known)])).expect("as before");
        assert_eq!(again, memory, "what was not asked since is written as it was");
    }

    #[test]
    fn what_is_none_of_ours_is_an_error() {
        for text in ["", "{}", "[{\"spec\":1}]", "not json"] {
            assert!(Memory::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
