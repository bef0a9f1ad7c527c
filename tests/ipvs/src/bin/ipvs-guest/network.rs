//! The network of one script.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, unshare};

/// Makes an empty network namespace ours, with the services' addresses on it and a way to the backends that leads nowhere.
pub fn set_up() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot leave the network")?;
    for arguments in [
        "link set lo up",
        "route add local 10.9.0.0/16 dev lo",
        "link add backends type dummy",
        "address add 10.2.0.254/24 dev backends",
        "link set backends up",
        // Of the clients' addresses: nothing is sent there.
        "route add 10.1.0.0/16 dev backends",
    ] {
        ip(arguments)?;
    }
    Ok(())
}

/// The link to the other node, of which nothing comes back.
pub const LINK: &str = "sync";

/// Adds it.
pub fn add_link() -> Result<()> {
    for arguments in [
        "link add sync type dummy",
        "address add 10.8.0.1/24 dev sync",
        "link set sync multicast on",
        "link set sync up",
        "route add 224.0.0.0/4 dev sync",
    ] {
        ip(arguments)?;
    }
    Ok(())
}

/// Keeps off the console what IPVS says of connections that nobody gets.
pub fn silence_kernel() -> Result<()> {
    fs::write("/proc/sys/kernel/printk", "1").context("cannot silence the kernel")
}

/// Runs `ip` in this thread's namespace; it must succeed.
pub fn ip(arguments: &str) -> Result<()> {
    let status = Command::new("ip").args(arguments.split(' ')).status().context("cannot start ip")?;
    if !status.success() {
        bail!("ip {arguments}: {status}");
    }
    Ok(())
}
