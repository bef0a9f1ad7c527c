//! The rules, one at a time.

use super::*;

const UP: &str = "answers";
const DOWN: &str = "does not answer";

/// A service under test: rules, and backends as words.
struct Bench {
    rules: Rules,
    before: Quorum,
}

impl Bench {
    fn new() -> Self {
        let rules = Rules {
            quorum: 1,
            quorum_hysteresis: 0,
            minimum_healthy: 0.0,
            on_down: OnDown::Keep,
            sorry: SorryServer::None,
        };
        Self { rules, before: Quorum::Held }
    }

    fn quorum(quorum: u32, quorum_hysteresis: u32) -> Self {
        let mut bench = Self::new();
        (bench.rules.quorum, bench.rules.quorum_hysteresis) = (quorum, quorum_hysteresis);
        bench
    }

    /// Backends, one a word: `up`, `down`, `new`, `unchecked`, each perhaps with a tier behind a slash, or a word for
    /// what is wanted of it behind a minus.
    fn decide(&self, backends: &str) -> Decision {
        let healths: Vec<Health> = backends.split(' ').map(health).collect();
        let candidates: Vec<Candidate> =
            backends.split(' ').zip(&healths).map(|(word, health)| candidate(word, health)).collect();
        decide(&self.rules, self.before, &candidates)
    }

    /// Weights in units of the configured one, `!` behind those that are not up to their flows.
    #[track_caller]
    fn check(&self, backends: &str, expected: &str) -> Decision {
        let decision = self.decide(backends);
        let one = |part: &Part| {
            let flows = if part.standing.up { "" } else { "!" };
            format!("{}{flows}", part.standing.weight / WEIGHT_SCALE)
        };
        let got: Vec<String> = decision.parts.iter().map(one).collect();
        assert_eq!(got.join(" "), expected, "{backends}: {decision:#?}");
        decision
    }
}

fn health(word: &str) -> Health {
    match word.split(['/', '-']).next().unwrap() {
        "up" => Health::Up(UP.into()),
        "down" => Health::Down(DOWN.into()),
        "new" => Health::Unknown { presumed_up: false },
        "presumed" => Health::Unknown { presumed_up: true },
        "unchecked" => Health::Unchecked,
        other => panic!("{other}"),
    }
}

fn candidate<'a>(word: &str, health: &'a Health) -> Candidate<'a> {
    let mut candidate = Candidate {
        weight: 1,
        overridden: None,
        priority: word.split_once('/').map_or(0, |(_, tier)| tier.parse().unwrap()),
        health,
        wanted: Wanted::Traffic,
        agent: AgentWish::default(),
        ramp: None,
        drain_is_over: false,
    };
    match word.split_once('-').map(|(_, wanted)| wanted) {
        Some("drained") => candidate.wanted = Wanted::Drained,
        Some("over") => (candidate.wanted, candidate.drain_is_over) = (Wanted::Drained, true),
        Some("disabled") => candidate.wanted = Wanted::Disabled,
        Some("zero") => candidate.weight = 0,
        Some("maint") => candidate.agent.drain = Some(true),
        Some(other) => panic!("{other}"),
        None => {}
    }
    candidate
}

#[test]
fn who_is_up_or_unchecked_gets_traffic_and_nobody_else() {
    Bench::new().check("up down new unchecked presumed", "1 0 0 1 1");
    Bench::new().check("up-drained up-disabled up-zero up-maint up", "0 0! 0 0 1");
}

#[test]
fn a_failed_backend_keeps_its_flows_unless_it_shall_not() {
    let mut bench = Bench::new();
    bench.check("up down new", "1 0 0");
    bench.rules.on_down = OnDown::Reset;
    bench.check("up down new", "1 0! 0");
}

#[test]
fn a_drain_that_is_over_ends_its_flows() {
    Bench::new().check("up-drained up-over up", "0 0! 1");
}

#[test]
fn a_quorum_is_lost_below_it_and_found_again_above_it() {
    let mut bench = Bench::quorum(2, 1);
    let quorum = |bench: &Bench, backends| bench.decide(backends).quorum;
    assert_eq!(quorum(&bench, "up up down down"), Quorum::Held);
    assert_eq!(quorum(&bench, "up down down down"), Quorum::Lost);
    bench.before = Quorum::Lost;
    assert_eq!(quorum(&bench, "up up down down"), Quorum::Lost, "that would be without hysteresis");
    assert_eq!(quorum(&bench, "up up up down"), Quorum::Held);
    assert_eq!(quorum(&bench, "up up down-drained down-zero"), Quorum::Held, "there cannot be more");
    assert_eq!(quorum(&bench, "up up-disabled"), Quorum::Lost, "nor can the quorum be less");
}

#[test]
fn drained_backends_are_not_of_the_quorum() {
    assert_eq!(Bench::quorum(2, 0).decide("up up-drained up-disabled down").quorum, Quorum::Lost);
    assert_eq!(Bench::quorum(0, 0).decide("down").quorum, Quorum::Held);
}

