//! keepalived as a node.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use fairway::playground::{Lab, Namespace, Process};
use nix::sys::signal::Signal;

use super::family::Family;
use super::{Node, Router, has_address};
use crate::harness::{await_that, tool};

/// A keepalived of a balancer; dropped, it is stopped.
pub struct Keepalived {
    process: Process,
    namespace: Namespace,
    config: PathBuf,
    log: PathBuf,
}

impl Keepalived {
    /// Starts it on a balancer, counted from 0, and waits until its routers are in Backup.
    pub fn start(lab: &Lab, index: usize, routers: &[Router]) -> Self {
        let file = |name: &str| lab.directory().join(format!("keepalived-lb{}.{name}", index + 1));
        let (config, log) = (file("conf"), file("log"));
        fs::write(&config, configuration(routers)).expect("the lab's directory is writable");
        let output = File::create(&log).expect("the lab's directory is writable");
        let mut command = Command::new(tool("keepalived", "keepalived"));
        // Not to syslog: without one the C library writes to the console, and a serial one stops the machine for milliseconds.
        command.args(["--dont-fork", "--no-syslog", "--log-console", "--log-detail", "--vrrp"]);
        command.arg("--use-file").arg(&config);
        for (option, name) in [("--pid", "pid"), ("--vrrp_pid", "vrrp.pid")] {
            // One left by a killed keepalived keeps the next from starting for as long as its zombie is not reaped.
            let _ = fs::remove_file(file(name));
            command.arg(option).arg(file(name));
        }
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("a file can be cloned")).stderr(output);
        let namespace = lab.balancer(index);
        let process = namespace.spawn(&mut command).expect("keepalived starts");
        let keepalived = Self { process, namespace, config, log };
        await_that("keepalived reads its configuration", || {
            keepalived.log().matches("Entering BACKUP STATE (init)").count() == routers.len()
        });
        keepalived
    }

    /// The process that speaks VRRP, and nothing of what watches over it, as a signal would hit it that hangs it.
    pub fn speaker(&self) -> Family {
        let family = Family::of(self.process.pid());
        Family::of(family.descendants().first().expect("keepalived has a child for VRRP").as_raw().unsigned_abs())
    }
}

fn configuration(routers: &[Router]) -> String {
    "global_defs {\n  router_id fairway-tests\n}\n".to_owned()
        + &routers.iter().map(Router::for_keepalived).collect::<String>()
}

impl Node for Keepalived {
    fn holds(&self, router: &Router) -> bool {
        has_address(&self.namespace, router.address())
    }

    fn reload(&mut self, routers: &[Router]) {
        fs::write(&self.config, configuration(routers)).expect("the lab's directory is writable");
        self.process.signal(Signal::SIGHUP).expect("keepalived runs");
    }

    fn stop(&mut self) {
        self.process.stop().expect("keepalived can be waited for");
    }

    fn kill(&mut self) {
        let family = Family::of(self.process.pid());
        family.kill();
        await_that("keepalived is gone", || !family.is_alive());
        self.process.stop().expect("keepalived can be waited for");
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("keepalived's log:\n{}", self.log());
        }
    }
}
