//! `exchange [--json FILE] [--flows N] [--rate N]`: what it costs a pair to share connections. Needs root.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use fairway_tests::bench::report::machine;
use fairway_tests::exchange::flood::Flood;
use fairway_tests::exchange::node::{self, Node, received};
use fairway_tests::exchange::since;
use fairway_tests::failover::clock::now;
use serde_json::{Value, json};

/// Connections, unless `--flows` says otherwise.
const FLOWS: u32 = 1_000_000;
/// That begin in a second, unless `--rate` says otherwise.
const RATE: u32 = 50_000;
/// The master, and the other.
const FIRST: usize = 0;
const SECOND: usize = 1;
/// For how long nothing happens.
const REST: Duration = Duration::from_secs(10);
/// For longer nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(20);

fn main() -> Result<()> {
    let (mut json, mut flows, mut rate) = (None::<PathBuf>, FLOWS, RATE);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--json" => json = Some(value()?.into()),
            "--flows" => flows = value()?.parse().context("--flows")?,
            "--rate" => rate = value()?.parse().context("--rate")?,
            _ => bail!("no option {word}: exchange [--json FILE] [--flows N] [--rate N]"),
        }
    }
    ensure!(nix::unistd::geteuid().is_root(), "the exchange bench needs root: `cargo xtask bench exchange` sees to it");
    fairway::playground::clean().context("removing what an earlier run left")?;
    let lab = node::lab()?;
    let master = node::start(&lab, FIRST);
    let mut other = node::start(&lab, SECOND);
    wait("the pair is in sync", || master.is_in_sync() && other.is_in_sync())?;

    let mut rows = Vec::new();
    let mut flood = Flood::of(&lab.client())?;
    let before = (master.used()?, other.used()?, received(&lab, SECOND)?);
    let took = flood.begin(flows, rate)?;
    let begun = now();
    // Of so many packets some find a queue full on their way to the balancer.
    let flows = master.connections();
    wait("all is told", || other.connections() >= flows)?;
    let lag = since(begun);
    let recorded = master.metric("fairway_exchange_flows_told_at_once_total");
    rows.push(row(
        "begin",
        flows,
        took,
        &before,
        &master,
        &other,
        received(&lab, SECOND)?,
        &[
            ("a_second", json!((flows / took.as_secs_f64()).round())),
            ("told_at_once", json!(recorded)),
            ("known_after_ms", json!(lag.as_millis() as u64)),
        ],
    )?);

    // How connections go on a walk finds: what they have cost is known only then. A packet that is lost leaves some that never are.
    let established = master.established();
    wait("all are known as established", || other.established() >= established)?;
    let used = (master.used()?.saturating_sub(before.0), other.used()?.saturating_sub(before.1));
    let at_the_rate = |used: Duration| json!((used.as_secs_f64() / took.as_secs_f64() * 1000.0).round() / 10.0);
    rows.push(row(
        "established",
        flows,
        took + since(begun),
        &before,
        &master,
        &other,
        received(&lab, SECOND)?,
        &[
            ("known_after_ms", json!(since(begun).as_millis() as u64)),
            ("telling_percent_at_the_rate", at_the_rate(used.0)),
            ("following_percent_at_the_rate", at_the_rate(used.1)),
        ],
    )?);

    wait("nothing is under way", || master.metric("fairway_exchange_unconfirmed_items") == 0.0)?;
    let before = (master.used()?, other.used()?, received(&lab, SECOND)?);
    thread::sleep(REST);
    let walk = master.metric("fairway_exchange_walk_seconds");
    rows.push(row(
        "rest",
        flows,
        REST,
        &before,
        &master,
        &other,
        received(&lab, SECOND)?,
        &[("walk_seconds", json!(walk))],
    )?);

    other.fairway.stop();
    drop(other);
    let before = (master.used()?, Duration::ZERO, received(&lab, SECOND)?);
    let other = node::start(&lab, SECOND);
    wait("a session is there", || other.metric("fairway_exchange_session{direction=\"following\"}") == 1.0)?;
    let begun = now();
    // Those of which the network lost the ACK may have had their time by now.
    wait("the pair is in sync again", || other.is_in_sync() && other.connections() >= master.connections())?;
    let flows = other.connections();
    rows.push(row("bulk", flows, since(begun), &before, &master, &other, received(&lab, SECOND)?, &[])?);

    if let Some(path) = json {
        let document = json!({ "machine": machine(), "rows": rows });
        std::fs::write(&path, format!("{document:#}\n")).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// One part of the bench, printed and as JSON.
fn row(
    what: &str,
    flows: f64,
    took: Duration,
    before: &(Duration, Duration, u64),
    master: &Node,
    other: &Node,
    received: u64,
    more: &[(&str, Value)],
) -> Result<Value> {
    let share = |used: Duration| (used.as_secs_f64() / took.as_secs_f64() * 1000.0).round() / 10.0;
    let (telling, following) = (master.used()?.saturating_sub(before.0), other.used()?.saturating_sub(before.1));
    let octets = (received - before.2) as f64 / flows;
    let mut value = json!({
        "part": what,
        "flows": flows,
        "seconds": took.as_secs_f64(),
        "telling_percent_of_a_core": share(telling),
        "following_percent_of_a_core": share(following),
        "telling_seconds": telling.as_secs_f64(),
        "following_seconds": following.as_secs_f64(),
        "octets_a_flow": octets,
        "memory_telling": master.memory()?,
        "memory_following": other.memory()?,
    });
    let object = value.as_object_mut().expect("it was made one");
    object.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    println!("{value:#}");
    Ok(value)
}

fn wait(what: &str, holds: impl Fn() -> bool) -> Result<()> {
    let begun = now();
    while !holds() {
        ensure!(since(begun) < PATIENCE, "{what}: not after {PATIENCE:?}");
        thread::sleep(POLL);
    }
    Ok(())
}
