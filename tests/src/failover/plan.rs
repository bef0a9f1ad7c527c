//! What is measured: which fault, in which cluster, how often.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// Rounds of each row unless `--rounds` says otherwise.
const ROUNDS: u32 = 10;
const HELP: &str = "failover [--json FILE] [--rounds N | --idle SECONDS] [--peer fairway|keepalived] [--fault FAULT] \
[--interval MS] [--variant VARIANT]; each of the last four may be repeated";

/// Whose failover is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Two Fairways.
    Fairway,
    /// Two keepalived.
    Keepalived,
}

/// What happens to the master, or for [`Fault::Return`] to the node that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: the control run.
    None,
    /// Silent loss of power: its switch port passes nothing any more, then all its processes get SIGKILL.
    PowerOff,
    /// The carrier goes.
    LinkDown,
    /// The daemon gets SIGKILL.
    Sigkill,
    /// The process that speaks VRRP gets SIGSTOP.
    Sigstop,
    /// SIGTERM.
    Stop,
    /// `fairway vrrp resign --all`.
    Resign,
    /// The better node comes back after a stop.
    Return,
    /// As [`Fault::PowerOff`], ten seconds after a backend was replaced, with connections opened before and after.
    Replaced,
    /// As [`Fault::Sigkill`], half a second after a backend was drained.
    Changed,
}

/// How a pair finds out that a node is gone, and how packets are forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Its name on the command line and in the results.
    pub name: &'static str,
    /// Heartbeats over the peer link; without, VRRP is alone.
    pub heartbeat: Option<Duration>,
    /// Whether backends' answers pass the balancer, translated.
    pub nat: bool,
    /// Whether there are services of every kind that keeps records, with ten times the connections and new ones all the time.
    pub mix: bool,
}

/// A cluster that rounds are done in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Who runs it.
    pub peer: Peer,
    /// How.
    pub variant: Variant,
    /// Between two advertisements.
    pub interval: Duration,
}

/// What the command line asks for.
#[derive(Debug)]
pub struct Plan {
    /// Where the results go besides the screen.
    pub json: Option<PathBuf>,
    /// Rounds of each row.
    pub rounds: u32,
    /// Instead of faults, nothing for so long beside busy CPUs.
    pub idle: Option<Duration>,
    peers: Vec<Peer>,
    faults: Vec<Fault>,
    intervals: Vec<Duration>,
    variants: Vec<String>,
}

impl Plan {
    /// Of the words of the command line.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut plan = Self {
            json: None,
            rounds: ROUNDS,
            idle: None,
            peers: Vec::new(),
            faults: Vec::new(),
            intervals: Vec::new(),
            variants: Vec::new(),
        };
        while let Some(option) = words.next() {
            let mut value = || words.next().with_context(|| format!("{option} needs a value"));
            match option.as_str() {
                "--json" => plan.json = Some(value()?.into()),
                "--rounds" => plan.rounds = number(&option, &value()?)?,
                "--idle" => plan.idle = Some(Duration::from_secs(number(&option, &value()?)?.into())),
                "--peer" => plan.peers.push(named(&Peer::ALL, &value()?)?),
                "--fault" => plan.faults.push(named(&Fault::ALL, &value()?)?),
                "--interval" => plan.intervals.push(Duration::from_millis(number(&option, &value()?)?.into())),
                "--variant" => plan.variants.push(named(&VARIANTS, &value()?)?.name.to_owned()),
                _ => bail!("no option {option}: {HELP}"),
            }
        }
        Ok(plan)
    }

    /// The intervals asked for, longest first.
    pub fn intervals(&self) -> Vec<Duration> {
        chosen(&self.intervals, &INTERVALS)
    }

    /// The clusters to compare at an interval.
    pub fn setups(&self, interval: Duration) -> Vec<Setup> {
        let mut setups = Vec::new();
        for peer in chosen(&self.peers, &Peer::ALL) {
            for variant in VARIANTS {
                let is_asked_for = self.variants.is_empty() || self.variants.iter().any(|name| name == variant.name);
                let setup = Setup { peer, variant, interval };
                if is_asked_for && setup.is_possible() && (setup.is_usual() || !self.variants.is_empty()) {
                    setups.push(setup);
                }
            }
        }
        setups
    }

    /// The faults to put these clusters to.
    pub fn faults(&self) -> Vec<Fault> {
        chosen(&self.faults, &Fault::ALL)
    }
}

/// Those asked for, or all.
fn chosen<T: Copy>(asked: &[T], all: &[T]) -> Vec<T> {
    if asked.is_empty() { all.to_vec() } else { asked.to_vec() }
}

const INTERVALS: [Duration; 3] = [Duration::from_secs(1), Duration::from_millis(100), Duration::from_millis(10)];

