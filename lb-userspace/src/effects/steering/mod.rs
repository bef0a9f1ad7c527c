//! Probes of `direct` and `tunnel` backends by the way of clients' packets: to the service's address, on that backend.
//!
//! A prober's socket connects to a reserved address that stands for one backend of one service's address (see
//! `lb_common::probe`). Routes lead these addresses to a device of our own; the program on its way out makes of them the service's
//! address and the backend's frame (and puts the packet into another for one that unwraps), and the packet path turns the answers back, and sends them in by that device, before the
//! host's stack sees them. To the socket it is an ordinary connection.
//!
//! [`Steering`] is the one handle, for two threads: the runtime tells it which targets there are and what their frames are
//! ([`Steering::apply`]), the prober asks how to reach one ([`Steering::way`]).

mod device;
mod numbers;
mod ports;
mod source;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use anyhow::Context as _;
use lb_common::abi::ProbeTarget;
use lb_common::limits::PROBE_TARGETS;
use lb_common::outer::Outer;
use lb_common::probe::{self, Kind};
use tracing::{error, info};

pub use ports::{Claim, Ports};
pub use source::source_towards;

use self::numbers::Numbers;
use self::source::Source;
use crate::controller::steering::{Change, Course, Pair};
use crate::effects::dataplane::{Dataplane, MappedArray};
use crate::health::spec::{Target, Way};
use crate::health::verdict::{Failure, FailureKind};
use crate::nexthop::{Frame, NextHop, Unresolved};
use crate::reconcile::entries::{probe_outer, probe_target};

/// See the module's description. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Steering(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    standings: RwLock<BTreeMap<Pair, Standing>>,
    kernel: Mutex<Kernel>,
}

/// The kernel's side. Only the runtime's thread takes it.
#[derive(Debug, Default)]
enum Kernel {
    /// Nothing was to be steered yet.
    #[default]
    Closed,
    /// Device and tables are there.
    Open(Box<Tables>),
    /// They could not be made; why.
    Failed(String),
}

struct Tables {
    targets: MappedArray<ProbeTarget>,
    ports: Arc<Ports>,
    numbers: Numbers,
    /// Removed when dropped.
    device: device::Device,
}

/// What is known of the way to a target.
#[derive(Clone, Debug)]
enum Standing {
    /// The backend is this host: it is asked at its own address.
    Local,
    /// It has a frame.
    Reachable { number: u32, ports: Arc<Ports>, source: Arc<Source> },
    /// It has none.
    Unresolved(Unresolved),
    /// Probes cannot be steered at all; why, and what else would be its way.
    Impossible { why: String, course: Course },
}

/// What a probe's socket needs to reach a target by the way of clients' packets.
#[derive(Clone, Debug)]
pub struct Steered {
    /// To be bound to, with port 0, before connecting: an address of this host that the backend can answer to.
    pub source: IpAddr,
    /// To be connected to: the target's reserved address.
    pub destination: SocketAddr,
    number: u32,
    ports: Arc<Ports>,
}

impl Steered {
    /// Says that a socket asks this target from a local port, or with an identifier; to be called between binding and
    /// connecting. `None` when another probe's socket has that number, bound to another address: bind anew.
    #[must_use]
    pub fn claim(&self, kind: Kind, number: u16) -> Option<Claim> {
        self.ports.claim(kind, number, self.number)
    }
}

impl Steering {
    /// How to reach a target; `None`: at its own address, as the host routes it.
    ///
    /// # Errors
    /// When it cannot be reached at present.
    pub fn way(&self, target: &Target) -> Result<Option<Steered>, Failure> {
        let Way::Steered { service, wrapping } = target.way else { return Ok(None) };
        let pair = Pair { backend: target.address, service, wrapping };
        let standings = self.0.standings.read().unwrap_or_else(PoisonError::into_inner);
        match standings.get(&pair) {
            Some(Standing::Local) => Ok(None),
            Some(Standing::Reachable { number, ports, source }) => {
                let destination = IpAddr::from(probe::reserved(*number, service.is_ipv4()));
                Ok(Some(Steered {
                    source: source.address(&pair)?,
                    destination: SocketAddr::new(destination, target.port),
                    number: *number,
                    ports: ports.clone(),
                }))
            }
            Some(Standing::Unresolved(unresolved)) => Err(unreachable(unresolved)),
            Some(Standing::Impossible { why, .. }) => Err(Failure::new(FailureKind::Local, why.clone())),
            None => Err(Failure::new(FailureKind::Local, format!("the way to {} is not set up yet", target.address))),
        }
    }

    /// Carries out changes of what is steered, and how. The device is made with the first target; if it cannot be, that is
    /// tried again with every change.
    pub fn apply(&self, changes: Vec<Change>, dataplane: Option<&mut Dataplane>) {
        let mut kernel = self.kernel();
        let is_wanted = changes.iter().any(|change| matches!(change, Change::Put { .. }));
        let missed = if is_wanted && !matches!(*kernel, Kernel::Open(_)) {
            *kernel = Kernel::open(dataplane);
            self.impossible()
        } else {
            Vec::new()
        };
        for change in missed.into_iter().chain(changes) {
            match change {
                Change::Put { pair, course } => {
                    let standing = self.put(&mut kernel, pair, course);
                    self.standings().insert(pair, standing);
                }
                Change::Remove(pair) => {
                    let removed = self.standings().remove(&pair);
                    kernel.forget(removed);
                }
            }
        }
    }

    /// Takes the device away. Probes under way are not answered any more.
    pub fn close(&self) {
        *self.kernel() = Kernel::Closed;
        self.standings().clear();
    }

