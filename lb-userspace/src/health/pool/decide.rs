//! What each backend of one service gets, from everything that is known of them at one moment. No state but what is given.
//!
//! In this order:
//!
//! 1. Who is *enabled*: not drained or disabled by anybody, and of a weight. Of these, who is *up*.
//! 2. Whether the service has its quorum of backends that are up. A quorum that was lost is found again only with
//!    `quorum_hysteresis` more, or with all that are enabled.
//! 3. Without quorum the sorry server gets everything, if there is one; otherwise whoever is up goes on.
//! 4. With fewer than `minimum_healthy` up, the checks are not believed: whoever is enabled keeps traffic. (After the sorry
//!    server, because having one says what shall be done when too few are left.)
//! 5. Tiers are taken in their order until they make the quorum. All that are taken carry traffic.

use std::collections::BTreeMap;

use super::state::State;
use crate::config::check::OnDown;
use crate::health::verdict::AgentWish;
use crate::reconcile::placed::{Standing, WEIGHT_SCALE};

/// Steps in which weights change that ramp or that an agent asks for: each change of a weight moves slots, so there
/// shall be few.
pub const STEPS: u32 = 10;

/// What is configured for the pool as a whole.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Backends that must be up.
    pub quorum: u32,
    /// So many more, once it was lost.
    pub quorum_hysteresis: u32,
    /// Share of the enabled backends below which all of them keep traffic.
    pub minimum_healthy: f64,
    /// What becomes of a failed backend's flows.
    pub on_down: OnDown,
    /// Who serves without quorum.
    pub sorry: SorryServer,
}

/// Who the sorry server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SorryServer {
    /// There is none.
    None,
    /// A member of its own.
    Apart,
    /// A backend, by its place.
    Backend(usize),
}

/// A backend and what is known of it.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// Weight as configured, or as an operator wants it.
    pub weight: u16,
    /// The operator's weight, and the configured one that it is instead of.
    pub overridden: Option<u16>,
    /// Its tier.
    pub priority: u8,
    /// What its checks say.
    pub health: &'a Health,
    /// What an operator wants of it.
    pub wanted: Wanted,
    /// What an agent wants of it.
    pub agent: AgentWish,
    /// How many of [`STEPS`] it has come while it ramps; `None`: all.
    pub ramp: Option<u32>,
    /// Its drain has taken longer than `drain_timeout`.
    pub drain_is_over: bool,
}

/// What the checks of a backend say, all together, with the reason in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// There is none.
    Unchecked,
    /// They have not said anything yet.
    Unknown {
        /// Whether it gets traffic until they do.
        presumed_up: bool,
    },
    /// All pass.
    Up(String),
    /// Some fail.
    Down(String),
}

/// What an operator wants of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing.
    Traffic,
    /// No new flows.
    Drained,
    /// The same for its address, wherever it serves.
    DrainedEverywhere,
    /// No flows at all.
    Disabled,
}

/// Whether enough backends are up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quorum {
    /// It depends on checks that have not said anything yet.
    #[default]
    Unknown,
    /// Enough are.
    Held,
    /// Too few are.
    Lost,
}

/// What a backend gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Weight, and whether it is up to its flows.
    pub standing: Standing,
    /// In a word.
    pub state: State,
    /// Why, in words.
    pub why: String,
}

/// What becomes of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether enough backends are up.
    pub quorum: Quorum,
    /// The backends, in their order.
    pub parts: Vec<Part>,
    /// The sorry server serves.
    pub sorry: bool,
    /// Checks are not believed.
    pub distrusts: bool,
    /// Backends that are up, of those that are enabled.
    pub up: usize,
    /// Backends that are enabled.
    pub enabled: usize,
}

/// What each backend gets. `before`: whether there was a quorum until now.
pub fn decide(rules: &Rules, before: Quorum, candidates: &[Candidate]) -> Decision {
    let enabled: Vec<&Candidate> = candidates.iter().filter(|candidate| candidate.is_enabled()).collect();
    let up = enabled.iter().filter(|candidate| candidate.health.is_up()).count();
    let undecided = enabled.iter().filter(|candidate| candidate.health.is_undecided()).count();
    let quorum = quorum(rules, before, up, undecided, enabled.len());
    let sorry = rules.sorry != SorryServer::None && quorum == Quorum::Lost;
    let share = (up + undecided) as f64 / enabled.len().max(1) as f64;
    let distrusts = !sorry && !enabled.is_empty() && share < rules.minimum_healthy;
    let scene = Scene { rules, sorry, distrusts, last_tier: last_tier(rules, &enabled), up, enabled: enabled.len() };
    let parts = candidates.iter().enumerate().map(|(at, candidate)| scene.part(at, candidate)).collect();
    Decision { quorum, parts, sorry, distrusts, up, enabled: scene.enabled }
}

fn quorum(rules: &Rules, before: Quorum, up: usize, undecided: usize, enabled: usize) -> Quorum {
    let quorum = rules.quorum as usize;
    let found_again = quorum.max(enabled.min(quorum.saturating_add(rules.quorum_hysteresis as usize)));
    match before {
        Quorum::Lost if up >= found_again => Quorum::Held,
        Quorum::Lost => Quorum::Lost,
        Quorum::Held | Quorum::Unknown if up >= quorum => Quorum::Held,
        Quorum::Unknown if up + undecided >= quorum => Quorum::Unknown,
        Quorum::Held | Quorum::Unknown => Quorum::Lost,
    }
}

