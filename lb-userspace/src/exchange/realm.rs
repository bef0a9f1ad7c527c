//! One realm: who has claimed it, what is still to be told of it, and how far it is followed.

use std::time::Duration;

use super::dirty::Dirty;
use super::item::{Key, Keys, Value};
use super::message::Item;

/// Who is no longer master says what it has still to say for so long after it has heard that another claims the realm; and whoever takes
/// over takes that for as long.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);
/// So long after that claim it says that this was all: by then clients' packets go to the other node, so that nothing begins here any more.
/// What begins here all the same is still told. Until somebody claims the realm they come here, however long ago it was given up.
const LAST_BEGINNING: Duration = Duration::from_millis(25);

/// A realm, on this node.
#[derive(Debug, Default)]
pub(super) struct Realm {
    /// Of the claim that this node makes or follows.
    pub epoch: u64,
    /// The node that made the claim, by its boot; 0: nobody.
    pub owner: u64,
    /// The highest epoch heard of.
    pub highest: u64,
    /// This node is its master.
    pub master: bool,
    /// While it is: what it followed until then.
    pub before: Option<Before>,
    /// How far it is told.
    pub telling: Telling,
    /// What has changed and is not told yet.
    pub dirty: Dirty,
    /// How far it is followed, in the session that there is.
    pub following: Option<Following>,
}

/// How far a realm is told.
#[derive(Debug, Default)]
pub(super) enum Telling {
    /// Not at all: we are not its master, or nobody listens.
    #[default]
    No,
    /// All of it is to be told; it was not asked for yet.
    Due,
    /// It was asked for.
    Asked,
    /// It is being told, and changes are too.
    Bulk(Bulk),
    /// All was told; changes are.
    Live,
    /// We are not its master any more, and say what we have still to say, also when another claims it by now: clients come here until
    /// they have heard of it.
    LastWords {
        /// Our claim.
        epoch: u64,
        /// Since when another claims it, as far as this node has heard; `None`: nobody does yet.
        claimed: Option<Duration>,
        /// That this was all has been said.
        concluded: bool,
    },
    /// The other node does not follow, before this moment at least.
    Refused {
        /// When to try again.
        again: Duration,
    },
}

/// A claim of the peer's that this node followed until it became master itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    /// The claim.
    pub epoch: u64,
    /// Since when this node is master.
    pub since: Duration,
    /// The peer has said that it has no more to say.
    pub concluded: bool,
}

impl Before {
    /// Whether what its master had still to say is taken.
    pub fn takes(&self, now: Duration) -> bool {
        now <= self.since + LAST_WORDS
    }
}

/// All of a realm, while it is told.
#[derive(Debug, Default)]
pub(super) struct Bulk {
    /// What is left, last first. Flows come first here: what their indices mean is told before them.
    pub left: Vec<(Key, Value)>,
    /// Whether more is to come.
    pub more: bool,
    /// What has changed since it was gathered, and was told so: what `left` says of it is old.
    told: Keys,
}

/// More is gathered once so few items are left to tell: some more than are told in an interval.
const FEW: usize = 16_384;

impl Bulk {
    /// Of these items, of which those that are no records are all, and of records more may come.
    pub fn of(items: Vec<(Key, Value)>, more: bool) -> Self {
        let (mut others, mut left): (Vec<_>, Vec<_>) = items.into_iter().partition(|(key, _)| !key.is_record());
        others.sort_by(|(one, _), (other, _)| other.cmp(one));
        left.append(&mut others);
        Self { left, more, told: Keys::default() }
    }

    /// Whether what is told next is a flow, so that changes of flows may go before it.
    fn is_at_flows(&self) -> bool {
        self.left.last().is_none_or(|(key, _)| key.is_record())
    }

    /// Octets of so many that changes may have.
    fn share_of_changes(&self, octets: usize) -> usize {
        match (self.left.is_empty(), self.more) {
            (false, _) => octets / 2,
            (true, true) => octets,
            (true, false) => 0,
        }
    }

