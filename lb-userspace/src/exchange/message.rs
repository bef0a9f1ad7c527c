//! What two nodes say to each other, and how it lies in a frame. All numbers big-endian; texts have their length in front.
//!
//! ```text
//! message: number (u64), teller's time (u64), kind, then by kind
//!   1 stand   configuration hash, count (u16), each: realm, master?, epoch (u64)
//!   2 begin   realm, epoch (u64)
//!   3 items   realm, epoch (u64), count (u16), the items
//!   4 end     realm, epoch (u64)
//!   5 words   count (u16), the words
//! answer:  highest number that was taken (u64), count (u16), each: realm, master?, epoch (u64)
//! ```

use std::sync::Arc;

use super::item::{self, Key, Value};
use super::word::{self, Word};

/// Realms that one side can speak of; more virtual routers are not configurable.
pub const MOST_REALMS: usize = 1_024;
/// Octets of items in a message, about.
pub const ITEM_OCTETS: usize = 48 * 1024;
/// Octets of a message at most: the items, and one of the largest more.
pub const LARGEST: usize = ITEM_OCTETS + item::LARGEST + 1024;
/// Octets that an item about a flow of IPv4 takes.
const USUAL: usize = 30;
/// Octets of a configuration hash at most.
const MOST_HASH: usize = 64;

const STAND: u8 = 1;
const BEGIN: u8 = 2;
const ITEMS: u8 = 3;
const END: u8 = 4;
const WORDS: u8 = 5;

/// What a holder of the key wrote makes no sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Senseless;

/// An item: its value, or that it is gone.
pub type Item = (Key, Option<Value>);

/// What the teller says.
#[derive(Clone, PartialEq, Debug)]
pub struct Message {
    /// Of this session, from 1 on, without gaps.
    pub number: u64,
    /// The teller's monotonic clock, in nanoseconds.
    pub now: u64,
    /// What.
    pub body: Body,
}

/// See [`Message`].
#[derive(Clone, PartialEq, Debug)]
pub enum Body {
    /// How the teller stands, also as a sign of life.
    Stand {
        /// Hash of its configuration.
        config: Arc<str>,
        /// The realms that it knows.
        realms: Vec<Stand>,
    },
    /// All of a realm follows, by a claim.
    Begin {
        /// The realm.
        realm: Arc<str>,
        /// The claim's epoch.
        epoch: u64,
    },
    /// Items that are so now.
    Items {
        /// Their realm.
        realm: Arc<str>,
        /// The claim's epoch.
        epoch: u64,
        /// In this order.
        items: Vec<Item>,
        /// Items of kinds that the reader does not know.
        unknown: u32,
    },
    /// That was all of the realm; what was not mentioned is not there.
    End {
        /// The realm.
        realm: Arc<str>,
        /// The claim's epoch.
        epoch: u64,
    },
    /// What it says besides.
    Words {
        /// In this order.
        words: Vec<Word>,
        /// Words of kinds that the reader does not know.
        unknown: u32,
    },
}

/// How a node stands to a realm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stand {
    /// The realm.
    pub realm: Arc<str>,
    /// Whether the node is its master.
    pub master: bool,
    /// The epoch of the claim that it makes, or follows.
    pub epoch: u64,
}

/// What a follower answers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// Everything up to this message was taken.
    pub taken: u64,
    /// Claims that were refused: how the follower stands to these realms.
    pub refused: Vec<Stand>,
}

impl Message {
    /// Its octets.
    pub fn encode(&self) -> Vec<u8> {
        let items = if let Body::Items { items, .. } = &self.body { items.len() } else { 0 };
        let mut out = Vec::with_capacity(64 + items * USUAL);
        out.extend(self.number.to_be_bytes());
        out.extend(self.now.to_be_bytes());
        match &self.body {
            Body::Stand { config, realms } => {
                out.push(STAND);
                text(&mut out, config);
                stands(&mut out, realms);
            }
            Body::Begin { realm, epoch } => named(&mut out, BEGIN, realm, *epoch),
            Body::End { realm, epoch } => named(&mut out, END, realm, *epoch),
            Body::Items { realm, epoch, items, .. } => {
                named(&mut out, ITEMS, realm, *epoch);
                let at = out.len();
                out.extend([0, 0]);
                let told = items.iter().filter(|(key, value)| item::encode(&mut out, key, value.as_ref())).count();
                out[at..at + 2].copy_from_slice(&(told as u16).to_be_bytes());
            }
            Body::Words { words, .. } => {
                out.push(WORDS);
                out.extend((words.len() as u16).to_be_bytes());
                words.iter().for_each(|word| word::encode(&mut out, word));
            }
        }
        out
    }

