//! Words: what a node says besides the state of what it is master of, one by one. Nobody keeps a list of what was said: who needs all
//! of a kind says all of it when a session begins. All numbers big-endian:
//!
//! ```text
//! kind, octets of what follows (u16), then by kind:
//! 1 decision  service, 1 if the packet opens its flow, flow as in an item, backend's identity
//! 2 intent    1, service, backend, or 2, address (16); 0, 1 drain or 2 disable; 0, or 1 and weight (u16); since (f64)
//! 3 verdict   check's hash (u64), 1 up or 2 down, kind of failure or 0, percent or 255, drain (0 unsaid, 1 no, 2 yes), why
//! ```
//!
//! A reader that does not know a kind passes over it: so a later version may say more.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::item::{FlowId, decode_flow, encode_flow};
use super::message::{Reader, Senseless, text};
use super::rehearsal::Decision;
use crate::health::pool::intent::Out;
use crate::health::pool::intent::said::{About, Said};
use crate::health::pool::memory::Opinion;
use crate::health::verdict::{AgentWish, CheckState, FailureKind, Verdict};

const DECISION: u8 = 1;
const INTENT: u8 = 2;
const VERDICT: u8 = 3;

/// See the module's description.
#[derive(Clone, PartialEq, Debug)]
pub enum Word {
    /// Where a packet goes at who says it.
    Decision(Decision),
    /// What an operator wants.
    Intent(Said),
    /// What a check says.
    Verdict(Opinion),
}

/// All that a node has to say of operators and checks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spoken {
    /// What operators said last.
    pub intents: Vec<Said>,
    /// What checks say.
    pub verdicts: Vec<Opinion>,
}

impl Spoken {
    /// What is not the same in `before`, of what there is.
    pub fn since(&self, before: &Self) -> Vec<Word> {
        let intents: BTreeMap<&About, &Said> = before.intents.iter().map(|said| (&said.about, said)).collect();
        let verdicts: BTreeMap<u64, &Verdict> = before.verdicts.iter().map(|it| (it.check, &it.verdict)).collect();
        let said = self.intents.iter().filter(|said| intents.get(&said.about) != Some(said));
        let found = self.verdicts.iter().filter(|it| verdicts.get(&it.check) != Some(&&it.verdict));
        said.cloned().map(Word::Intent).chain(found.cloned().map(Word::Verdict)).collect()
    }
}

/// Appends a word. Names have at most 255 octets each, so its length fits its field.
pub(super) fn encode(out: &mut Vec<u8>, word: &Word) {
    let from = out.len();
    out.push(match word {
        Word::Decision(_) => DECISION,
        Word::Intent(_) => INTENT,
        Word::Verdict(_) => VERDICT,
    });
    out.extend([0, 0]);
    match word {
        Word::Decision(Decision { service, flow, opens, backend }) => {
            text(out, service);
            out.push(u8::from(*opens));
            encode_flow(out, &flow.key());
            text(out, backend);
        }
        Word::Intent(said) => encode_intent(out, said),
        Word::Verdict(said) => encode_verdict(out, said),
    }
    let octets = out.len() - from - 3;
    out[from + 1..from + 3].copy_from_slice(&(octets as u16).to_be_bytes());
}

/// The next word; `None`: it is of a kind that this version does not know.
pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Option<Word>, Senseless> {
    let kind = reader.octet()?;
    let octets = u16::from_be_bytes(reader.array()?);
    let mut inner = Reader(reader.take(octets.into())?);
    let word = match kind {
        DECISION => {
            let service = inner.text()?;
            let opens = flag(&mut inner)?;
            let flow: FlowId = decode_flow(&mut inner)?;
            Word::Decision(Decision { service, flow, opens, backend: inner.text()? })
        }
        INTENT => Word::Intent(decode_intent(&mut inner)?),
        VERDICT => Word::Verdict(decode_verdict(&mut inner)?),
        _ => return Ok(None),
    };
    if inner.0.is_empty() { Ok(Some(word)) } else { Err(Senseless) }
}

fn encode_intent(out: &mut Vec<u8>, said: &Said) {
    match &said.about {
        About::Backend(service, backend) => {
            out.push(1);
            text(out, service);
            text(out, backend);
        }
        About::Address(address) => {
            out.push(2);
            let address = match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => *v6,
            };
            out.extend(address.octets());
        }
    }
    out.push(match said.out {
        None => 0,
        Some(Out::Drain) => 1,
        Some(Out::Disable) => 2,
    });
    out.push(u8::from(said.weight.is_some()));
    out.extend(said.weight.iter().flat_map(|weight| weight.to_be_bytes()));
    out.extend(said.since.to_bits().to_be_bytes());
}

fn decode_intent(reader: &mut Reader<'_>) -> Result<Said, Senseless> {
    let about = match reader.octet()? {
        1 => About::Backend(reader.text()?.to_string(), reader.text()?.to_string()),
        2 => About::Address(IpAddr::from(reader.array::<16>()?).to_canonical()),
        _ => return Err(Senseless),
    };
    let out = match reader.octet()? {
        0 => None,
        1 => Some(Out::Drain),
        2 => Some(Out::Disable),
        _ => return Err(Senseless),
    };
    let weight = if flag(reader)? { Some(u16::from_be_bytes(reader.array()?)) } else { None };
    Ok(Said { about, out, weight, since: f64::from_bits(u64::from_be_bytes(reader.array()?)) })
}

fn encode_verdict(out: &mut Vec<u8>, said: &Opinion) {
    let Verdict { state, why, failure, agent } = &said.verdict;
    out.extend(said.check.to_be_bytes());
    out.push(match state {
        CheckState::Unknown => 0,
        CheckState::Up => 1,
        CheckState::Down => 2,
    });
    let kind = |failure: &FailureKind| FailureKind::ALL.iter().position(|kind| kind == failure);
    out.push(failure.as_ref().and_then(kind).map_or(0, |at| at as u8 + 1));
    out.push(agent.percent.unwrap_or(u8::MAX));
    out.push(match agent.drain {
        None => 0,
        Some(false) => 1,
        Some(true) => 2,
    });
    text(out, &why[..why.floor_char_boundary(255)]);
}

fn decode_verdict(reader: &mut Reader<'_>) -> Result<Opinion, Senseless> {
    let check = u64::from_be_bytes(reader.array()?);
    let state = match reader.octet()? {
        0 => CheckState::Unknown,
        1 => CheckState::Up,
        2 => CheckState::Down,
        _ => return Err(Senseless),
    };
    let failure = match reader.octet()? {
        0 => None,
        kind => Some(*FailureKind::ALL.get(usize::from(kind) - 1).ok_or(Senseless)?),
    };
    let percent = Some(reader.octet()?).filter(|percent| *percent != u8::MAX);
    let drain = match reader.octet()? {
        0 => None,
        1 => Some(false),
        2 => Some(true),
        _ => return Err(Senseless),
    };
    let why = reader.text()?.to_string();
    Ok(Opinion { check, verdict: Verdict { state, why, failure, agent: AgentWish { percent, drain } } })
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, Senseless> {
    match reader.octet()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Senseless),
    }
}
