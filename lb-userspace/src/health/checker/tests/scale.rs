//! Forty thousand checks.

use super::*;

/// Half a minute of 40,000 checks at 5 s: what the checker costs by itself. With optimisation it is some 2 % of a core; here
/// the bound is loose, for builds without and machines with other things to do.
#[test]
#[expect(clippy::disallowed_methods, reason = "measures what the checker costs")]
fn forty_thousand_checks_cost_little() {
    let specs = (0..40_000).map(|host| Arc::new(spec(host, 5 * SECOND)));
    let mut checker = Checker::new(1, 16_384);
    checker.configure(Duration::ZERO, specs);
    let outcome = Outcome { result: up(), took: millis(1) };
    let begun = std::time::Instant::now();
    let (mut now, end) = (Duration::ZERO, 30 * SECOND);
    while now < end {
        for start in checker.poll(now) {
            checker.finished(now, start.id, &outcome);
        }
        assert!(checker.take_changes().len() <= BATCH);
        now = checker.next(now).expect("there is always a next one");
    }
    let cost = begun.elapsed();
    let summary = checker.summary();
    assert!((250_000..300_000).contains(&summary.started), "{}", summary.started);
    println!("{} probes in {cost:?}: {:.1} % of a core", summary.started, cost.as_secs_f64() / 0.3);
    assert!(cost < 15 * SECOND, "{cost:?}");
}
