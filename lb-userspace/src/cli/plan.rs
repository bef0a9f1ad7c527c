//! `fairway diff` and `fairway reload`: the same plan, looked at or carried out.

use std::path::PathBuf;

use clap::Args;

use super::check::read;
use super::failure::{DIFFERS, Failure};
use super::output::{self, Output};
use super::{Asking, units::plural};
use crate::controller::view::PlanReport;
use crate::runtime::request::ConfigText;

/// What both take.
#[derive(Args, Debug)]
pub struct PlanOptions {
    /// The new configuration file; `-`: standard input. Without it the daemon reads its own file again
    file: Option<PathBuf>,
    #[command(flatten)]
    asking: Asking,
}

/// Shows what a reload would change.
pub async fn diff(options: &PlanOptions) -> Result<(), Failure> {
    let plan: PlanReport = options.asking.client().post("/api/v1/diff", &options.config_text()?).await?;
    print(&options.asking, &plan, "would")?;
    if plan.changes.is_empty() { Ok(()) } else { Err(Failure::verdict(DIFFERS)) }
}

/// Reloads.
pub async fn reload(options: &PlanOptions) -> Result<(), Failure> {
    let plan: PlanReport = options.asking.client().post("/api/v1/reload", &options.config_text()?).await?;
    print(&options.asking, &plan, "did")
}

impl PlanOptions {
    fn config_text(&self) -> Result<Option<ConfigText>, Failure> {
        let Some(file) = &self.file else { return Ok(None) };
        Ok(Some(ConfigText { file: file.display().to_string(), text: read(file)? }))
    }
}

/// Prints a plan. `verb`: `did` or `would`.
pub fn print(asking: &Asking, plan: &PlanReport, verb: &str) -> Result<(), Failure> {
    if asking.output == Output::Json {
        return output::json(plan);
    }
    plan.warnings.iter().for_each(|warning| output::aside(&format!("{}\n", warning.trim_end())));
    output::text(&shown(plan, verb))
}

/// `verb`: `did` or `would`.
fn shown(plan: &PlanReport, verb: &str) -> String {
    let overrides: String = plan.overrides.iter().map(|one| format!("override in force: {one}\n")).collect();
    if plan.changes.is_empty() {
        return format!("no changes\n{overrides}");
    }
    let mut out = overrides;
    for change in &plan.changes {
        out.push_str(change.trim_end());
        out.push('\n');
    }
    let (give, lose) = if verb == "did" { ("gave", "lost") } else { ("would give", "would lose") };
    out.push_str(&format!(
        "\n{}; {give} another owner to {} of {} slots (their established flows stay)\n",
        plural(plan.writes, "write"),
        plan.slots_moved,
        plan.slots,
    ));
    if !plan.rehomed.is_empty() {
        let services = plan.rehomed.join(", ");
        out.push_str(&format!(
            "{services}: most established flows {lose} their backend, since the lookup table changes size or is asked otherwise\n"
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_plan_says_so() {
        assert_eq!(shown(&PlanReport::default(), "would"), "no changes\n");
    }

    #[test]
    fn a_plan_tells_changes_slots_and_what_is_lost() {
        let plan = PlanReport {
            changes: vec!["+ service web (2 backends)".to_owned(), "- backend dns/a".to_owned()],
            writes: 1,
            slots_moved: 10,
            slots: 16_384,
            rehomed: vec!["web".to_owned()],
            ..PlanReport::default()
        };
        assert_eq!(
            shown(&plan, "would"),
            "+ service web (2 backends)\n- backend dns/a\n\n1 write; would give another owner to 10 of 16384 slots \
             (their established flows stay)\nweb: most established flows would lose their backend, since the lookup table \
             changes size or is asked otherwise\n"
        );
    }
}
