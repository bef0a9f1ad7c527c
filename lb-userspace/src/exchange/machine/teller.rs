//! The end that tells: what waits to be said, how much of it may be under way, and what answers say of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::super::item::{Key, Value};
use super::super::message::{Answer, Body, ITEM_OCTETS, Item, Message, Stand};
use super::super::nanoseconds;
use super::super::realm::{Bulk, Realm, Telling};
use super::super::word::Word;
use super::{AGAIN, BURST, Direction, Effect, Exchange, KEEPALIVE, LEAP, MOST_WORDS, REPEAT, WINDOW};

/// Words in one message.
const WORDS: usize = 128;

/// The session on which this node tells.
#[derive(Debug)]
pub(super) struct Teller {
    pub(super) said: u64,
    /// Messages that were not answered yet, and how many items they carry.
    pub(super) under_way: VecDeque<(u64, usize)>,
    pub(super) heard: Duration,
    /// When a sign of life is due; at once if it stands differently.
    pub(super) stand_due: Duration,
    /// How long after that the next is.
    pub(super) stand_gap: Duration,
    pub(super) begun: usize,
    /// What is still to be said.
    pub(super) words: VecDeque<Word>,
}

impl Exchange {
    pub(super) fn begin_telling(&mut self, now: Duration) {
        self.end_telling();
        let (under_way, stand_due) = (VecDeque::new(), Duration::ZERO);
        let words = VecDeque::new();
        self.teller = Some(Teller { said: 0, under_way, heard: now, stand_due, stand_gap: REPEAT, begun: 0, words });
    }

    pub(super) fn end_telling(&mut self) {
        self.teller = None;
        for realm in self.realms.values_mut() {
            realm.tell_anew(if realm.master { Telling::Due } else { Telling::No });
        }
    }

    pub(super) fn changed(&mut self, name: &Arc<str>, items: Vec<Item>) {
        let connected = self.teller.is_some();
        let Some(realm) = self.realms.get_mut(name).filter(|realm| connected && realm.notes_changes()) else { return };
        items.into_iter().for_each(|(key, value)| realm.dirty.insert(key, value));
        if realm.dirty.len() > self.limits.waiting {
            self.counters.overflows += 1;
            realm.tell_anew(if realm.master { Telling::Due } else { Telling::No });
        }
    }

    pub(super) fn gathered(
        &mut self,
        now: Duration,
        name: &Arc<str>,
        items: Vec<(Key, Value)>,
        more: bool,
        out: &mut Vec<Effect>,
    ) {
        let Some(realm) = self.realms.get_mut(name) else { return };
        if matches!(realm.telling, Telling::Asked) {
            let epoch = realm.epoch;
            realm.tell_anew(Telling::Bulk(Bulk::of(items, more)));
            self.counters.bulks += 1;
            self.say(now, Body::Begin { realm: Arc::clone(name), epoch }, 0, out);
        } else {
            realm.gathered(items, more);
        }
        self.tell_items(now, out);
    }

    /// Says what there is to say.
    pub(super) fn tick_telling(&mut self, now: Duration, out: &mut Vec<Effect>) {
        let Some(teller) = &mut self.teller else { return };
        teller.begun = 0;
        if now >= teller.stand_due {
            teller.stand_due = now + teller.stand_gap;
            teller.stand_gap = (teller.stand_gap * 2).min(KEEPALIVE);
            let stand = |(name, realm): (&Arc<str>, &Realm)| Stand {
                realm: Arc::clone(name),
                master: realm.master,
                epoch: realm.epoch,
            };
            let realms = self.realms.iter().map(stand).collect();
            self.say(now, Body::Stand { config: Arc::clone(&self.config), realms }, 0, out);
        }
        let mut gathers = Vec::new();
        for (name, realm) in &mut self.realms {
            match realm.telling {
                Telling::Refused { again } if again <= now => realm.claim(now, self.boot),
                Telling::No if realm.master => realm.tell_anew(Telling::Due),
                Telling::LastWords { .. } if realm.is_over(now) => realm.tell_anew(Telling::No),
                _ => {}
            }
            if matches!(realm.telling, Telling::Due) {
                if realm.epoch < realm.highest {
                    realm.claim(now, self.boot);
                }
                realm.telling = Telling::Asked;
                gathers.push(Effect::Gather(Arc::clone(name)));
            }
        }
        self.tell_items(now, out);
        self.tell_words(now, out);
        self.conclude(now, out);
        // What is gathered is told at once, with later numbers: so nothing may be left to say that has an earlier one.
        out.append(&mut gathers);
    }

