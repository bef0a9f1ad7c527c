//! Reading configurations, and refusing those that cannot be put in force.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::Context as _;

use super::request::ConfigText;
use crate::config::{self, Config};
use crate::controller::view::{API_VERSION, Override, PlanReport, Problem};
use crate::reconcile::plan::Plan;

/// The file that the daemon was started with.
pub struct Source {
    path: PathBuf,
}

impl Source {
    /// The file at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// What to call it.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Its present text.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self) -> anyhow::Result<ConfigText> {
        let text = std::fs::read_to_string(&self.path).with_context(|| format!("reading {}", self.name()))?;
        Ok(ConfigText { file: self.name(), text })
    }
}

/// The configuration in a text, and its warnings rendered.
///
/// # Errors
/// A [`Problem`] that renders every one of them.
pub fn parse(source: &ConfigText) -> anyhow::Result<(Config, String)> {
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let render = |diagnostics: &[config::Diagnostic]| {
        config::render(diagnostics, &source.text, &source.file, std::io::stderr().is_terminal())
    };
    match config::parse(&source.text, &host) {
        Ok((config, warnings)) => Ok((config, if warnings.is_empty() { String::new() } else { render(&warnings) })),
        Err(problems) => Err(Problem { exit: 2, message: render(&problems) }.into()),
    }
}

/// What of a new configuration takes effect only when the daemon starts; `None` when nothing of it differs.
pub fn needs_restart(old: &Config, new: &Config) -> Option<Problem> {
    let differs = [
        ("[node]", old.node.name != new.node.name),
        ("dataplane.mode", old.dataplane.mode != new.dataplane.mode),
        ("dataplane.hash_seed", old.dataplane.hash_seed != new.dataplane.hash_seed),
        ("dataplane.flow_table_capacity", old.dataplane.flow_table_capacity != new.dataplane.flow_table_capacity),
        (
            "dataplane.stateful_table_capacity",
            old.dataplane.stateful_table_capacity != new.dataplane.stateful_table_capacity,
        ),
        (
            "dataplane.translation_table_capacity",
            old.dataplane.translation_table_capacity != new.dataplane.translation_table_capacity,
        ),
        ("[admin]", old.admin != new.admin),
    ];
    let keys: Vec<&str> = differs.iter().filter(|(_, differs)| *differs).map(|(key, _)| *key).collect();
    (!keys.is_empty()).then(|| Problem {
        exit: 2,
        message: format!("{} cannot change while Fairway runs: restart it, or put the old value back", keys.join(", ")),
    })
}

/// A plan as it is reported, with what stays in force beside it.
pub fn report(plan: &Plan, warnings: String, overrides: Vec<Override>) -> PlanReport {
    PlanReport {
        api: API_VERSION.to_owned(),
        changes: plan.changes.clone(),
        writes: plan.writes.len(),
        slots_moved: plan.slots_moved,
        slots: plan.slots,
        rehomed: plan.rehomed.clone(),
        warnings: if warnings.is_empty() { Vec::new() } else { vec![warnings] },
        overrides,
    }
}

/// An error as the client shall see it.
pub fn problem(error: anyhow::Error) -> Problem {
    error.downcast().unwrap_or_else(|error| Problem { exit: 1, message: format!("{error:#}") })
}
