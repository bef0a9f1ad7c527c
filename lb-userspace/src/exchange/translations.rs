//! Recorded translations as the exchange uses them: what is to be told of them, and what the peer tells put into our table. They
//! name no backend by an index, so whose a flow is, its key says: the service's address and port.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::ops::ControlFlow;
use std::time::Duration;

use lb_common::abi::{FlowKey4, FlowKey6, Record, Translated, Translation};
use lb_common::flow::Flow;

use super::changes::{Changes, Noted};
use super::directory::{Directory, Entry};
use super::item::{FlowId, Key, Keys, TranslationRecord, Value};
use super::store::{Store, Translations};
use super::stored::{is_untouched, since};
use super::tables::{Tables, widen};
use super::told::{REFRESH, Told};
use super::translation::{Pair, told};
use super::{nanoseconds, pairs};

/// How far a walk over a store's translations is.
pub type Walks<S> = <<S as Store>::Translations as Translations>::Walks;

/// What was told of translations, by the clients' keys.
#[derive(Debug, Default)]
pub struct ToldTranslations {
    v4: Told<FlowKey4>,
    v6: Told<FlowKey6>,
}

/// A translation of the peer's.
pub struct Foreigner<'a> {
    /// Whose it is.
    pub realm: &'a str,
    /// The flow.
    pub flow: FlowKey6,
    /// What is said of it.
    pub record: TranslationRecord,
    /// How long ago its last packet was, in nanoseconds.
    pub age: u64,
}

impl ToldTranslations {
    /// See [`Told::shows`].
    fn shows(&mut self, key: &FlowKey6, it: &Translation, last_seen: u64, timeout: u64) -> bool {
        let record = Record { last_seen, pool: fingerprint(it), backend: 0, state: it.state };
        if key.source.is_v4() {
            self.v4.shows(&Flow::from(*key).key4(), &record, timeout)
        } else {
            self.v6.shows(key, &record, timeout)
        }
    }

    /// See [`Told::set_clock`].
    pub(super) fn set_clock(&mut self, now: u64) {
        self.v4.set_clock(now);
        self.v6.set_clock(now);
    }

    /// See [`Told::begin`].
    fn begin(&mut self, is_v4: bool) {
        if is_v4 { self.v4.begin() } else { self.v6.begin() }
    }

    /// See [`Told::end`].
    fn end(&mut self, is_v4: bool) -> Vec<FlowKey6> {
        if is_v4 {
            self.v4.end().into_iter().map(|(key, _)| widen(&key)).collect()
        } else {
            self.v6.end().into_iter().map(|(key, _)| key).collect()
        }
    }

    /// Whether nothing of a family was told.
    pub fn is_empty(&self, is_v4: bool) -> bool {
        if is_v4 { self.v4.is_empty() } else { self.v6.is_empty() }
    }

    /// Flows that were told.
    pub(crate) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// See [`Told::forget_keys`].
    pub fn forget(&mut self, is_of: impl Fn(&FlowKey6) -> bool) {
        self.v4.forget_keys(|key| is_of(&widen(key)));
        self.v6.forget_keys(is_of);
    }
}

impl<S: Store> Tables<S> {
    /// A translation was recorded: whether that is to be told; then it is among the changes.
    pub fn told_of_translation(
        &mut self,
        noted: &Noted<'_, impl Fn(&str) -> bool>,
        it: &Translated,
        changes: &mut Changes,
    ) -> bool {
        let Translated { key, translation } = it;
        let Some(entry) = noted.directory().of_flow(key).filter(|entry| noted.takes(entry)) else { return false };
        let timeout = entry.translation_timeout(key, translation.state);
        let is_new = self.translations.shows(key, translation, translation.last_seen, timeout);
        if is_new {
            note(changes, entry, key, translation, translation.last_seen);
        }
        is_new
    }

    /// The next translations of a realm, of one family; whether there are more. They count as told from now on.
    ///
    /// # Errors
    /// When the store refuses.
    pub(super) fn gather_translations(
        &mut self,
        is_v4: bool,
        walks: &mut Walks<S>,
        directory: &Directory,
        realm: &str,
        items: &mut Vec<(Key, Value)>,
    ) -> anyhow::Result<ControlFlow<()>> {
        let Self { records, translations, .. } = self;
        let mut failure = None;
        let more = records.translations().step_translations(is_v4, walks, |key, it| {
            let Some(entry) = directory.of_flow(key).filter(|entry| &*entry.realm == realm) else { return };
            match pairs::last_seen(records.translations(), key, it) {
                Ok(last_seen) => {
                    if translations.shows(key, it, last_seen, entry.translation_timeout(key, it.state)) {
                        items.push((Key::Translation(key.into()), Value::Translation(told(key, it, last_seen))));
                    }
                }
                Err(error) => failure = Some(error),
            }
        })?;
        failure.map_or(Ok(more), Err)
    }

