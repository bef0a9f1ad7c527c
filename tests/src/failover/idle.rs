//! Nothing happens, for a while, beside programs that use up every CPU: who takes over all the same?

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::steal::Ticks;

/// What happened to one cluster.
pub struct Idle {
    /// Times that a node became master.
    pub takeovers: usize,
    line: String,
    json: Value,
}

/// Leaves these clusters alone for so long, with a thread on every CPU that never waits.
pub fn run(clusters: &[Cluster], time: Duration) -> Vec<Idle> {
    let before: Vec<usize> = clusters.iter().map(Cluster::takeovers).collect();
    let ticks = Ticks::now();
    let burners = Burners::start();
    thread::sleep(time);
    let count = burners.stop();
    let stolen = Ticks::now().stolen_since(ticks);
    clusters
        .iter()
        .zip(before)
        .map(|(cluster, before)| {
            let setup = cluster.setup();
            let takeovers = cluster.takeovers() - before;
            let (interval, seconds) = (setup.interval.as_millis() as u64, time.as_secs());
            Idle {
                takeovers,
                line: format!(
                    "{:<10} {:<14} idle for {seconds} s at {interval} ms beside {count} busy threads: {takeovers} takeovers; \
                     stolen {stolen:.1} %",
                    setup.peer, setup.variant
                ),
                json: json!({
                    "peer": setup.peer.to_string(),
                    "variant": setup.variant.name,
                    "fault": "idle",
                    "interval_ms": interval,
                    "seconds": seconds,
                    "busy_threads": count,
                    "takeovers": takeovers,
                    "stolen_percent": (stolen * 10.0).round() / 10.0,
                }),
            }
        })
        .collect()
}

impl Idle {
    /// For people.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// For what watches over time.
    pub fn json(&self) -> &Value {
        &self.json
    }
}

/// Threads that never wait, one for each CPU.
struct Burners {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Burners {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let count = thread::available_parallelism().map_or(1, usize::from);
        let burn = |stop: Arc<AtomicBool>| {
            move || {
                let mut number = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    number = black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
                }
            }
        };
        let threads = (0..count).map(|_| thread::spawn(burn(stop.clone()))).collect();
        Self { stop, threads }
    }

    /// How many there were.
    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let count = self.threads.len();
        for thread in self.threads {
            thread.join().expect("a burner does not panic");
        }
        count
    }
}
