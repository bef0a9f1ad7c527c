//! What the daemon says of VRRP: the engine's snapshot and the thread's own state with moments as people and metrics know
//! them, and what of it an operator should act on. Pure; the runtime, which knows both clocks, calls [`VrrpStatus::new`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::vrrp::view::{BfdView, PathView, PeerView, RouterCounters, RouterView, Snapshot, State, Term};

/// Everything about VRRP, at one moment. Moments are seconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VrrpStatus {
    /// The thread that it runs on.
    pub thread: ThreadStatus,
    /// The virtual routers, in the order of the configuration.
    pub routers: Vec<RouterStatus>,
    /// The peer link; `None`: not configured.
    pub peer: Option<PeerStatus>,
    /// The BFD sessions.
    pub bfd: Vec<BfdStatus>,
    /// Why the node is not ready to be master of what has services; `None`: it is.
    pub not_ready: Option<String>,
    /// VRRP packets that concern no virtual router of ours, by reason.
    pub stray: BTreeMap<String, u64>,
    /// Stalls that could have made another node take over.
    pub stalls: u64,
    /// The longest of them.
    pub longest_stall_seconds: f64,
}

/// The VRRP thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ThreadStatus {
    /// Why it has no real-time priority; `None`: it has.
    pub no_realtime: Option<String>,
    /// Why its memory is not locked; `None`: it is.
    pub not_locked: Option<String>,
    /// Times it woke up.
    pub wakeups: u64,
    /// Of those, times it was late.
    pub late_wakeups: u64,
    /// The latest of all.
    pub worst_lateness_seconds: f64,
    /// What could not be done, by what and how it failed.
    pub failures: BTreeMap<String, u64>,
    /// What is wrong at present, in words.
    pub problems: BTreeSet<String>,
    /// Happenings that were lost because nobody took them in time.
    pub outputs_dropped: u64,
    /// Times that a socket had more packets than are read at a time.
    pub receive_floods: u64,
    /// Times that the kernel's announcements of links and addresses overran their buffer.
    pub announcement_overruns: u64,
}

/// A virtual router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterStatus {
    /// Its name.
    pub name: String,
    /// Its interface.
    pub interface: String,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Virtual router identifier.
    pub vrid: u8,
    /// Version, 2 or 3.
    pub version: u8,
    /// Its group, if any.
    pub group: Option<String>,
    /// Its state.
    pub state: State,
    /// Since when.
    pub since: f64,
    /// Why, in words.
    pub why: String,
    /// Priority as configured.
    pub priority: u8,
    /// Priority with all terms.
    pub effective_priority: u8,
    /// The terms: what is added, and what it depends on.
    pub terms: Vec<Term>,
    /// Who is master as far as we hear; `None`: nobody, or this node.
    pub master: Option<MasterStatus>,
    /// Advertised addresses.
    pub addresses: Vec<IpAddr>,
    /// Addresses held besides.
    pub excluded_addresses: Vec<IpAddr>,
    /// The virtual MAC address, if used.
    pub virtual_mac: Option<String>,
    /// An operator made it resign.
    pub resigned: bool,
    /// It does not preempt until then.
    pub hold_until: Option<f64>,
    /// Why it is not master though it might be.
    pub held_back: Option<String>,
    /// How the other's addresses differ from ours.
    pub address_difference: Option<String>,
    /// Another node that says it is master while this one is.
    pub foreign_master: Option<ForeignMaster>,
    /// Advertisement interval in force.
    pub interval_seconds: f64,
    /// Skew_Time at present.
    pub skew_seconds: f64,
    /// Counters.
    pub counters: RouterCounters,
}

/// Who is master.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MasterStatus {
    /// Its address.
    pub address: IpAddr,
    /// Its priority.
    pub priority: u8,
    /// When it was last heard.
    pub heard: f64,
}

/// A second master.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForeignMaster {
    /// Its address.
    pub address: IpAddr,
    /// When it was last heard.
    pub heard: f64,
}

/// The peer link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// The peer's node name; `None`: not heard yet.
    pub name: Option<String>,
    /// Whether it is heard on some path.
    pub alive: bool,
    /// Since when it is as it is.
    pub since: f64,
    /// Its paths.
    pub paths: Vec<PathStatus>,
    /// Datagrams refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Routers that only one of the two nodes has, in words.
    pub differences: Vec<String>,
}

