//! A running `fairway run` and the commands that talk to it.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use fairway::playground::{Lab, Namespace, Process, admin_address, configuration, is_ready};

use super::fairway_binary;

const START_TRIES: u32 = 200;
const START_POLL: Duration = Duration::from_millis(50);

/// The daemon of the first balancer; dropped, it is stopped, and shown are its last words if the test failed.
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
        let socket = lab.directory().join("admin.sock");
        let fairway = Self::start_with(lab, &configuration(lab, &socket, backends));
        fairway.wait_until_ready();
        fairway
    }

    /// Starts it with a configuration whose admin socket is `admin.sock` in the lab's directory.
    pub fn start_with(lab: &Lab, config_text: &str) -> Self {
        let file = |name: &str| lab.directory().join(name);
        let (config, socket, log) = (file("fairway.toml"), file("admin.sock"), file("fairway.log"));
        fs::write(&config, config_text).expect("the lab's directory is writable");
        let output = File::create(&log).expect("the lab's directory is writable");
        let mut command = Command::new(fairway_binary());
        command.arg("run").arg("--config").arg(&config);
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("a file can be cloned")).stderr(output);
        let namespace = lab.balancer(0);
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
        let output = self.reload(&configuration(lab, &self.socket, backends));
        assert!(output.status.success(), "reload failed ({}): {}", output.status, text(&output.stderr));
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

    /// Ends it by SIGTERM and says how it ended.
    pub fn stop(&mut self) -> ExitStatus {
        self.process.stop().expect("fairway can be waited for")
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

impl Fairway {
    fn wait_until_ready(&self) {
        for _ in 0..START_TRIES {
            if is_ready(&self.namespace) {
                return;
            }
            thread::sleep(START_POLL);
        }
        panic!("fairway does not become ready; its log:\n{}", self.log());
    }
}

impl Drop for Fairway {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