    /// Records that wait are of it from now on, so that they are told before its end whatever changes meanwhile.
    fn take_records(&mut self, dirty: &mut Dirty) {
        let waiting: Vec<Item> = std::iter::from_fn(|| dirty.pop()).collect();
        for (key, value) in waiting.into_iter().rev() {
            match value {
                Some(value) if key.is_record() => self.left.push((key, value)),
                value => dirty.insert(key, value),
            }
        }
    }

    fn next(&mut self) -> Option<Item> {
        loop {
            let (key, value) = self.left.pop()?;
            if !self.told.remove(&key) {
                return Some((key, Some(value)));
            }
        }
    }
}

/// How far a realm is followed.
#[derive(Debug)]
pub(super) struct Following {
    /// While all of it is being told: what was mentioned.
    pub mentioned: Option<Keys>,
    /// Its master is none any more, and has said that this was all.
    pub concluded: bool,
}

impl Realm {
    /// This node becomes its master: a claim above all others.
    pub fn claim(&mut self, now: Duration, boot: u64) {
        if !self.master {
            let following = self.following.take().filter(|it| it.mentioned.is_none());
            self.before = following.map(|it| Before { epoch: self.epoch, since: now, concluded: it.concluded });
        }
        self.epoch = self.epoch.max(self.highest).saturating_add(1);
        (self.highest, self.owner) = (self.epoch, boot);
        self.master = true;
        self.following = None;
        self.tell_anew(Telling::Due);
    }

    /// This node is no longer its master. What waits to be told is told for a while yet: of a planned hand-over it is the last
    /// moment.
    pub fn leave(&mut self) {
        (self.master, self.before) = (false, None);
        match self.telling {
            Telling::Live => self.telling = Telling::LastWords { epoch: self.epoch, claimed: None, concluded: false },
            // Half of it is of no use to anybody.
            Telling::No
            | Telling::Due
            | Telling::Asked
            | Telling::Bulk(_)
            | Telling::LastWords { .. }
            | Telling::Refused { .. } => self.tell_anew(Telling::No),
        }
    }

    /// More items of all that is told, as they are now.
    pub fn gathered(&mut self, items: Vec<(Key, Value)>, more: bool) {
        let Telling::Bulk(bulk) = &mut self.telling else { return };
        bulk.more = more;
        let mut left = Vec::with_capacity(items.len() + bulk.left.len());
        for (key, value) in items {
            // What waits to be told of it is older than this.
            let Some(value) = self.dirty.replace(&key, value) else { continue };
            // And so is what was told of it.
            bulk.told.remove(&key);
            left.push((key, value));
        }
        // In front of what is left: what explains records is told before them.
        left.append(&mut bulk.left);
        bulk.left = left;
        if !more && self.before.is_some() {
            // The other forgets what it does not hear of before the end, also of that which it has said itself.
            bulk.take_records(&mut self.dirty);
        }
    }

    /// Whether more is to be gathered, and whether it is time for it: not before the master before this one has said all. What is known here of
    /// a flow may be older than what it is about to say, and would take the place of that there, while packets of the flow still come to it.
    pub fn gathers(&self, now: Duration) -> Option<bool> {
        match &self.telling {
            Telling::Bulk(bulk) => bulk.more.then_some(bulk.left.len() < FEW && !self.awaits_last_words(now)),
            _ => None,
        }
    }

    /// Begins anew with telling.
    pub fn tell_anew(&mut self, telling: Telling) {
        self.telling = telling;
        self.dirty.clear();
    }

    /// Whether changes are worth noting: else all is going to be told anyway, or nothing.
    pub fn notes_changes(&self) -> bool {
        match self.telling {
            Telling::Bulk(_) | Telling::Live | Telling::LastWords { .. } => true,
            Telling::No | Telling::Due | Telling::Asked | Telling::Refused { .. } => false,
        }
    }

    /// Whether a walk over the tables is to find such changes: not what another, who is master by now, has told us. Until we have said all that
    /// is next to nothing, and packets that came a moment ago are still to be told of.
    pub fn walks_for_changes(&self) -> bool {
        let has_more_to_say = matches!(self.telling, Telling::LastWords { concluded: false, .. });
        self.notes_changes() && (self.following.is_none() || has_more_to_say)
    }