/// A path to the peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathStatus {
    /// The peer's address.
    pub address: IpAddr,
    /// Whether it is heard there.
    pub alive: bool,
    /// When it was last heard.
    pub heard: Option<f64>,
    /// Heartbeats sent.
    pub sent: u64,
    /// Heartbeats received.
    pub received: u64,
}

/// A BFD session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BfdStatus {
    /// The other end.
    pub neighbour: IpAddr,
    /// `admin-down`, `down`, `init`, `up`.
    pub state: String,
    /// Since when.
    pub since: f64,
    /// Detection time in force.
    pub detection_seconds: f64,
    /// Sessions lost.
    pub losses: u64,
    /// Packets discarded, by reason.
    pub discarded: BTreeMap<String, u64>,
}

/// Turns monotonic moments into those of the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Epoch(f64);

impl Epoch {
    /// From both clocks, read at once.
    pub fn new(monotonic: Duration, wall: f64) -> Self {
        Self(wall - monotonic.as_secs_f64())
    }

    /// A monotonic moment in seconds since the Unix epoch.
    pub fn wall(self, monotonic: Duration) -> f64 {
        self.0 + monotonic.as_secs_f64()
    }
}

impl VrrpStatus {
    /// From what the engine and the thread say.
    pub fn new(snapshot: &Snapshot, thread: ThreadStatus, epoch: Epoch) -> Self {
        Self {
            thread,
            routers: snapshot.routers.iter().map(|router| RouterStatus::new(router, epoch)).collect(),
            peer: snapshot.peer.as_ref().map(|peer| PeerStatus::new(peer, epoch)),
            bfd: snapshot.bfd.iter().map(|session| BfdStatus::new(session, epoch)).collect(),
            not_ready: snapshot.not_ready.clone(),
            stray: snapshot.stray.clone(),
            stalls: snapshot.stalls,
            longest_stall_seconds: snapshot.longest_stall.as_secs_f64(),
        }
    }

    /// What an operator should know and do; empty when all is well.
    pub fn warnings(&self) -> Vec<String> {
        let routers = self.routers.iter().flat_map(RouterStatus::warnings);
        let peer = self.peer.iter().flat_map(PeerStatus::warnings);
        let bfd = self.bfd.iter().filter(|session| session.state == "down" && session.losses > 0);
        let bfd = bfd.map(|session| format!("the BFD session with {} is down", session.neighbour));
        routers.chain(peer).chain(bfd).chain(self.thread.warnings()).collect()
    }
}

impl RouterStatus {
    fn new(view: &RouterView, epoch: Epoch) -> Self {
        Self {
            name: view.name.clone(),
            interface: view.interface.clone(),
            family: view.family.clone(),
            vrid: view.vrid,
            version: view.version,
            group: view.group.clone(),
            state: view.state,
            since: epoch.wall(view.since),
            why: view.why.clone(),
            priority: view.priority,
            effective_priority: view.effective_priority,
            terms: view.terms.clone(),
            master: view.master.as_ref().map(|master| MasterStatus {
                address: master.address,
                priority: master.priority,
                heard: epoch.wall(master.heard),
            }),
            addresses: view.addresses.clone(),
            excluded_addresses: view.excluded.clone(),
            virtual_mac: view.virtual_mac.clone(),
            resigned: view.resigned,
            hold_until: view.hold_until.map(|until| epoch.wall(until)),
            held_back: view.held_back.clone(),
            address_difference: view.address_difference.clone(),
            foreign_master: view
                .foreign_master
                .map(|(address, heard)| ForeignMaster { address, heard: epoch.wall(heard) }),
            interval_seconds: view.interval.as_secs_f64(),
            skew_seconds: view.skew.as_secs_f64(),
            counters: view.counters.clone(),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let name = &self.name;
        let mut all = Vec::new();
        if let Some(foreign) = &self.foreign_master {
            all.push(format!(
                "virtual router {name}: TWO MASTERS, {} says it is one too; the network between the nodes is cut or passes \
                 one way only, or VRID {} is somebody else's",
                foreign.address, self.vrid
            ));
        }
        match (self.state, &self.held_back) {
            (State::Fault, _) => all.push(format!("virtual router {name} is in fault: {}", self.why)),
            (State::Backup, Some(why)) if self.master.is_none() => {
                all.push(format!("virtual router {name} has no master, and this node is held back: {why}"));
            }
            (State::Init | State::Backup | State::Master, _) => {}
        }
        if let Some(difference) = &self.address_difference {
            all.push(format!("virtual router {name}: the other node has other addresses: {difference}"));
        }
        if self.resigned {
            all.push(format!("virtual router {name} has resigned until `fairway vrrp resume {name}`"));
        }
        all
    }
}

impl PeerStatus {
    fn new(view: &PeerView, epoch: Epoch) -> Self {
        let path = |path: &PathView| PathStatus {
            address: path.address,
            alive: path.alive,
            heard: path.heard.map(|heard| epoch.wall(heard)),
            sent: path.sent,
            received: path.received,
        };
        Self {
            name: view.name.clone(),
            alive: view.alive,
            since: epoch.wall(view.since),
            paths: view.paths.iter().map(path).collect(),
            refused: view.refused.clone(),
            differences: view.differences.clone(),
        }
    }

