//! Greeting and sealing: that the other end has the key, and that every frame is of this session and in its place.
//!
//! ```text
//! greeting: magic "FWEX", version, 1 opener or 2 answerer, boot (u64), random number (16),
//!           name, last 16 octets: HMAC-SHA256 under the key of all before, and of the opener's greeting in an answer
//! frame:    payload, last 16 octets: HMAC-SHA256 under the session's key of that direction of a counter (u64) and the payload
//! ```
//!
//! The keys of a session are HMACs of both greetings, so a recording of either side's frames fits no other session. On the stream each
//! has its length in front (u32).

use std::sync::Arc;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::message::{self, Reader, Senseless, text};

/// Octets of a greeting at most.
pub const LARGEST_GREETING: usize = 4 + 2 + 8 + 16 + 1 + 255 + TAG;
/// Octets of a frame at most.
pub const LARGEST_FRAME: usize = message::LARGEST + TAG;

const MAGIC: [u8; 4] = *b"FWEX";
/// Of this protocol. A node of another is refused.
pub const VERSION: u8 = 1;
const OPENER: u8 = 1;
const ANSWERER: u8 = 2;
const TAG: usize = 16;

type Code = Hmac<Sha256>;

/// Why an end was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Too short, too long, or its parts do not fill it.
    Length,
    /// Something else's connection.
    Magic,
    /// Another version of this protocol.
    Version,
    /// Not written with our key, altered, or of another session.
    Authentication,
    /// One of our own came back.
    Reflection,
    /// Written with our key, and yet senseless.
    Content,
}

impl Refusal {
    /// As metrics and JSON call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Magic => "magic",
            Self::Version => "version",
            Self::Authentication => "authentication",
            Self::Reflection => "reflection",
            Self::Content => "content",
        }
    }
}

impl From<Senseless> for Refusal {
    fn from(Senseless: Senseless) -> Self {
        Self::Content
    }
}

/// Who greets: this run of the daemon and its node's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Drawn at process start.
    pub boot: u64,
    /// The node's name.
    pub node: Arc<str>,
}

/// The opener's greeting, with a random number that was never used.
pub fn open(key: &[u8], who: &Who, random: [u8; 16]) -> Vec<u8> {
    greeting(key, OPENER, who, random, &[])
}

/// The answer to an opener's greeting: who that is, the octets to send, and the session.
///
/// # Errors
/// When it is not to be believed; nothing is to be answered then.
pub fn answer(key: &[u8], who: &Who, random: [u8; 16], opening: &[u8]) -> Result<(Who, Vec<u8>, Session), Refusal> {
    let peer = read(key, OPENER, who, opening, &[])?;
    let answer = greeting(key, ANSWERER, who, random, opening);
    let session = Session::new(key, opening, &answer, false);
    Ok((peer, answer, session))
}

/// What an answer to our greeting says: who that is, and the session.
///
/// # Errors
/// When it is not to be believed.
pub fn conclude(key: &[u8], who: &Who, opening: &[u8], answer: &[u8]) -> Result<(Who, Session), Refusal> {
    let peer = read(key, ANSWERER, who, answer, opening)?;
    Ok((peer, Session::new(key, opening, answer, true)))
}

fn greeting(key: &[u8], role: u8, who: &Who, random: [u8; 16], before: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend([VERSION, role]);
    out.extend(who.boot.to_be_bytes());
    out.extend(random);
    text(&mut out, &who.node);
    let tag = code(key).chain_update(&out).chain_update(before).finalize().into_bytes();
    out.extend(&tag[..TAG]);
    out
}

fn read(key: &[u8], role: u8, own: &Who, octets: &[u8], before: &[u8]) -> Result<Who, Refusal> {
    if octets.len() < 4 + 2 + 8 + 16 + 1 + TAG || octets.len() > LARGEST_GREETING {
        return Err(Refusal::Length);
    }
    if octets[..4] != MAGIC {
        return Err(Refusal::Magic);
    }
    if octets[4] != VERSION {
        return Err(Refusal::Version);
    }
    let (said, tag) = octets.split_at(octets.len() - TAG);
    let computed = code(key).chain_update(said).chain_update(before);
    computed.verify_truncated_left(tag).map_err(|_| Refusal::Authentication)?;
    let mut reader = Reader(&said[5..]);
    let (its_role, boot, _) = (reader.octet()?, u64::from_be_bytes(reader.array()?), reader.array::<16>()?);
    let node = reader.text()?;
    if !reader.0.is_empty() {
        return Err(Refusal::Length);
    }
    match boot == own.boot || its_role != role {
        true => Err(Refusal::Reflection),
        false => Ok(Who { boot, node }),
    }
}

/// One end of a session.
pub struct Session {
    /// Seals what this end says.
    pub seal: Seal,
    /// Opens what the other end says.
    pub unseal: Unseal,
}

impl Session {
    fn new(key: &[u8], opening: &[u8], answer: &[u8], is_opener: bool) -> Self {
        let of = |role: u8| {
            let derived = code(key).chain_update(b"fairway exchange").chain_update([role]);
            let derived = derived.chain_update(opening).chain_update(answer).finalize().into_bytes();
            code(&derived)
        };
        let (said, heard) = if is_opener { (OPENER, ANSWERER) } else { (ANSWERER, OPENER) };
        Self { seal: Seal { code: of(said), count: 0 }, unseal: Unseal { code: of(heard), count: 0 } }
    }
}

/// See [`Session`].
pub struct Seal {
    code: Code,
    count: u64,
}

impl Seal {
    /// The frame of a payload.
    pub fn seal(&mut self, mut payload: Vec<u8>) -> Vec<u8> {
        self.count += 1;
        let tag = self.code.clone().chain_update(self.count.to_be_bytes()).chain_update(&payload);
        payload.extend(&tag.finalize().into_bytes()[..TAG]);
        payload
    }
}

/// See [`Session`].
pub struct Unseal {
    code: Code,
    count: u64,
}

impl Unseal {
    /// The payload of the next frame.
    ///
    /// # Errors
    /// When it is not this session's next frame: the session is over.
    pub fn open<'a>(&mut self, frame: &'a [u8]) -> Result<&'a [u8], Refusal> {
        if frame.len() < TAG || frame.len() > LARGEST_FRAME {
            return Err(Refusal::Length);
        }
        self.count += 1;
        let (payload, tag) = frame.split_at(frame.len() - TAG);
        let computed = self.code.clone().chain_update(self.count.to_be_bytes()).chain_update(payload);
        computed.verify_truncated_left(tag).map_err(|_| Refusal::Authentication)?;
        Ok(payload)
    }
}

fn code(key: &[u8]) -> Code {
    Code::new_from_slice(key).expect("HMAC takes keys of every length")
}
