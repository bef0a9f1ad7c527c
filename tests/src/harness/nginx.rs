//! One nginx per backend: `/` says the backend's name, `/big` sends a megabyte, `/upload` swallows any body and says
//! how long it was.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use fairway::playground::topology::backend_v4;
use fairway::playground::{Lab, Process, backend_name};

use nix::sys::signal::Signal;

use super::{HTTP, HTTP_TOO, await_that, tool};

/// Where servers, and clients that make many connections, run: see `load`.
pub const SERVING_CPU: usize = 0;
/// Bytes in the answer to `/big`.
pub const BIG: usize = 1 << 20;
const START_TRIES: u32 = 100;
const START_POLL: Duration = Duration::from_millis(20);

/// A web server; dropped, it is stopped.
pub struct Nginx {
    process: Process,
}

impl Nginx {
    /// Starts it in a backend, counted from 0, and waits until it listens.
    pub fn start(lab: &Lab, index: usize) -> Self {
        let name = backend_name(index);
        let directory = lab.directory().join(format!("nginx-{name}"));
        fs::create_dir_all(&directory).expect("the lab's directory is writable");
        fs::write(directory.join("big"), vec![b'x'; BIG]).expect("the lab's directory is writable");
        fs::write(directory.join("nginx.conf"), config(lab, index, &directory))
            .expect("the lab's directory is writable");
        let errors = File::create(directory.join("error.log")).expect("the lab's directory is writable");
        let mut command = Command::new(tool("taskset", "util-linux"));
        command.arg("--cpu-list").arg(SERVING_CPU.to_string()).arg(tool("nginx", "nginx-light"));
        command.arg("-p").arg(&directory).arg("-c").arg(directory.join("nginx.conf")).args(["-e", "stderr"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let mut process = lab.backend(index).spawn(&mut command).expect("nginx starts");
        await_port(lab, index, &mut process, &directory);
        Self { process }
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal).expect("nginx runs");
    }

    /// Ends it by SIGKILL: whoever asks from then on is refused.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        await_that("nginx is gone", || self.process.ended().expect("nginx can be waited for").is_some());
    }
}

/// One process, no master: SIGTERM ends all of it.
fn config(lab: &Lab, index: usize, directory: &Path) -> String {
    let ports = [HTTP, HTTP_TOO].into_iter();
    let listen: String = ports
        .flat_map(|port| lab.backend_listeners(index, port))
        .map(|address| format!("listen {address} backlog=4096; "))
        .collect();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind};\n", directory.display()))
        .concat();
    format!(
        "daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr;
events {{ worker_connections 8192; }}
http {{
access_log off; default_type text/plain; keepalive_requests 1000000; keepalive_timeout 300s;
client_max_body_size 0;
{temporary}
server {{ {listen} root {directory};
  location = / {{ return 200 \"{name}\\n\"; }}
  location = /upload {{ return 200 \"$content_length\\n\"; }}
}} }}
",
        directory = directory.display(),
        name = backend_name(index),
    )
}

fn await_port(lab: &Lab, index: usize, process: &mut Process, directory: &Path) {
    let listens = || TcpStream::connect((backend_v4(index), HTTP)).is_ok();
    for _ in 0..START_TRIES {
        if lab.backend(index).run(listens).expect("the namespace is there") {
            return;
        }
        if let Some(status) = process.ended().expect("nginx can be waited for") {
            let errors = fs::read_to_string(directory.join("error.log")).unwrap_or_default();
            panic!("nginx ended at start ({status}): {errors}");
        }
        thread::sleep(START_POLL);
    }
    panic!("nginx of {} does not listen", backend_name(index));
}
