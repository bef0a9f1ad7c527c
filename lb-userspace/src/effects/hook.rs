//! The hook: a program of the operator's that is told of every event, in order, one at a time. Clouds move an address by
//! an API call; this is where it is made.
//!
//! One task reads along in the event store and never makes anybody wait. A hook that cannot keep up is at most
//! [`MOST_BEHIND`] events behind: then the oldest are passed over, because what counts is that it learns the latest state
//! of things; how many is counted and told as an event itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::events::{EventStream, Follower};
use super::program::{Outcome, Program};
use crate::config::Hook;
use crate::controller::events::Event;
use crate::happening::Happening;

/// Events that wait for the hook.
pub const MOST_BEHIND: u64 = 1024;

/// Longest value of a variable in the environment, in octets. The kernel takes 128 KiB; what is longer, such as the
/// addresses of a router with thousands of them, is in the JSON only.
const LONGEST_VALUE: usize = 32 << 10;

/// The running hook. Dropped, it ends, and with it what it runs.
#[derive(Debug)]
pub struct HookRunner {
    task: JoinHandle<()>,
    counters: Arc<Counters>,
}

/// What it did.
#[derive(Debug, Default)]
pub struct Counters {
    /// Events it was told of.
    pub runs: AtomicU64,
    /// Of those, how many times it failed.
    pub failures: AtomicU64,
    /// Events that were passed over.
    pub skipped: AtomicU64,
}

impl HookRunner {
    /// Starts telling the hook of everything after event number `since`. `fairway` is the binary that knows `run-as`
    /// ([`super::program::own_binary`]); `now` gives seconds since the Unix epoch.
    pub fn start(
        settings: Hook,
        fairway: std::path::PathBuf,
        stream: &EventStream,
        since: u64,
        now: fn() -> f64,
    ) -> Self {
        let counters = Arc::new(Counters::default());
        let follower = stream.follow(since);
        let program = Program { command: settings.command.clone(), user: settings.user.clone(), fairway };
        let teller =
            Teller { settings, program, stream: stream.clone(), counters: Arc::clone(&counters), now, failing: false };
        Self { task: tokio::spawn(teller.run(follower)), counters }
    }

    /// What it did until now.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Drop for HookRunner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Teller {
    settings: Hook,
    program: Program,
    stream: EventStream,
    counters: Arc<Counters>,
    now: fn() -> f64,
    failing: bool,
}

impl Teller {
    async fn run(mut self, mut follower: Follower) {
        loop {
            let mut skipped = follower.skip_to(MOST_BEHIND);
            let page = follower.next(1).await;
            skipped += page.missed;
            if skipped > 0 {
                self.note_skipped(skipped);
            }
            for event in page.events {
                let outcome = self.tell(&event).await;
                self.note(&event, &outcome);
            }
        }
    }

    async fn tell(&self, event: &Event) -> Outcome {
        let json = serde_json::to_value(event).expect("events are plain data");
        let environment = environment(&json);
        let input = format!("{json}\n");
        self.program.run(input.as_bytes(), &environment, self.settings.timeout).await
    }

    fn note(&mut self, event: &Event, outcome: &Outcome) {
        self.counters.runs.fetch_add(1, Ordering::Relaxed);
        if outcome.is_success() {
            info!(sequence = event.sequence, "hook: told");
            self.failing = false;
            return;
        }
        self.counters.failures.fetch_add(1, Ordering::Relaxed);
        warn!(sequence = event.sequence, %outcome, command = self.settings.command[0], "hook: failed");
        // Told once, not for every event: the hook is told of this one too, and must not keep itself busy with failing.
        if !std::mem::replace(&mut self.failing, true) {
            self.warn(format!("the hook failed at event {}: {outcome}", event.sequence));
        }
    }

    fn note_skipped(&self, skipped: u64) {
        self.counters.skipped.fetch_add(skipped, Ordering::Relaxed);
        self.warn(format!("the hook does not keep up: {skipped} events were passed over"));
    }

    fn warn(&self, message: String) {
        self.stream.tell((self.now)(), Happening::Warning { router: None, message });
    }
}

