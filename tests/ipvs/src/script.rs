//! The language of the files in `tests/data/ipvs`. A line is a step; what follows `->` is what IPVS answered, written by the
//! recorder. `#` begins a comment line.
//!
//! | step | does |
//! |---|---|
//! | `scheduler NAME [FLAG…]` | the service, first of all; flags as `ipvsadm -b` has them |
//! | `sysctl NAME VALUE` | sets one of `/proc/sys/net/ipv4/vs` |
//! | `add BACKEND weight N [upper N] [lower N]` | adds a backend |
//! | `edit BACKEND weight N [upper N] [lower N]` | changes it |
//! | `remove BACKEND` | removes it; its connections go on |
//! | `open IDS [from ADDRESS[+]] [to ADDRESS[+]] -> BACKEND…` | TCP connections are opened; `+`: each by an address of its own |
//! | `send IDS [from …] [to …] -> BACKEND…` | UDP flows begin |
//! | `close IDS` | the client sends FIN: a connection counts as inactive, unless its backend was removed |
//! | `end IDS` | connections are forgotten, but for UDP flows to a backend that was removed |
//! | `wait SECONDS` | time passes |
//! | `counts -> BACKEND ACTIVE+INACTIVE…` | the connections of each backend |
//!
//! IDS is a number or a range, `7` or `1..6`, both ends included. `none` stands for a connection that nobody got.

use std::fmt::{self, Display, Write as _};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::str::SplitWhitespace;

use anyhow::{Context, Result, bail};

/// Where connections go unless a step says otherwise.
pub const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// Where they come from.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script(pub Vec<Line>);

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A comment, or an empty line.
    Comment(String),
    /// A step, and what IPVS answered to it: one word a connection, or the counts.
    Step(Step, Vec<String>),
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Makes the service.
    Scheduler {
        /// As IPVS calls it.
        name: String,
        /// As `ipvsadm -b` calls them.
        flags: Vec<String>,
    },
    /// Sets a variable of IPVS.
    Sysctl {
        /// The file in `/proc/sys/net/ipv4/vs`.
        name: String,
        /// What is written there.
        value: u32,
    },
    /// Adds a backend.
    Add(Backend),
    /// Changes one.
    Edit(Backend),
    /// Removes one.
    Remove(String),
    /// Opens TCP connections.
    Open(Flows),
    /// Begins UDP flows.
    Send(Flows),
    /// Half-closes connections.
    Close(RangeInclusive<u16>),
    /// Connections are forgotten.
    End(RangeInclusive<u16>),
    /// Seconds pass.
    Wait(u64),
    /// Says how many connections there are.
    Counts,
}

/// A backend's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its name, a letter.
    pub name: String,
    /// Its weight.
    pub weight: u32,
    /// Its upper threshold; 0 = none.
    pub upper: u32,
    /// Its lower threshold; 0 = none.
    pub lower: u32,
}

/// Several flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flows {
    /// What later steps call them.
    pub ids: RangeInclusive<u16>,
    /// Their clients.
    pub from: Addresses,
    /// Their service.
    pub to: Addresses,
}

/// One address for all, or one for each from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    first: Ipv4Addr,
    is_each: bool,
}

impl Flows {
    /// Each flow's number, client and service.
    pub fn iter(&self) -> impl Iterator<Item = (u16, Ipv4Addr, Ipv4Addr)> {
        self.ids.clone().zip(0..).map(|(id, nth)| (id, self.from.nth(nth), self.to.nth(nth)))
    }
}

impl Addresses {
    fn nth(self, nth: u32) -> Ipv4Addr {
        if self.is_each { Ipv4Addr::from(u32::from(self.first) + nth) } else { self.first }
    }
}

impl Script {
    /// Reads a file.
    pub fn parse(text: &str) -> Result<Self> {
        let numbered = text.lines().zip(1..);
        let lines = numbered.map(|(line, number)| Line::parse(line).with_context(|| format!("line {number}: {line}")));
        lines.collect::<Result<_>>().map(Self)
    }

    /// The steps with what was recorded, and the numbers of their lines.
    pub fn steps(&self) -> impl Iterator<Item = (usize, &Step, &[String])> {
        self.0.iter().zip(1..).filter_map(|(line, number)| match line {
            Line::Comment(_) => None,
            Line::Step(step, answer) => Some((number, step, answer.as_slice())),
        })
    }
}

impl Line {
    fn parse(line: &str) -> Result<Self> {
        if line.trim().is_empty() || line.starts_with('#') {
            return Ok(Self::Comment(line.to_owned()));
        }
        let (step, answer) = line.split_once("->").unwrap_or((line, ""));
        Ok(Self::Step(Step::parse(step)?, answer.split_whitespace().map(str::to_owned).collect()))
    }
}

impl Step {
    fn parse(text: &str) -> Result<Self> {
        let mut words = Words(text.split_whitespace());
        let step = match words.next()? {
            "scheduler" => {
                Self::Scheduler { name: words.name()?, flags: words.0.by_ref().map(str::to_owned).collect() }
            }
            "sysctl" => Self::Sysctl { name: words.name()?, value: words.number()? },
            "add" => Self::Add(words.backend()?),
            "edit" => Self::Edit(words.backend()?),
            "remove" => Self::Remove(words.name()?),
            "open" => Self::Open(words.flows()?),
            "send" => Self::Send(words.flows()?),
            "close" => Self::Close(words.ids()?),
            "end" => Self::End(words.ids()?),
            "wait" => Self::Wait(words.number()?.into()),
            "counts" => Self::Counts,
            other => bail!("there is no step `{other}`"),
        };
        match words.0.next() {
            Some(word) => bail!("`{word}` is too much"),
            None => Ok(step),
        }
    }
}

