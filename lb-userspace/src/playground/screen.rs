//! What the demo shows while it runs: a table that refreshes in place on a terminal, one line a second elsewhere.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, Result};

use super::config::backend_name;
use super::traffic::Tally;

/// Width of a full bar of the table.
const BAR: u64 = 40;

/// Where the tally is shown, and what was shown last.
pub(super) struct Screen {
    in_place: bool,
    lines_shown: usize,
    last: Tally,
}

impl Screen {
    pub fn new() -> Self {
        Self { in_place: io::stdout().is_terminal(), lines_shown: 0, last: Tally::default() }
    }

    /// Shows the tally after so many seconds, and who is master.
    pub fn show(&mut self, second: u64, master: &str, backends: usize, tally: &Tally) -> Result<()> {
        let text = if self.in_place {
            self.refreshed(second, master, backends, tally)
        } else {
            one_line(second, master, backends, tally)
        };
        self.last = tally.clone();
        say(&text)
    }

    /// Shows a line of news, which stays; the table goes on below it.
    pub fn tell(&mut self, news: &str) -> Result<()> {
        self.lines_shown = 0;
        say(news)
    }

    /// The table, preceded by what moves the cursor to the start of the previous one.
    fn refreshed(&mut self, second: u64, master: &str, backends: usize, tally: &Tally) -> String {
        let table = table(second, master, backends, tally, &self.last);
        let mut text = if self.lines_shown > 0 { format!("\x1b[{}A", self.lines_shown) } else { String::new() };
        text += &table.replace('\n', "\x1b[K\n");
        text += "\x1b[J";
        self.lines_shown = table.lines().count();
        text
    }
}

/// Prints, and fails instead of panicking when nobody reads any more (`fairway demo | head`).
pub(super) fn say(text: &str) -> Result<()> {
    writeln!(io::stdout().lock(), "{text}").context("writing to standard output")
}

fn one_line(second: u64, master: &str, backends: usize, tally: &Tally) -> String {
    let mut line = format!("{second:>4} s  master {master}");
    for name in (0..backends).map(backend_name) {
        write!(line, "  {name} {}", served(tally, &name)).expect("writing to a string cannot fail");
    }
    line + &failures(tally)
}

fn table(second: u64, master: &str, backends: usize, tally: &Tally, last: &Tally) -> String {
    let mut lines = format!("{second:>4} s   answers   last second   share   master {master}\n");
    let total = tally.total().max(1);
    for name in (0..backends).map(backend_name) {
        let now = served(tally, &name);
        let (recent, share) = (now - served(last, &name), now * 100 / total);
        let bar = "#".repeat((now * BAR / total) as usize);
        writeln!(lines, "{name:>6} {now:>9} {recent:>13} {share:>6}% {bar}").expect("writing to a string cannot fail");
    }
    lines + &failures(tally)
}

fn served(tally: &Tally, name: &str) -> u64 {
    tally.answered.get(name).copied().unwrap_or(0)
}

fn failures(tally: &Tally) -> String {
    match &tally.last_failure {
        None => "  failed 0".into(),
        Some(last) => format!("  failed {} (the last: {last})", tally.failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(b1: u64, b2: u64) -> Tally {
        Tally { answered: [("b1".into(), b1), ("b2".into(), b2)].into(), failed: 0, last_failure: None }
    }

    #[test]
    fn a_line_names_every_backend_even_the_silent_ones() {
        assert_eq!(one_line(3, "lb1", 3, &tally(5, 7)), "   3 s  master lb1  b1 5  b2 7  b3 0  failed 0");
    }

    #[test]
    fn the_table_shows_shares_and_the_last_second() {
        let text = table(9, "lb1", 2, &tally(30, 10), &tally(20, 10));
        let b1: Vec<&str> = text.lines().nth(1).expect("b1 has a line").split_whitespace().collect();
        assert_eq!(b1, ["b1", "30", "10", "75%", "##############################"]);
    }

    #[test]
    fn a_refreshed_table_starts_where_the_last_one_did() {
        let mut screen = Screen { in_place: true, lines_shown: 0, last: Tally::default() };
        let first = screen.refreshed(1, "lb1", 2, &tally(1, 1));
        let second = screen.refreshed(2, "lb1", 2, &tally(1, 1));
        let printed_lines = format!("{first}\n").matches('\n').count();
        assert!(second.starts_with(&format!("\x1b[{printed_lines}A")));
    }
}
