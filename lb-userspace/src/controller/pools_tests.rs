//! Pools as the daemon meets them: verdicts become writes, tracks learn what they need to, and thousands of services are no
//! trouble.

use super::*;
use crate::config::check::{Check, Initial, Probe, Timing, Via};
use crate::config::parse;
use crate::controller::Event;
use crate::health::pool::Action;
use crate::health::spec::Spec;
use crate::health::verdict::{CheckState, FailureKind, Verdict as CheckVerdict};
use crate::nexthop::tracker::Event as Network;
use crate::nexthop::{Frame, Link, LinkKind, Mac};
use crate::reconcile::write::Write;

const START: Duration = Duration::from_secs(1000);
const SIZE: u32 = 2048;

/// So many services of so many backends each, all with a TCP check.
fn config(services: usize, backends: usize) -> Config {
    let mut text = String::from("dataplane.interfaces = [\"eth0\"]\n");
    for service in 0..services {
        let (high, low) = (service / 200, service % 200);
        text += &format!(
            "[[service]]\nname = \"s{service}\"\nlisten = [\"tcp://192.0.{high}.{low}:80\"]\nlookup_table_size = {SIZE}\n"
        );
        for backend in 0..backends {
            text += &format!("[[service.backend]]\nname = \"b{backend}\"\naddress = \"10.{backend}.{high}.{low}\"\n");
        }
    }
    let mut config = parse(&text, "host").unwrap().0;
    let seconds = Duration::from_secs;
    let timing = Timing { interval: seconds(5), fast_interval: seconds(1), timeout: seconds(1), rise: 2, fall: 3 };
    for service in &mut config.services {
        service.checks =
            vec![Check { probe: Probe::Tcp, port: None, via: Via::Address, timing, initial: Initial::Down }];
    }
    config
}

fn started(config: &Config) -> Controller {
    let slots = SIZE * u32::try_from(config.services.len()).unwrap();
    let mut controller = Controller::new(config.clone(), slots, 262_144);
    controller.configure(START, config.clone()).unwrap();
    controller
}

fn specs(config: &Config) -> Vec<Arc<Spec>> {
    let of = |service: &crate::config::Service| {
        let specs = service.backends.iter().map(|backend| Arc::new(Spec::of(service, backend, &service.checks[0])));
        specs.collect::<Vec<_>>()
    };
    config.services.iter().flat_map(of).collect()
}

fn up() -> CheckVerdict {
    CheckVerdict { state: CheckState::Up, why: "connected".into(), ..CheckVerdict::default() }
}

fn down(failure: FailureKind) -> CheckVerdict {
    CheckVerdict { state: CheckState::Down, why: "no".into(), failure: Some(failure), ..CheckVerdict::default() }
}

fn words(effects: &[Effect]) -> usize {
    let writes =
        effects.iter().filter_map(|effect| if let Effect::Write(writes) = effect { Some(writes) } else { None });
    writes.flatten().filter(|write| matches!(write, Write::Slot(..))).count()
}

#[test]
fn a_verdict_becomes_words_and_something_to_tell() {
    let config = config(1, 4);
    let mut controller = started(&config);
    let specs = specs(&config);
    assert!(controller.readiness().is_err());
    let all = specs.iter().map(|spec| (spec.clone(), up())).collect();
    assert_eq!(words(&controller.handle(START, Event::Verdicts(all))), SIZE as usize);
    let failure = vec![(specs[2].clone(), down(FailureKind::Refused))];
    let effects = controller.handle(START, Event::Verdicts(failure));
    assert!(words(&effects) >= SIZE as usize / 4);
    let told = effects.iter().find_map(|effect| if let Effect::Tell(told) = effect { Some(told) } else { None });
    assert_eq!(told.unwrap()[0].to_string(), "service s0, backend b2: up → down, no");
    assert_eq!(controller.quorum("s0").holds, Some(true));
    assert_eq!(controller.quorum("s1").holds, Some(false));
}