/// `FAIRWAY_EVENT_SEQUENCE`, `_TIME`, `_KIND`, and one for each further field; lists are joined by spaces.
fn environment(event: &Value) -> Vec<(String, String)> {
    let fields = event.as_object().into_iter().flatten();
    let pairs = fields.filter_map(|(key, value)| Some((format!("FAIRWAY_EVENT_{}", key.to_uppercase()), text(value)?)));
    pairs.filter(|(_, value)| value.len() <= LONGEST_VALUE).collect()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::String(value) => Some(value.clone()),
        Value::Array(values) => Some(values.iter().filter_map(text).collect::<Vec<_>>().join(" ")),
        Value::Object(_) => Some(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use nix::unistd::{User, geteuid};
    use serde_json::json;

    use super::*;
    use crate::effects::program::own_binary;
    use crate::vrrp::view::State;

    #[test]
    fn every_field_is_in_the_environment() {
        let event = json!({
            "sequence": 7, "time": 1.5, "kind": "transition", "from": "backup", "took_over": true, "router": null,
            "addresses": ["192.0.2.1", "192.0.2.2"], "long": "x".repeat(LONGEST_VALUE + 1),
        });
        let mut pairs = environment(&event);
        pairs.sort();
        let expected = [
            ("FAIRWAY_EVENT_ADDRESSES", "192.0.2.1 192.0.2.2"),
            ("FAIRWAY_EVENT_FROM", "backup"),
            ("FAIRWAY_EVENT_KIND", "transition"),
            ("FAIRWAY_EVENT_SEQUENCE", "7"),
            ("FAIRWAY_EVENT_TIME", "1.5"),
            ("FAIRWAY_EVENT_TOOK_OVER", "true"),
        ];
        assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[tokio::test]
    async fn events_arrive_in_order_one_at_a_time_under_load() {
        // It takes longer the sooner it comes, and notes when it runs beside itself.
        let script = r#"mkdir "$0/alone" || echo overlap >> "$0/log"
            read line; sleep 0.0$((9 - FAIRWAY_EVENT_SEQUENCE % 10)); echo "$FAIRWAY_EVENT_SEQUENCE $line" >> "$0/log"; rmdir "$0/alone""#;
        let bed = Bed::new(script, Duration::from_secs(10));
        for _ in 0..20 {
            bed.transition();
        }
        let log = bed.wait_for_lines(20).await;
        for (index, line) in log.iter().enumerate() {
            let (number, json) = line.split_once(' ').unwrap();
            assert_eq!(number, (index + 1).to_string());
            let event: Event = serde_json::from_str(json).unwrap();
            assert_eq!(event.sequence, index as u64 + 1);
        }
        assert_eq!(bed.runner.counters().failures.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_failure_is_told_once_until_it_works_again() {
        let script = r#"echo x >> "$0/log"; echo 'no credentials'; exit 4"#;
        let bed = Bed::new(script, Duration::from_secs(10));
        bed.transition();
        bed.transition();
        bed.wait_for_lines(3).await; // two transitions, one warning, which fails as well and is not told again
        wait_until("three failures are counted", || bed.runner.counters().failures.load(Ordering::Relaxed) == 3).await;
        assert_eq!(bed.warnings(), ["the hook failed at event 1: exit code 4: no credentials"]);
    }

    #[tokio::test]
    async fn a_hook_that_hangs_is_killed_and_the_next_event_told() {
        let script = r#"echo x >> "$0/log"; test $FAIRWAY_EVENT_SEQUENCE = 1 && sleep 1000"#;
        let bed = Bed::new(script, Duration::from_millis(300));
        bed.transition();
        bed.transition();
        bed.wait_for_lines(2).await;
        wait_until("it is told", || bed.warnings() == ["the hook failed at event 1: killed after 300ms"]).await;
    }

    #[tokio::test]
    async fn a_hook_that_does_not_keep_up_is_told_of_the_latest() {
        let script = r#"echo $FAIRWAY_EVENT_SEQUENCE >> "$0/log"; while test ! -e "$0/go"; do sleep 0.05; done"#;
        let bed = Bed::new(script, Duration::from_secs(30));
        bed.transition();
        bed.wait_for_lines(1).await; // it is busy now
        for _ in 0..MOST_BEHIND + 10 {
            bed.transition();
        }
        fs::write(bed.path().join("go"), "").unwrap();
        let log = bed.wait_for_lines(3).await;
        assert_eq!(log[..3], ["1", "12", "13"]);
        assert_eq!(bed.warnings(), ["the hook does not keep up: 10 events were passed over"]);
        assert_eq!(bed.runner.counters().skipped.load(Ordering::Relaxed), 10);
    }

    struct Bed {
        runner: HookRunner,
        stream: EventStream,
        directory: tempfile::TempDir,
    }

    impl Bed {
        /// A hook that runs a shell script with the directory as `$0`.
        fn new(script: &str, timeout: Duration) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let place = directory.path().to_str().unwrap().to_owned();
            let command = vec!["/bin/sh".into(), "-c".into(), script.into(), place];
            let user = User::from_uid(geteuid()).unwrap().unwrap().name;
            let stream = EventStream::default();
            let runner = HookRunner::start(Hook { command, timeout, user }, own_binary(), &stream, 0, || 0.0);
            Self { runner, stream, directory }
        }

        fn path(&self) -> &Path {
            self.directory.path()
        }

        fn transition(&self) {
            let (from, to) = (State::Backup, State::Master);
            let (router, reason) = ("public".into(), "test".into());
            self.stream.tell(0.0, Happening::Transition { router, from, to, reason, addresses: Vec::new() });
        }

        fn warnings(&self) -> Vec<String> {
            let events = self.stream.since(0, usize::MAX).events.into_iter();
            events
                .filter_map(|event| match event.happening {
                    Happening::Warning { message, .. } => Some(message),
                    _ => None,
                })
                .collect()
        }

        async fn wait_for_lines(&self, count: usize) -> Vec<String> {
            let read = || fs::read_to_string(self.path().join("log")).unwrap_or_default();
            wait_until("the hook has written", || read().lines().count() >= count).await;
            read().lines().map(str::to_owned).collect()
        }
    }

    async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
        for _ in 0..1500 {
            if condition() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}: not within fifteen seconds");
    }
}
