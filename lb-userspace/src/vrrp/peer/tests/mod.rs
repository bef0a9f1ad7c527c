//! Tests of the peer link, in virtual time.

mod hostile;
mod reports;
mod silence;
mod wire;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{PeerLink, PeerNews, RouterReport};
use crate::config::Peer;
use crate::vrrp::view::State;

/// The addresses of the nodes: node 0 is .1, node 1 is .2, on two networks.
const NETWORKS: [u8; 2] = [1, 2];
const KEY: &[u8] = b"a key of the pair";

/// Two links and what flies between them.
struct Pair {
    now: Duration,
    links: [PeerLink; 2],
    /// Latency by network.
    latency: [Duration; 2],
    /// Whether a datagram from a node on a network is lost: `cut[from][network]`.
    cut: [[bool; 2]; 2],
    /// In flight: when it arrives, where, from whom.
    flying: Vec<(Duration, usize, IpAddr, Vec<u8>)>,
    /// Everything that was ever sent, by sender.
    sent: [Vec<(Duration, IpAddr, Vec<u8>)>; 2],
    news: [Vec<(Duration, PeerNews)>; 2],
}

impl Pair {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl Fn(&mut Peer)) -> Self {
        let now = ms(1_000);
        let link = |node: usize| {
            let mut settings = settings(node);
            change(&mut settings);
            PeerLink::new(&settings, KEY, &format!("lb{}", node + 1), 100 + node as u64, now)
        };
        Self {
            now,
            links: [link(0), link(1)],
            latency: [ms(1), ms(4)],
            cut: Default::default(),
            flying: Vec::new(),
            sent: Default::default(),
            news: Default::default(),
        }
    }

    /// A pair that knows each other, with its story so far forgotten.
    fn settled() -> Self {
        let mut pair = Self::new();
        pair.run(ms(200));
        assert!(pair.links.iter().all(PeerLink::is_alive));
        pair.news = Default::default();
        pair
    }

    /// Runs for so long; only nodes in `running` do.
    fn run_only(&mut self, running: [bool; 2], time: Duration) {
        let end = self.now + time;
        loop {
            let deadlines = (0..2).filter(|&node| running[node]).map(|node| self.links[node].deadline());
            let arrivals = self.flying.iter().map(|flight| flight.0);
            let next = deadlines.chain(arrivals).min().map_or(end, |next| next.max(self.now));
            if next >= end {
                self.now = end;
                return;
            }
            self.now = next;
            self.arrive(running);
            for node in (0..2).filter(|&node| running[node]) {
                self.tick(node);
            }
        }
    }

    fn run(&mut self, time: Duration) {
        self.run_only([true, true], time);
    }

    /// What has come is delivered; those that do not run never read it.
    fn arrive(&mut self, running: [bool; 2]) {
        let now = self.now;
        let (come, flying) = std::mem::take(&mut self.flying).into_iter().partition(|flight| flight.0 <= now);
        self.flying = flying;
        let come: Vec<_> = come;
        for (_, to, source, octets) in come.into_iter().filter(|flight| running[flight.1]) {
            self.deliver(to, source, &octets);
        }
    }

    fn deliver(&mut self, to: usize, source: IpAddr, octets: &[u8]) -> Vec<PeerNews> {
        let news = self.links[to].receive(self.now, source, octets);
        self.news[to].extend(news.iter().map(|news| (self.now, *news)));
        news
    }

    fn tick(&mut self, node: usize) {
        let (datagrams, news) = self.links[node].handle_timeout(self.now);
        self.news[node].extend(news.into_iter().map(|news| (self.now, news)));
        for (to, octets) in datagrams {
            let network = network_of(to);
            self.sent[node].push((self.now, to, octets.clone()));
            if !self.cut[node][network] {
                let flight = (self.now + self.latency[network], 1 - node, address(node, network), octets);
                self.flying.push(flight);
            }
        }
    }

    /// The node's process is replaced by another.
    fn restart(&mut self, node: usize, boot: u64) {
        self.links[node] = PeerLink::new(&settings(node), KEY, &format!("lb{}", node + 1), boot, self.now);
    }

    fn news_of(&self, node: usize) -> Vec<PeerNews> {
        self.news[node].iter().map(|(_, news)| *news).collect()
    }

    fn refused(&self, node: usize, reason: &str) -> u64 {
        self.links[node].view(self.now).refused.get(reason).copied().unwrap_or(0)
    }
}

fn settings(node: usize) -> Peer {
    Peer {
        addresses: NETWORKS.iter().enumerate().map(|(network, _)| address(1 - node, network)).collect(),
        port: 3_785,
        key_file: PathBuf::new(),
        heartbeat: ms(50),
        misses: 3,
        hold: ms(60_000),
        nodes: 2,
    }
}

fn address(node: usize, network: usize) -> IpAddr {
    Ipv4Addr::new(10, NETWORKS[network], 0, node as u8 + 1).into()
}

fn network_of(address: IpAddr) -> usize {
    let IpAddr::V4(address) = address else { panic!("the tests use IPv4") };
    usize::from(address.octets()[1]) - 1
}

fn report(name: &str, state: State) -> RouterReport {
    RouterReport {
        name: Arc::from(name),
        state,
        effective_priority: 250,
        interval: ms(1_000),
        ready: true,
        resigned: false,
    }
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
