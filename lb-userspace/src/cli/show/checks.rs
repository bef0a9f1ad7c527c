//! `fairway show checks`.

use serde_json::{Value, json};

use super::super::table::{Cell, Table, Tone};
use super::super::units::{ago, latency, until};
use crate::controller::checks::CheckStatus;
use crate::controller::view::{API_VERSION, BackendStatus, ServiceStatus, Status};
use crate::health::verdict::CheckState;

/// The checks of all backends.
pub fn table(status: &Status, now: f64) -> Table {
    let mut table = Table::new(&[
        "SERVICE", "BACKEND", "CHECK", "TARGET", "STATE", "SINCE", ">LATENCY", ">NEXT", ">PROBES", ">FAILED", ">FLAPS",
        "WHY",
    ]);
    for (service, backend, check) in each(status) {
        let failed: u64 = check.failures.values().sum();
        table.row([
            Cell::from(&service.name),
            Cell::from(&backend.name),
            Cell::from(&check.check),
            Cell::from(&check.target),
            state(check),
            ago(now, check.since).into(),
            check.last.as_ref().map_or_else(|| "-".into(), |last| latency(last.latency_seconds).into()),
            check.next.map_or_else(|| "now".into(), |next| until(now, next).into()),
            (check.successes + failed).into(),
            failed.into(),
            check.flaps.into(),
            Cell::from(&check.why),
        ]);
    }
    table
}

/// Every check as an object, with the names of its service and backend put into it, and the prober.
pub fn as_json(status: &Status) -> Value {
    let checks = each(status).map(|(service, backend, check)| {
        let mut value = json!(check);
        value["service"] = json!(service.name);
        value["backend"] = json!(backend.name);
        value
    });
    json!({ "api": API_VERSION, "checks": checks.collect::<Value>(), "prober": status.prober })
}

fn each(status: &Status) -> impl Iterator<Item = (&ServiceStatus, &BackendStatus, &CheckStatus)> {
    let backends = status.services.iter().flat_map(|service| service.backends.iter().map(move |b| (service, b)));
    backends.flat_map(|(service, backend)| backend.checks.iter().map(move |check| (service, backend, check)))
}

fn state(check: &CheckStatus) -> Cell {
    let tone = match check.state {
        CheckState::Up => Tone::Good,
        CheckState::Down => Tone::Bad,
        CheckState::Unknown => Tone::Odd,
    };
    Cell::toned(check.state.to_string(), tone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::admin::sample;

    #[test]
    fn each_check_has_a_line_with_its_last_and_next_probe_and_what_speaks_against_it() {
        let expected = "\
SERVICE  BACKEND  CHECK  TARGET           STATE  SINCE  LATENCY   NEXT  PROBES  FAILED  FLAPS  WHY
we\"b     web1     http   203.0.113.10:80  up     2m 5s  12.3 ms  1.5 s      62       1      2  HTTP 200; then 1 of 3: HTTP 503, expected 200-299
";
        assert_eq!(table(&sample::status(), sample::NOW).render("", false), expected);
    }

    #[test]
    fn as_json_checks_carry_service_and_backend() {
        let value = as_json(&sample::status());
        let check = &value["checks"][0];
        assert_eq!(
            (&check["service"], &check["backend"], &check["state"]),
            (&json!("we\"b"), &json!("web1"), &json!("up"))
        );
        assert_eq!((&check["flaps"], &value["prober"]["limit"]), (&json!(2), &json!(16_384)));
    }
}