    /// What octets say.
    ///
    /// # Errors
    /// When they make no sense.
    pub fn decode(octets: &[u8]) -> Result<Self, Senseless> {
        let mut reader = Reader(octets);
        let (number, now) = (u64::from_be_bytes(reader.array()?), u64::from_be_bytes(reader.array()?));
        let body = match reader.octet()? {
            STAND => {
                let config = reader.text()?;
                if config.len() > MOST_HASH {
                    return Err(Senseless);
                }
                Body::Stand { config, realms: read_stands(&mut reader)? }
            }
            BEGIN => Body::Begin { realm: reader.text()?, epoch: u64::from_be_bytes(reader.array()?) },
            END => Body::End { realm: reader.text()?, epoch: u64::from_be_bytes(reader.array()?) },
            ITEMS => {
                let (realm, epoch) = (reader.text()?, u64::from_be_bytes(reader.array()?));
                let count = u16::from_be_bytes(reader.array()?);
                // Not so many as it says, but as there can be in what is there.
                let (mut items, mut unknown) = (Vec::with_capacity(usize::from(count).min(reader.0.len() / USUAL)), 0);
                for _ in 0..count {
                    match item::decode(&mut reader)? {
                        Some(item) => items.push(item),
                        None => unknown += 1,
                    }
                }
                Body::Items { realm, epoch, items, unknown }
            }
            WORDS => {
                let count = u16::from_be_bytes(reader.array()?);
                let (mut words, mut unknown) = (Vec::new(), 0);
                for _ in 0..count {
                    match word::decode(&mut reader)? {
                        Some(word) => words.push(word),
                        None => unknown += 1,
                    }
                }
                Body::Words { words, unknown }
            }
            _ => return Err(Senseless),
        };
        if reader.0.is_empty() { Ok(Self { number, now, body }) } else { Err(Senseless) }
    }
}

impl Answer {
    /// Its octets.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.taken.to_be_bytes().to_vec();
        stands(&mut out, &self.refused);
        out
    }

    /// What octets say.
    ///
    /// # Errors
    /// When they make no sense.
    pub fn decode(octets: &[u8]) -> Result<Self, Senseless> {
        let mut reader = Reader(octets);
        let taken = u64::from_be_bytes(reader.array()?);
        let refused = read_stands(&mut reader)?;
        if reader.0.is_empty() { Ok(Self { taken, refused }) } else { Err(Senseless) }
    }
}

fn named(out: &mut Vec<u8>, kind: u8, realm: &str, epoch: u64) {
    out.push(kind);
    text(out, realm);
    out.extend(epoch.to_be_bytes());
}

fn stands(out: &mut Vec<u8>, stands: &[Stand]) {
    out.extend((stands.len() as u16).to_be_bytes());
    for stand in stands {
        text(out, &stand.realm);
        out.push(stand.master.into());
        out.extend(stand.epoch.to_be_bytes());
    }
}

fn read_stands(reader: &mut Reader<'_>) -> Result<Vec<Stand>, Senseless> {
    let count = usize::from(u16::from_be_bytes(reader.array()?));
    if count > MOST_REALMS {
        return Err(Senseless);
    }
    let stand = |reader: &mut Reader<'_>| {
        let realm = reader.text()?;
        let master = match reader.octet()? {
            0 => false,
            1 => true,
            _ => return Err(Senseless),
        };
        Ok(Stand { realm, master, epoch: u64::from_be_bytes(reader.array()?) })
    };
    (0..count).map(|_| stand(reader)).collect()
}

/// Appends a text of at most 255 octets; a longer one is cut, which no name that is configurable is.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    let octets = &text.as_bytes()[..text.len().min(255)];
    out.push(octets.len() as u8);
    out.extend(octets);
}

/// Takes from the front.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, octets: usize) -> Result<&'a [u8], Senseless> {
        let (taken, rest) = self.0.split_at_checked(octets).ok_or(Senseless)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Senseless> {
        Ok(self.take(N)?.try_into().expect("as many as were taken"))
    }

    pub fn octet(&mut self) -> Result<u8, Senseless> {
        Ok(self.take(1)?[0])
    }

    pub fn text(&mut self) -> Result<Arc<str>, Senseless> {
        let octets = self.octet()?;
        std::str::from_utf8(self.take(octets.into())?).map(Arc::from).map_err(|_| Senseless)
    }
}
