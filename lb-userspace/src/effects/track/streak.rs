//! Rise and fall: a condition changes only after so many results in a row say so. Pure.

/// Results in a row.
#[derive(Clone, Debug)]
pub(super) struct Streak {
    rise: u32,
    fall: u32,
    holds: Option<bool>,
    /// Results in a row that contradict `holds`.
    against: u32,
}

impl Streak {
    /// `rise` successes in a row until it holds, `fall` failures in a row until it does not.
    pub fn new(rise: u32, fall: u32) -> Self {
        Self { rise, fall, holds: None, against: 0 }
    }

    /// Takes note of a result. The first one counts at once: a node that starts must not wait for `rise` runs of a script to
    /// know where it stands.
    pub fn note(&mut self, success: bool) -> bool {
        let needed = if success { self.rise } else { self.fall };
        match self.holds {
            Some(holds) if holds == success => self.against = 0,
            Some(_) if self.against + 1 < needed => self.against += 1,
            Some(_) | None => {
                self.holds = Some(success);
                self.against = 0;
            }
        }
        self.holds.expect("there was a result")
    }

    /// `2 of 3 failures`, while results contradict the verdict; else nothing.
    pub fn progress(&self) -> Option<String> {
        let (needed, what) = match self.holds {
            Some(true) => (self.fall, "failures"),
            Some(false) | None => (self.rise, "successes"),
        };
        (self.against > 0).then(|| format!("{} of {needed} {what}", self.against))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_and_falls_after_so_many_in_a_row() {
        // rise, fall, results, verdicts; + and -
        let cases = [
            (1, 1, "+-+-", "+-+-"),
            (2, 3, "+", "+"),
            (2, 3, "-", "-"),
            (2, 3, "+--+---", "++++++-"),
            (2, 3, "--+-+++", "-----++"),
            (3, 1, "-++-+++", "------+"),
            (1, 2, "+-+-+--", "++++++-"),
            (0, 0, "+-+", "+-+"),
        ];
        for (rise, fall, results, expected) in cases {
            let mut streak = Streak::new(rise, fall);
            let verdicts: String =
                results.chars().map(|result| if streak.note(result == '+') { '+' } else { '-' }).collect();
            assert_eq!(verdicts, expected, "rise {rise}, fall {fall}, results {results}");
        }
    }

    #[test]
    fn what_is_under_way_is_said() {
        let mut streak = Streak::new(2, 3);
        streak.note(true);
        assert_eq!(streak.progress(), None);
        streak.note(false);
        streak.note(false);
        assert_eq!(streak.progress().as_deref(), Some("2 of 3 failures"));
        streak.note(false);
        streak.note(true);
        assert_eq!(streak.progress().as_deref(), Some("1 of 2 successes"));
    }
}