struct Words<'a>(SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<&'a str> {
        self.0.next().context("a word is missing")
    }

    fn name(&mut self) -> Result<String> {
        self.next().map(str::to_owned)
    }

    fn number(&mut self) -> Result<u32> {
        let word = self.next()?;
        word.parse().with_context(|| format!("`{word}` is no number"))
    }

    fn backend(&mut self) -> Result<Backend> {
        let mut backend = Backend { name: self.name()?, weight: 1, upper: 0, lower: 0 };
        while let Some(word) = self.0.next() {
            match word {
                "weight" => backend.weight = self.number()?,
                "upper" => backend.upper = self.number()?,
                "lower" => backend.lower = self.number()?,
                other => bail!("a backend has no `{other}`"),
            }
        }
        Ok(backend)
    }

    fn ids(&mut self) -> Result<RangeInclusive<u16>> {
        let word = self.next()?;
        let (first, last) = word.split_once("..").unwrap_or((word, word));
        Ok(first.parse()?..=last.parse()?)
    }

    fn flows(&mut self) -> Result<Flows> {
        let one = |first| Addresses { first, is_each: false };
        let mut flows = Flows { ids: self.ids()?, from: one(CLIENT), to: one(SERVICE) };
        while let Some(word) = self.0.next() {
            match word {
                "from" => flows.from = self.addresses()?,
                "to" => flows.to = self.addresses()?,
                other => bail!("flows have no `{other}`"),
            }
        }
        Ok(flows)
    }

    fn addresses(&mut self) -> Result<Addresses> {
        let word = self.next()?;
        let first = word.strip_suffix('+').unwrap_or(word);
        Ok(Addresses {
            first: first.parse().with_context(|| format!("`{first}` is no address"))?,
            is_each: first != word,
        })
    }
}

impl Display for Script {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(formatter, "{line}"))
    }
}

impl Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Comment(text) => write!(formatter, "{text}"),
            Self::Step(step, answer) if answer.is_empty() => write!(formatter, "{step}"),
            Self::Step(step, answer) => write!(formatter, "{step} -> {}", answer.join(" ")),
        }
    }
}

impl Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheduler { name, flags } => {
                write!(formatter, "scheduler {name}")?;
                flags.iter().try_for_each(|flag| write!(formatter, " {flag}"))
            }
            Self::Sysctl { name, value } => write!(formatter, "sysctl {name} {value}"),
            Self::Add(backend) => write!(formatter, "add {backend}"),
            Self::Edit(backend) => write!(formatter, "edit {backend}"),
            Self::Remove(name) => write!(formatter, "remove {name}"),
            Self::Open(flows) => write!(formatter, "open {flows}"),
            Self::Send(flows) => write!(formatter, "send {flows}"),
            Self::Close(ids) => write!(formatter, "close {}", Ids(ids)),
            Self::End(ids) => write!(formatter, "end {}", Ids(ids)),
            Self::Wait(seconds) => write!(formatter, "wait {seconds}"),
            Self::Counts => write!(formatter, "counts"),
        }
    }
}

impl Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} weight {}", self.name, self.weight)?;
        for (name, value) in [("upper", self.upper), ("lower", self.lower)] {
            if value != 0 {
                write!(formatter, " {name} {value}")?;
            }
        }
        Ok(())
    }
}

impl Display for Flows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", Ids(&self.ids))?;
        for (word, addresses, usual) in [("from", self.from, CLIENT), ("to", self.to, SERVICE)] {
            if addresses != (Addresses { first: usual, is_each: false }) {
                write!(formatter, " {word} {addresses}")?;
            }
        }
        Ok(())
    }
}

impl Display for Addresses {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.first)?;
        if self.is_each { formatter.write_char('+') } else { Ok(()) }
    }
}

struct Ids<'a>(&'a RangeInclusive<u16>);

impl Display for Ids<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.start(), self.0.end()) {
            (first, last) if first == last => write!(formatter, "{first}"),
            (first, last) => write!(formatter, "{first}..{last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Everything there is.\n\nscheduler mh mh-port\nsysctl lblcr_expiration 60\nadd a weight 3\n\
                        add b weight 1 upper 4 lower 2\nopen 1..3 -> a none b\nopen 4 from 10.1.0.9 -> a\n\
                        send 5..6 from 10.1.0.1+ to 10.9.0.2+ -> b b\nedit a weight 0\nclose 1..2\nend 3\nwait 60\n\
                        remove b\ncounts -> a 1+1\n";

    #[test]
    fn a_script_is_written_as_it_was_read() {
        assert_eq!(Script::parse(TEXT).unwrap().to_string(), TEXT);
    }

    #[test]
    fn each_flow_has_its_own_address_where_it_says_so() {
        let script = Script::parse("open 7..8 from 10.1.0.255+").unwrap();
        let Some((_, Step::Open(flows), _)) = script.steps().next() else { panic!("{script:?}") };
        let all: Vec<_> = flows.iter().map(|(id, from, to)| (id, from.to_string(), to)).collect();
        assert_eq!(all, [(7, "10.1.0.255".to_owned(), SERVICE), (8, "10.1.1.0".to_owned(), SERVICE)]);
    }

    #[test]
    fn what_is_not_understood_is_named_with_its_line() {
        for (text, complaint) in [
            ("\nadd", "line 2: add: a word is missing"),
            ("opne 1", "line 1: opne 1: there is no step `opne`"),
            ("wait soon", "line 1: wait soon: `soon` is no number"),
            ("remove a b", "line 1: remove a b: `b` is too much"),
            ("add a colour 7", "line 1: add a colour 7: a backend has no `colour`"),
        ] {
            let error = format!("{:#}", Script::parse(text).unwrap_err());
            assert!(error.starts_with(complaint), "{error}");
        }
    }
}
