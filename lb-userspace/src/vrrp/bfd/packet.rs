//! A BFD control packet (RFC 5880 section 4.1), and those tests of section 6.8.6 that need no session.

use std::time::Duration;

/// Octets of a packet without authentication.
const LENGTH: usize = 24;

/// Octets of a packet with the shortest authentication section.
const LENGTH_AUTHENTICATED: usize = 26;

const VERSION: u8 = 1;
const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const AUTHENTICATION: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// State of a session (RFC 5880 section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BfdState {
    /// Shut down by an operator.
    AdminDown,
    /// Nothing is heard, or only that the other end hears nothing.
    Down,
    /// The other end is heard; whether it hears us is not known.
    Init,
    /// Both ends hear each other.
    Up,
}

impl BfdState {
    /// As status and JSON call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AdminDown => "admin-down",
            Self::Down => "down",
            Self::Init => "init",
            Self::Up => "up",
        }
    }
}

/// Why the state of a session last changed (RFC 5880 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Diagnostic {
    /// 0.
    None,
    /// 1: nothing was heard for the detection time.
    DetectionTimeExpired,
    /// 3: the neighbour said that its end is down.
    NeighbourSignaledDown,
    /// 7: shut down by an operator.
    AdministrativelyDown,
    /// One that we never use: echo failed (2), forwarding plane reset (4), path down (5, 6, 8), or unassigned.
    Other(u8),
}

impl Diagnostic {
    /// In words.
    pub fn about(self) -> &'static str {
        match self {
            Self::None => "no diagnostic",
            Self::DetectionTimeExpired => "nothing heard for the detection time",
            Self::NeighbourSignaledDown => "the neighbour signaled session down",
            Self::AdministrativelyDown => "administratively down",
            Self::Other(2) => "echo function failed",
            Self::Other(4) => "forwarding plane reset",
            Self::Other(5) => "path down",
            Self::Other(6) => "concatenated path down",
            Self::Other(8) => "reverse concatenated path down",
            Self::Other(_) => "unknown diagnostic",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::DetectionTimeExpired => 1,
            Self::NeighbourSignaledDown => 3,
            Self::AdministrativelyDown => 7,
            Self::Other(code) => code & 0x1f,
        }
    }

    fn of(code: u8) -> Self {
        match code {
            0 => Self::None,
            1 => Self::DetectionTimeExpired,
            3 => Self::NeighbourSignaledDown,
            7 => Self::AdministrativelyDown,
            other => Self::Other(other),
        }
    }
}

/// Why a packet was discarded (RFC 5880 section 6.8.6, RFC 5881 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Discard {
    /// TTL or hop limit is not 255: it comes from further away than one hop.
    Ttl,
    /// Not version 1.
    Version,
    /// Shorter than a packet is, or than it says.
    Length,
    /// Its detection multiplier is 0.
    Multiplier,
    /// The multipoint bit is set.
    Multipoint,
    /// Its sender names no discriminator.
    MyDiscriminator,
    /// It names no session although its state says that it knows one.
    State,
    /// Authentication is not in use.
    Authentication,
    /// There is no such session.
    Session,
    /// The session is shut down at our end.
    AdminDown,
}

impl Discard {
    /// As metrics and JSON call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ttl => "ttl",
            Self::Version => "version",
            Self::Length => "length",
            Self::Multiplier => "multiplier",
            Self::Multipoint => "multipoint",
            Self::MyDiscriminator => "my-discriminator",
            Self::State => "state",
            Self::Authentication => "authentication",
            Self::Session => "session",
            Self::AdminDown => "admin-down",
        }
    }
}

/// A control packet. Times are whole microseconds up to some 71 minutes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Why the sender's state last changed.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: BfdState,
    /// An answer is wanted at once.
    pub poll: bool,
    /// This is the answer to a poll.
    pub is_final: bool,
    /// The sender wants no periodic packets while both ends are up.
    pub demand: bool,
    /// Packets that the receiver may miss.
    pub multiplier: u8,
    /// The sender's name for the session, never 0.
    pub my_discriminator: u32,
    /// The receiver's name for the session; 0: not known yet.
    pub your_discriminator: u32,
    /// Shortest time between packets that the sender would like to send.
    pub desired_transmit: Duration,
    /// Shortest time between packets that the sender takes; 0: it wants none.
    pub required_receive: Duration,
}

impl Packet {
    /// As octets, without authentication, without the echo function.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(LENGTH);
        out.push(VERSION << 5 | self.diagnostic.code());
        let flags = [(self.poll, POLL), (self.is_final, FINAL), (self.demand, DEMAND)];
        let flags = flags.iter().filter(|(set, _)| *set).fold(0, |all, (_, bit)| all | bit);
        out.push(state_code(self.state) << 6 | flags);
        out.push(self.multiplier);
        out.push(LENGTH as u8);
        for word in [
            self.my_discriminator,
            self.your_discriminator,
            microseconds(self.desired_transmit),
            microseconds(self.required_receive),
            // Required Min Echo RX Interval: we loop nothing back.
            0,
        ] {
            out.extend(word.to_be_bytes());
        }
        out
    }

    /// Reads a UDP payload, with the tests of RFC 5880 section 6.8.6 in its order.
    ///
    /// # Errors
    ///
    /// Which of them it fails.
    pub fn decode(octets: &[u8]) -> Result<Self, Discard> {
        let (head, body) = octets.split_at_checked(4).ok_or(Discard::Length)?;
        let (flags, length) = (head[1], usize::from(head[3]));
        let is_authenticated = flags & AUTHENTICATION != 0;
        let shortest = if is_authenticated { LENGTH_AUTHENTICATED } else { LENGTH };
        let word = |at: usize| {
            body.get(at * 4..at * 4 + 4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
        };
        if head[0] >> 5 != VERSION {
            return Err(Discard::Version);
        }
        if length < shortest || length > octets.len() {
            return Err(Discard::Length);
        }
        if head[2] == 0 {
            return Err(Discard::Multiplier);
        }
        if flags & MULTIPOINT != 0 {
            return Err(Discard::Multipoint);
        }
        let [my_discriminator, your_discriminator, transmit, receive] =
            [word(0), word(1), word(2), word(3)].map(|word| word.expect("the length was tested"));
        if my_discriminator == 0 {
            return Err(Discard::MyDiscriminator);
        }
        let state = state_of(flags >> 6);
        if your_discriminator == 0 && matches!(state, BfdState::Init | BfdState::Up) {
            return Err(Discard::State);
        }
        if is_authenticated {
            return Err(Discard::Authentication);
        }
        Ok(Self {
            diagnostic: Diagnostic::of(head[0] & 0x1f),
            state,
            poll: flags & POLL != 0,
            is_final: flags & FINAL != 0,
            demand: flags & DEMAND != 0,
            multiplier: head[2],
            my_discriminator,
            your_discriminator,
            desired_transmit: Duration::from_micros(transmit.into()),
            required_receive: Duration::from_micros(receive.into()),
        })
    }
}

fn microseconds(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

fn state_code(state: BfdState) -> u8 {
    match state {
        BfdState::AdminDown => 0,
        BfdState::Down => 1,
        BfdState::Init => 2,
        BfdState::Up => 3,
    }
}

fn state_of(two_bits: u8) -> BfdState {
    match two_bits {
        0 => BfdState::AdminDown,
        1 => BfdState::Down,
        2 => BfdState::Init,
        _ => BfdState::Up,
    }
}
