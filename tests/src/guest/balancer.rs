//! A balancer without the daemon around it: configuration, plan, tables, next hops and attachments, all real, driven by
//! hand until every next hop is known.

use std::collections::BTreeSet;
use std::time::Duration;

use fairway::config::{AttachMode, Config};
use fairway::effects::dataplane::Dataplane;
use fairway::effects::dataplane::object::Sizes;
use fairway::effects::netlink::Resolver;
use fairway::nexthop::ProgramMode;
use fairway::nexthop::tracker::Event;
use fairway::reconcile::image::Image;
use fairway::reconcile::planner::Planner;
use fairway::reconcile::write::Write;
use fairway::scheduler::seed::Seed;
use nix::net::if_::if_nametoindex;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// Program and tables, in the present network namespace.
pub struct Balancer {
    runtime: Runtime,
    dataplane: Dataplane,
    planner: Planner,
    image: Image,
}

/// How long next hops may take to be resolved: by ARP, under emulation.
const PATIENCE: Duration = Duration::from_secs(10);

impl Balancer {
    /// Serves with `services` (the `[[service]]` part of a configuration file) on an interface, natively.
    ///
    /// # Panics
    /// When it does not come about.
    pub fn start(interface: &str, services: &str) -> Self {
        let config = config(interface, services);
        let mut balancer = Self::load(&config);
        let mode = balancer.dataplane.attach(index(interface), AttachMode::Native);
        assert_eq!(mode, Ok(ProgramMode::Native), "on {interface}");
        let plan = balancer.planner.configure(Duration::ZERO, &balancer.image, &config).expect("it fits");
        balancer.write(&plan.writes);
        balancer.dataplane.assign_rows(balancer.planner.rows()).expect("rows have counters");
        balancer.resolve(index(interface));
        balancer
    }

    fn load(config: &Config) -> Self {
        let sizes = Sizes::for_need(1 << 14, 64, 1 << 12);
        Self {
            runtime: Runtime::new().expect("the machine has threads"),
            dataplane: Dataplane::open(sizes).expect("the program loads"),
            planner: Planner::new(Seed::from_text(&config.dataplane.hash_seed), sizes.slots, sizes.rows),
            image: Image::new(sizes.slots as usize, sizes.rows as usize),
        }
    }

    fn resolve(&mut self, interface: u32) {
        let mut unknown = self.planner.destinations().clone();
        let (resolver, mut events) = {
            let _inside = self.runtime.enter();
            Resolver::start().expect("netlink answers")
        };
        resolver.set_attached(BTreeSet::from([interface]));
        resolver.set_wanted(unknown.clone());
        let mut last = String::new();
        while !unknown.is_empty() {
            let wait = async { timeout(PATIENCE, events.recv()).await };
            let event = self.runtime.block_on(wait).unwrap_or_else(|_| panic!("no next hop for {unknown:?}: {last}"));
            if let Event::NextHop { destination, result } = event.expect("the resolver runs") {
                match &result {
                    Ok(_) => drop(unknown.remove(&destination)),
                    Err(unresolved) => last = unresolved.to_string(),
                }
                let writes = self.planner.next_hop(&self.image, destination, result);
                self.write(&writes);
            }
        }
    }

    fn write(&mut self, writes: &[Write]) {
        writes.iter().for_each(|write| self.image.apply(write));
        self.dataplane.write(writes).expect("the maps take writes");
    }

    /// Packets forwarded, to all backends.
    ///
    /// # Panics
    /// When the counters cannot be read.
    pub fn packets(&self) -> u64 {
        self.dataplane.totals(|_| true).expect("rows have counters").values().map(|totals| totals.packets).sum()
    }
}

fn index(interface: &str) -> u32 {
    if_nametoindex(interface).expect("the interface is here")
}

fn config(interface: &str, services: &str) -> Config {
    let text = format!("[dataplane]\ninterfaces = [\"{interface}\"]\nmode = \"native\"\n{services}");
    let (config, _) = fairway::config::parse(&text, "guest").unwrap_or_else(|problems| panic!("{text}{problems:?}"));
    config
}