    /// How people call it.
    pub fn title(&self) -> &str {
        self.name.as_deref().unwrap_or("the peer")
    }

    fn warnings(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.alive {
            let silent = self.paths.iter().filter(|path| !path.alive);
            all.extend(silent.map(|path| format!("{} is not heard at {}", self.title(), path.address)));
        } else if self.name.is_some() {
            all.push(format!("{} is silent on every path: this node has no partner", self.title()));
        } else {
            all.push("the peer has not been heard yet: check [peer] here and there, and UDP in between".to_owned());
        }
        if let Some((reason, count)) = self.refused.iter().find(|(reason, _)| *reason == "authentication") {
            all.push(format!("{count} heartbeats were refused ({reason}): the key files differ"));
        }
        all.extend(self.differences.iter().cloned());
        all
    }
}

impl BfdStatus {
    fn new(view: &BfdView, epoch: Epoch) -> Self {
        Self {
            neighbour: view.neighbour,
            state: view.state.clone(),
            since: epoch.wall(view.since),
            detection_seconds: view.detection_time.as_secs_f64(),
            losses: view.losses,
            discarded: view.discarded.clone(),
        }
    }
}

impl ThreadStatus {
    fn warnings(&self) -> Vec<String> {
        let granted = self.no_realtime.iter().chain(&self.not_locked);
        let mut all: Vec<String> = granted.chain(&self.problems).map(|what| format!("VRRP: {what}")).collect();
        if self.outputs_dropped > 0 {
            all.push(format!("VRRP: {} events were lost, the daemon was too busy to take them", self.outputs_dropped));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::admin::sample;

    #[test]
    fn moments_are_of_the_wall_clock() {
        let snapshot = Snapshot {
            at: Duration::from_secs(100),
            peer: Some(PeerView {
                name: None,
                alive: false,
                since: Duration::from_millis(40_500),
                paths: vec![],
                refused: BTreeMap::new(),
                differences: vec![],
            }),
            longest_stall: Duration::from_millis(120),
            ..Snapshot::default()
        };
        let epoch = Epoch::new(Duration::from_secs(100), 1_700_000_000.0);
        let status = VrrpStatus::new(&snapshot, ThreadStatus::default(), epoch);
        assert_eq!(status.peer.map(|peer| peer.since), Some(1_699_999_940.5));
        assert_eq!(status.longest_stall_seconds, 0.12);
    }

    #[test]
    fn the_sample_warns_of_everything_that_is_wrong_with_it() {
        let warnings = sample::vrrp().warnings();
        let expected = [
            "virtual router public: TWO MASTERS, 192.0.2.2 says it is one too; the network between the nodes is cut or \
             passes one way only, or VRID 51 is somebody else's",
            "virtual router inside has no master, and this node is held back: not ready: 2 next hops are not known yet",
            "virtual router inside: the other node has other addresses: missing there: 10.0.0.2",
            "virtual router inside has resigned until `fairway vrrp resume inside`",
            "lb2 is not heard at 192.0.2.2",
            "3 heartbeats were refused (authentication): the key files differ",
            "VRRP: memory is not locked: grant CAP_IPC_LOCK",
        ];
        assert_eq!(warnings, expected);
    }

    #[test]
    fn a_healthy_pair_warns_of_nothing() {
        let mut vrrp = sample::vrrp();
        vrrp.thread = ThreadStatus::default();
        vrrp.routers.truncate(1);
        vrrp.routers[0].foreign_master = None;
        let peer = vrrp.peer.as_mut().unwrap();
        peer.refused.clear();
        peer.paths.truncate(1);
        assert_eq!(vrrp.warnings(), [""; 0]);
    }

    #[test]
    fn json_comes_back_as_it_went() {
        let json = serde_json::to_string(&sample::vrrp()).unwrap();
        assert_eq!(serde_json::from_str::<VrrpStatus>(&json).unwrap(), sample::vrrp());
    }
}
