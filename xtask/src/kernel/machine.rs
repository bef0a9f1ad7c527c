//! The virtual machine: one processor, serial console, and virtio network cards on hubs.
//!
//! What native XDP needs of virtio-net: one receive queue for each processor is ideal, but the driver makes do with fewer
//! transmit queues (it then shares them under a lock); offloads of what is received (`guest_csum`, `guest_tso4`, …) must be
//! off, or the device must let the driver switch them off (`ctrl_guest_offloads`, on by default); an MTU that fits a
//! page. A hub offers no offloads at all. The last card lacks what the driver insists on, to see it refuse.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Guest;
use crate::debian::SYSTEM_PATH;

/// The emulator.
pub const EMULATOR: &str = "qemu-system-x86_64";

/// How long the machine may be silent: the longest test takes some ten seconds.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the machine says before the exit code of the tests.
const VERDICT: &str = "fairway-verdict";

/// Which hub each network card is on, and what is special about it. `tests/src/bin/kernel-guest/network.rs` gives them
/// names, by the order.
const CARDS: &[(u8, &str)] = &[
    (0, ""),
    (0, ""),
    (0, ""),
    (1, ""),
    (1, ""),
    (2, ""),
    (2, ""),
    // A device of the years before virtio 1.0.
    (3, ",disable-modern=on,any_layout=off"),
];

/// Runs the machine to its end. `show` is given each line that it says.
pub fn run(guest: &Guest, kernel: &Path, initramfs: &Path, show: impl FnMut(&str)) -> Result<()> {
    let mut command = command(guest, kernel, initramfs);
    let mut machine = command.spawn().with_context(|| format!("cannot start {EMULATOR}"))?;
    show_complaints(machine.stderr.take().context("its complaints were asked for")?);
    let verdict = listen(machine.stdout.take().context("its output was asked for")?, show);
    stop(&mut machine)?;
    match verdict?.as_str() {
        "0" => Ok(()),
        code => bail!("what ran in the machine failed ({code})"),
    }
}

fn command(guest: &Guest, kernel: &Path, initramfs: &Path) -> Command {
    let mut command = Command::new(EMULATOR);
    command.env("PATH", SYSTEM_PATH).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // The clock counts instructions, one a nanosecond: figures are the same on every machine, and what is waited for
    // passes at once.
    command.args(["-icount", "shift=0,sleep=off"]);
    // Without 5-level page tables, which emulation would walk a level more for.
    let cpu = format!("max,-la57{}", guest.cpu);
    command.args(["-accel", "tcg,thread=single", "-cpu", &cpu, "-smp", "1", "-m", "768"]);
    command.args(["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"]);
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs);
    // The kernel gives variables that it does not know to its first process.
    let words = "console=ttyS0 quiet panic=-1 mitigations=off";
    command.args(["-append", &format!("{words} {} fairway_verdict={VERDICT}", guest.kernel)]);
    for (number, (hub, special)) in CARDS.iter().enumerate() {
        command.args(["-netdev", &format!("hubport,id=port{number},hubid={hub}")]);
        let mac = format!("52:54:00:fa:00:{number:02x}");
        command.args(["-device", &format!("virtio-net-pci,netdev=port{number},mac={mac},romfile={special}")]);
    }
    command
}

/// Shows the machine's lines until it has given its verdict.
fn listen(output: ChildStdout, mut show: impl FnMut(&str)) -> Result<String> {
    let lines = lines(output);
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => match line.strip_prefix(VERDICT) {
                Some(verdict) => return Ok(verdict.trim().to_owned()),
                None => show(&line),
            },
            Err(RecvTimeoutError::Timeout) => bail!("the machine has said nothing for {} s", PATIENCE.as_secs()),
            Err(RecvTimeoutError::Disconnected) => bail!("the machine stopped before its program had ended"),
        }
    }
}

fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// What the emulator has against its command line; but that nothing of the host is on the hubs is as it should be.
fn show_complaints(complaints: ChildStderr) {
    thread::spawn(move || {
        let lines = BufReader::new(complaints).lines().map_while(Result::ok);
        lines.filter(|line| !line.contains("is not connected to host network")).for_each(|line| eprintln!("{line}"));
    });
}

/// There is nothing in the machine that could be lost.
fn stop(machine: &mut Child) -> Result<()> {
    machine.kill().with_context(|| format!("cannot stop {EMULATOR}"))?;
    machine.wait()?;
    Ok(())
}
