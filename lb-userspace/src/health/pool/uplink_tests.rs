//! Whose silence is whose fault.

use super::*;
use crate::config::check::{Probe, Timing};
use crate::health::spec::{Target, Way};

const INTERVAL: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(1);
const START: Duration = Duration::from_secs(100);

struct Bench {
    uplinks: Uplinks,
    specs: Vec<Arc<Spec>>,
    says: HashMap<Arc<Spec>, Verdict>,
    now: Duration,
}

impl Bench {
    /// So many backends behind eth0, each with a check that passes.
    fn new(backends: u8) -> Self {
        let timing = Timing { interval: INTERVAL, fast_interval: TIMEOUT, timeout: TIMEOUT, rise: 2, fall: 3 };
        let spec = |number: u8| {
            let target = Target { address: [10, 0, 0, number].into(), port: 80, way: Way::Plain };
            Arc::new(Spec { probe: Probe::Tcp, target, timing, named: None })
        };
        let specs: Vec<Arc<Spec>> = (1..=backends).map(spec).collect();
        let mut uplinks = Uplinks::default();
        specs.iter().for_each(|spec| uplinks.reached_by(spec.target.address, Some("eth0".into())));
        let says = specs.iter().map(|spec| (spec.clone(), up())).collect();
        Self { uplinks, specs, says, now: START }
    }

    fn say(&mut self, backend: usize, verdict: Verdict) -> Vec<Change> {
        let spec = self.specs[backend].clone();
        self.uplinks.note(self.now, &spec, self.says.get(&spec), &verdict);
        self.says.insert(spec.clone(), verdict);
        self.with(|uplinks, now, checks| uplinks.judge(now, &[spec], checks))
    }

    fn with<R>(&mut self, act: impl FnOnce(&mut Uplinks, Duration, &Checks) -> R) -> R {
        let Self { uplinks, specs, says, now } = self;
        let of = |address: IpAddr| specs.iter().filter(|spec| spec.target.address == address).cloned().collect();
        act(uplinks, *now, &Checks { of: &of, says: &|spec| says.get(spec).cloned() })
    }

    fn tick(&mut self, later: Duration) -> Vec<Change> {
        self.now += later;
        self.with(|uplinks, now, checks| uplinks.tick(now, checks))
    }

    /// All of them, within an interval.
    fn all_fall(&mut self, verdict: impl Fn() -> Verdict) -> Vec<Change> {
        let count = self.specs.len() as u32;
        let mut changes = Vec::new();
        for backend in 0..self.specs.len() {
            self.now += INTERVAL / count;
            changes.extend(self.say(backend, verdict()));
        }
        changes
    }

    fn held(&self) -> usize {
        self.specs.iter().filter(|spec| self.uplinks.verdict(spec).is_some()).count()
    }
}

fn up() -> Verdict {
    Verdict { state: CheckState::Up, why: "connected".into(), ..Verdict::default() }
}

fn down(kind: FailureKind) -> Verdict {
    Verdict { state: CheckState::Down, why: "no".into(), failure: Some(kind), ..Verdict::default() }
}

fn silent() -> Verdict {
    down(FailureKind::Silent)
}

#[test]
fn when_all_fall_silent_at_once_the_interface_is_blamed() {
    let mut bench = Bench::new(4);
    let changes = bench.all_fall(silent);
    assert_eq!((changes.len(), bench.held()), (1, 4));
    assert_eq!(changes[0].why, "all 4 backends behind eth0 fell silent at once; their last verdicts are held");
    let held = bench.uplinks.verdict(&bench.specs[2]).unwrap();
    assert_eq!((held.state, &*held.why), (CheckState::Up, "connected; held, since eth0 is blamed for its silence"));
}

#[test]
fn refusals_and_wrong_answers_always_count() {
    for kind in [FailureKind::Refused, FailureKind::Hung, FailureKind::Wrong] {
        let mut bench = Bench::new(4);
        assert_eq!(bench.all_fall(|| down(kind)), []);
        let mut bench = Bench::new(4);
        bench.say(0, down(kind));
        assert_eq!((bench.all_fall_from(1), bench.held()), (vec![], 0), "{kind:?}: one has answered");
    }
}

impl Bench {
    fn all_fall_from(&mut self, first: usize) -> Vec<Change> {
        (first..self.specs.len()).flat_map(|backend| self.say(backend, silent())).collect()
    }
}

