//! A stand-in for the daemon: it starts a supervisor and does nothing of what it promises, so that tests see what the
//! supervisor does alone. Orders come by standard input, one a line; each is answered by a line.
//!
//! `supervised FAIRWAY [PID DESCRIPTOR]`: the binary that knows `supervise`, and where the map of live words is.

use std::io::{self, BufRead as _};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::time::Duration;
use std::{env, thread};

use anyhow::{Context as _, Result};
use fairway::effects::pidfd;
use fairway::effects::supervisor::{self, Handle, Options, Pulse};
use fairway::runtime::LogFormat;
use nix::unistd::Pid;

/// Of the thread that beats; the supervisor has one more.
const PRIORITY: i32 = 50;
const BEAT: Duration = Duration::from_millis(2);
const POLL: Duration = Duration::from_millis(1);

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let fairway = arguments.first().context("which fairway?")?.into();
    let handle = supervisor::start(Options {
        fairway,
        priority: PRIORITY + 1,
        log_format: LogFormat::Text,
        node: format!("supervised-{}", std::process::id()),
    })?;
    if let [_, pid, descriptor] = &arguments[..] {
        handle.set_live_words(descriptor_of(pid.parse()?, descriptor.parse()?)?);
    }
    let pulse = handle.pulse();
    thread::spawn(move || beat(&pulse));
    obey(handle)
}

fn beat(pulse: &Pulse) {
    let parameter = libc::sched_param { sched_priority: PRIORITY };
    // SAFETY: 0 is the calling thread; the kernel reads the parameter, which outlives the call.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) } != 0 {
        eprintln!("the stand-in has no realtime priority");
    }
    let mut seen = 0;
    loop {
        let deposed = pulse.deposed();
        if deposed != seen {
            seen = deposed;
            println!("deposed {deposed}");
        }
        pulse.beat();
        thread::sleep(BEAT);
    }
}

fn obey(handle: Handle) -> Result<()> {
    for line in io::stdin().lock().lines() {
        match line?.as_str() {
            "stop" => {
                handle.clean_stop();
                println!("stopped");
                return Ok(());
            }
            "wait" => {}
            testament => handle.set_testament(serde_json::from_str(testament)?),
        }
        while !handle.is_confirmed() {
            thread::sleep(POLL);
        }
        println!("supervisor {}", handle.started());
    }
    Ok(())
}

fn descriptor_of(pid: i32, descriptor: i32) -> Result<OwnedFd> {
    let process = pidfd::open(Pid::from_raw(pid))?;
    // SAFETY: a system call that takes three numbers; the process's descriptor is open during it.
    let answer =
        unsafe { libc::syscall(libc::SYS_pidfd_getfd, std::os::fd::AsRawFd::as_raw_fd(&process), descriptor, 0) };
    let answer = i32::try_from(answer).ok().filter(|answer| *answer >= 0);
    let ours = answer.ok_or_else(io::Error::last_os_error).context("taking another process's descriptor")?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(ours) })
}
