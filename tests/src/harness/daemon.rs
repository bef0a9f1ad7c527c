//! A running `fairway run` and the commands that talk to it.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use fairway::playground::{Lab, Namespace, Process, admin_address, is_ready};

use nix::sys::signal::Signal;

use super::turns::STARTING;
use super::{await_that, fairway_binary, usual_config};

const START_TRIES: u32 = 200;
const START_POLL: Duration = Duration::from_millis(50);

/// The daemon of a balancer; dropped, it is stopped, and shown are its last words if the test failed.
pub struct Fairway {
    process: Process,
    namespace: Namespace,
    config: PathBuf,
    socket: PathBuf,
    log: PathBuf,
}

impl Fairway {
    /// Starts it with the usual configuration over the given backends and waits until it is ready.
    pub fn start(lab: &Lab, backends: &[usize]) -> Self {
        let fairway = Self::start_with(lab, &usual_config(lab, backends));
        fairway.wait_until_ready();
        fairway
    }

    /// Starts it on the first balancer with a configuration whose admin socket is that of [`admin_socket`].
    pub fn start_with(lab: &Lab, config_text: &str) -> Self {
        Self::start_on(lab, 0, config_text)
    }

    /// The same on any balancer, counted from 0.
    pub fn start_on(lab: &Lab, index: usize, config_text: &str) -> Self {
        Self::start_through(lab, index, config_text, Command::new(fairway_binary()))
    }

