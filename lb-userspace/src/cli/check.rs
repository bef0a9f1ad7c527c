//! `fairway check`: everything that is wrong with a file, as rustc would say it, without daemon and without root.

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::failure::{BAD_INPUT, FAILURE, Failure, PERMISSION};
use super::output::{self, Output};
use super::units::plural;
use crate::config::{self, Config, Diagnostic, Report};
use crate::controller::view::API_VERSION;
use crate::effects::admin::MOST_BODY;

/// What `check` takes.
#[derive(Args, Debug)]
pub struct CheckOptions {
    /// The file; `-`: standard input
    file: PathBuf,
    /// How to print the problems
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Output,
}

/// What `-o json` prints.
#[derive(Serialize)]
struct Checked {
    api: &'static str,
    file: String,
    ok: bool,
    /// Of the configuration, if it is valid.
    hash: Option<String>,
    problems: Vec<Report>,
}

/// Checks the file.
pub fn check(options: &CheckOptions) -> Result<(), Failure> {
    let text = read(&options.file)?;
    let file = options.file.display().to_string();
    let (config, problems) = match config::parse(&text, &host_name()) {
        Ok((config, warnings)) => (Some(config), warnings),
        Err(problems) => (None, problems),
    };
    match options.output {
        Output::Json => output::json(&checked(config.as_ref(), &problems, &text, file))?,
        Output::Table => {
            output::aside(&config::render(&problems, &text, &file, output::coloured_aside()));
            output::text(&config.as_ref().map_or_else(String::new, |config| summary(config, problems.len())))?;
        }
    }
    config.map(drop).ok_or_else(|| Failure::verdict(BAD_INPUT))
}

fn checked(config: Option<&Config>, problems: &[Diagnostic], text: &str, file: String) -> Checked {
    Checked {
        api: API_VERSION,
        ok: config.is_some(),
        hash: config.map(Config::hash),
        problems: config::reports(problems, text, &file),
        file,
    }
}

fn summary(config: &Config, warnings: usize) -> String {
    let listeners = config.services.iter().map(|service| service.listeners.len()).sum();
    let backends = config.services.iter().map(|service| service.backends.len()).sum();
    let routers = match config.virtual_routers.len() {
        0 => String::new(),
        count => format!("{}, ", plural(count, "virtual router")),
    };
    let warnings = if warnings == 0 { String::new() } else { format!("; {}", plural(warnings, "warning")) };
    format!(
        "ok: {routers}{}, {}, {}{warnings}\n",
        plural(config.services.len(), "service"),
        plural(listeners, "listener"),
        plural(backends, "backend"),
    )
}

/// The text of a configuration file that was named on the command line.
pub fn read(file: &Path) -> Result<String, Failure> {
    let failure = |error: std::io::Error| {
        let exit = match error.kind() {
            ErrorKind::PermissionDenied => PERMISSION,
            ErrorKind::NotFound | ErrorKind::InvalidData | ErrorKind::IsADirectory => BAD_INPUT,
            _ => FAILURE,
        };
        Failure::new(exit, format!("reading {}: {error}", file.display()))
    };
    let mut text = String::new();
    // One more than is allowed, to see that it is more. Half of what fits into a request: as JSON it grows.
    let most = (MOST_BODY / 2) as u64;
    let limit = most + 1;
    let read = if file == Path::new("-") {
        std::io::stdin().take(limit).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(limit).read_to_string(&mut text))
    };
    if read.map_err(failure)? as u64 > most {
        return Err(Failure::new(BAD_INPUT, format!("{} is larger than {} MiB", file.display(), most >> 20)));
    }
    Ok(text)
}

/// The node's name unless the file gives one.
pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".to_owned(), |n| n.trim().to_owned())
}
