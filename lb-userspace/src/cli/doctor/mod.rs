//! `fairway doctor`: what of this host would keep Fairway from working, or from working well, each with the one command
//! that fixes it. [`host`] looks, [`rules`] judges; neither changes anything.

mod host;
mod rules;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::check;
use super::failure::{BAD_INPUT, FAILURE, Failure};
use super::output::{self, Output};
use super::table::Tone;
use super::units::plural;
use crate::config::{self, Config};
use crate::controller::view::API_VERSION;
use host::Host;
use rules::Finding;

/// What `doctor` takes.
#[derive(Args, Debug)]
pub struct DoctorOptions {
    /// Look at what this configuration needs too
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print the findings
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Output,
}

/// Looks around and tells what it found; 1 if that is anything.
pub fn doctor(options: &DoctorOptions) -> Result<(), Failure> {
    let config = options.config.as_deref().map(read).transpose()?;
    let findings = rules::findings(&Host::look(config.as_ref()), config.as_ref());
    match options.output {
        Output::Json => output::json(&json!({ "api": API_VERSION, "findings": findings }))?,
        Output::Table => output::text(&shown(&findings, output::coloured()))?,
    }
    if findings.is_empty() { Ok(()) } else { Err(Failure::verdict(FAILURE)) }
}

fn read(file: &std::path::Path) -> Result<Config, Failure> {
    let text = check::read(file)?;
    let parsed = config::parse(&text, &check::host_name());
    let shown = |problems: Vec<_>| config::render(&problems, &text, &file.display().to_string(), false);
    parsed.map(|(config, _)| config).map_err(|problems| Failure::new(BAD_INPUT, shown(problems)))
}

fn shown(findings: &[Finding], colour: bool) -> String {
    if findings.is_empty() {
        return "nothing found\n".to_owned();
    }
    let mut out = String::new();
    for Finding { check, what, fix } in findings {
        out.push_str(&format!("{} {check}: {what}\n    {fix}\n", Tone::Bad.paint("!", colour)));
    }
    out + &format!("\n{}, each with what fixes it\n", plural(findings.len(), "finding"))
}

/// An address as `ip` wants it: `/32`, `/128`.
fn host_prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}
