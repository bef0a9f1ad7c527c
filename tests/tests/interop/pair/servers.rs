//! nginx and HAProxy on a balancer, each at one floating address, saying who and where they are.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fairway::playground::{Lab, Process};
use fairway_tests::harness::tool;

/// nginx on a balancer; dropped, it ends.
pub fn nginx(lab: &Lab, node: usize, address: &str) -> Process {
    let directory = directory(lab, "nginx", node);
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind};\n", directory.display()))
        .concat();
    let config = format!(
        "daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr;
events {{ worker_connections 256; }}
http {{
access_log off; default_type text/plain;
{temporary}
server {{ listen {address}:80; location / {{ return 200 \"nginx-lb{number}\\n\"; }} }}
}}
",
        directory = directory.display(),
        number = node + 1,
    );
    let mut command = Command::new(tool("nginx", "nginx-light"));
    command.arg("-p").arg(&directory).arg("-c").arg(written(&directory, &config)).args(["-e", "stderr"]);
    spawn(lab, node, &directory, command)
}

/// HAProxy on a balancer; dropped, it ends.
pub fn haproxy(lab: &Lab, node: usize, address: &str) -> Process {
    let directory = directory(lab, "haproxy", node);
    let config = format!(
        "defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend floating
  bind {address}:80
  http-request return status 200 content-type text/plain string haproxy-lb{}
",
        node + 1
    );
    let mut command = Command::new(tool("haproxy", "haproxy"));
    command.arg("-db").arg("-f").arg(written(&directory, &config));
    spawn(lab, node, &directory, command)
}

fn directory(lab: &Lab, server: &str, node: usize) -> PathBuf {
    let directory = lab.directory().join(format!("{server}-lb{}", node + 1));
    fs::create_dir_all(&directory).expect("the lab's directory is writable");
    directory
}

fn written(directory: &Path, config: &str) -> PathBuf {
    let file = directory.join("server.conf");
    fs::write(&file, config).expect("the lab's directory is writable");
    file
}

fn spawn(lab: &Lab, node: usize, directory: &Path, mut command: Command) -> Process {
    let log = File::create(directory.join("log")).expect("the lab's directory is writable");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    lab.balancer(node).spawn(&mut command).expect("the server starts")
}
