//! When a backend is full: the upper and lower thresholds of `ipvsadm -x` and `-y`.
//!
//! A backend that reaches the upper threshold gets no new flow until its connections, active and inactive ones, fall below the
//! lower one: without that gap it would flap with every connection. The rule is that of `ip_vs_dest_update_overload`
//! (`ip_vs_conn.c`), asked whenever a connection begins or ends and when the thresholds change. Kernels from before it was
//! written (2026; it is in 6.1.192) did not look at the connections when the thresholds changed.

/// The thresholds of one backend, in connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Thresholds {
    /// It is full from here; 0 = never.
    pub upper: u32,
    /// It is full no longer below this; 0 = three quarters of `upper`.
    pub lower: u32,
}

impl Thresholds {
    /// Whether the backend is full with so many connections, having been so or not.
    #[inline(always)]
    pub const fn is_full(self, was_full: bool, connections: u32) -> bool {
        if self.upper == 0 {
            false
        } else if connections >= self.upper {
            true
        } else if self.lower != 0 {
            was_full && connections >= self.lower
        } else {
            was_full && connections as u64 * 4 >= self.upper as u64 * 3
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_full_from_the_upper_threshold_down_to_the_lower() {
        let thresholds = Thresholds { upper: 4, lower: 2 };
        let rising: [bool; 6] = core::array::from_fn(|n| thresholds.is_full(false, n as u32));
        assert_eq!(rising, [false, false, false, false, true, true]);
        let falling: [bool; 6] = core::array::from_fn(|n| thresholds.is_full(true, n as u32));
        assert_eq!(falling, [false, false, true, true, true, true]);
    }

    #[test]
    fn without_a_lower_threshold_a_quarter_must_be_free() {
        let thresholds = Thresholds { upper: 8, lower: 0 };
        assert!(thresholds.is_full(true, 6), "three quarters are not below three quarters");
        assert!(!thresholds.is_full(true, 5));
        assert!(!Thresholds { upper: 2, lower: 0 }.is_full(true, 1), "half is below three quarters");
        let huge = Thresholds { upper: u32::MAX, lower: 0 };
        assert!(huge.is_full(true, u32::MAX - 1), "no product overflows");
    }

    #[test]
    fn without_an_upper_threshold_nobody_is_full() {
        for lower in [0, 3] {
            assert!(!Thresholds { upper: 0, lower }.is_full(true, u32::MAX));
        }
    }

    #[test]
    fn a_lower_threshold_above_the_upper_one_changes_nothing_above_that() {
        let odd = Thresholds { upper: 4, lower: 6 };
        assert!(odd.is_full(true, 5));
        assert!(!odd.is_full(true, 3));
    }
}
