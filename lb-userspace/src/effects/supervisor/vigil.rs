//! Whether a pulse stands still. Pure.
//!
//! The supervisor may itself be late: the whole machine stood still, or another thread had the processor. That time says
//! nothing about the daemon, which was as late. So what counts is not the clock but looks: each look that finds the pulse
//! where it was adds the time since the last one, but no more than one period.

use std::time::Duration;

/// Time between two looks.
pub const PERIOD: Duration = Duration::from_millis(5);

/// A pulse that stands still for so long, while the kernel says that the daemon is stopped, is a daemon that hangs. It
/// beats every 10 ms, so three beats are missing and some more. A hang is then over for the clients, with the looks between
/// and the other node's Skew_Time, well within 100 ms.
pub const LIMIT: Duration = Duration::from_millis(40);

/// The limit for a daemon that is not stopped. It may be in a loop or wait for a lock for ever, or its turn may come: at
/// whatever priority, a thread waits for the processor that it was last on while the kernel is busy there, which was seen
/// to take 157 ms, and while a hypervisor runs others on it. We, on another processor, notice nothing of it. To be deposed
/// for that would be worse than a slower rescue.
pub const LENIENT_LIMIT: Duration = Duration::from_millis(250);

/// What a look has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing new.
    Same,
    /// It hangs: the pulse has stood still for the limit.
    Hangs,
    /// After a hang: it beats again.
    Beats,
}

/// The watch over one pulse.
#[derive(Debug)]
pub struct Vigil {
    state: State,
    count: u64,
    still: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It has never beaten: there is no VRRP thread yet.
    Unborn,
    Beating,
    Hanging,
}

impl Vigil {
    /// Over a pulse that stands at `count`. One that has ever beaten may stand still from the very first look on.
    pub fn new(count: u64) -> Self {
        let state = if count == 0 { State::Unborn } else { State::Beating };
        Self { state, count, still: Duration::ZERO }
    }

    /// A look at the pulse, `elapsed` after the last one. `is_stopped` says whether the kernel has stopped the daemon; it is
    /// asked only when it matters.
    pub fn look(&mut self, count: u64, elapsed: Duration, is_stopped: impl FnOnce() -> bool) -> Found {
        if count != self.count {
            self.count = count;
            self.still = Duration::ZERO;
            let before = std::mem::replace(&mut self.state, State::Beating);
            return if before == State::Hanging { Found::Beats } else { Found::Same };
        }
        self.still += elapsed.min(PERIOD);
        let is_due = self.still >= LENIENT_LIMIT || (self.still >= LIMIT && is_stopped());
        if self.state == State::Beating && is_due {
            self.state = State::Hanging;
            return Found::Hangs;
        }
        Found::Same
    }

    /// Whether it hangs, as far as is known.
    pub fn hangs(&self) -> bool {
        self.state == State::Hanging
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_secs(5);

    #[test]
    fn a_pulse_that_stands_still_is_a_hang_once() {
        let mut vigil = beating();
        for _ in 1..LIMIT.as_millis() / PERIOD.as_millis() {
            assert_eq!(vigil.look(1, PERIOD, stopped), Found::Same);
        }
        assert_eq!(vigil.look(1, PERIOD, stopped), Found::Hangs);
        assert_eq!(vigil.look(1, LATE, stopped), Found::Same);
        assert!(vigil.hangs());
    }

    #[test]
    fn a_pulse_that_goes_on_was_none() {
        let mut vigil = beating();
        for count in 2..1000 {
            assert_eq!(vigil.look(count, PERIOD * 7, stopped), Found::Same);
        }
    }

    #[test]
    fn lateness_of_our_own_does_not_count() {
        let mut vigil = beating();
        for _ in 0..3 {
            assert_eq!(vigil.look(1, LATE, stopped), Found::Same, "late as we were it may have been as well");
        }
    }

    #[test]
    fn after_a_hang_it_may_beat_and_hang_again() {
        let mut vigil = beating();
        assert_eq!(until_something(&mut vigil, 1), Found::Hangs);
        assert_eq!(vigil.look(2, PERIOD, stopped), Found::Beats);
        assert!(!vigil.hangs());
        assert_eq!(until_something(&mut vigil, 2), Found::Hangs);
    }

    #[test]
    fn what_has_not_begun_does_not_hang() {
        let mut vigil = Vigil::new(0);
        for _ in 0..100 {
            assert_eq!(vigil.look(0, LATE, stopped), Found::Same);
        }
    }

    #[test]
    fn what_hangs_when_the_watch_begins_is_seen() {
        assert_eq!(until_something(&mut Vigil::new(7), 7), Found::Hangs);
    }

    #[test]
    fn one_that_is_not_stopped_has_more_time() {
        let mut vigil = beating();
        for _ in 1..LENIENT_LIMIT.as_millis() / PERIOD.as_millis() {
            assert_eq!(vigil.look(1, PERIOD, || false), Found::Same);
        }
        assert_eq!(vigil.look(1, PERIOD, || false), Found::Hangs);
    }

    fn stopped() -> bool {
        true
    }

    fn beating() -> Vigil {
        let mut vigil = Vigil::new(0);
        assert_eq!(vigil.look(1, PERIOD, stopped), Found::Same);
        vigil
    }

    fn until_something(vigil: &mut Vigil, count: u64) -> Found {
        let mut looks = std::iter::repeat_with(|| vigil.look(count, PERIOD, stopped)).take(100);
        looks.find(|found| *found != Found::Same).expect("something within a hundred looks")
    }
}
