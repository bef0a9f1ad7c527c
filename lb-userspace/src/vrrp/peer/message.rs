//! A heartbeat on the wire. All numbers big-endian:
//!
//! ```text
//!  0 magic "FWHB"                      32 heartbeat interval of the sender, microseconds (u32)
//!  4 version = 1                       36 generation of the sender's list of routers (u32)
//!  5 flags: 1 hears you on this path,  40 routers in that list (u16)
//!           2 hears you on any         42 length of the node's name, the name
//!  6 sender's number of the path          then the reports: length of the name, the name,
//!  7 reports in this datagram             state | 4 ready | 8 resigned, effective priority,
//!  8 boot of the sender (u64)             interval in centiseconds (u16)
//! 16 boot of the receiver, as heard       last 16 octets: HMAC-SHA256 of all before, truncated
//! 24 number of this datagram (u64)
//! ```
//!
//! Whether a datagram is *fresh* is [`PeerLink`](super::PeerLink)'s to say; here is only what it says and that a holder of
//! the key wrote it.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::RouterReport;
use crate::vrrp::view::State;

/// Octets of a datagram at most: below the least MTU of IPv6 with room for a tunnel's headers.
pub(super) const LARGEST: usize = 1_200;

/// Octets of the HMAC that are sent (RFC 2104 section 5: at least half).
const TAG: usize = 16;

const MAGIC: [u8; 4] = *b"FWHB";
const VERSION: u8 = 1;
const FIXED: usize = 43;
const HEARS_PATH: u8 = 1;
const HEARS_ANY: u8 = 2;
const STATE: u8 = 3;
const READY: u8 = 4;
const RESIGNED: u8 = 8;
/// Octets of a report besides its name.
const REPORT: usize = 5;

/// Why a datagram was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Not from one of the peer's addresses.
    Source,
    /// Too short, too long, or its parts do not fill it.
    Length,
    /// Something else's datagram.
    Magic,
    /// Another version of this protocol.
    Version,
    /// Not written with our key, or altered.
    Authentication,
    /// One of our own came back.
    Reflection,
    /// It does not answer our present boot. One or two are usual when either side starts.
    Session,
    /// Seen before, older than one seen before, or of a past life of the peer.
    Replay,
    /// Written with our key, and yet senseless: a report with an unknown form.
    Content,
}

impl Refusal {
    /// As metrics and JSON call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Length => "length",
            Self::Magic => "magic",
            Self::Version => "version",
            Self::Authentication => "authentication",
            Self::Reflection => "reflection",
            Self::Session => "session",
            Self::Replay => "replay",
            Self::Content => "content",
        }
    }
}

/// The key, ready for use. Its `Debug` form does not show it.
pub(super) type Key = Hmac<Sha256>;

/// A key of any length, ready for use.
pub(super) fn prepare(key: &[u8]) -> Key {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}

/// What a datagram says before its reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub hears_path: bool,
    pub hears_any: bool,
    pub path: u8,
    pub boot: u64,
    pub echo: u64,
    pub number: u64,
    pub heartbeat: Duration,
    pub generation: u32,
    pub total: u16,
    pub node: Arc<str>,
}

impl Header {
    /// Octets left for reports.
    pub fn room(node: &str) -> usize {
        LARGEST - FIXED - TAG - node.len()
    }
}

/// Octets that a report takes.
pub(super) fn size(report: &RouterReport) -> usize {
    REPORT + report.name.len()
}

