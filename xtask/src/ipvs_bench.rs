//! `cargo xtask bench ipvs`: what Fairway, IPVS, nftables and plain forwarding take for a packet, side by side in the virtual machine
//! of the kernel tests, counted in instructions. No root, no KVM.
//!
//! What runs in the machine is `tests/src/bin/ipvs-bench-guest`; here its rows become a table. docs/benchmarks.md says how it is
//! measured.

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::cargo::find_program;
use crate::debian::{self, Package, SYSTEM_PATH};
use crate::kernel::{self, Guest};

/// Measures the rows whose names contain a word, all without one: `[--json FILE] [WORD]`.
pub fn run(arguments: &[String]) -> Result<()> {
    let (json_file, filter) = match arguments {
        [option, file, filter @ ..] if option == "--json" && filter.len() < 2 => (Some(file), filter.first()),
        [] => (None, None),
        [filter] if !filter.starts_with('-') => (None, Some(filter)),
        _ => bail!("usage: cargo xtask bench ipvs [--json FILE] [WORD]"),
    };
    debian::ensure(&[NFTABLES, ETHTOOL])?;
    let guest = Guest {
        program: "ipvs-bench-guest",
        argument: filter.map_or("", String::as_str),
        modules: MODULES,
        programs: &["nft", "ethtool"],
        files: &[],
        // Copies that a processor makes by one instruction would count as one for each octet, and Debian's zeroing of what is
        // allocated as thousands: both would speak for Fairway, which copies and allocates nothing.
        cpu: ",-erms,-fsrm",
        kernel: "init_on_alloc=0",
    };
    let mut rows = Vec::new();
    kernel::run(&guest, |line| match row(line) {
        Some(row) => rows.push(row),
        None => println!("{line}"),
    })?;
    println!("{}", table(&rows));
    if let Some(file) = json_file {
        fs::write(file, format!("{:#}\n", json(&rows))).with_context(|| format!("writing {file}"))?;
    }
    Ok(())
}

const NFTABLES: Package = Package { name: "nftables", is_missing: || find_program("nft", SYSTEM_PATH).is_none() };
const ETHTOOL: Package = Package { name: "ethtool", is_missing: || find_program("ethtool", SYSTEM_PATH).is_none() };

/// The cable, IPVS with its tunnels, and nftables.
const MODULES: &[&str] = &[
    "veth",
    "crc32c_generic",
    "libcrc32c",
    "nf_defrag_ipv4",
    "nf_defrag_ipv6",
    "nf_conntrack",
    "ip_vs",
    "ip_vs_rr",
    "nfnetlink",
    "nf_tables",
    "nf_nat",
    "nft_nat",
    "nft_chain_nat",
    "nft_hash",
];

/// A balancer, and instructions a packet.
type Row = (String, u64);

/// As `tests/src/bin/ipvs-bench-guest/main.rs` writes it.
fn row(line: &str) -> Option<Row> {
    let (name, instructions) = line.strip_prefix("ipvs-bench-row ")?.split_once(' ')?;
    Some((name.to_owned(), instructions.parse().ok()?))
}

/// What all rows hold besides what they are about, and what they are held against.
const GENERATOR: &str = "generator";
const REFERENCE: &str = "fairway-direct";

/// How many times more than the reference IPVS shall take, on the whole path and without the generator's part.
const TARGET: (&str, f64, f64) = ("ipvs-dr", 4.4, 9.0);

/// The figures of a row: instructions on the whole path, and without the generator's, and how many times the reference's.
struct Figures<'a> {
    name: &'a str,
    whole: u64,
    net: Option<u64>,
    whole_ratio: Option<f64>,
    net_ratio: Option<f64>,
}

fn figures(rows: &[Row]) -> Vec<Figures<'_>> {
    let of = |name: &str| rows.iter().find(|(other, _)| other == name).map(|(_, instructions)| *instructions);
    let net = |whole: u64| of(GENERATOR).map(|generator| whole.saturating_sub(generator));
    let figures = |(name, whole): &'_ Row| {
        let net_of_reference = of(REFERENCE).and_then(net).filter(|net| *net > 0);
        (
            *whole,
            net(*whole).filter(|_| name != GENERATOR),
            of(REFERENCE).map(|reference| ratio(*whole, reference)),
            net(*whole)
                .zip(net_of_reference)
                .filter(|_| name != GENERATOR)
                .map(|(net, reference)| ratio(net, reference)),
        )
    };
    rows.iter()
        .map(|row| {
            let (whole, net, whole_ratio, net_ratio) = figures(row);
            Figures { name: &row.0, whole, net, whole_ratio, net_ratio }
        })
        .collect()
}

fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other as f64
}

fn table(rows: &[Row]) -> String {
    let mut lines = vec![format!("{:<16} {:>7} {:>7} {:>7} {:>7}", "row", "whole", "net", "x whole", "x net")];
    for row in figures(rows) {
        let net = row.net.map_or("-".to_owned(), |net| net.to_string());
        let [whole_ratio, net_ratio] =
            [row.whole_ratio, row.net_ratio].map(|ratio| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")));
        lines.push(format!("{:<16} {:>7} {net:>7} {whole_ratio:>7} {net_ratio:>7}", row.name, row.whole));
    }
    lines.push(format!(
        "instructions a packet, the whole path from the generator on, and net of the `{GENERATOR}` row; times `{REFERENCE}`"
    ));
    lines.extend(verdict(rows));
    lines.join("\n")
}

fn verdict(rows: &[Row]) -> Option<String> {
    let (name, whole, net) = TARGET;
    let figures = figures(rows);
    let row = figures.iter().find(|row| row.name == name)?;
    let word =
        |ratio: Option<f64>, target: f64| if ratio.is_some_and(|ratio| ratio >= target) { "met" } else { "MISSED" };
    Some(format!(
        "target of {name}: {whole} whole {}, {net} net {}",
        word(row.whole_ratio, whole),
        word(row.net_ratio, net)
    ))
}

fn json(rows: &[Row]) -> Value {
    let row = |row: &Figures| {
        json!({
            "name": row.name,
            "instructions": row.whole,
            "instructions_net": row.net,
            "times_whole": row.whole_ratio,
            "times_net": row.net_ratio,
        })
    };
    let (name, whole, net) = TARGET;
    json!({
        "rows": figures(rows).iter().map(row).collect::<Vec<_>>(),
        "reference": REFERENCE,
        "target": { "name": name, "times_whole": whole, "times_net": net },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        ["boot", "ipvs-bench-row generator 800", "ipvs-bench-row fairway-direct 1300", "ipvs-bench-row ipvs-dr 5800"]
            .into_iter()
            .filter_map(row)
            .collect()
    }

    #[test]
    fn rows_are_held_against_fairway_whole_and_without_the_generator() {
        let rows = rows();
        let figures = figures(&rows);
        let ipvs = &figures[2];
        assert_eq!((ipvs.whole, ipvs.net), (5800, Some(5000)));
        assert_eq!((ipvs.whole_ratio, ipvs.net_ratio), (Some(5800.0 / 1300.0), Some(10.0)));
        assert_eq!((figures[0].net, figures[0].net_ratio), (None, None));
    }

    #[test]
    fn a_target_that_is_missed_is_named() {
        let mut rows = rows();
        assert!(verdict(&rows).expect("a verdict").ends_with("4.4 whole met, 9 net met"));
        rows[2].1 = 5000;
        assert!(verdict(&rows).expect("a verdict").ends_with("4.4 whole MISSED, 9 net MISSED"));
    }
}
