//! Quantities as people say them.

/// Seconds of the units of [`duration`], and their names.
const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];

/// How long ago something was, in the two largest units: `2h 46m`.
pub fn ago(now: f64, since: f64) -> String {
    duration((now - since).max(0.0) as u64)
}

/// A time in its two largest units: `2h 46m`.
pub fn duration(seconds: u64) -> String {
    let Some(first) = UNITS.iter().position(|(unit, _)| seconds >= *unit) else { return "0s".to_owned() };
    let (unit, name) = UNITS[first];
    let large = format!("{}{name}", seconds / unit);
    match UNITS.get(first + 1) {
        Some((small, name)) if seconds % unit >= *small => format!("{large} {}{name}", seconds % unit / small),
        _ => large,
    }
}

/// A short time: `850 µs`, `12.3 ms`, `1.25 s`.
pub fn latency(seconds: f64) -> String {
    let micros = (seconds * 1e6).round() as u64;
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{seconds:.2} s"),
    }
}

/// How soon something is: `1.5 s`, `now`.
pub fn until(now: f64, moment: f64) -> String {
    let left = moment - now;
    if left < 0.05 {
        "now".to_owned()
    } else if left < 60.0 {
        format!("{left:.1} s")
    } else {
        duration(left as u64)
    }
}

/// Octets in decimal units: `1.5 MB`.
pub fn bytes(count: u64) -> String {
    let scaled = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match scaled.iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", count as f64 / *unit as f64),
        None => format!("{count} B"),
    }
}

/// A count with its noun: `1 service`, `2 services`.
pub fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Seconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "the CLI is a shell too: it shows moments as how long ago they were")]
pub fn now() -> f64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_epoch.map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_their_two_largest_units() {
        let cases = [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (125, "2m 5s"),
            (3600, "1h"),
            (3659, "1h"),
            (10_000, "2h 46m"),
            (86_400 * 3 + 7200, "3d 2h"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(duration(seconds), expected);
        }
    }

    #[test]
    fn a_moment_in_the_future_was_just_now() {
        assert_eq!(ago(100.0, 200.0), "0s");
    }

    #[test]
    fn latencies_have_the_unit_that_suits_them() {
        let cases = [(0.000_85, "850 µs"), (0.0123, "12.3 ms"), (1.25, "1.25 s")];
        for (seconds, expected) in cases {
            assert_eq!(latency(seconds), expected);
        }
    }

    #[test]
    fn what_is_to_come_is_told_in_seconds_and_then_like_what_was() {
        let cases = [(-1.0, "now"), (0.01, "now"), (1.5, "1.5 s"), (125.0, "2m 5s")];
        for (left, expected) in cases {
            assert_eq!(until(100.0, 100.0 + left), expected);
        }
    }

    #[test]
    fn bytes_have_decimal_units() {
        let cases = [(0, "0 B"), (999, "999 B"), (1_500_000, "1.5 MB"), (2_000_000_000_000, "2.0 TB")];
        for (count, expected) in cases {
            assert_eq!(bytes(count), expected);
        }
    }
}
