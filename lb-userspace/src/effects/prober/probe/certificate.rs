//! What a server's certificate says, in words.

use std::time::{Duration, SystemTime};

use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

/// Until when it is valid, in seconds since the Unix epoch; `None` for what cannot be read.
pub(super) fn expiry(certificate: &CertificateDer<'_>) -> Option<i64> {
    let certificate = Certificate::from_der(certificate).ok()?;
    i64::try_from(certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs()).ok()
}

/// That it expires soon, or did.
pub(super) fn warning(expires: i64, now: i64, soon: Duration) -> Option<String> {
    let left = expires - now;
    if left < 0 {
        return Some(format!("certificate expired {} ago", span(left.unsigned_abs())));
    }
    (left.unsigned_abs() < soon.as_secs()).then(|| format!("certificate expires in {}", span(left.unsigned_abs())))
}

/// Why it is not accepted.
pub(super) fn wrong(error: &CertificateError) -> String {
    match error {
        CertificateError::ExpiredContext { time, not_after } => {
            format!("certificate expired {} ago", span(between(*not_after, *time)))
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            format!("certificate not valid for another {}", span(between(*time, *not_before)))
        }
        CertificateError::NotValidForNameContext { expected, presented } if presented.is_empty() => {
            format!("certificate not valid for {}: it names none", expected.to_str())
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("certificate not valid for {}, but for {}", expected.to_str(), names(presented))
        }
        CertificateError::UnknownIssuer => "certificate of an unknown issuer".to_owned(),
        other => format!("certificate: {other}"),
    }
}

/// rustls gives each as `DnsName("web.example")`.
fn names(presented: &[String]) -> String {
    presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name)).collect::<Vec<_>>().join(", ")
}

/// Seconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "certificates expire by the calendar")]
pub(super) fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

fn between(earlier: UnixTime, later: UnixTime) -> u64 {
    later.as_secs().saturating_sub(earlier.as_secs())
}

/// `3 days`, `1 hour`: the largest whole unit.
fn span(seconds: u64) -> String {
    let (number, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn a_certificate_is_warned_of_when_it_expires_soon() {
        let week = Duration::from_secs(7 * 86_400);
        for (expires, text) in [
            (8 * DAY, None),
            (7 * DAY, None),
            (7 * DAY - 1, Some("certificate expires in 6 days")),
            (3_600, Some("certificate expires in 1 hour")),
            (0, Some("certificate expires in 0 seconds")),
            (-2 * DAY, Some("certificate expired 2 days ago")),
        ] {
            assert_eq!(warning(expires, 0, week).as_deref(), text);
        }
        assert_eq!(warning(1, 0, Duration::ZERO), None);
    }

    #[test]
    fn what_is_no_certificate_has_no_expiry() {
        assert_eq!(expiry(&CertificateDer::from_slice(b"\x30\x03\x02\x01\x01")), None);
    }
}
