//! `fairway show events`: what happened, oldest first, as lines or as lines of JSON.

use std::time::{Duration, UNIX_EPOCH};

use super::super::Asking;
use super::super::failure::Failure;
use super::super::output::{self, Output};
use super::super::table::{Tone, clean};
use crate::controller::events::Line;
use crate::happening::Severity;

/// Asks and prints what comes after event number `since`, and goes on if it is to follow.
pub async fn show(asking: &Asking, since: u64, follow: bool) -> Result<(), Failure> {
    let what = if follow { "events/follow" } else { "events" };
    let mut lines = asking.client().get_lines(&format!("/api/v1/{what}?since={since}")).await?;
    let colour = output::coloured();
    while let Some(line) = lines.next::<Line>().await? {
        match asking.output {
            Output::Json => {
                let json = serde_json::to_string(&line).expect("strings, numbers and lists only");
                output::text(&format!("{json}\n"))?;
            }
            Output::Table => output::text(&shown(&line, colour))?,
        }
    }
    Ok(())
}

fn shown(line: &Line, colour: bool) -> String {
    match line {
        Line::Missed { missed } => {
            format!("{}\n", Tone::Bad.paint(&format!("{missed} events are not kept any more"), colour))
        }
        Line::Event(event) => {
            let tone = match event.happening.severity() {
                Severity::Info => Tone::Plain,
                Severity::Warning => Tone::Bad,
            };
            // Names and words of other nodes are in it: nothing of them may command the terminal.
            let text = clean(&event.happening.to_string());
            format!("{:>6}  {}  {}\n", event.sequence, moment(event.time), tone.paint(&text, colour))
        }
    }
}

/// In UTC, to the millisecond: events of two nodes are to be laid beside each other.
fn moment(seconds: f64) -> String {
    let since = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    match UNIX_EPOCH.checked_add(since) {
        Some(time) => humantime::format_rfc3339_millis(time).to_string(),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::events::Event;
    use crate::happening::Happening;
    use crate::vrrp::view::State;

    #[test]
    fn an_event_is_a_line_with_number_time_and_sentence() {
        let happening = Happening::Transition {
            router: "pub\u{1b}lic".into(),
            from: State::Backup,
            to: State::Master,
            reason: "no advertisement for 3.6 s".into(),
            addresses: vec![],
        };
        let line = Line::Event(Event { sequence: 17, time: 1_700_000_000.25, happening });
        let expected =
            "    17  2023-11-14T22:13:20.250Z  virtual router pub lic: backup → master, no advertisement for 3.6 s\n";
        assert_eq!(shown(&line, false), expected);
        assert_eq!(shown(&Line::Missed { missed: 3 }, false), "3 events are not kept any more\n");
    }
}
