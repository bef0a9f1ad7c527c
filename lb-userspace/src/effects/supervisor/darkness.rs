//! Which live words the supervisor turns off, and when. Pure.
//!
//! What still comes to a node after its addresses were released is forwarded for a while, and no longer. A daemon that only
//! hung takes care of that itself once it goes on, and may long be master again when the time comes: then the words are its
//! own, and to turn one off would take a service away from a living master.

use std::time::Duration;

/// Words that are to be turned off, each at its time.
#[derive(Debug, Default)]
pub struct Darkness(Vec<Due>);

#[derive(Debug)]
struct Due {
    at: Duration,
    /// Where the daemon's pulse stood when everything was released in its name.
    pulse: u64,
    words: Vec<u32>,
}

impl Darkness {
    /// Everything was released in the name of a daemon whose pulse stands at `pulse`.
    pub fn fall(&mut self, at: Duration, pulse: u64, words: &[u32]) {
        self.0.push(Due { at, pulse, words: words.to_vec() });
    }

    /// The words whose time has come, of a daemon whose pulse stands where it stood; one that has beaten since then sees to
    /// its words itself.
    pub fn due(&mut self, now: Duration, pulse: u64) -> Vec<u32> {
        let due = self.0.extract_if(.., |due| due.at <= now);
        due.filter(|due| due.pulse == pulse).flat_map(|due| due.words).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_secs(60);

    #[test]
    fn words_of_a_daemon_that_hangs_on_are_turned_off_once() {
        let mut darkness = fallen();
        assert!(darkness.due(LATER - Duration::from_millis(1), 7).is_empty());
        assert_eq!(darkness.due(LATER, 7), [1, 3]);
        assert!(darkness.due(LATER * 2, 7).is_empty());
    }

    #[test]
    fn words_of_a_daemon_that_goes_on_are_its_own() {
        let mut darkness = fallen();
        assert!(darkness.due(LATER, 8).is_empty());
        assert!(darkness.due(LATER * 2, 7).is_empty(), "nothing of that hang is left");
    }

    #[test]
    fn a_second_hang_counts_from_its_own_beginning() {
        let mut darkness = fallen();
        darkness.fall(LATER * 2, 9, &[3]);
        assert!(darkness.due(LATER, 9).is_empty(), "it was back in between");
        assert_eq!(darkness.due(LATER * 2, 9), [3]);
    }

    fn fallen() -> Darkness {
        let mut darkness = Darkness::default();
        darkness.fall(LATER, 7, &[1, 3]);
        darkness
    }
}