    /// The same by a command that becomes it: `setpriv` with its options, and the binary.
    pub fn start_through(lab: &Lab, index: usize, config_text: &str, mut command: Command) -> Self {
        let file = |name: &str| file_of(lab, index, name);
        let (config, socket, log) = (file("fairway.toml"), admin_socket(lab, index), file("fairway.log"));
        fs::write(&config, config_text).expect("the lab's directory is writable");
        let output = File::create(&log).expect("the lab's directory is writable");
        command.arg("run").arg("--config").arg(&config);
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("a file can be cloned")).stderr(output);
        let namespace = lab.balancer(index);
        let _turn = STARTING.take();
        let process = namespace.spawn(&mut command).expect("fairway starts");
        let mut fairway = Self { process, namespace, config, socket, log };
        fairway.wait_for_answer();
        fairway
    }

    /// `fairway reload` with a new configuration.
    pub fn reload(&self, config_text: &str) -> Output {
        let file = self.config.with_file_name("reload.toml");
        fs::write(&file, config_text).expect("the lab's directory is writable");
        self.command(&["reload", &file.to_string_lossy()])
    }

    /// `fairway reload` with the usual configuration over other backends, which must succeed.
    pub fn reload_backends(&self, lab: &Lab, backends: &[usize]) {
        let output = self.reload(&usual_config(lab, backends));
        assert!(output.status.success(), "reload failed ({}): {}", output.status, text(&output.stderr));
    }

    /// `fairway diff` with a new configuration.
    pub fn diff(&self, config_text: &str) -> Output {
        let file = self.config.with_file_name("diff.toml");
        fs::write(&file, config_text).expect("the lab's directory is writable");
        self.command(&["diff", &file.to_string_lossy()])
    }

    /// Puts other text into its own configuration file and sends it SIGHUP; returns when it has tried to reload.
    pub fn hang_up(&mut self, config_text: &str) {
        let tried = self.metric("fairway_config_last_reload_timestamp_seconds");
        fs::write(&self.config, config_text).expect("the lab's directory is writable");
        self.process.signal(Signal::SIGHUP).expect("fairway runs");
        await_that("it tries to reload", || self.metric("fairway_config_last_reload_timestamp_seconds") != tried);
    }

    /// `fairway doctor` with its configuration, where it runs.
    pub fn doctor(&self) -> Output {
        let run = || Command::new(fairway_binary()).args(["doctor", "--config"]).arg(&self.config).output();
        self.namespace.run(run).expect("the namespace is there").expect("fairway starts")
    }

    /// `fairway status -o json`.
    pub fn status(&self) -> serde_json::Value {
        let output = self.command(&["status", "-o", "json"]);
        assert!(output.status.success(), "status failed ({}): {}", output.status, text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
    }

    /// The warnings of `fairway status`, one a line.
    pub fn warnings(&self) -> String {
        let status = self.status();
        let warnings = status["warnings"].as_array().expect("status has warnings").iter();
        warnings.map(|warning| format!("{}\n", warning.as_str().expect("a warning is text"))).collect()
    }

    /// Packets of one reason: `drops`, `neighbour-pending`.
    pub fn packets(&self, fate: &str, reason: &str) -> f64 {
        let series = format!("fairway_{fate}_total{{reason=\"{reason}\"}}");
        self.metric(&series).unwrap_or_else(|| panic!("no series {series}"))
    }

    /// `fairway show WHAT -o json`, which must succeed.
    pub fn show(&self, what: &str) -> serde_json::Value {
        let output = self.command(&["show", what, "-o", "json"]);
        assert!(output.status.success(), "show {what} failed ({}): {}", output.status, text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
    }

    /// Runs a command of the binary against this daemon's socket.
    pub fn command(&self, arguments: &[&str]) -> Output {
        Command::new(fairway_binary())
            .args(arguments)
            .arg("--socket")
            .arg(&self.socket)
            .output()
            .expect("fairway starts")
    }

    /// A scrape of `/metrics`, headers and all.
    pub fn metrics(&self) -> String {
        let mut stream = self
            .namespace
            .run(|| TcpStream::connect(admin_address()))
            .expect("the namespace is there")
            .expect("the admin interface listens");
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("the admin interface reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("metrics are text");
        answer
    }

    /// The value of one series of a scrape, given as it is written: `name{label="value"}`.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let scrape = self.metrics();
        let line = scrape.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// What was passed and dropped and why, for whoever wonders where packets went.
    pub fn fates(&self) -> String {
        let scrape = self.metrics();
        let fates = ["fairway_drops_total{", "fairway_passes_total{", "fairway_flow_record_refusals_total"];
        let of_packets = |line: &&str| fates.iter().any(|fate| line.starts_with(fate)) && !line.ends_with(" 0");
        scrape.lines().filter(of_packets).map(|line| format!("{line}\n")).collect()
    }

    /// The sum over all series of a metric.
    pub fn metric_sum(&self, name: &str) -> f64 {
        let prefix = format!("{name}{{");
        let scrape = self.metrics();
        let values = scrape.lines().filter(|line| line.starts_with(&prefix)).filter_map(|line| {
            let (_, value) = line.rsplit_once("} ")?;
            value.split_whitespace().next()?.parse::<f64>().ok()
        });
        values.sum()
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal).expect("fairway runs");
    }

    /// Ends it by SIGTERM and says how it ended.
    pub fn stop(&mut self) -> ExitStatus {
        self.process.stop().expect("fairway can be waited for")
    }

    /// Ends it by SIGKILL.
    pub fn kill(&mut self) {
        self.process.signal(Signal::SIGKILL).expect("fairway runs");
        await_that("it is gone", || self.process.ended().expect("fairway can be waited for").is_some());
    }

    /// Waits until it says that it is ready.
    pub fn wait_until_ready(&self) {
        for _ in 0..START_TRIES {
            if is_ready(&self.namespace) {
                return;
            }
            thread::sleep(START_POLL);
        }
        panic!("fairway does not become ready; its log:\n{}", self.log());
    }

    fn wait_for_answer(&mut self) {
        for _ in 0..START_TRIES {
            if let Some(status) = self.process.ended().expect("fairway can be waited for") {
                panic!("fairway ended at start ({status})");
            }
            if UnixStream::connect(&self.socket).is_ok() {
                return;
            }
            thread::sleep(START_POLL);
        }
        panic!("fairway does not answer at {}", self.socket.display());
    }
}

impl Drop for Fairway {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

/// Where the daemon of a balancer, counted from 0, is to listen for commands.
pub fn admin_socket(lab: &Lab, index: usize) -> PathBuf {
    file_of(lab, index, "admin.sock")
}

/// A file of the daemon of one balancer: those of the first have plain names.
fn file_of(lab: &Lab, index: usize, name: &str) -> PathBuf {
    let prefix = if index == 0 { String::new() } else { format!("lb{}-", index + 1) };
    lab.directory().join(format!("{prefix}{name}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