#[test]
fn two_may_well_fail_at_once() {
    assert_eq!(Bench::new(2).all_fall(silent), []);
    let mut bench = Bench::new(3);
    bench.say(0, silent());
    bench.now += Duration::from_secs(3600);
    assert_eq!(bench.all_fall_from(1), [], "the first has been dead for an hour");
}

#[test]
fn while_one_answers_the_interface_is_not_to_blame() {
    let mut bench = Bench::new(5);
    let all_but_one: Vec<Change> = (0..4).flat_map(|backend| bench.say(backend, silent())).collect();
    assert_eq!(all_but_one, []);
}

#[test]
fn who_was_dead_before_says_nothing() {
    let mut bench = Bench::new(4);
    bench.say(3, silent());
    bench.now += Duration::from_secs(3600);
    (0..2).for_each(|backend| drop(bench.say(backend, silent())));
    let changes = bench.say(2, silent());
    assert_eq!((changes.len(), bench.held()), (1, 3));
}

#[test]
fn a_gateway_that_answers_clears_the_interface() {
    let mut bench = Bench::new(3);
    bench.uplinks.set_gateways(BTreeMap::from([("eth0".into(), true)]));
    assert_eq!(bench.all_fall(silent), []);
    // It falls silent too, a little later: only then is it known.
    bench.uplinks.set_gateways(BTreeMap::from([("eth0".into(), false)]));
    let changes = bench.tick(Duration::from_secs(3));
    assert_eq!(changes.len(), 1);
    assert!(changes[0].why.contains("and the gateway"));
    assert_eq!(bench.tick(Duration::from_secs(3600)), [], "with its testimony there is no doubt");
    assert_eq!(bench.held(), 3);
}

#[test]
fn a_gateway_that_falls_silent_much_later_is_another_story() {
    let mut bench = Bench::new(3);
    bench.uplinks.set_gateways(BTreeMap::from([("eth0".into(), true)]));
    bench.all_fall(silent);
    bench.uplinks.set_gateways(BTreeMap::from([("eth0".into(), false)]));
    assert_eq!(bench.tick(Duration::from_secs(60)), []);
}

#[test]
fn without_a_gateways_testimony_patience_ends() {
    let mut bench = Bench::new(3);
    bench.all_fall(silent);
    assert_eq!(bench.tick(PATIENCE - TIMEOUT), []);
    let changes = bench.tick(TIMEOUT);
    assert_eq!((changes.len(), changes[0].held, changes[0].specs.len(), bench.held()), (1, false, 3, 0));
    assert_eq!(bench.say(0, Verdict { why: "other words".into(), ..silent() }), [], "and does not begin again");
}

#[test]
fn the_first_sign_of_life_gives_the_others_one_more_round() {
    let mut bench = Bench::new(4);
    bench.all_fall(silent);
    bench.now += Duration::from_secs(20);
    bench.say(1, up());
    assert_eq!(bench.held(), 3, "who answers speaks for himself");
    assert_eq!(bench.tick(INTERVAL), []);
    bench.say(2, down(FailureKind::Refused));
    assert_eq!(bench.held(), 2);
    let changes = bench.tick(TIMEOUT);
    assert_eq!((changes.len(), changes[0].specs.len(), bench.held()), (1, 2, 0));
}

#[test]
fn a_slower_check_that_falls_silent_later_is_held_too() {
    let mut bench = Bench::new(4);
    bench.says.insert(bench.specs[3].clone(), Verdict::default());
    bench.all_fall_from(0);
    assert_eq!(bench.held(), 3);
    bench.says.insert(bench.specs[3].clone(), up());
    bench.say(3, silent());
    assert_eq!(bench.held(), 4);
}

#[test]
fn interfaces_are_judged_each_by_itself() {
    let mut bench = Bench::new(6);
    for backend in 3..6 {
        bench.uplinks.reached_by([10, 0, 0, backend as u8 + 1].into(), Some("eth1".into()));
    }
    let changes: Vec<Change> = (0..3).flat_map(|backend| bench.say(backend, silent())).collect();
    assert_eq!(changes.len(), 1);
    assert_eq!(bench.uplinks.held().map(|(interface, _)| interface).collect::<Vec<_>>(), ["eth0"]);
    bench.uplinks.reached_by([10, 0, 0, 1].into(), None);
    assert!(bench.uplinks.verdict(&bench.specs[0]).is_none());
}
