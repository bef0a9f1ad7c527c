//! Reading configurations, and refusing those that cannot be put in force.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::Context as _;

use super::request::ConfigText;
use crate::config::{self, Config, Layer, Parsed, Text};
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

/// A configuration that may be put in force.
pub struct Candidate {
    /// All of it.
    pub config: Config,
    /// Its warnings, rendered.
    pub warnings: String,
    /// The file that it comes from.
    pub source: ConfigText,
    /// What was added at run time and is in it.
    pub layer: Layer,
}

/// The configuration in a text, and its warnings rendered.
///
/// # Errors
/// A [`Problem`] that renders every one of them.
pub fn parse(source: &ConfigText) -> anyhow::Result<(Config, String)> {
    let parsed = parse_layered(source, &Layer::default(), "")?;
    Ok((parsed.config, parsed.warnings))
}

/// The configuration in a text and a layer, whose file has this name. Services of the layer whose names the text has too are not in
/// it.
///
/// # Errors
/// A [`Problem`] that renders every one of them.
pub fn parse_layered(source: &ConfigText, layer: &Layer, layer_file: &str) -> anyhow::Result<Candidate> {
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let layer_text = layer.document();
    let render = |diagnostics: &[config::Diagnostic]| {
        let texts =
            [(&*source.file, &*source.text), (layer_file, &*layer_text)].map(|(file, text)| Text { file, text });
        config::render_layered(diagnostics, texts, std::io::stderr().is_terminal())
    };
    match config::parse_layered(&source.text, &layer_text, &host) {
        Ok(Parsed { config, warnings, superseded }) => Ok(Candidate {
            config,
            warnings: if warnings.is_empty() { String::new() } else { render(&warnings) },
            source: source.clone(),
            layer: layer.clone().without(&superseded),
        }),
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
