//! Figures as an operator reads them.

use std::time::Duration;

/// `3.6 s`, `28 ms`, `0.4 ms`: two figures are enough to recognise a timer by.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds >= 10.0 {
        format!("{seconds:.0} s")
    } else if seconds >= 1.0 {
        format!("{seconds:.1} s")
    } else if seconds >= 0.01 {
        format!("{:.0} ms", seconds * 1e3)
    } else {
        format!("{:.1} ms", seconds * 1e3)
    }
}

/// `IPv4` or `IPv6`.
pub fn family(is_ipv4: bool) -> &'static str {
    if is_ipv4 { "IPv4" } else { "IPv6" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_the_unit_that_fits() {
        for (time, expected) in [
            (Duration::from_micros(781), "0.8 ms"),
            (Duration::from_millis(28), "28 ms"),
            (Duration::from_micros(3_609_375), "3.6 s"),
            (Duration::from_secs(60), "60 s"),
        ] {
            assert_eq!(span(time), expected);
        }
    }
}
