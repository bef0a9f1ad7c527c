//! Connections that come and go on all processors at once, some of them on several, while censuses delete what has had its time: no
//! established one changes its backend, and counts are right. With `FAIRWAY_FULL=1` a million of them for a minute.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aya::programs::Xdp;
use fairway::config;
use fairway::effects::dataplane::{Maps, object};
use fairway::reconcile::image::Image;
use fairway::reconcile::placed::Placed;
use fairway::reconcile::recount::Recount;
use fairway::reconcile::stateful::Seat;
use fairway_tests::packet::flag;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::table::{BACKENDS, BY_TABLE, Client, POOL, Table};
use crate::kernel::{self, Kernel};
use crate::random::Random;
use crate::state::coarse_now;

/// Connections of which every processor has packets.
const SHARED: Range<u32> = 0..16;
/// A connection that was reset is remembered for so long, in seconds.
const CLOSED_TIMEOUT: u32 = 1;
/// Its client begins another with the same ports after that, and at most so much: while a census may be looking at it.
const LATER: Duration = Duration::from_millis(400);
/// As many censuses as it takes to be sure of an error, and of another.
const CENSUSES: usize = 8;

fn scale() -> (u32, Duration) {
    match std::env::var_os("FAIRWAY_FULL") {
        Some(_) => (1_000_000, Duration::from_secs(60)),
        None => (20_000, Duration::from_secs(4)),
    }
}

#[test]
fn counts_are_right_after_much_coming_and_going_on_all_processors() {
    let (flows, lasting) = scale();
    let mut table = Table::new(flows + flows / 8, CLOSED_TIMEOUT);
    let processors = processors();
    assert!(processors.len() > 1, "only one processor: nothing would race here");
    let share = (flows - SHARED.end) / processors.len() as u32;
    let service = service();
    let stop = AtomicBool::new(false);
    let (workers, censuses, corrected) = {
        let Kernel { ebpf, maps, namespace, .. } = &mut table.kernel;
        let program = &*object::program(ebpf, "fairway").expect("loaded before");
        let (image, namespace, stop) = (&table.image, &*namespace, &stop);
        let established = &AtomicUsize::new(0);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..)
                .zip(&processors)
                .map(|(number, &processor)| {
                    let own = SHARED.end + number * share..SHARED.end + (number + 1) * share;
                    scope.spawn(move || {
                        kernel::enter(namespace);
                        stay_on(processor);
                        let mut worker = Worker::new(program, own);
                        worker.establish();
                        established.fetch_add(1, Ordering::Relaxed);
                        worker.churn(stop);
                        worker
                    })
                })
                .collect();
            let is_running = || !workers.iter().any(|worker| worker.is_finished());
            while established.load(Ordering::Relaxed) < workers.len() && is_running() {
                thread::sleep(Duration::from_millis(5));
            }
            let (mut recount, mut censuses, mut corrected) = (Recount::default(), 0, 0);
            #[expect(clippy::disallowed_methods, reason = "a test that runs for a while")]
            let end = Instant::now() + lasting;
            #[expect(clippy::disallowed_methods, reason = "a test that runs for a while")]
            while Instant::now() < end && is_running() {
                corrected += take_census(maps, image, &service, &mut recount);
                censuses += 1;
            }
            stop.store(true, Ordering::Relaxed);
            let workers: Vec<Worker<'_>> =
                workers.into_iter().map(|worker| worker.join().expect("no connection was moved")).collect();
            (workers.into_iter().map(|worker| worker.seen).collect::<Vec<_>>(), censuses, corrected)
        })
    };

    table.census(Duration::from_secs(u64::from(CLOSED_TIMEOUT) + 1));
    let mut text =
        format!("{flows} connections, {censuses} censuses that corrected {corrected} counts, processors: {workers:?}");
    let (recorded, counted) = (table.recorded(), table.counted());
    for backend in 0..BACKENDS {
        write!(text, "; backend {backend}: {:?} of {:?}", counted.get(&backend), recorded.get(&backend))
            .expect("a string");
    }
    println!("{text}");
    assert!(censuses >= CENSUSES, "{text}");
    let mut recount = Recount::default();
    for _ in 0..CENSUSES {
        take_census(&mut table.kernel.maps, &table.image, &service, &mut recount);
    }
    assert_eq!(table.recorded(), table.counted(), "{text}");
    assert_eq!(table.kernel.maps.unrecorded().expect("a counter"), 0, "the table had room");
}