    /// Says of realms that this node has given up that all of them was told.
    fn conclude(&mut self, now: Duration, out: &mut Vec<Effect>) {
        let concluded = |(name, realm): (&Arc<str>, &mut Realm)| {
            realm.concludes(now).then(|| Body::End { realm: Arc::clone(name), epoch: realm.told_under() })
        };
        let ends: Vec<Body> = self.realms.iter_mut().filter_map(concluded).collect();
        ends.into_iter().for_each(|end| self.say(now, end, 0, out));
    }

    pub(super) fn add_words(&mut self, words: Vec<Word>, out: &mut Vec<Effect>) {
        let Some(teller) = &mut self.teller else { return };
        teller.words.extend(words);
        if teller.words.len() > MOST_WORDS {
            self.end_telling();
            out.push(Effect::Close(Direction::Telling, "more was to be said than the peer takes"));
        }
    }

    /// As many as may be under way, after the items.
    fn tell_words(&mut self, now: Duration, out: &mut Vec<Effect>) {
        while let Some(teller) = &mut self.teller {
            if teller.words.is_empty() || teller.begun >= BURST || teller.under_way.len() >= WINDOW {
                return;
            }
            let count = teller.words.len().min(WORDS);
            let words = teller.words.drain(..count).collect();
            self.say(now, Body::Words { words, unknown: 0 }, 0, out);
        }
    }

    /// As much as may be under way.
    pub(super) fn tell_items(&mut self, now: Duration, out: &mut Vec<Effect>) {
        let names: Vec<Arc<str>> =
            self.realms.iter().filter(|(_, realm)| realm.notes_changes()).map(|(name, _)| Arc::clone(name)).collect();
        for name in names {
            while self.teller.as_ref().is_some_and(|it| it.begun < BURST && it.under_way.len() < WINDOW) {
                let Some(realm) = self.realms.get_mut(&name) else { break };
                let (items, epoch) = (realm.next_items(ITEM_OCTETS), realm.told_under());
                let realm_name = Arc::clone(&name);
                if !items.is_empty() {
                    let count = items.len();
                    self.counters.told += count as u64;
                    self.say(now, Body::Items { realm: realm_name, epoch, items, unknown: 0 }, count, out);
                } else if matches!(&realm.telling, Telling::Bulk(bulk) if !bulk.more) {
                    realm.telling = Telling::Live;
                    self.say(now, Body::End { realm: realm_name, epoch }, 0, out);
                } else {
                    break;
                }
            }
        }
    }

    fn say(&mut self, now: Duration, body: Body, items: usize, out: &mut Vec<Effect>) {
        let Some(teller) = &mut self.teller else { return };
        teller.said += 1;
        if items > 0 || matches!(body, Body::Words { .. }) {
            teller.begun += 1;
            teller.under_way.push_back((teller.said, items));
        }
        out.push(Effect::Tell(Message { number: teller.said, now: nanoseconds(now), body }));
    }

    pub(super) fn answered(&mut self, now: Duration, answer: Answer, out: &mut Vec<Effect>) {
        let Some(teller) = &mut self.teller else { return };
        if answer.taken > teller.said {
            self.counters.refused += 1;
            self.end_telling();
            return out.push(Effect::Close(Direction::Telling, "what was never said was answered"));
        }
        teller.heard = now;
        while teller.under_way.front().is_some_and(|(number, _)| *number <= answer.taken) {
            teller.under_way.pop_front();
        }
        for Stand { realm: name, master, epoch } in answer.refused {
            // What is said of an older claim of ours was answered by the newer one.
            let realm = self.realms.get_mut(&name).filter(|realm| realm.master && epoch >= realm.epoch);
            let Some(realm) = realm else { continue };
            if epoch > realm.highest.saturating_add(LEAP) {
                self.counters.refused += 1;
                continue;
            }
            realm.highest = realm.highest.max(epoch);
            // Who is no master only needs to hear a newer claim.
            let again = if master { now + AGAIN } else { now };
            realm.tell_anew(Telling::Refused { again });
        }
        self.tell_items(now, out);
    }
}
