//! Words: what a node says besides the state of what it is master of, one by one. Nobody keeps a list of what was said: who needs all
//! of a kind says all of it when a session begins. All numbers big-endian:
//!
//! ```text
//! kind, octets of what follows (u16), then by kind:
//! 1 decision  service, 1 if the packet opens its flow, flow as in an item, backend's identity
//! ```
//!
//! A reader that does not know a kind passes over it: so a later version may say more.

use super::item::{FlowId, decode_flow, encode_flow};
use super::message::{Reader, Senseless, text};
use super::rehearsal::Decision;

const DECISION: u8 = 1;

/// See the module's description.
#[derive(Clone, PartialEq, Debug)]
pub enum Word {
    /// Where a packet goes at who says it.
    Decision(Decision),
}

/// Appends a word. Names have at most 255 octets each, so its length fits its field.
pub(super) fn encode(out: &mut Vec<u8>, word: &Word) {
    let from = out.len();
    out.push(match word {
        Word::Decision(_) => DECISION,
    });
    out.extend([0, 0]);
    match word {
        Word::Decision(Decision { service, flow, opens, backend }) => {
            text(out, service);
            out.push(u8::from(*opens));
            encode_flow(out, &flow.key());
            text(out, backend);
        }
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
        _ => return Ok(None),
    };
    if inner.0.is_empty() { Ok(Some(word)) } else { Err(Senseless) }
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, Senseless> {
    match reader.octet()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Senseless),
    }
}