    /// The claim under which it is told.
    pub fn told_under(&self) -> u64 {
        if let Telling::LastWords { epoch, .. } = self.telling { epoch } else { self.epoch }
    }

    /// Another has claimed it, and this node follows.
    pub fn is_claimed(&mut self, now: Duration) {
        if !matches!(self.telling, Telling::LastWords { .. }) {
            self.tell_anew(Telling::No);
        }
        self.is_elsewhere(now, self.epoch);
    }

    /// The other node says that it is master, under this claim.
    pub fn is_elsewhere(&mut self, now: Duration, claim: u64) {
        if let Telling::LastWords { epoch, claimed, .. } = &mut self.telling
            && claim > *epoch
        {
            claimed.get_or_insert(now);
        }
    }

    /// We are not its master any more, and nobody waits for what we had still to say.
    pub fn is_over(&self, now: Duration) -> bool {
        matches!(self.telling, Telling::LastWords { claimed: Some(claimed), .. } if claimed + LAST_WORDS <= now)
    }

    /// Whether records of the peer's may be under way that a packet of a client's could come before: of a realm that this node
    /// follows, should it take over now; of one that it is master of, until the other has said that this was all.
    pub fn awaits_records(&self, now: Duration) -> bool {
        match (self.master, &self.following) {
            (true, _) => self.awaits_last_words(now),
            (false, Some(following)) => following.mentioned.is_none() && !following.concluded,
            (false, None) => false,
        }
    }

    /// Whether the master before this one has still something to say, as far as that is waited for.
    fn awaits_last_words(&self, now: Duration) -> bool {
        self.before.is_some_and(|before| !before.concluded && before.takes(now))
    }

    /// We are not its master any more, and it is time to say that this was all that we had to say.
    pub fn concludes(&mut self, now: Duration) -> bool {
        let is_empty = self.dirty.is_empty();
        let Telling::LastWords { claimed: Some(claimed), concluded, .. } = &mut self.telling else { return false };
        let is_time = !*concluded && is_empty && now >= *claimed + LAST_BEGINNING;
        *concluded |= is_time;
        is_time
    }

    /// Items that are to be told still.
    pub fn untold(&self) -> usize {
        let bulk = if let Telling::Bulk(bulk) = &self.telling { bulk.left.len() } else { 0 };
        bulk + self.dirty.len()
    }

    /// The next items to tell, about so many octets. While all of it is told, half of them are for what has changed meanwhile: who
    /// dies in the middle of a million old records has told the newest.
    pub fn next_items(&mut self, octets: usize) -> Vec<Item> {
        let mut items = Vec::new();
        let mut sum = 0;
        while sum < octets && items.len() < usize::from(u16::MAX) {
            let next = match &mut self.telling {
                Telling::Bulk(bulk) if bulk.is_at_flows() && sum < bulk.share_of_changes(octets) => {
                    match self.dirty.pop() {
                        Some((key, value)) => {
                            bulk.told.insert(key.clone());
                            Some((key, value))
                        }
                        None => bulk.next(),
                    }
                }
                Telling::Bulk(bulk) => bulk.next(),
                Telling::Live | Telling::LastWords { .. } => self.dirty.pop(),
                Telling::No | Telling::Due | Telling::Asked | Telling::Refused { .. } => None,
            };
            let Some((key, value)) = next else { break };
            sum += weight(value.as_ref());
            items.push((key, value));
        }
        items
    }

    /// Whether all of it has been told by the node that claims it, in this session.
    pub fn is_followed(&self) -> bool {
        self.following.as_ref().is_some_and(|following| following.mentioned.is_none())
    }
}

/// Octets that an item takes, about.
fn weight(value: Option<&Value>) -> usize {
    48 + match value {
        Some(Value::Backends(backends)) => backends.iter().map(|backend| 8 + backend.identity.len()).sum(),
        Some(Value::Slots(notes)) => 14 * notes.len(),
        Some(Value::Table(_) | Value::Flow(_) | Value::Client(..)) | None => 0,
        Some(Value::Translation(_)) => 16,
    }
}
