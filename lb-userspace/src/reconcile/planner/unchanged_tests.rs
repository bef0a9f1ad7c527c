//! A plan that looks only at what changed is the plan that looks at everything.

use lb_common::abi::HALF_ENTRIES;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::config::parse;
use crate::reconcile::placed::{Standing, WEIGHT_SCALE, identity_of};

const SERVICES: usize = 4;
const BACKENDS: u8 = 4;

/// A configuration, and what happens after it is in force.
#[derive(Clone, Debug)]
struct Step {
    /// Of each service which backends there are, by bit; none: the service is not there.
    services: [u8; SERVICES],
    /// So much time passes, and a census is taken.
    passes: u64,
    /// A service and a backend of it that weighs this from then on, or is dead to its flows.
    reweighed: (usize, u8, u16, bool),
}

fn step() -> impl Strategy<Value = Step> {
    // Few differ from the usual, so that most services stay and tables are shared.
    let backends = prop_oneof![4 => Just(0b11), 1 => Just(0), 2 => 0u8..16];
    let reweighed = (0..SERVICES, 0..BACKENDS, 0u16..3, any::<bool>());
    let services = prop::array::uniform4(backends);
    (services, 0u64..2000, reweighed).prop_map(|(services, passes, reweighed)| Step { services, passes, reweighed })
}

/// A planner, the maps, and what each service's backends weigh.
#[derive(Clone)]
struct Bench {
    planner: Planner,
    image: Image,
}

impl Bench {
    fn new() -> Self {
        Self { planner: Planner::new(Seed::from_text("test"), 1024, 1024), image: Image::new(1024, 1024) }
    }

    fn apply(&mut self, writes: &[Write]) {
        writes.iter().for_each(|write| self.image.apply(write));
    }

    fn holds_the_same(&self, other: &Self) {
        let live = |image: &Image| {
            let first = (image.root.word & 1) as usize * HALF_ENTRIES;
            (image.services[first..][..HALF_ENTRIES].to_vec(), image.reverse[first..][..HALF_ENTRIES].to_vec())
        };
        assert!(live(&self.image) == live(&other.image));
        assert_eq!((&self.image.slots, &self.image.rows), (&other.image.slots, &other.image.rows));
        assert_eq!(self.planner.destinations(), other.planner.destinations());
        let rows = |bench: &Self| format!("{:?}", bench.planner.rows());
        assert_eq!(rows(self), rows(other));
        let tables = |bench: &Self| bench.planner.services().values().map(|it| it.table).collect::<Vec<_>>();
        assert_eq!(tables(self), tables(other));
    }
}

proptest! {
    #[test]
    fn a_plan_that_leaves_services_alone_is_the_plan_that_looks_at_all_of_them(steps in vec(step(), 1..12)) {
        let (mut whole, mut lean) = (Bench::new(), Bench::new());
        let mut now = Duration::from_secs(1000);
        let mut standings: BTreeMap<String, Standings> = BTreeMap::new();
        for Step { services, passes, reweighed } in steps {
            let config = config(&services);
            let unchanged = lean.planner.unchanged_by(&config);
            for service in config.services.iter().filter(|service| !unchanged.contains(&service.name)) {
                standings.insert(service.name.clone(), configured(service));
            }
            let changed = |(name, _): &(&String, &Standings)| !unchanged.contains(name);
            let few = standings.iter().filter(changed).map(|(name, it)| (name.clone(), it.clone())).collect();
            let all_at = whole.planner.configure_with(now, &whole.image, &config, &standings, &Unchanged::default());
            let few_at = lean.planner.configure_with(now, &lean.image, &config, &few, &unchanged);
            let (all, few) = (all_at.expect("there is room"), few_at.expect("there is room"));
            prop_assert_eq!(format!("{:?}", all.writes), format!("{:?}", few.writes));
            prop_assert_eq!((all.changes, all.slots, all.slots_moved), (few.changes, few.slots, few.slots_moved));
            whole.apply(&all.writes);
            lean.apply(&few.writes);
            whole.holds_the_same(&lean);

            let (service, backend, weight, up) = reweighed;
            if let Some(standings) = standings.get_mut(&format!("s{service}"))
                && let Some(standing) = standings.get_mut(&format!("10.0.0.{backend} direct"))
            {
                *standing = Standing { weight: u32::from(weight) * WEIGHT_SCALE, up };
                let changed = BTreeMap::from([(format!("s{service}"), standings.clone())]);
                for bench in [&mut whole, &mut lean] {
                    let writes = bench.planner.reweigh(now, &bench.image, &changed).writes;
                    bench.apply(&writes);
                }
            }
            now += Duration::from_secs(passes);
            for bench in [&mut whole, &mut lean] {
                let (writes, _) = bench.planner.sweep(now, &bench.image, &Census::new(now));
                bench.apply(&writes);
            }
            whole.holds_the_same(&lean);
        }
    }
}

fn config(services: &[u8; SERVICES]) -> Config {
    let mut text = String::from("dataplane.interfaces = [\"eth0\"]\n");
    for (at, backends) in services.iter().enumerate().filter(|(_, backends)| **backends != 0) {
        text +=
            &format!("[[service]]\nname = \"s{at}\"\nlisten = [\"tcp://192.0.2.{at}:80\"]\nlookup_table_size = 64\n");
        for backend in (0..BACKENDS).filter(|backend| backends & 1 << backend != 0) {
            text += &format!("[[service.backend]]\naddress = \"10.0.0.{backend}\"\n");
        }
    }
    parse(&text, "host").unwrap_or_else(|problems| panic!("{problems:#?}")).0
}

fn configured(service: &ServiceConfig) -> Standings {
    let standing = |backend: &Backend| {
        (identity_of(backend), Standing { weight: u32::from(backend.weight) * WEIGHT_SCALE, up: true })
    };
    service.backends.iter().map(standing).collect()
}
