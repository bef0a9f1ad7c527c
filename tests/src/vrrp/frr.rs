//! FRR's vrrpd as a node. It wants a macvlan with the virtual MAC and the addresses for every router, and says which of
//! them serve by taking the others' carrier away.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use fairway::playground::{Lab, Namespace, Process};

use super::family::Family;
use super::{Node, Router, has_address};
use crate::harness::{await_that, ip, tool};

/// FRR's daemons on a balancer; dropped, they are stopped.
pub struct Frr {
    vrrpd: Process,
    zebra: Process,
    namespace: Namespace,
    directory: PathBuf,
    macvlans: Vec<String>,
}

impl Frr {
    /// Starts it on a balancer, counted from 0, and waits until its routers have found their interfaces.
    pub fn start(lab: &Lab, index: usize, routers: &[Router]) -> Self {
        let namespace = lab.balancer(index);
        let directory = lab.directory().join(format!("frr-lb{}", index + 1));
        fs::create_dir_all(&directory).expect("the lab's directory is writable");
        let macvlans = routers.iter().map(|router| make_macvlan(&namespace, router)).collect();
        fs::write(directory.join("zebra.conf"), "").expect("the lab's directory is writable");
        fs::write(directory.join("vrrpd.conf"), configuration(routers)).expect("the lab's directory is writable");
        let zebra = spawn(&namespace, &directory, "zebra");
        await_that("zebra listens", || directory.join(ZEBRA_SOCKET).exists());
        let vrrpd = spawn(&namespace, &directory, "vrrpd");
        let frr = Self { vrrpd, zebra, namespace, directory, macvlans };
        await_that("vrrpd starts its routers", || frr.log().matches("Initialize -> Backup").count() == routers.len());
        frr
    }
}

pub(super) const ZEBRA_SOCKET: &str = "zserv.api";

fn make_macvlan(namespace: &Namespace, router: &Router) -> String {
    let (name, family) = (router.name(), if router.is_v6() { 2 } else { 1 });
    let mut lines = format!(
        "link add link eth0 name {name} address 00:00:5e:00:0{family}:{:02x} type macvlan mode bridge\n",
        router.vrid
    );
    for address in &router.addresses {
        let rest = if address.is_ipv4() { "/32" } else { "/128" };
        lines += &format!("address add {address}{rest} dev {name}{}\n", if address.is_ipv6() { " nodad" } else { "" });
    }
    ip(namespace, &format!("{lines}link set {name} up\n"));
    name
}

fn configuration(routers: &[Router]) -> String {
    "log timestamp precision 3\ninterface eth0\n".to_owned() + &routers.iter().map(Router::for_frr).collect::<String>()
}

/// Starts one of FRR's daemons with `PROGRAM.conf` of that directory.
pub(super) fn spawn(namespace: &Namespace, directory: &Path, program: &str) -> Process {
    let file = |name: &str| directory.join(name);
    let log = File::create(file(&format!("{program}.log"))).expect("the lab's directory is writable");
    let mut command = Command::new(tool(program, "frr"));
    command.arg("--socket").arg(file(ZEBRA_SOCKET)).arg("--vty_socket").arg(directory);
    command.arg("--pid_file").arg(file(&format!("{program}.pid")));
    command.arg("--config_file").arg(file(&format!("{program}.conf")));
    command.args(["--vty_port", "0", "--log", "stdout"]);
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file can be cloned")).stderr(log);
    namespace.spawn(&mut command).unwrap_or_else(|error| panic!("{program} starts: {error:#}"))
}

/// Gives a daemon a command as vtysh does: the text and a zero; the answer ends with three zeros and a verdict. Returns the
/// answer.
pub(super) fn command(vty: &mut UnixStream, text: &str) -> String {
    vty.write_all(format!("{text}\0").as_bytes()).expect("the daemon reads");
    let mut answer = Vec::new();
    while answer.len() < 4 || answer[answer.len() - 4..answer.len() - 1] != [0, 0, 0] {
        let mut octet = [0];
        vty.read_exact(&mut octet).expect("the daemon answers");
        answer.push(octet[0]);
    }
    assert_eq!(answer.last(), Some(&0), "{text}: {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer[..answer.len() - 4]).into_owned()
}

impl Node for Frr {
    fn holds(&self, router: &Router) -> bool {
        has_address(&self.namespace, router.address())
    }

    /// Only priorities: FRR is told of changes, it reads no file twice.
    fn reload(&mut self, routers: &[Router]) {
        let mut vty = UnixStream::connect(self.directory.join("vrrpd.vty")).expect("vrrpd listens");
        for preamble in ["enable", "configure terminal", "interface eth0"] {
            command(&mut vty, preamble);
        }
        for router in routers {
            command(&mut vty, &router.frr_priority());
        }
    }

    fn stop(&mut self) {
        self.vrrpd.stop().expect("vrrpd can be waited for");
        self.zebra.stop().expect("zebra can be waited for");
        self.remove_macvlans();
    }

    fn kill(&mut self) {
        let families = [Family::of(self.vrrpd.pid()), Family::of(self.zebra.pid())];
        families.iter().for_each(Family::kill);
        await_that("FRR is gone", || !families.iter().any(Family::is_alive));
        self.stop();
    }

    fn log(&self) -> String {
        ["vrrpd.log", "zebra.log"]
            .map(|name| fs::read_to_string(self.directory.join(name)).unwrap_or_default())
            .concat()
    }
}

impl Frr {
    /// FRR leaves them in service.
    fn remove_macvlans(&mut self) {
        for name in self.macvlans.drain(..) {
            ip(&self.namespace, &format!("link delete {name}\n"));
        }
    }
}

impl Drop for Frr {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("FRR's log:\n{}", self.log());
        }
    }
}
