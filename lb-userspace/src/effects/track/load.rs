//! The load average as a condition.

use std::time::Duration;

use super::{Reporter, timetable};
use crate::vrrp::event::Verdict;

/// The kernel computes it every five seconds.
const PERIOD: Duration = Duration::from_secs(1);
const PATH: &str = "/proc/loadavg";

/// Looks every second.
pub(super) async fn watch(maximum: f64, reporter: Reporter) {
    let mut ticks = timetable(PERIOD);
    loop {
        ticks.tick().await;
        let text = tokio::fs::read_to_string(PATH).await.unwrap_or_default();
        reporter.tell(verdict(&text, maximum));
    }
}

fn verdict(text: &str, maximum: f64) -> Verdict {
    let load = text.split_ascii_whitespace().next().and_then(|first| first.parse::<f64>().ok());
    let detail = match load {
        // In tenths: the verdict is reported when its words change, and hundredths change all the time.
        Some(load) => format!("load {load:.1}, limit {maximum}"),
        None => format!("{PATH} cannot be read"),
    };
    Verdict { holds: load.map(|load| load < maximum), factor: 1, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_is_compared() {
        let cases = [
            ("1.99 8.00 9.00 2/345 6789\n", Some(true), "load 2.0, limit 2"),
            ("2.00 0.00 0.00 2/345 6789\n", Some(false), "load 2.0, limit 2"),
            ("", None, "/proc/loadavg cannot be read"),
        ];
        for (text, holds, detail) in cases {
            assert_eq!(verdict(text, 2.0), Verdict { holds, factor: 1, detail: detail.to_owned() });
        }
    }
}
