//! Numbers of targets. One that is given back rests behind all others, so that an answer to a probe of the target that had it
//! is not taken for one of the next.

use std::collections::VecDeque;

/// Numbers below a limit.
#[derive(Debug)]
pub struct Numbers {
    next: u32,
    end: u32,
    returned: VecDeque<u32>,
}

impl Numbers {
    /// All of them free.
    pub fn new(end: usize) -> Self {
        Self { next: 0, end: u32::try_from(end).expect("targets are few"), returned: VecDeque::new() }
    }

    /// One that is free: never used if there is such a one, else the one that rested longest. `None`: all are taken.
    pub fn take(&mut self) -> Option<u32> {
        if self.next < self.end {
            self.next += 1;
            return Some(self.next - 1);
        }
        self.returned.pop_front()
    }

    /// Gives one back.
    pub fn give(&mut self, number: u32) {
        self.returned.push_back(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_was_given_back_rests_until_all_others_were_used() {
        let mut numbers = Numbers::new(3);
        assert_eq!(numbers.take(), Some(0));
        numbers.give(0);
        assert_eq!((numbers.take(), numbers.take()), (Some(1), Some(2)));
        numbers.give(2);
        assert_eq!((numbers.take(), numbers.take(), numbers.take()), (Some(0), Some(2), None));
    }
}
