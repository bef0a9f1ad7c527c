//! `exchange [--json FILE] [--flows N] [--rate N] [--shared-link]`: what it costs a pair to share connections. Needs root.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use fairway::playground::Lab;
use fairway_tests::bench::report::machine;
use fairway_tests::exchange::flood::Flood;
use fairway_tests::exchange::node::{self, Link, Node, Used, received};
use fairway_tests::exchange::since;
use fairway_tests::exchange::softirqs::Softirqs;
use fairway_tests::failover::clock::now;
use serde_json::{Value, json};

const USAGE: &str = "exchange [--json FILE] [--flows N] [--rate N] [--shared-link]";
/// The master, and the other.
const FIRST: usize = 0;
const SECOND: usize = 1;
/// For how long nothing happens.
const REST: Duration = Duration::from_secs(10);
/// For longer nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(20);

fn main() -> Result<()> {
    let plan = Plan::from_words(std::env::args().skip(1))?;
    ensure!(nix::unistd::geteuid().is_root(), "the exchange bench needs root: `cargo xtask bench exchange` sees to it");
    fairway::playground::clean().context("removing what an earlier run left")?;
    let mut bench = Bench::start(plan.link)?;
    bench.begin(&plan)?;
    bench.rest()?;
    bench.tell_all()?;
    if let Some(path) = plan.json {
        let document = json!({ "machine": machine(), "rows": bench.rows });
        std::fs::write(&path, format!("{document:#}\n")).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// What is measured.
struct Plan {
    json: Option<PathBuf>,
    /// Connections.
    flows: u32,
    /// That begin in a second.
    rate: u32,
    link: Link,
}

impl Plan {
    fn from_words(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut plan = Self { json: None, flows: 1_000_000, rate: 50_000, link: Link::Own };
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--json" => plan.json = Some(value()?.into()),
                "--flows" => plan.flows = value()?.parse().context("--flows")?,
                "--rate" => plan.rate = value()?.parse().context("--rate")?,
                "--shared-link" => plan.link = Link::Clients,
                _ => bail!("no option {word}: {USAGE}"),
            }
        }
        Ok(plan)
    }
}

/// A pair, and what was measured. Fields are in the order in which they have to end.
struct Bench {
    master: Node,
    /// `None`: it is being restarted.
    other: Option<Node>,
    lab: Lab,
    link: Link,
    softirqs: Softirqs,
    rows: Vec<Value>,
}

/// What the exchange had cost up to a moment.
#[derive(Clone, Copy)]
struct Moment {
    telling: Used,
    following: Used,
    octets: u64,
}

impl Bench {
    fn start(link: Link) -> Result<Self> {
        let lab = node::lab(link)?;
        let (master, other) = (node::start(&lab, link, FIRST)?, node::start(&lab, link, SECOND)?);
        wait("the pair is in sync", || master.is_in_sync() && other.is_in_sync())?;
        Ok(Self { master, other: Some(other), lab, link, softirqs: Softirqs::watch()?, rows: Vec::new() })
    }

    fn other(&self) -> &Node {
        self.other.as_ref().expect("it runs between two parts of the bench")
    }

    fn moment(&mut self) -> Result<Moment> {
        let telling = self.master.used(&mut self.softirqs)?;
        let following = self.other.as_ref().map_or(Ok(Used::default()), |other| other.used(&mut self.softirqs))?;
        Ok(Moment { telling, following, octets: received(&self.lab, self.link, SECOND)? })
    }

