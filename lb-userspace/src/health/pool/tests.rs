//! One service over time.

use super::decide::Quorum;
use super::state::State;
use super::*;
use crate::config::check::{Check, Initial, OnDown, Probe, Sorry, Timing, Via};
use crate::config::{Forwarding, Ports, Service, parse};
use crate::health::verdict::{AgentWish, FailureKind};
use crate::reconcile::placed::{Placed, WEIGHT_SCALE};

const START: Duration = Duration::from_secs(1000);
const TIMING: Timing = Timing {
    interval: Duration::from_secs(2),
    fast_interval: Duration::from_secs(1),
    timeout: Duration::from_secs(1),
    rise: 2,
    fall: 3,
};

/// Pools of one service, `web`, with backends `b1`, `b2`, … that have a TCP check.
struct Bench {
    pools: Pools,
    config: Config,
    now: Duration,
    told: Vec<Happening>,
}

impl Bench {
    fn new(backends: u8, set: impl FnOnce(&mut Service)) -> Self {
        Self::resume(Intents::default(), backends, set)
    }

    fn resume(intents: Intents, backends: u8, set: impl FnOnce(&mut Service)) -> Self {
        let mut text = "dataplane.interfaces = [\"eth0\"]\n[[service]]\nname = \"web\"\n".to_owned();
        text += "listen = [\"tcp://192.0.2.1:80\"]\n";
        for backend in 1..=backends {
            text += &format!("[[service.backend]]\nname = \"b{backend}\"\naddress = \"10.0.0.{backend}\"\n");
        }
        let mut config = parse(&text, "host").unwrap().0;
        let check = Check { probe: Probe::Tcp, port: None, via: Via::Address, timing: TIMING, initial: Initial::Down };
        config.services[0].checks = vec![check];
        set(&mut config.services[0]);
        let mut bench =
            Self { pools: Pools::new(intents, Memory::default(), 0.0), config, now: START, told: Vec::new() };
        bench.reload(|_| {});
        bench
    }

    /// The same with all backends up already.
    fn up(backends: u8, set: impl FnOnce(&mut Service)) -> Self {
        let mut bench = Self::new(backends, set);
        for backend in 1..=backends {
            bench.say(backend, up());
        }
        bench
    }

    fn reload(&mut self, set: impl FnOnce(&mut Config)) {
        set(&mut self.config);
        let changes = self.pools.configure(self.now, &self.config, &Unchanged::default());
        self.take(changes);
    }

    /// The checks of a backend say something; whether anything follows for the tables.
    fn say(&mut self, backend: u8, verdict: Verdict) -> bool {
        let service = &self.config.services[0];
        let backend = service.backends.iter().find(|it| it.name == format!("b{backend}")).unwrap();
        let specs = service.checks.iter().map(|check| Arc::new(Spec::of(service, backend, check)));
        let all = specs.map(|spec| (spec, verdict.clone())).collect();
        let changes = self.pools.verdicts(self.now, all);
        self.take(changes)
    }

    fn take(&mut self, changes: Changes) -> bool {
        self.told.extend(changes.happenings);
        !changes.standings.is_empty()
    }

    /// Time passes, and what is due in it is done when it is due.
    fn pass(&mut self, seconds: f64) {
        let end = self.now + Duration::from_secs_f64(seconds);
        while let Some(deadline) = self.pools.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            let changes = self.pools.tick(self.now);
            self.take(changes);
            assert!(self.pools.deadline().is_none_or(|next| next > self.now), "it is due again at once");
        }
        self.now = end;
    }

    fn order(&mut self, backend: &str, action: Action) -> Result<Vec<String>, Refused> {
        let order = Order::Backend { service: "web".into(), backend: backend.into(), action };
        let told = self.pools.operate(self.now, self.now.as_secs_f64(), &order)?;
        self.take(told.changes);
        Ok(told.lines)
    }

    /// Weights in hundredths of the configured 100, `!` behind those cut off from their flows; then the sorry server's.
    fn weights(&self) -> String {
        let pool = self.pools.get("web").unwrap();
        let standings = pool.standings();
        let identities = pool.members().iter().map(|member| member.identity.as_str()).chain(pool.sorry());
        let one = |identity: &str| {
            let standing = standings[identity];
            format!("{}{}", standing.weight / WEIGHT_SCALE, if standing.up { "" } else { "!" })
        };
        identities.map(one).collect::<Vec<_>>().join(" ")
    }

    fn member(&self, backend: u8) -> &service::Member {
        let name = format!("b{backend}");
        self.pools.get("web").unwrap().members().iter().find(|member| member.name == name).unwrap()
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told).iter().map(ToString::to_string).collect()
    }

    fn quorum(&self) -> Quorum {
        self.pools.get("web").unwrap().summary().quorum
    }
}

