//! FRR's bfdd: the other end of a BFD session (RFC 5880, 5881).

use std::fs;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use fairway::playground::{Lab, Process};

use super::family::Family;
use super::frr::{ZEBRA_SOCKET, command, spawn};
use crate::harness::await_that;

/// bfdd on a balancer, and the zebra it wants; dropped, they are stopped.
pub struct Bfdd {
    bfdd: Process,
    zebra: Process,
    directory: PathBuf,
}

impl Bfdd {
    /// Starts it on a balancer, counted from 0, with one session over `eth0`: twenty packets a second, three may be missed.
    pub fn start(lab: &Lab, index: usize, peer: IpAddr) -> Self {
        let namespace = lab.balancer(index);
        let directory = lab.directory().join(format!("bfdd-lb{}", index + 1));
        fs::create_dir_all(&directory).expect("the lab's directory is writable");
        let config = format!(
            "bfd\n peer {peer} interface eth0\n  transmit-interval 50\n  receive-interval 50\n  detect-multiplier 3\n"
        );
        fs::write(directory.join("zebra.conf"), "").expect("the lab's directory is writable");
        fs::write(directory.join("bfdd.conf"), config).expect("the lab's directory is writable");
        let zebra = spawn(&namespace, &directory, "zebra");
        await_that("zebra listens", || directory.join(ZEBRA_SOCKET).exists());
        let bfdd = spawn(&namespace, &directory, "bfdd");
        await_that("bfdd listens", || directory.join("bfdd.vty").exists());
        Self { bfdd, zebra, directory }
    }

    /// What it says of its one session: `up`, `down`, `init`, `shutdown`.
    pub fn state(&self) -> String {
        let mut vty = UnixStream::connect(self.directory.join("bfdd.vty")).expect("bfdd listens");
        command(&mut vty, "enable");
        let text = command(&mut vty, "show bfd peers json");
        let peers: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        peers[0]["status"].as_str().unwrap_or_else(|| panic!("no session: {text}")).to_owned()
    }

    /// Ends it by SIGKILL: it says no farewell.
    pub fn kill(&mut self) {
        let families = [Family::of(self.bfdd.pid()), Family::of(self.zebra.pid())];
        families.iter().for_each(Family::kill);
        await_that("FRR is gone", || !families.iter().any(Family::is_alive));
    }
}

impl Drop for Bfdd {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = fs::read_to_string(self.directory.join("bfdd.log")).unwrap_or_default();
            eprintln!("bfdd's log:\n{log}");
        }
    }
}
