//! The time that the hypervisor gave to others while we measured: with much of it a figure says little.

use std::fs;

/// Clock ticks of all CPUs so far.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    stolen: u64,
    all: u64,
}

impl Ticks {
    /// Those of this moment.
    pub fn now() -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// The share of all CPU time since `earlier` that was stolen, in per cent.
    pub fn stolen_since(self, earlier: Self) -> f64 {
        let (stolen, all) = (self.stolen - earlier.stolen, self.all - earlier.all);
        if all == 0 { 0.0 } else { 100.0 * stolen as f64 / all as f64 }
    }

    /// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, and guest time, which is
    /// part of user time.
    fn parse(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or_default();
        let fields: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
        Self { stolen: fields.get(7).copied().unwrap_or_default(), all: fields.iter().take(8).sum() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_a_share_of_all_time() {
        let earlier = Ticks::parse("cpu  100 0 50 800 10 0 0 40 7 0\ncpu0 1 1 1 1\n");
        let later = Ticks::parse("cpu  150 0 70 820 10 0 0 50 9 0\n");
        assert_eq!(later.stolen_since(earlier), 10.0);
    }
}
