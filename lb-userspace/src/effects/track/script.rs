//! A script's exit code as a condition.

use std::time::Duration;

use super::streak::Streak;
use super::{Reporter, timetable};
use crate::effects::program::Program;
use crate::vrrp::event::Verdict;

/// Runs it every `interval`, never twice at a time, each run at most `limit` long.
pub(super) async fn watch(
    program: Program,
    interval: Duration,
    limit: Duration,
    mut streak: Streak,
    reporter: Reporter,
) {
    let mut ticks = timetable(interval);
    loop {
        ticks.tick().await;
        let outcome = program.run(b"", &[], limit).await;
        let holds = streak.note(outcome.is_success());
        let detail = match streak.progress() {
            None => outcome.to_string(),
            Some(progress) => format!("{outcome} ({progress})"),
        };
        reporter.tell(Verdict { holds: Some(holds), factor: 1, detail });
    }
}