#[test]
fn a_service_that_stays_is_left_alone_and_its_checks_are_kept() {
    let mut bench = Bench::up(2, |_| {});
    let mut other = bench.config.services[0].clone();
    other.name = "other".into();
    bench.config.services.push(other);
    bench.reload(|_| {});
    let users = bench.pools.users.clone();
    let named = |names: &[&str]| {
        let before: Vec<Service> =
            bench.config.services.iter().filter(|it| names.contains(&&*it.name)).cloned().collect();
        Unchanged::between(&placed(&before), &bench.config)
    };
    let (web, both) = (named(&["web"]), named(&["web", "other"]));
    assert!(bench.pools.clone().configure(bench.now, &bench.config, &both).standings.is_empty());
    let mut lighter = bench.config.clone();
    lighter.services[1].backends[0].weight = 50;
    let changes = bench.pools.configure(bench.now, &lighter, &web);
    assert_eq!(changes.standings.keys().collect::<Vec<_>>(), ["other"]);
    assert!(Arc::ptr_eq(&users, &bench.pools.users), "the same is asked");
    lighter.services.pop();
    let changes = bench.pools.configure(bench.now, &lighter, &web);
    assert_eq!((changes.standings.len(), bench.weights().as_str()), (0, "100 100"));
    assert_eq!(bench.pools.pending(), (0, 2), "the checks that both had are the other's still");
}

/// These services in force.
fn placed(services: &[Service]) -> BTreeMap<String, Placed> {
    let placed = |service: &Service| (service.name.clone(), Placed::new(service, 0, 0, BTreeMap::new()));
    services.iter().map(placed).collect()
}

fn up() -> Verdict {
    Verdict { state: CheckState::Up, why: "connected".into(), ..Verdict::default() }
}

