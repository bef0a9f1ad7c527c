//! The network of one row: two ends of a virtual cable in one namespace. What the generator sends into `wire` arrives at `balancer`,
//! and what that forwards comes back to `wire`, where it is swallowed: as in the data centre, a balancer with one arm.

use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CloneFlags, unshare};

/// The generator's end.
pub const WIRE: &str = "wire";
/// The balancer's end.
pub const BALANCER: &str = "balancer";
/// Who is said to be behind the wire.
pub const BACKENDS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(10, 9, 0, 21),
    Ipv4Addr::new(10, 9, 0, 22),
    Ipv4Addr::new(10, 9, 0, 23),
    Ipv4Addr::new(10, 9, 0, 24),
];
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 254);

/// Makes it, in a namespace of this thread's own.
pub fn set_up() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot leave the network")?;
    for (key, value) in
        [("all/rp_filter", 0), ("default/rp_filter", 0), ("all/send_redirects", 0), ("default/send_redirects", 0)]
    {
        set(&format!("ipv4/conf/{key}"), value)?;
    }
    set("ipv4/ip_forward", 1)?;
    // Nothing but the generator's packets shall be on the wire.
    set("ipv6/conf/default/disable_ipv6", 1)?;
    run("ip", "link set lo up", "")?;
    // The addresses are those in the generator's packets.
    let ends = [(WIRE, "02:00:00:00:00:02"), (BALANCER, "02:00:00:00:00:01")];
    let [wire, balancer] = ends.map(|(name, mac)| format!("{name} address {mac} numrxqueues 1 numtxqueues 1"));
    run("ip", &format!("link add {wire} type veth peer name {balancer}"), "")?;
    for (name, _) in ends {
        run("ip", &format!("link set {name} up"), "")?;
        // What is received gets a NAPI of its own, as with a network card, and with XDP.
        run("ethtool", &format!("-K {name} gro on"), "")?;
    }
    run("ip", &format!("address add 10.9.0.1/24 dev {BALANCER}"), "")?;
    for (neighbour, number) in BACKENDS.into_iter().chain([GATEWAY]).zip(1..) {
        let mac = format!("02:be:00:00:00:{number:02x}");
        run("ip", &format!("neighbour add {neighbour} lladdr {mac} dev {BALANCER} nud permanent"), "")?;
    }
    run("ip", &format!("route add default via {GATEWAY}"), "")
}

/// Runs a program of the machine with these words, telling it `input`; it must succeed.
pub fn run(program: &str, words: &str, input: &str) -> Result<()> {
    let mut child = Command::new(program)
        .args(words.split(' '))
        .stdin(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    child.stdin.take().context("its input was asked for")?.write_all(input.as_bytes())?;
    let status = child.wait()?;
    ensure!(status.success(), "{program} {words}: {status}");
    Ok(())
}

fn set(key: &str, value: u32) -> Result<()> {
    fs::write(format!("/proc/sys/net/{key}"), value.to_string()).with_context(|| format!("cannot set {key}"))
}