const VARIANTS: [Variant; 6] = [
    Variant { name: "vrrp", heartbeat: None, nat: false, mix: false },
    Variant { name: "peer-50ms", heartbeat: Some(Duration::from_millis(50)), nat: false, mix: false },
    Variant { name: "peer-10ms", heartbeat: Some(Duration::from_millis(10)), nat: false, mix: false },
    Variant { name: "vrrp-nat", heartbeat: None, nat: true, mix: false },
    Variant { name: "peer-50ms-nat", heartbeat: Some(Duration::from_millis(50)), nat: true, mix: false },
    Variant { name: "mix", heartbeat: Some(Duration::from_millis(10)), nat: false, mix: true },
];

impl Setup {
    /// Whether there is such a cluster: keepalived has neither a peer link nor, here, a data path.
    fn is_possible(&self) -> bool {
        self.peer == Peer::Fairway || self.variant.name == "vrrp"
    }

    /// Whether it is measured without being asked for: a peer link is for those who leave the interval alone, and many connections
    /// are another question than short gaps.
    fn is_usual(&self) -> bool {
        let is_short = self.variant.heartbeat.is_none() && !self.variant.nat || self.interval == INTERVALS[0];
        is_short && !self.variant.mix
    }

    /// Whether backends' answers pass the balancer, of some service at least: then it must forward as routers do.
    pub fn translates(&self) -> bool {
        self.variant.nat || self.variant.mix
    }

    /// Whether it can be put to that fault.
    pub fn allows(&self, fault: Fault) -> bool {
        self.peer == Peer::Fairway || !matches!(fault, Fault::Resign | Fault::Replaced | Fault::Changed)
    }
}

impl Peer {
    const ALL: [Self; 2] = [Self::Keepalived, Self::Fairway];
}

impl Fault {
    const ALL: [Self; 10] = [
        Self::None,
        Self::PowerOff,
        Self::LinkDown,
        Self::Sigkill,
        Self::Sigstop,
        Self::Stop,
        Self::Resign,
        Self::Return,
        Self::Replaced,
        Self::Changed,
    ];

    /// Whether both nodes can be reached after it: then only one of them may have the address.
    pub fn leaves_both_reachable(self) -> bool {
        !matches!(self, Self::PowerOff | Self::LinkDown | Self::Replaced)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fairway => "fairway",
            Self::Keepalived => "keepalived",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::PowerOff => "power-off",
            Self::LinkDown => "link-down",
            Self::Sigkill => "sigkill",
            Self::Sigstop => "sigstop",
            Self::Stop => "stop",
            Self::Resign => "resign",
            Self::Return => "return",
            Self::Replaced => "replaced",
            Self::Changed => "changed",
        })
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

fn named<T: Copy + fmt::Display>(all: &[T], name: &str) -> Result<T> {
    let names = || all.iter().map(T::to_string).collect::<Vec<_>>().join(", ");
    all.iter().copied().find(|one| one.to_string() == name).with_context(|| format!("no `{name}` among {}", names()))
}

fn number(option: &str, text: &str) -> Result<u32> {
    let number = text.parse().with_context(|| format!("{option} {text}"))?;
    ensure!(number > 0, "{option} must be at least 1");
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_plan_has_peer_links_at_long_intervals_only() {
        let plan = plan("");
        let count = |milliseconds| plan.setups(Duration::from_millis(milliseconds)).len();
        assert_eq!((count(1000), count(100), count(10)), (6, 2, 2));
        assert_eq!(plan.faults().len(), 10);
    }

    #[test]
    fn what_is_asked_for_is_done_and_nothing_else() {
        let plan = plan("--peer fairway --variant peer-10ms --interval 100 --fault stop --rounds 3");
        assert_eq!(plan.intervals(), [Duration::from_millis(100)]);
        let setups = plan.setups(plan.intervals()[0]);
        assert_eq!(setups.len(), 1);
        assert_eq!((setups[0].peer, setups[0].variant.name), (Peer::Fairway, "peer-10ms"));
        assert_eq!((plan.faults(), plan.rounds), (vec![Fault::Stop], 3));
    }

    #[test]
    fn keepalived_has_no_peer_link_and_cannot_resign() {
        let plan = plan("--peer keepalived --variant peer-10ms");
        assert!(plan.setups(INTERVALS[0]).is_empty());
        let setup = Setup { peer: Peer::Keepalived, variant: VARIANTS[0], interval: INTERVALS[0] };
        assert!(!setup.allows(Fault::Resign));
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = Plan::parse(["--fault", "fire"].map(str::to_owned).into_iter()).expect_err("there is none");
        assert!(format!("{error:#}").contains("power-off"), "{error:#}");
    }

    fn plan(words: &str) -> Plan {
        Plan::parse(words.split_whitespace().map(str::to_owned)).expect("it is a plan")
    }
}
