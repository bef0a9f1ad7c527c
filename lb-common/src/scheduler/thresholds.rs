//! When a backend is full: the upper and lower thresholds of `ipvsadm -x` and `-y`.
//!
//! A backend that reaches the upper threshold gets no new flow until its connections fall below the lower one: without that gap
//! it would flap with every connection. The rule is that of `ip_vs_bind_dest` and `ip_vs_unbind_dest` (`ip_vs_conn.c`), and of
//! `__ip_vs_update_dest` (`ip_vs_ctl.c`) for a change of the thresholds. Connections are active and inactive ones together.

/// The thresholds of one backend, in connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Thresholds {
    /// It is full from here; 0 = never.
    pub upper: u32,
    /// It is full no longer below this; 0 = three quarters of `upper`.
    pub lower: u32,
}

impl Thresholds {
    /// Whether the backend is full once a connection has begun, which makes it `connections`.
    #[inline(always)]
    pub const fn after_begin(self, was_full: bool, connections: u32) -> bool {
        was_full || (self.upper != 0 && connections >= self.upper)
    }

    /// Whether the backend is full once a connection has ended, which leaves `connections`.
    #[inline(always)]
    pub const fn after_end(self, was_full: bool, connections: u32) -> bool {
        let has_room = if self.lower != 0 {
            connections < self.lower
        } else if self.upper != 0 {
            connections as u64 * 4 < self.upper as u64 * 3
        } else {
            true
        };
        was_full && !has_room
    }

    /// Whether the backend is full once these thresholds have taken the place of others, of which `upper_before` was one. A lower or
    /// equal one makes nobody full: the next connection does.
    #[inline(always)]
    pub const fn after_change(self, was_full: bool, upper_before: u32) -> bool {
        was_full && self.upper != 0 && self.upper <= upper_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_full_from_the_upper_threshold_down_to_the_lower() {
        let thresholds = Thresholds { upper: 4, lower: 2 };
        let begin: [bool; 5] = core::array::from_fn(|n| thresholds.after_begin(false, n as u32));
        assert_eq!(begin, [false, false, false, false, true]);
        let end: [bool; 5] = core::array::from_fn(|n| thresholds.after_end(true, n as u32));
        assert_eq!(end, [false, false, true, true, true]);
    }

    #[test]
    fn without_a_lower_threshold_a_quarter_must_be_free() {
        let thresholds = Thresholds { upper: 8, lower: 0 };
        assert!(thresholds.after_end(true, 6), "three quarters are not below three quarters");
        assert!(!thresholds.after_end(true, 5));
        let huge = Thresholds { upper: u32::MAX, lower: 0 };
        assert!(huge.after_end(true, u32::MAX - 1), "no product overflows");
    }

    #[test]
    fn without_thresholds_nobody_is_full() {
        let none = Thresholds::default();
        assert!(!none.after_begin(false, u32::MAX));
        assert!(!none.after_end(true, u32::MAX));
    }

    #[test]
    fn more_room_frees_a_full_backend_and_less_room_fills_none() {
        for (upper, was_full, is_full) in
            [(0, true, false), (5, true, false), (4, true, true), (3, true, true), (3, false, false)]
        {
            let thresholds = Thresholds { upper, lower: 0 };
            assert_eq!(thresholds.after_change(was_full, 4), is_full, "from 4 to {upper}");
        }
    }
}