#[test]
fn a_quorum_that_depends_on_the_first_verdicts_is_not_lost_yet() {
    let mut bench = Bench::quorum(2, 0);
    bench.before = Quorum::Unknown;
    assert_eq!(bench.decide("up new down").quorum, Quorum::Unknown);
    assert_eq!(bench.decide("up down down").quorum, Quorum::Lost);
    assert_eq!(bench.decide("new up up").quorum, Quorum::Held);
    bench.before = Quorum::Held;
    assert_eq!(bench.decide("up new down").quorum, Quorum::Lost);
}

#[test]
fn without_quorum_whoever_is_up_goes_on() {
    Bench::quorum(3, 0).check("up up down", "1 1 0");
}

#[test]
fn without_quorum_the_sorry_server_gets_everything() {
    let mut bench = Bench::quorum(2, 0);
    bench.rules.sorry = SorryServer::Apart;
    assert!(bench.check("up down down", "0 0 0").sorry);
    assert!(!bench.check("up up down", "1 1 0").sorry);
    bench.before = Quorum::Unknown;
    assert!(!bench.check("up new down", "1 0 0").sorry, "nobody has said yet that there is none");
}

#[test]
fn the_sorry_server_may_be_a_backend() {
    let mut bench = Bench::quorum(2, 0);
    bench.rules.sorry = SorryServer::Backend(2);
    assert!(bench.check("up down up-zero", "0 0 1").sorry);
    bench.check("up down up-disabled", "0 0 0!");
}

#[test]
fn tiers_are_taken_until_they_make_the_quorum() {
    let bench = Bench::quorum(2, 0);
    bench.check("up up up/1 up/2", "1 1 0 0");
    bench.check("up down up/1 up/2", "1 0 1 0");
    bench.check("down down up/1 up/2", "0 0 1 1");
    bench.check("up-drained up-disabled up/1 up/1 up/2", "0 0! 1 1 0");
    bench.check("down down down/1 up/2", "0 0 0 1");
    Bench::quorum(0, 0).check("up up/1", "1 0");
}

#[test]
fn who_stands_by_is_up_and_says_for_whom() {
    let decision = Bench::quorum(1, 0).decide("up up/5");
    assert_eq!(decision.parts[1].state, State::Up);
    assert_eq!(decision.parts[1].why, "answers; stands by, since priority 0 and below make the quorum");
}

#[test]
fn with_too_few_up_the_checks_are_not_believed() {
    let mut bench = Bench::new();
    bench.rules.minimum_healthy = 0.5;
    bench.check("up up down down", "1 1 0 0");
    let decision = bench.check("up down down down-drained down/1", "1 1 1 0 1");
    assert_eq!(decision.parts[1].state, State::Down);
    let why = "does not answer; it gets traffic all the same, since only 1 of 4 are up (minimum_healthy)";
    assert_eq!(decision.parts[1].why, why);
    bench.check("up new new down", "1 0 0 0");
    bench.rules.on_down = OnDown::Reset;
    bench.check("up down down", "1 1 1");
}

#[test]
fn a_sorry_server_goes_before_disbelief() {
    let mut bench = Bench::new();
    (bench.rules.minimum_healthy, bench.rules.sorry) = (0.5, SorryServer::Apart);
    bench.check("up down down", "1 1 1");
    assert!(bench.check("down down down", "0 0 0").sorry);
}

#[test]
fn weights_are_shares_of_the_configured_one_and_never_nothing() {
    let health = Health::Up(UP.into());
    let weight = |weight: u16, percent: Option<u8>, ramp: Option<u32>| {
        let candidate =
            Candidate { weight, agent: AgentWish { percent, drain: None }, ramp, ..candidate("up", &health) };
        candidate.effective_weight()
    };
    assert_eq!(weight(100, None, None), 10_000);
    assert_eq!(weight(100, None, Some(3)), 3_000);
    assert_eq!(weight(100, Some(75), None), 8_000, "in tenths, rounded up");
    assert_eq!(weight(100, Some(1), Some(1)), 100);
    assert_eq!(weight(1, Some(1), Some(1)), 1);
    assert_eq!(weight(u16::MAX, Some(255), None), 6_553_500);
}

#[test]
fn states_have_the_word_that_matters_most() {
    let state = |word: &str| Bench::new().decide(word).parts[0].state;
    assert_eq!(state("down-disabled"), State::Disabled);
    assert_eq!(state("down-drained"), State::Drain);
    assert_eq!(state("new"), State::Down);
    assert_eq!(state("presumed"), State::Up);
    assert_eq!(state("unchecked"), State::Unchecked);
}

#[test]
fn reasons_name_who_wants_it_and_what_the_check_says_besides() {
    let why = |word: &str| Bench::new().decide(word).parts[0].why.clone();
    assert_eq!(why("up"), "answers");
    assert_eq!(why("new"), "its check has no verdict yet");
    assert_eq!(why("unchecked"), "no check is configured");
    assert_eq!(why("down-drained"), "drained by an operator; does not answer");
    assert_eq!(why("up-over"), "drained by an operator; drain_timeout has passed, its flows were ended");
    assert_eq!(why("up-zero"), "weight 0 in the configuration");
    assert_eq!(why("up-maint"), "its agent asks for no new flows");
}