    /// Those that could not be steered, to be tried again.
    fn impossible(&self) -> Vec<Change> {
        let again = |(&pair, standing): (&Pair, &Standing)| match standing {
            Standing::Impossible { course, .. } => Some(Change::Put { pair, course: course.clone() }),
            Standing::Local | Standing::Reachable { .. } | Standing::Unresolved(_) => None,
        };
        self.standings().iter().filter_map(again).collect()
    }

    fn put(&self, kernel: &mut Kernel, pair: Pair, course: Course) -> Standing {
        let before = self.standings().get(&pair).cloned();
        let tables = match kernel {
            Kernel::Open(tables) => tables,
            Kernel::Closed => return Standing::Impossible { why: "no probe is steered yet".to_owned(), course },
            Kernel::Failed(why) => return Standing::Impossible { why: why.clone(), course },
        };
        match &course.hop {
            Ok(NextHop::Frame(frame)) => match tables.put(pair, frame, course.tunnel_source, before.as_ref()) {
                Ok(standing) => standing,
                Err(error) => {
                    let why = format!("{error:#}");
                    kernel.forget(before);
                    Standing::Impossible { why, course }
                }
            },
            Ok(NextHop::Local) => {
                kernel.forget(before);
                Standing::Local
            }
            Err(unresolved) => {
                kernel.forget(before);
                Standing::Unresolved(unresolved.clone())
            }
        }
    }

    fn kernel(&self) -> MutexGuard<'_, Kernel> {
        self.0.kernel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn standings(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<Pair, Standing>> {
        self.0.standings.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kernel {
    fn open(dataplane: Option<&mut Dataplane>) -> Self {
        match Tables::open(dataplane) {
            Ok(tables) => {
                info!(device = device::NAME, "probes of direct and tunnel backends go by the way of clients' packets");
                Self::Open(Box::new(tables))
            }
            Err(error) => {
                let why = format!("probes cannot be sent by the way of clients' packets: {error:#}");
                error!(why, "direct and tunnel backends cannot be probed at the service's address");
                Self::Failed(why)
            }
        }
    }

    /// Gives a target's number back.
    fn forget(&mut self, standing: Option<Standing>) {
        if let (Self::Open(tables), Some(Standing::Reachable { number, .. })) = (self, standing) {
            tables.forget(number);
        }
    }
}

impl Tables {
    fn open(dataplane: Option<&mut Dataplane>) -> anyhow::Result<Self> {
        let dataplane = dataplane.context("no program is attached: [dataplane] names no interfaces")?;
        let device = device::Device::make()?;
        dataplane.attach_steering(device::NAME)?;
        let (targets, ports) = dataplane.probe_tables()?;
        Ok(Self { targets, ports: Arc::new(Ports::new(ports)), numbers: Numbers::new(PROBE_TARGETS), device })
    }

    /// Writes a target's frame, and what its packets are put into, under the number that it has or a new one.
    fn put(
        &mut self,
        pair: Pair,
        frame: &Frame,
        tunnel_source: Option<IpAddr>,
        before: Option<&Standing>,
    ) -> anyhow::Result<Standing> {
        let wrapping = match pair.wrapping {
            Some(wrapping) => Some((wrapping, outer_source(pair.backend, frame, tunnel_source)?)),
            None => None,
        };
        let number = match before {
            Some(Standing::Reachable { number, .. }) => *number,
            _ => self.numbers.take().with_context(|| {
                format!("more than {PROBE_TARGETS} backends would be probed by the way of clients' packets")
            })?,
        };
        let outer = wrapping.map_or_else(Outer::default, |(wrapping, source)| {
            probe_outer(pair.backend, wrapping, pair.service, source, number)
        });
        let index = number as usize;
        let target = probe_target(pair.service, frame, outer, self.device.back());
        // A probe that leaves in between would leave in a frame that is neither: it is dropped, and sent again.
        self.targets.store_u64(index, std::mem::offset_of!(ProbeTarget, mac_head), 0)?;
        self.targets.write(index, ProbeTarget { mac_head: 0, ..target })?;
        self.targets.store_u64(index, std::mem::offset_of!(ProbeTarget, mac_head), target.mac_head)?;
        Ok(Standing::Reachable { number, ports: self.ports.clone(), source: Arc::default() })
    }

    fn forget(&mut self, number: u32) {
        let cleared = self.targets.store_u64(number as usize, std::mem::offset_of!(ProbeTarget, mac_head), 0);
        cleared.expect("numbers are those of the table");
        self.numbers.give(number);
    }
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").field("numbers", &self.numbers).finish_non_exhaustive()
    }
}

/// Where outer packets for a backend come from.
fn outer_source(backend: IpAddr, frame: &Frame, configured: Option<IpAddr>) -> anyhow::Result<IpAddr> {
    let usual = frame.source.filter(|source| source.is_ipv4() == backend.is_ipv4());
    configured.or(usual).with_context(|| {
        let key = if backend.is_ipv4() { "tunnel_source_v4" } else { "tunnel_source_v6" };
        format!("this host has no address to send outer packets to {backend} from; [dataplane] {key} can name one")
    })
}

/// A backend without a frame gets no packets either. Only where it was asked for its address and gave no answer does that
/// say something of the backend.
fn unreachable(unresolved: &Unresolved) -> Failure {
    let kind = if matches!(unresolved, Unresolved::Silent { .. }) { FailureKind::Silent } else { FailureKind::Local };
    Failure::new(kind, unresolved.to_string())
}
