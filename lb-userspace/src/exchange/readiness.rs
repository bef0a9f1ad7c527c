//! Whether this node may preempt: not before it has what the peer is master of, or its return would break what it returns to. That a
//! master is dead is another matter: who was ready once takes over at once, whatever is missing.
//!
//! While there is no session there is nothing to wait for, once a peer that lives would have connected: it tries several times a
//! second. And nobody waits for ever: what is not here after a while will not come.

use std::time::Duration;

/// Without a session for so long the peer is not there, or shares nothing.
pub const ALONE: Duration = Duration::from_secs(2);

/// See the module's description.
#[derive(Debug)]
pub struct Readiness {
    /// Since when there is no session, or nothing was known.
    without: Duration,
    /// Since when something is missing.
    missing: Option<Duration>,
    /// All was here, and nothing has been said since that it is not.
    was_caught_up: bool,
}

impl Readiness {
    /// Nothing is known yet.
    pub fn new(now: Duration) -> Self {
        Self { without: now, missing: None, was_caught_up: false }
    }

    /// Whether the node is ready, as far as this goes. `patience`: for how long it waits, `None` without a peer; `caught_up`: what the
    /// session says, `None` if there is none.
    ///
    /// # Errors
    /// What is missing, in words.
    pub fn judge(
        &mut self,
        now: Duration,
        patience: Option<Duration>,
        caught_up: Option<Result<(), String>>,
    ) -> Result<(), String> {
        let Some(patience) = patience else { return Ok(()) };
        let missing = match caught_up {
            Some(caught_up) => {
                self.without = now;
                self.was_caught_up = caught_up.is_ok();
                caught_up.err()
            }
            None if self.was_caught_up || now >= self.without + ALONE => None,
            None => Some("the peer has not connected yet".to_owned()),
        };
        let Some(missing) = missing else {
            self.missing = None;
            return Ok(());
        };
        let since = *self.missing.get_or_insert(now);
        if now < since + patience { Err(missing) } else { Ok(()) }
    }

    /// Whether it counts as ready although something is missing, at this moment.
    pub fn has_given_up(&self, now: Duration, patience: Duration) -> bool {
        self.missing.is_some_and(|since| now >= since + patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Option<Duration> = Some(Duration::from_secs(30));

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_waits_for_a_peer_a_moment_and_for_its_state_a_while() {
        let mut readiness = Readiness::new(seconds(100));
        let missing = || Some(Err("public".to_owned()));
        for (at, caught_up, ready) in [
            (100, None, false),
            (101, None, false),
            (102, None, true),
            (103, missing(), false),
            (132, missing(), false),
            (133, missing(), true),
            (134, Some(Ok(())), true),
            (135, missing(), false),
            (136, Some(Ok(())), true),
        ] {
            assert_eq!(readiness.judge(seconds(at), PATIENCE, caught_up).is_ok(), ready, "at {at} s");
            assert_eq!(readiness.has_given_up(seconds(at), seconds(30)), at == 133, "at {at} s");
        }
    }

    #[test]
    fn who_had_everything_when_the_session_ended_is_ready_and_who_had_not_waits() {
        for (before, ready) in [(Ok(()), true), (Err("public".to_owned()), false)] {
            let mut readiness = Readiness::new(Duration::ZERO);
            drop(readiness.judge(seconds(1), PATIENCE, Some(before)));
            assert_eq!(readiness.judge(seconds(2), PATIENCE, None).is_ok(), ready);
            assert!(readiness.judge(seconds(4), PATIENCE, None).is_ok(), "the peer is gone");
        }
    }

    #[test]
    fn without_a_peer_there_is_nothing_to_wait_for() {
        assert!(Readiness::new(Duration::ZERO).judge(Duration::ZERO, None, None).is_ok());
    }
}