    /// Connections that begin; what it costs until the other node knows all, and until it knows them as established.
    fn begin(&mut self, plan: &Plan) -> Result<()> {
        let mut flood = Flood::of(&self.lab.client())?;
        let before = self.moment()?;
        let took = flood.begin(plan.flows, plan.rate)?;
        let begun = now();
        // Of so many packets some find a queue full on their way to the balancer.
        let flows = self.master.connections();
        wait("all is told", || self.other().connections() >= flows)?;
        let lag = since(begun);
        let recorded = self.master.metric("fairway_exchange_flows_told_at_once_total");
        let more = [
            ("a_second", json!((flows / took.as_secs_f64()).round())),
            ("told_at_once", json!(recorded)),
            ("known_after_ms", json!(lag.as_millis() as u64)),
        ];
        self.row("begin", flows, took, before, &more)?;

        // How connections go on a walk finds: what they have cost is known only then. A packet that is lost leaves some that never are.
        let established = self.master.established();
        wait("all are known as established", || self.other().established() >= established)?;
        let after = self.moment()?;
        let at_the_rate = |used: Used| json!(percent(used.charged, took));
        let more = [
            ("known_after_ms", json!(since(begun).as_millis() as u64)),
            ("telling_percent_at_the_rate", at_the_rate(after.telling.since(before.telling))),
            ("following_percent_at_the_rate", at_the_rate(after.following.since(before.following))),
        ];
        self.row("established", flows, took + since(begun), before, &more)
    }

    fn rest(&mut self) -> Result<()> {
        wait("nothing is under way", || self.master.metric("fairway_exchange_unconfirmed_items") == 0.0)?;
        let (flows, before) = (self.master.connections(), self.moment()?);
        thread::sleep(REST);
        let walk = self.master.metric("fairway_exchange_walk_seconds");
        self.row("rest", flows, REST, before, &[("walk_seconds", json!(walk))])
    }

    /// All at once, to a node that was restarted.
    fn tell_all(&mut self) -> Result<()> {
        if let Some(mut other) = self.other.take() {
            other.fairway.stop();
        }
        let before = self.moment()?;
        let other = self.other.insert(node::start(&self.lab, self.link, SECOND)?);
        wait("a session is there", || other.metric("fairway_exchange_session{direction=\"following\"}") == 1.0)?;
        // Packets in its name are counted from here on.
        other.used(&mut self.softirqs)?;
        let (begun, master) = (now(), &self.master);
        // Those of which the network lost the ACK may have had their time by now.
        wait("the pair is in sync again", || other.is_in_sync() && other.connections() >= master.connections())?;
        let (flows, took) = (other.connections(), since(begun));
        self.row("bulk", flows, took, before, &[])
    }

    /// One part of the bench, printed and as JSON.
    fn row(&mut self, what: &str, flows: f64, took: Duration, before: Moment, more: &[(&str, Value)]) -> Result<()> {
        let after = self.moment()?;
        let (telling, following) = (after.telling.since(before.telling), after.following.since(before.following));
        let mut value = json!({
            "part": what,
            "flows": flows,
            "seconds": took.as_secs_f64(),
            "telling": used(telling, took),
            "following": used(following, took),
            "octets_a_flow": (after.octets - before.octets) as f64 / flows,
            "memory_telling": self.master.memory()?,
            "memory_following": self.other().memory()?,
        });
        let object = value.as_object_mut().expect("it was made one");
        object.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        println!("{value:#}");
        self.rows.push(value);
        Ok(())
    }
}

/// What a thread has used, as it is charged and without all packets that the kernel handled in its name.
fn used(used: Used, took: Duration) -> Value {
    let without = used.charged.saturating_sub(used.packets);
    json!({
        "percent_of_a_core": percent(used.charged, took),
        "percent_without_softirqs": percent(without, took),
        "seconds": used.charged.as_secs_f64(),
        "softirq_seconds": used.packets.as_secs_f64(),
    })
}

fn percent(used: Duration, took: Duration) -> f64 {
    (used.as_secs_f64() / took.as_secs_f64() * 1000.0).round() / 10.0
}

fn wait(what: &str, holds: impl Fn() -> bool) -> Result<()> {
    let begun = now();
    while !holds() {
        ensure!(since(begun) < PATIENCE, "{what}: not after {PATIENCE:?}");
        thread::sleep(POLL);
    }
    Ok(())
}
