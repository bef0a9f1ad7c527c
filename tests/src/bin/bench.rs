//! `bench [--json FILE] [--rounds N] [ROW…]`: what Fairway costs a packet. Needs root. With rows named, only those and the
//! floors they are held against are measured. Ends with failure when a row is an error or above its target.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use fairway_tests::bench::{harness, report, rows};

/// Rounds of each row unless `--rounds` says otherwise: enough that one falls into a quiet moment.
const ROUNDS: u32 = 15;

struct Arguments {
    json: Option<PathBuf>,
    rounds: u32,
    names: Vec<String>,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = arguments(std::env::args().skip(1))?;
    let (measured, size) = harness::measure(selected(&arguments.names)?, arguments.rounds)?;
    let figures = report::figures(&measured);
    println!("{}", report::table(&figures, &size));
    if let Some(path) = arguments.json {
        let text = format!("{:#}\n", report::json(&figures, &size));
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    let missed = figures.iter().any(report::Figures::is_missed);
    Ok(if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn arguments(mut words: impl Iterator<Item = String>) -> anyhow::Result<Arguments> {
    let mut arguments = Arguments { json: None, rounds: ROUNDS, names: Vec::new() };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => arguments.json = Some(words.next().context("--json needs a file")?.into()),
            "--rounds" => {
                let number = words.next().context("--rounds needs a number")?;
                arguments.rounds = number.parse().with_context(|| format!("--rounds {number}"))?;
                ensure!(arguments.rounds > 0, "--rounds must be at least 1");
            }
            option if option.starts_with('-') => bail!("bench [--json FILE] [--rounds N] [ROW…]: no option {option}"),
            _ => arguments.names.push(word),
        }
    }
    Ok(arguments)
}

/// The named rows and what they are held against; all rows when none is named.
fn selected(names: &[String]) -> anyhow::Result<Vec<rows::Row>> {
    let all = rows::all();
    if names.is_empty() {
        return Ok(all);
    }
    for name in names {
        ensure!(all.iter().any(|row| row.name == name), "no row `{name}`");
    }
    let mut wanted: Vec<&str> = names.iter().map(String::as_str).chain([report::HARNESS_FLOOR]).collect();
    // Floors stand before what is held against them, so one pass from the end finds floors of floors.
    for row in all.iter().rev() {
        if let Some(floor) = row.floor
            && wanted.contains(&row.name)
        {
            wanted.push(floor);
        }
    }
    Ok(rows::all().into_iter().filter(|row| wanted.contains(&row.name)).collect())
}