    /// The next part of a walk over the translations of a family; whether there are more. What differs from what was told is `found`.
    ///
    /// # Errors
    /// When the store refuses.
    pub(super) fn step_translations(
        &mut self,
        is_v4: bool,
        is_first: bool,
        walks: &mut Walks<S>,
        noted: &Noted<'_, impl Fn(&str) -> bool>,
        now: Duration,
        found: &mut Changes,
    ) -> anyhow::Result<ControlFlow<()>> {
        let Self { records, translations, .. } = self;
        if is_first {
            translations.begin(is_v4);
        }
        let (now, mut failure) = (nanoseconds(now), None);
        let more = records.translations().step_translations(is_v4, walks, |key, it| {
            let Some(entry) = noted.directory().of_flow(key).filter(|entry| noted.takes(entry)) else { return };
            let timeout = entry.translation_timeout(key, it.state);
            // A flow in which only the backend speaks is silent by its client's record.
            let is_silent = now.saturating_sub(it.last_seen) > timeout / REFRESH;
            let last_seen =
                if is_silent { pairs::last_seen(records.translations(), key, it) } else { Ok(it.last_seen) };
            match last_seen {
                Ok(last_seen) if translations.shows(key, it, last_seen, timeout) => {
                    note(found, entry, key, it, last_seen);
                }
                Ok(_) => {}
                Err(error) => failure = Some(error),
            }
        })?;
        failure.map_or(Ok(()), Err)?;
        if more.is_break() {
            for key in translations.end(is_v4) {
                let Some(entry) = noted.directory().of_flow(&key) else { continue };
                found.push(&entry.realm, Key::Translation((&key).into()), None);
            }
        }
        Ok(more)
    }

    /// Puts a translation of the peer's into our table, both ways. `late`: since when this node is master, if these are last words: see
    /// [`pairs::add`].
    ///
    /// # Errors
    /// When the store refuses. What has no place is counted, and no error.
    pub fn store_translation(
        &mut self,
        directory: &Directory,
        it: &Foreigner<'_>,
        now: Duration,
        late: Option<Duration>,
    ) -> anyhow::Result<()> {
        match (place(directory, it, now), late) {
            (Ok(pair), Some(since)) => {
                pairs::add(self.records.translations_mut(), &pair, |heard| is_untouched(heard, now, since))
            }
            (Ok(pair), None) => pairs::put(self.records.translations_mut(), &pair),
            (Err(why), _) => {
                self.count_unplaced(why);
                // What is here by that key is old.
                if late.is_some() { Ok(()) } else { self.remove_translation(directory, it.realm, &it.flow) }
            }
        }
    }

    /// Forgets a translation, both ways, if it is of a service of the realm.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn remove_translation(&mut self, directory: &Directory, realm: &str, flow: &FlowKey6) -> anyhow::Result<()> {
        let is_of = directory.of_flow(flow).is_some_and(|entry| &*entry.realm == realm);
        if is_of { pairs::remove(self.records.translations_mut(), flow) } else { Ok(()) }
    }

    /// Forgets all translations of a realm but these.
    pub(super) fn keep_translations(&mut self, directory: &Directory, realm: &str, keys: &Keys) -> anyhow::Result<()> {
        let mut strangers = Vec::new();
        for is_v4 in [true, false] {
            let mut walks = Walks::<S>::default();
            let mut visit = |key: &FlowKey6, _: &Translation| {
                let is_of = directory.of_flow(key).is_some_and(|entry| &*entry.realm == realm);
                if is_of && !keys.contains(&Key::Translation(FlowId::from(key))) {
                    strangers.push(*key);
                }
            };
            while self.records.translations().step_translations(is_v4, &mut walks, &mut visit)?.is_continue() {}
        }
        strangers.iter().try_for_each(|key| pairs::remove(self.records.translations_mut(), key))
    }
}

fn note(changes: &mut Changes, entry: &Entry, key: &FlowKey6, it: &Translation, last_seen: u64) {
    let value = Value::Translation(told(key, it, last_seen));
    changes.push(&entry.realm, Key::Translation(key.into()), Some(value));
}

/// The records that another's flow has here, or why it has no place.
fn place(directory: &Directory, it: &Foreigner<'_>, now: Duration) -> Result<Pair, &'static str> {
    let entry = directory.of_flow(&it.flow).filter(|entry| &*entry.realm == it.realm).ok_or("no-service")?;
    let translating = entry.translating.as_ref().ok_or("other-kind")?;
    let last_seen = since(now, it.age, entry.translation_timeout(&it.flow, it.record.state));
    translating.place(&it.flow, &it.record, last_seen)
}

/// Tells what a flow becomes from what it became before.
fn fingerprint(it: &Translation) -> u32 {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    hasher.hash_one((it.source.high, it.source.low, it.destination.high, it.destination.low, it.ports_wire)) as u32
}