/// The last tier that is taken.
fn last_tier(rules: &Rules, enabled: &[&Candidate]) -> u8 {
    let mut tiers: BTreeMap<u8, usize> = BTreeMap::new();
    for candidate in enabled {
        *tiers.entry(candidate.priority).or_default() += usize::from(candidate.health.is_up());
    }
    let mut up = 0;
    for (tier, count) in tiers {
        up += count;
        if up >= (rules.quorum as usize).max(1) {
            return tier;
        }
    }
    u8::MAX
}

/// What is the same for all backends of the service.
struct Scene<'a> {
    rules: &'a Rules,
    sorry: bool,
    distrusts: bool,
    last_tier: u8,
    up: usize,
    enabled: usize,
}

impl Scene<'_> {
    fn part(&self, at: usize, candidate: &Candidate) -> Part {
        let is_sorry =
            self.sorry && self.rules.sorry == SorryServer::Backend(at) && candidate.wanted != Wanted::Disabled;
        let believed = candidate.health.is_up() || self.distrusts && matches!(candidate.health, Health::Down(_));
        let in_tier = self.distrusts || candidate.priority <= self.last_tier;
        let serves = candidate.is_enabled() && believed && in_tier && !self.sorry || is_sorry;
        let weight = if serves { candidate.effective_weight() } else { 0 };
        let cut_off = candidate.wanted == Wanted::Disabled
            || candidate.is_drained() && candidate.drain_is_over
            || self.rules.on_down == OnDown::Reset && matches!(candidate.health, Health::Down(_));
        let standing = Standing { weight, up: serves || !cut_off };
        Part { standing, state: candidate.state(), why: self.why(candidate, serves) }
    }

    fn why(&self, candidate: &Candidate, serves: bool) -> String {
        let mut why = candidate.why();
        let mut add = |words: String| why = format!("{why}; {words}");
        if candidate.is_drained() && candidate.drain_is_over {
            add("drain_timeout has passed, its flows were ended".to_owned());
        }
        if let (true, Some(percent)) =
            (candidate.is_enabled(), candidate.agent.percent.filter(|percent| *percent < 100))
        {
            add(format!("its agent asks for {percent} %"));
        }
        if let (true, Some(configured)) = (candidate.is_enabled(), candidate.overridden) {
            add(format!("weight {} by an operator, {configured} in the configuration", candidate.weight));
        }
        if serves && matches!(candidate.health, Health::Down(_)) && !self.sorry {
            let (up, enabled) = (self.up, self.enabled);
            add(format!("it gets traffic all the same, since only {up} of {enabled} are up (minimum_healthy)"));
        } else if serves && self.sorry {
            add("it serves as the sorry server".to_owned());
        } else if candidate.is_enabled() && candidate.health.is_up() && self.sorry {
            add("no traffic, since there is no quorum and the sorry server serves".to_owned());
        } else if candidate.is_enabled() && candidate.health.is_up() && !serves {
            add(format!("stands by, since priority {} and below make the quorum", self.last_tier));
        }
        why
    }
}

impl Candidate<'_> {
    /// Whether anybody forbids new flows.
    pub fn is_drained(&self) -> bool {
        self.wanted != Wanted::Traffic || self.weight == 0 || self.is_drained_by_agent()
    }

    fn is_drained_by_agent(&self) -> bool {
        self.agent.drain == Some(true) || self.agent.percent == Some(0)
    }

    fn is_enabled(&self) -> bool {
        !self.is_drained()
    }

    /// In hundredths of a configured weight; at least one of them.
    fn effective_weight(&self) -> u32 {
        let percent = u32::from(self.agent.percent.unwrap_or(100).min(100));
        let asked = (percent * STEPS).div_ceil(100).max(1);
        let reached = self.ramp.unwrap_or(STEPS);
        let weight =
            u64::from(self.weight.max(1)) * u64::from(WEIGHT_SCALE * asked * reached) / u64::from(STEPS * STEPS);
        u32::try_from(weight).expect("a weight of 16 bits, a hundred times").max(1)
    }

    fn state(&self) -> State {
        match self.health {
            _ if self.wanted == Wanted::Disabled => State::Disabled,
            _ if self.is_drained() => State::Drain,
            Health::Down(_) | Health::Unknown { presumed_up: false } => State::Down,
            _ if self.ramp.is_some() => State::Starting,
            Health::Unchecked => State::Unchecked,
            Health::Up(_) | Health::Unknown { presumed_up: true } => State::Up,
        }
    }

    fn why(&self) -> String {
        let words = match self.wanted {
            Wanted::Disabled => "disabled by an operator",
            Wanted::Drained => "drained by an operator",
            Wanted::DrainedEverywhere => "its address is drained everywhere by an operator",
            Wanted::Traffic if self.weight == 0 && self.overridden.is_some() => "weight 0 by an operator",
            Wanted::Traffic if self.weight == 0 => "weight 0 in the configuration",
            Wanted::Traffic if self.agent.drain == Some(true) => "its agent asks for no new flows",
            Wanted::Traffic if self.agent.percent == Some(0) => "its agent asks for 0 %",
            Wanted::Traffic => match (self.ramp, self.health) {
                (Some(reached), Health::Up(why)) => return format!("{why}; slow start at {} %", reached * 100 / STEPS),
                _ => return self.health.to_string(),
            },
        };
        match self.health {
            Health::Down(why) => format!("{words}; {why}"),
            Health::Unchecked | Health::Unknown { .. } | Health::Up(_) => words.to_owned(),
        }
    }
}

impl Health {
    /// Whether it may get traffic.
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Unchecked | Self::Up(_) | Self::Unknown { presumed_up: true })
    }

    fn is_undecided(&self) -> bool {
        matches!(self, Self::Unknown { presumed_up: false })
    }
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unchecked => "no check is configured",
            Self::Unknown { .. } => "its check has no verdict yet",
            Self::Up(why) | Self::Down(why) => why,
        })
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