/// The datagram. The caller keeps the reports within [`Header::room`] and names within 255 octets.
pub(super) fn encode(key: &Key, header: &Header, reports: &[RouterReport]) -> Vec<u8> {
    let mut out = Vec::with_capacity(LARGEST);
    out.extend(MAGIC);
    out.push(VERSION);
    out.push(bit(header.hears_path, HEARS_PATH) | bit(header.hears_any, HEARS_ANY));
    out.push(header.path);
    out.push(reports.len() as u8);
    out.extend(header.boot.to_be_bytes());
    out.extend(header.echo.to_be_bytes());
    out.extend(header.number.to_be_bytes());
    out.extend(u32::try_from(header.heartbeat.as_micros()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(header.generation.to_be_bytes());
    out.extend(header.total.to_be_bytes());
    text(&mut out, &header.node);
    for report in reports {
        text(&mut out, &report.name);
        out.push(state_code(report.state) | bit(report.ready, READY) | bit(report.resigned, RESIGNED));
        out.push(report.effective_priority);
        out.extend(u16::try_from(report.interval.as_millis() / 10).unwrap_or(u16::MAX).to_be_bytes());
    }
    let tag = key.clone().chain_update(&out).finalize().into_bytes();
    out.extend(&tag[..TAG]);
    out
}

/// What a datagram says, if a holder of the key wrote it. Cheap tests come first; the comparison of the tag takes the same
/// time wherever it differs.
pub(super) fn decode(key: &Key, octets: &[u8]) -> Result<(Header, Vec<RouterReport>), Refusal> {
    if octets.len() < FIXED + TAG || octets.len() > LARGEST {
        return Err(Refusal::Length);
    }
    if octets[..4] != MAGIC {
        return Err(Refusal::Magic);
    }
    if octets[4] != VERSION {
        return Err(Refusal::Version);
    }
    let (said, tag) = octets.split_at(octets.len() - TAG);
    key.clone().chain_update(said).verify_truncated_left(tag).map_err(|_| Refusal::Authentication)?;
    parse(Reader(&said[5..]))
}

fn parse(mut reader: Reader<'_>) -> Result<(Header, Vec<RouterReport>), Refusal> {
    let flags = reader.octet()?;
    let path = reader.octet()?;
    let count = reader.octet()?;
    let header = Header {
        hears_path: flags & HEARS_PATH != 0,
        hears_any: flags & HEARS_ANY != 0,
        path,
        boot: u64::from_be_bytes(reader.array()?),
        echo: u64::from_be_bytes(reader.array()?),
        number: u64::from_be_bytes(reader.array()?),
        heartbeat: Duration::from_micros(u32::from_be_bytes(reader.array()?).into()),
        generation: u32::from_be_bytes(reader.array()?),
        total: u16::from_be_bytes(reader.array()?),
        node: reader.text()?,
    };
    let reports = (0..count).map(|_| report(&mut reader)).collect::<Result<_, _>>()?;
    if reader.0.is_empty() { Ok((header, reports)) } else { Err(Refusal::Length) }
}

fn report(reader: &mut Reader<'_>) -> Result<RouterReport, Refusal> {
    let name = reader.text()?;
    let flags = reader.octet()?;
    if flags & !(STATE | READY | RESIGNED) != 0 {
        return Err(Refusal::Content);
    }
    Ok(RouterReport {
        name,
        state: state_of(flags & STATE),
        ready: flags & READY != 0,
        resigned: flags & RESIGNED != 0,
        effective_priority: reader.octet()?,
        interval: Duration::from_millis(u64::from(u16::from_be_bytes(reader.array()?)) * 10),
    })
}

fn state_code(state: State) -> u8 {
    match state {
        State::Init => 0,
        State::Backup => 1,
        State::Master => 2,
        State::Fault => 3,
    }
}

fn state_of(two_bits: u8) -> State {
    match two_bits {
        0 => State::Init,
        1 => State::Backup,
        2 => State::Master,
        _ => State::Fault,
    }
}

fn bit(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(text.len() as u8);
    out.extend(text.as_bytes());
}

/// Takes from the front; what is missing is [`Refusal::Length`].
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, octets: usize) -> Result<&'a [u8], Refusal> {
        let (taken, rest) = self.0.split_at_checked(octets).ok_or(Refusal::Length)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        Ok(self.take(N)?.try_into().expect("as many as were taken"))
    }

    fn octet(&mut self) -> Result<u8, Refusal> {
        Ok(self.take(1)?[0])
    }

    fn text(&mut self) -> Result<Arc<str>, Refusal> {
        let octets = self.octet()?;
        std::str::from_utf8(self.take(octets.into())?).map(Arc::from).map_err(|_| Refusal::Content)
    }
}