#[test]
fn a_quorum_is_not_known_before_the_first_verdicts() {
    let config = config(1, 2);
    let mut controller = started(&config);
    assert_eq!(controller.quorum("s0").holds, None);
    let all = specs(&config).into_iter().map(|spec| (spec, down(FailureKind::Refused))).collect();
    controller.handle(START, Event::Verdicts(all));
    let verdict = controller.quorum("s0");
    assert_eq!((verdict.holds, &*verdict.detail), (Some(false), "0 of 2 enabled backends are up, quorum is 1"));
}

#[test]
fn first_checks_are_waited_for_before_the_node_is_ready() {
    let config = config(2, 2);
    let mut controller = started(&config);
    controller.handle(START, Event::Network(Network::Listed));
    for spec in specs(&config) {
        reach(&mut controller, spec.target.address);
    }
    attach(&mut controller);
    let why = |controller: &Controller| controller.readiness().err();
    assert_eq!(why(&controller).as_deref(), Some("4 of 4 first checks pending"));
    let one = vec![(specs(&config)[0].clone(), up())];
    controller.handle(START, Event::Verdicts(one));
    assert_eq!(why(&controller).as_deref(), Some("3 of 4 first checks pending"));
    let later = START + Duration::from_secs(60);
    controller.handle(later, Event::Tick);
    assert_eq!(why(&controller), None, "they have had their time");
}

#[test]
fn an_interface_that_is_to_blame_lowers_the_routers_that_need_it() {
    let mut config = config(2, 3);
    config.services[0].vrrp = Some("public".into());
    let mut controller = started(&config);
    attach(&mut controller);
    let specs = specs(&config);
    for spec in &specs {
        reach(&mut controller, spec.target.address);
    }
    assert_eq!(Controller::uplink_tracks(&config)[0].name, "uplink eth0");
    let all = specs.iter().map(|spec| (spec.clone(), up())).collect();
    controller.handle(START, Event::Verdicts(all));
    assert_eq!(controller.uplink("public", "eth0").holds, Some(true));
    let silent = specs.iter().map(|spec| (spec.clone(), down(FailureKind::Silent))).collect();
    let effects = controller.handle(START, Event::Verdicts(silent));
    assert_eq!(words(&effects), 0, "the last verdicts are held");
    assert_eq!(controller.uplink("public", "eth0").holds, Some(false));
    assert_eq!(controller.uplink("other", "eth0").holds, Some(true), "no service follows it");
    assert_eq!(controller.uplink("public", "eth1").holds, Some(true));
}

/// 2,000 services of 20 checked backends each: what a start, a failure and a reload take.
#[test]
fn forty_thousand_backends_are_no_trouble() {
    let mut config = config(2000, 20);
    let mut clock = Stopwatch::start();
    let mut controller = started(&config);
    clock.lap("first configuration");
    let specs = specs(&config);
    // In the order of a timetable that spreads them: neighbours are of different services.
    let mut count = 0;
    for (batch, first) in (0..20).zip(0..) {
        let now = START + Duration::from_millis(100 * batch);
        let said = specs.iter().skip(first).step_by(20).map(|spec| (spec.clone(), up())).collect();
        count += words(&controller.handle(now, Event::Verdicts(said)));
    }
    clock.lap("40,000 first verdicts in 20 batches");
    println!("{count} words");
    assert_eq!(controller.pools().pending(), (0, 40_000));

    let failure = vec![(specs[777].clone(), down(FailureKind::Refused))];
    let effects = controller.handle(START + Duration::from_secs(9), Event::Verdicts(failure));
    let failed = clock.lap("one failure");
    assert!((1..300).contains(&words(&effects)), "{}", words(&effects));

    config.services[500].backends[3].weight = 50;
    let (plan, _) = controller.configure(START + Duration::from_secs(10), config.clone()).unwrap();
    let reloaded = clock.lap("reload with one changed weight");
    assert_eq!(plan.changes.len(), 1);
    let order = Order::Backend { service: "s9".into(), backend: "b1".into(), action: Action::Drain };
    controller.operate(START + Duration::from_secs(11), 0.0, &order).unwrap();
    clock.lap("one order");
    assert!(controller.deadline().is_none());
    clock.lap("one look at what is due");
    // The promises are 50 ms and 500 ms; a machine that has other things to do is granted ten times as much.
    assert!(failed < Duration::from_millis(500) && reloaded < Duration::from_secs(5), "{failed:?} {reloaded:?}");
}