/// Reads and cleans the tables as the daemon does; how many counts that corrected.
fn take_census(maps: &mut Maps, image: &Image, service: &Placed, recount: &mut Recount) -> usize {
    let tally = maps.census(image, Duration::from_nanos(coarse_now())).expect("the tables can be read");
    let writes = recount.observe([service].into_iter(), &tally.census);
    writes.iter().for_each(|write| maps.apply(write).expect("a write"));
    writes.len()
}

/// The service, as the reconciler knows it.
fn service() -> Placed {
    let text = "[dataplane]\ninterfaces = [\"eth0\"]\n[[service]]\nname = \"web\"\nlisten = [\"tcp://192.0.2.50:80\"]\nscheduler = \"wlc\"\n[[service.backend]]\naddress = \"10.0.0.11\"\n";
    let (config, _) = config::parse(text, "host").expect("a good configuration");
    let mut placed = Placed::new(&config.services[0], 0, POOL, BTreeMap::new());
    placed.seat = Some(Seat { chooser: 1, first_load: 0, room: u32::from(BACKENDS) + 1 });
    placed
}

/// Processors that this process may use.
fn processors() -> Vec<usize> {
    let may = nix::sched::sched_getaffinity(Pid::from_raw(0)).expect("this thread's processors");
    (0..CpuSet::count()).filter(|&processor| may.is_set(processor).unwrap_or(false)).collect()
}

fn stay_on(processor: usize) {
    let mut only = CpuSet::new();
    only.set(processor).expect("it is one");
    sched_setaffinity(Pid::from_raw(0), &only).expect("this thread may");
}

/// One processor's packets.
struct Worker<'a> {
    program: &'a Xdp,
    client: Client,
    random: Random,
    own: Range<u32>,
    /// Backends of own connections that are established.
    owners: Vec<Option<u16>>,
    /// Own ones that were reset, and when others follow them.
    closed: VecDeque<(u64, u32)>,
    seen: Seen,
}

/// What a worker did.
#[derive(Debug, Default)]
struct Seen {
    held: u64,
    reopened: u64,
    shared: u64,
}

impl Seen {
    /// What would prove nothing is not accepted, however slow the machine.
    fn is_enough(&self) -> bool {
        self.reopened > 500 && self.held > 5_000 && self.shared > 5_000
    }
}

impl<'a> Worker<'a> {
    fn new(program: &'a Xdp, own: Range<u32>) -> Self {
        let (random, owners) = (Random(own.start.into()), vec![None; own.len()]);
        Self { program, client: Client::default(), random, own, owners, closed: VecDeque::new(), seen: Seen::default() }
    }

    fn send(&mut self, flow: u32, flags: u8) -> u16 {
        self.client.send(self.program, flow, flags)
    }

    fn establish(&mut self) {
        self.own.clone().for_each(|flow| self.open(flow));
    }

    fn open(&mut self, flow: u32) {
        let owner = self.send(flow, flag::SYN);
        assert_ne!(owner, BY_TABLE, "connection {flow} was not recorded");
        assert_eq!(self.send(flow, flag::ACK), owner, "connection {flow}, just opened");
        self.owners[(flow - self.own.start) as usize] = Some(owner);
    }

    fn churn(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) || !self.seen.is_enough() {
            for _ in 0..4 {
                self.go_on();
            }
            let flow = self.random.below(SHARED.len()) as u32;
            let flags = [flag::SYN, flag::ACK, flag::ACK, flag::FIN | flag::ACK, flag::RST];
            let flags = flags[self.random.below(flags.len())];
            self.send(flow, flags);
            self.seen.shared += 1;
        }
    }

    /// Something happens to an own connection.
    fn go_on(&mut self) {
        let now = coarse_now();
        if self.closed.front().is_some_and(|(due, _)| *due <= now) {
            let (_, flow) = self.closed.pop_front().expect("it was there");
            self.open(flow);
            self.seen.reopened += 1;
            return;
        }
        let at = self.random.below(self.owners.len());
        let Some(owner) = self.owners[at] else { return };
        let flow = self.own.start + at as u32;
        if self.random.one_in(16) {
            assert_eq!(self.send(flow, flag::RST), owner, "connection {flow}, which is reset");
            self.owners[at] = None;
            let later = self.random.below(LATER.as_nanos() as usize) as u64;
            self.closed.push_back((now + u64::from(CLOSED_TIMEOUT) * 1_000_000_000 + later, flow));
        } else {
            let flags = if self.random.one_in(8) { flag::FIN | flag::ACK } else { flag::ACK };
            assert_eq!(self.send(flow, flags), owner, "connection {flow}, which is established");
            self.seen.held += 1;
        }
    }
}
