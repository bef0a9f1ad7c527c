//! Servers of Debian in a backend, and what the tests write themselves: whatever is not one of these is in the file of
//! its test.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fairway::playground::topology::backend_v4;
use fairway::playground::{Lab, Process};

use crate::harness::{await_that, tool};

const LOOK_UP: Duration = Duration::from_millis(20);

/// Where something listens in the backend of the lab.
pub fn at(port: u16) -> SocketAddr {
    SocketAddr::new(backend_v4(0).into(), port)
}

/// Starts a program in the backend and waits until it accepts connections at a port. What it says goes to a file in the
/// lab's directory.
pub fn start(lab: &Lab, mut command: Command, port: u16) -> Process {
    let log = File::options().create(true).append(true).open(lab.directory().join("server.log"));
    let log = log.expect("the lab's directory is writable");
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file can be cloned")).stderr(log);
    let process = lab.backend(0).spawn(&mut command).expect("the server starts");
    let said = || fs::read_to_string(lab.directory().join("server.log")).unwrap_or_default();
    let listens = || lab.backend(0).run(|| TcpStream::connect(at(port)).is_ok()).expect("the namespace is there");
    await_that(&format!("{:?} listens; it says: {}", command.get_program(), said()), listens);
    process
}

/// nginx with these lines in its `http` block; its files are those of `root`.
pub fn nginx(lab: &Lab, root: &Path, lines: &str, port: u16) -> Process {
    let directory = lab.directory().join("nginx-checked");
    fs::create_dir_all(&directory).expect("the lab's directory is writable");
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind}; ", directory.display()))
        .concat();
    let config = format!(
        "daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr;
events {{ }}
http {{ access_log off; default_type text/plain; {temporary} root {root};
{lines} }}
",
        directory = directory.display(),
        root = root.display(),
    );
    fs::write(directory.join("nginx.conf"), config).expect("the lab's directory is writable");
    let mut command = Command::new(tool("nginx", "nginx-light"));
    command.arg("-p").arg(&directory).arg("-c").arg(directory.join("nginx.conf")).args(["-e", "stderr"]);
    start(lab, command, port)
}

/// A TCP server of the test's own: each client is given to `treat`, one at a time. Dropped, it ends.
pub struct Treating {
    enough: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Treating {
    /// Starts it at a port of the backend.
    pub fn start(lab: &Lab, port: u16, treat: impl Fn(TcpStream) + Send + 'static) -> Self {
        let listener = lab.backend(0).run(|| TcpListener::bind(at(port))).expect("the namespace is there");
        let listener = listener.expect("the port is free");
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        let enough = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&enough);
        let thread = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((client, _)) => {
                        client.set_nonblocking(false).expect("a socket can be made blocking");
                        treat(client);
                    }
                    Err(_) => thread::sleep(LOOK_UP),
                }
            }
        });
        Self { enough, thread: Some(thread) }
    }
}

impl Drop for Treating {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join); // a panic has been printed already
    }
}

/// Sends lines to a server in the backend and returns what it answers to them within a moment.
pub fn tell(lab: &Lab, port: u16, lines: &str) -> String {
    let talk = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(at(port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(lines.as_bytes())?;
        let mut answer = [0; 512];
        let length = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    };
    lab.backend(0).run(talk).expect("the namespace is there").expect("the server answers")
}