#[test]
fn a_reload_that_changes_a_weight_touches_that_service_alone() {
    let mut config = config(3, 4);
    for service in &mut config.services {
        service.checks[0].via = Via::Service;
    }
    let mut controller = started(&config);
    let all = specs(&config).iter().map(|spec| (spec.clone(), up())).collect();
    controller.handle(START, Event::Verdicts(all));
    config.services[1].backends[0].weight = 50;
    let (plan, effects) = controller.configure(START + Duration::from_secs(60), config.clone()).unwrap();
    let is_word = |write: &Write| matches!(write, Write::Slot(..));
    let [Effect::Write(writes)] = &effects[..] else { panic!("{effects:?}") };
    assert!(plan.slots_moved > 0 && writes.iter().all(is_word), "{writes:?}");
    assert!(plan.unchanged.contains("s0") && !plan.unchanged.contains("s1"));

    config.services[2].backends.pop();
    let (_, effects) = controller.configure(START + Duration::from_secs(120), config).unwrap();
    let steered = effects.iter().any(|effect| matches!(effect, Effect::Steer(changes) if changes.len() == 1));
    assert!(steered, "{effects:?}");
}

struct Stopwatch(std::time::Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "a measurement")]
    fn start() -> Self {
        Self(std::time::Instant::now())
    }

    fn lap(&mut self, what: &str) -> Duration {
        let took = self.0.elapsed();
        println!("{what}: {took:?}");
        *self = Self::start();
        took
    }
}

/// The program is on eth0, which has index 2.
fn attach(controller: &mut Controller) {
    let link = Link {
        index: 2,
        name: "eth0".into(),
        kind: LinkKind::Plain,
        mac: Some(Mac([2; 6])),
        mtu: 1500,
        master: None,
        lower: None,
        enabled: true,
        carrier: true,
        program: None,
    };
    controller.handle(START, Event::Network(Network::LinkAppeared(link)));
    controller.handle(START, Event::Attached { interface: 2, outcome: Ok(crate::nexthop::ProgramMode::Native) });
}

fn reach(controller: &mut Controller, destination: IpAddr) {
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    let frame =
        Frame { interface: 2, source_mac: mac, destination_mac: mac, tags: Vec::new(), mtu: 1500, source: None };
    let found = Network::NextHop { destination, result: Ok(NextHop::Frame(frame)) };
    controller.handle(START, Event::Network(found));
}

#[test]
fn a_table_that_was_another_than_the_masters_for_a_moment_has_the_masters_slots_again() {
    let [few, many] = [3, 4].map(|backends| {
        let mut config = config(1, backends);
        config.services[0].checks.clear();
        config
    });
    let mut controller = started(&few);
    let pool = |controller: &Controller| {
        let planner = controller.planner();
        planner.tables().get(planner.services()["s0"].table).pool.clone()
    };
    let extent = Extent::Whole(Some(pool(&controller).lookup_table_hash()));
    let slots = Some(Arc::new(ToldSlots { slots: Arc::default(), extent }));
    let master = FromMaster { standings: Standings::new(), slots };
    controller.follow_masters(START, BTreeMap::from([("s0".into(), Arc::new(master))]));
    controller.configure(START, many).unwrap();
    assert!(!pool(&controller).slots().is_settled());
    controller.configure(START, few).unwrap();
    assert!(pool(&controller).slots().is_settled(), "the master knows of no change");
}