fn down() -> Verdict {
    let failure = Some(FailureKind::Refused);
    Verdict { state: CheckState::Down, why: "refused".into(), failure, ..Verdict::default() }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_backend_waits_for_its_first_success_and_nobody_is_told_of_it() {
    let mut bench = Bench::new(2, |_| {});
    assert_eq!((bench.weights(), bench.quorum()), ("0 0".into(), Quorum::Unknown));
    assert_eq!(bench.pools.pending(), (2, 2));
    assert!(bench.say(1, up()));
    assert_eq!((bench.weights(), bench.quorum()), ("100 0".into(), Quorum::Held));
    bench.say(2, down());
    assert_eq!(bench.pools.pending(), (0, 2));
    assert_eq!(bench.told(), [""; 0]);
    assert_eq!(bench.member(2).part.why, "refused");
}

#[test]
fn the_first_of_many_serves_at_once_and_the_others_come_together() {
    let mut bench = Bench::new(4, |_| {});
    assert!(bench.say(1, up()), "nobody waits while nobody serves");
    assert!(!bench.say(2, up()));
    assert!(bench.say(1, down()), "a failure never waits");
    assert!(!bench.say(3, up()));
    let due = bench.pools.deadline().unwrap();
    assert!(bench.pools.tick(due - seconds(1)).standings.is_empty());
    assert_eq!(bench.pools.tick(due).standings.len(), 1);
    assert!(bench.say(4, up()), "the last waits for nobody");
}

#[test]
fn a_failure_and_a_recovery_are_told_and_dated() {
    let mut bench = Bench::up(2, |_| {});
    bench.pass(60.0);
    assert!(bench.say(1, down()));
    assert_eq!((bench.weights(), bench.member(1).since), ("0 100".into(), START + seconds(60)));
    bench.pass(1.0);
    assert!(!bench.say(1, Verdict { why: "HTTP 503".into(), ..down() }), "the tables are the same");
    assert_eq!((bench.member(1).since, &*bench.member(1).part.why), (START + seconds(60), "HTTP 503"));
    bench.say(1, up());
    let told = ["service web, backend b1: up → down, refused", "service web, backend b1: down → up, connected"];
    assert_eq!(bench.told(), told);
}

#[test]
fn what_is_waited_for_is_not_waited_for_for_ever() {
    let mut bench = Bench::new(2, |_| {});
    bench.pass(1.0);
    assert_eq!(bench.pools.pending(), (2, 2));
    bench.pass(10.0);
    assert_eq!(bench.pools.pending(), (0, 2));
}

#[test]
fn who_comes_back_ramps_and_who_is_there_from_the_start_does_not() {
    let mut bench = Bench::up(2, |service| service.slow_start = seconds(100));
    assert_eq!(bench.weights(), "100 100");
    bench.say(1, down());
    bench.pass(30.0);
    bench.say(1, up());
    assert_eq!((bench.weights(), bench.member(1).part.state), ("10 100".into(), State::Starting));
    assert_eq!(bench.member(1).part.why, "connected; slow start at 10 %");
    let mut seen = Vec::new();
    for _ in 0..10 {
        bench.pass(10.0);
        seen.push(bench.weights());
    }
    let ramp = ["10", "20", "30", "40", "50", "60", "70", "80", "90", "100"].map(|weight| format!("{weight} 100"));
    assert_eq!(seen, ramp);
    assert_eq!((bench.member(1).part.state, bench.pools.deadline()), (State::Up, None));
}

#[test]
fn who_fails_while_it_ramps_begins_anew() {
    let mut bench = Bench::up(2, |service| service.slow_start = seconds(100));
    bench.say(1, down());
    bench.say(1, up());
    bench.pass(50.0);
    assert_eq!(bench.weights(), "50 100");
    bench.say(1, down());
    assert_eq!((bench.weights(), bench.pools.deadline()), ("0 100".into(), None));
    bench.say(1, up());
    assert_eq!(bench.weights(), "10 100");
}

#[test]
fn a_drain_ends_by_its_timeout() {
    let mut bench = Bench::up(2, |service| service.drain_timeout = Some(seconds(300)));
    let lines = bench.order("b1", Action::Drain).unwrap();
    assert_eq!(lines, ["backend b1 of web: drain, drained by an operator"]);
    assert_eq!(bench.weights(), "0 100");
    bench.pass(299.0);
    assert_eq!(bench.weights(), "0 100");
    bench.pass(1.0);
    assert_eq!(bench.weights(), "0! 100");
    bench.order("b1", Action::Undrain).unwrap();
    assert_eq!(bench.weights(), "100 100");
}

#[test]
fn weight_0_drains_like_an_operator() {
    let mut bench = Bench::up(2, |service| service.drain_timeout = Some(seconds(300)));
    bench.reload(|config| config.services[0].backends[0].weight = 0);
    bench.pass(100.0);
    bench.reload(|config| config.services[0].drain_timeout = Some(seconds(200)));
    bench.pass(100.0);
    assert_eq!((bench.weights(), bench.member(1).part.state), ("0! 100".into(), State::Drain));
}

#[test]
fn who_is_disabled_is_cut_off_at_once() {
    let mut bench = Bench::up(2, |_| {});
    bench.order("b1", Action::Disable).unwrap();
    assert_eq!((bench.weights(), bench.member(1).part.state), ("0! 100".into(), State::Disabled));
    bench.say(1, down());
    assert_eq!(bench.member(1).part.why, "disabled by an operator; refused");
    bench.say(1, up());
    bench.order("b1", Action::Enable).unwrap();
    assert_eq!(bench.weights(), "100 100");
    let told = bench.told();
    assert_eq!(told[0], "service web, backend b1: an operator disables it");
    assert_eq!(told[1], "service web, backend b1: up → disabled, disabled by an operator");
}

#[test]
fn an_operators_weight_goes_before_the_configured_one() {
    let mut bench = Bench::up(2, |_| {});
    bench.order("b1", Action::Weight(7)).unwrap();
    assert_eq!(bench.weights(), "7 100");
    bench.reload(|config| config.services[0].backends[0].weight = 50);
    assert_eq!(bench.weights(), "7 100");
    assert_eq!(bench.member(1).part.why, "connected; weight 7 by an operator, 50 in the configuration");
    bench.order("b1", Action::Weight(0)).unwrap();
    assert_eq!((bench.weights(), bench.member(1).part.state), ("0 100".into(), State::Drain));
    bench.order("b1", Action::Clear).unwrap();
    assert_eq!(bench.weights(), "50 100");
}

#[test]
fn an_address_is_drained_in_services_to_come_too() {
    let mut bench = Bench::up(2, |_| {});
    let address = "10.0.0.2".parse().unwrap();
    let order = Order::DrainEverywhere(address);
    let told = bench.pools.operate(bench.now, 0.0, &order).unwrap();
    assert_eq!(told.lines, ["backend b2 of web: drain, its address is drained everywhere by an operator"]);
    bench.reload(|config| {
        let mut other = config.services[0].clone();
        (other.name, other.listeners[0].ports, other.checks) = ("other".into(), Ports::One(81), vec![]);
        config.services.push(other);
    });
    let states: Vec<State> =
        bench.pools.get("other").unwrap().members().iter().map(|member| member.part.state).collect();
    assert_eq!(states, [State::Unchecked, State::Drain]);
    let hint = bench.order("b2", Action::Undrain).unwrap();
    assert!(hint[0].contains("undrain --everywhere 10.0.0.2"), "{hint:?}");
    bench.pools.operate(bench.now, 0.0, &Order::UndrainEverywhere(address)).unwrap();
    assert_eq!(bench.weights(), "100 100");
}

#[test]
fn what_operators_want_survives_a_restart_with_the_time_it_has_taken() {
    let mut bench = Bench::up(2, |service| service.drain_timeout = Some(seconds(300)));
    bench.order("b1", Action::Drain).unwrap();
    let document = bench.pools.intents().document();
    let intents = Intents::read(document.as_bytes()).unwrap();
    let mut bench = Bench::resume(intents, 2, |service| service.drain_timeout = Some(seconds(300)));
    // The clocks of this life began where those of the last did; it is later now.
    bench.now += seconds(200);
    bench.reload(|_| {});
    for backend in 1..=2 {
        bench.say(backend, up());
    }
    assert_eq!(bench.weights(), "0 100");
    bench.pass(100.0);
    assert_eq!(bench.weights(), "0! 100");
}

#[test]
fn what_is_wanted_of_who_left_is_kept_and_can_be_taken_back() {
    let mut bench = Bench::up(3, |_| {});
    bench.order("b3", Action::Drain).unwrap();
    let b3 = bench.config.services[0].backends[2].clone();
    bench.reload(|config| drop(config.services[0].backends.pop()));
    assert_eq!(bench.pools.intents().len(), 1);
    bench.reload(|config| config.services[0].backends.push(b3));
    bench.say(3, up());
    assert_eq!(bench.weights(), "100 100 0");
    bench.reload(|config| drop(config.services[0].backends.pop()));
    assert_eq!(bench.order("b3", Action::Clear).unwrap(), ["backend b3 of web is not in the configuration"]);
    assert!(bench.pools.intents().is_empty());
}

#[test]
fn orders_that_make_no_sense_say_what_would() {
    let mut bench = Bench::up(2, |_| {});
    bench.order("b1", Action::Drain).unwrap();
    let mut refused = |backend: &str, action| bench.order(backend, action).unwrap_err().0;
    assert_eq!(refused("b11", Action::Drain), "service web has no backend b11; did you mean b1?");
    assert_eq!(refused("zzz", Action::Drain), "service web has no backend zzz; there are b1, b2");
    assert_eq!(
        refused("b1", Action::Enable),
        "backend b1 of web is drained, not disabled: fairway backend undrain web b1"
    );
    assert_eq!(refused("b9x", Action::Clear), "service web has no backend b9x; there are b1, b2");
    let order = Order::Backend { service: "webs".into(), backend: "b1".into(), action: Action::Drain };
    let error = bench.pools.operate(bench.now, 0.0, &order).unwrap_err();
    assert_eq!(error.0, "no service is called webs; did you mean web?");
    let error = bench.pools.operate(bench.now, 0.0, &Order::DrainEverywhere("10.0.0.9".parse().unwrap())).unwrap_err();
    assert!(error.0.starts_with("no backend has the address 10.0.0.9; did you mean 10.0.0."), "{error}");
    assert_eq!(bench.order("b1", Action::Drain).unwrap(), ["backend b1 of web is drained already"]);
    assert_eq!(bench.order("b2", Action::Undrain).unwrap(), ["backend b2 of web was not drained"]);
}

#[test]
fn a_quorum_that_is_lost_and_found_is_told_once() {
    let mut bench = Bench::up(3, |service| (service.quorum, service.quorum_hysteresis) = (2, 1));
    bench.say(1, down());
    assert_eq!(bench.quorum(), Quorum::Held);
    bench.say(2, down());
    bench.say(2, up());
    assert_eq!(bench.quorum(), Quorum::Lost);
    bench.say(1, up());
    assert_eq!(bench.quorum(), Quorum::Held);
    let told = bench.told();
    let quorum: Vec<&String> = told.iter().filter(|line| line.contains("quorum:")).collect();
    let lost = "service web has no quorum: 1 of 3 enabled backends are up, quorum is 2 and 1 more after a loss";
    assert_eq!(quorum, [lost, "service web has its quorum: 3 of 3 enabled backends are up, quorum is 2"]);
}

#[test]
fn the_sorry_server_has_its_place_from_the_start_and_serves_when_needed() {
    let sorry = Sorry { address: [10, 0, 0, 99].into(), port: None, forwarding: Forwarding::Direct };
    let mut bench = Bench::up(2, |service| service.sorry = Some(sorry.clone()));
    assert_eq!(bench.weights(), "100 100 0");
    bench.say(1, down());
    assert!(bench.say(2, down()));
    assert_eq!(bench.weights(), "0 0 1");
    bench.say(2, up());
    assert_eq!(bench.weights(), "0 100 0");
}

#[test]
fn a_failure_resets_flows_where_it_shall() {
    let mut bench = Bench::up(2, |service| service.on_down = OnDown::Reset);
    bench.say(1, down());
    assert_eq!(bench.weights(), "0! 100");
    bench.reload(|config| config.services[0].on_down = OnDown::Keep);
    assert_eq!(bench.weights(), "0 100");
}

#[test]
fn a_reload_with_another_check_takes_nobody_out() {
    let mut bench = Bench::up(2, |_| {});
    bench.say(2, down());
    bench.told();
    bench.reload(|config| config.services[0].checks[0].timing.interval = seconds(5));
    assert_eq!(bench.weights(), "100 0", "what was known goes on until the new check knows better");
    assert_eq!(bench.pools.pending(), (2, 2));
    bench.say(1, down());
    bench.say(2, up());
    assert_eq!(bench.weights(), "0 100");
    let told = bench.told();
    let told: Vec<&String> = told.iter().filter(|line| line.contains("backend b")).collect();
    assert_eq!(told, ["service web, backend b1: up → down, refused", "service web, backend b2: down → up, connected"]);
}

#[test]
fn a_first_check_takes_nobody_out_before_it_fails() {
    let mut bench = Bench::new(2, |service| service.checks.clear());
    assert_eq!(bench.weights(), "100 100");
    let checks = Bench::new(1, |_| {}).config.services[0].checks.clone();
    bench.reload(|config| config.services[0].checks = checks);
    assert_eq!(bench.weights(), "100 100");
    bench.say(1, down());
    assert_eq!(bench.weights(), "0 100");
}

#[test]
fn a_new_backend_waits_although_the_others_serve() {
    let mut bench = Bench::up(2, |_| {});
    bench.reload(|config| {
        let mut third = config.services[0].backends[0].clone();
        (third.name, third.address) = ("b3".into(), [10, 0, 0, 3].into());
        config.services[0].backends.push(third);
    });
    assert_eq!(bench.weights(), "100 100 0");
    bench.say(3, up());
    assert_eq!(bench.weights(), "100 100 100");
}

#[test]
fn all_checks_of_a_backend_must_pass() {
    let mut bench = Bench::new(1, |service| {
        let second = Check { port: Some(443), ..service.checks[0].clone() };
        service.checks.push(second);
    });
    let service = bench.config.services[0].clone();
    let spec = |check: usize| Arc::new(Spec::of(&service, &service.backends[0], &service.checks[check]));
    bench.pools.verdicts(START, vec![(spec(0), up())]);
    assert_eq!(bench.weights(), "0");
    bench.pools.verdicts(START, vec![(spec(1), up())]);
    assert_eq!(bench.weights(), "100");
    bench.pools.verdicts(START, vec![(spec(0), down())]);
    assert_eq!(bench.weights(), "0");
}

#[test]
fn agents_ask_for_less() {
    let mut bench = Bench::up(2, |_| {});
    let asks = |percent, drain| Verdict { agent: AgentWish { percent, drain }, ..up() };
    bench.say(1, asks(Some(55), None));
    assert_eq!(bench.weights(), "60 100");
    assert!(!bench.say(1, asks(Some(60), Some(false))), "the same tenth");
    bench.say(1, asks(Some(60), Some(true)));
    assert_eq!((bench.weights(), bench.member(1).part.state), ("0 100".into(), State::Drain));
}

#[test]
fn a_shared_check_speaks_for_all_who_share_it() {
    let mut bench = Bench::new(2, |_| {});
    bench.reload(|config| {
        let mut other = config.services[0].clone();
        (other.name, other.listeners[0].ports) = ("other".into(), Ports::One(81));
        other.checks[0].port = Some(80);
        config.services[0].checks[0].port = Some(80);
        config.services.push(other);
    });
    assert_eq!(bench.pools.pending(), (2, 2));
    bench.say(1, up());
    let weights: Vec<u32> =
        ["web", "other"].map(|name| bench.pools.standings_of(name).unwrap()["10.0.0.1 direct"].weight).into();
    assert_eq!(weights, [100 * WEIGHT_SCALE; 2]);
}

#[test]
fn silence_of_everything_holds_the_verdicts() {
    let mut bench = Bench::up(3, |_| {});
    for backend in 1..=3 {
        bench.pools.reached_by([10, 0, 0, backend].into(), Some("eth0".into()));
    }
    let silent = Verdict { failure: Some(FailureKind::Silent), why: "connect timed out after 1.0 s".into(), ..down() };
    bench.say(1, silent.clone());
    bench.pass(0.5);
    bench.say(2, silent.clone());
    assert_eq!(bench.weights(), "0 0 100");
    bench.pass(0.5);
    bench.say(3, silent);
    assert_eq!(bench.weights(), "100 100 100");
    assert!(bench.told().iter().any(|line| line.starts_with("interface eth0 is blamed: all 3 backends")));
    bench.pass(1.0);
    bench.say(2, down());
    assert_eq!(bench.weights(), "100 0 100", "a refusal counts");
    bench.pass(3.0);
    assert_eq!(bench.weights(), "0 0 0", "the others have had one more round");
}

#[test]
fn who_was_up_before_the_last_start_serves_at_once_and_its_own_first_word_counts() {
    let mut before = Bench::up(3, |_| {});
    before.say(3, down());
    let memory = Memory::read(&memory::document(&before.pools.all_verdicts())).unwrap();
    let mut bench = Bench::new(3, |_| {});
    bench.pools = Pools::new(Intents::default(), memory, 0.0);
    bench.reload(|_| {});
    assert_eq!((bench.weights(), bench.quorum()), (before.weights(), Quorum::Held));
    assert_eq!(bench.member(1).part.why, "connected; before the last start");
    assert_eq!(bench.pools.pending(), (3, 3), "whether this node is ready is another question");
    assert_eq!(bench.told(), [""; 0], "nothing has happened");

    assert!(!bench.say(1, up()), "the same again");
    assert!(bench.say(2, down()));
    assert!(bench.say(3, up()));
    assert_eq!((bench.weights(), bench.pools.pending()), ("100 0 100".into(), (0, 3)));
    bench.reload(|_| {});
    assert_eq!(bench.weights(), "100 0 100", "what was remembered is not used a second time");
}

#[test]
fn what_operators_say_on_the_other_node_is_done_here_once() {
    use super::intent::Out;
    use super::intent::said::{About, Said};
    let mut bench = Bench::up(3, |_| {});
    let said = |about, out, since| Said { about, out, weight: None, since };
    let b1 = || About::Backend("web".to_owned(), "b1".to_owned());
    let drain = [
        said(b1(), Some(Out::Drain), 5.0),
        said(About::Address([10, 0, 0, 2].into()), Some(Out::Drain), 5.0),
        said(About::Backend("elsewhere".to_owned(), "b1".to_owned()), Some(Out::Drain), 5.0),
    ];
    let (is_new, changes) = bench.pools.hear_intents(bench.now, &drain);
    assert!(is_new && changes.standings.len() == 1);
    let told: Vec<String> = changes.happenings.iter().map(ToString::to_string).collect();
    assert!(told[0].ends_with("wants it drained, says the peer"), "{told:?}");
    let weights = |bench: &Bench| -> Vec<u32> {
        bench.pools.standings_of("web").unwrap().values().map(|standing| standing.weight).collect()
    };
    assert_eq!(weights(&bench).iter().filter(|&&weight| weight == 0).count(), 2);
    let (is_new, changes) = bench.pools.hear_intents(bench.now, &drain);
    assert!(!is_new && changes.standings.is_empty() && changes.happenings.is_empty());
    let (is_new, changes) = bench.pools.hear_intents(bench.now, &[said(b1(), None, 6.0)]);
    assert!(is_new && changes.happenings.len() == 2, "{changes:?}");
    assert_eq!(weights(&bench).iter().filter(|&&weight| weight == 0).count(), 1);
}

#[test]
fn a_check_that_has_not_said_anything_begins_with_what_the_other_nodes_says() {
    use super::memory::opinions;
    let mut there = Bench::up(2, |_| {});
    there.say(2, down());
    let mut here = Bench::new(3, |_| {});
    here.say(1, down());
    let said = opinions(&there.pools.all_verdicts());
    let changes = here.pools.hear_verdicts(here.now, said.clone());
    here.take(changes);
    let why = |bench: &Bench, at: usize| bench.pools.get("web").unwrap().members()[at].part.why.clone();
    assert_eq!((why(&here, 0), why(&here, 1)), ("refused".to_owned(), "refused; says the peer".to_owned()));
    assert_eq!(here.pools.pending().0, 2, "its own first word is waited for all the same");
    assert_eq!(opinions(&here.pools.all_verdicts()).len(), 1, "nor is it told back");
    here.say(2, up());
    assert!(here.pools.hear_verdicts(here.now, said).standings.is_empty());
    assert_eq!(why(&here, 1), "connected");
}
