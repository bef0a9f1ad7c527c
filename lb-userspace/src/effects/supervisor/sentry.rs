//! The supervisor's own process: reads what the daemon says, looks at its pulse, and acts once it must.
//!
//! One thread and no runtime: nothing in here may wait for anything but the daemon's end, its word, or the next look.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::time::{ClockId, clock_gettime};
use tracing::{error, info, warn};

use super::apart;
use super::darkness::Darkness;
use super::heritage;
use super::message::{self, Inbox, Message};
use super::pulse::Pulse;
use super::release::{Executor, Prepared};
use super::vigil::{Found, PERIOD, Vigil};
use crate::effects::dataplane::{Held, LiveWords};

/// What still comes to this node after it released its addresses is forwarded for so long: caches of MAC addresses are
/// corrected within milliseconds, but not all of them.
const LINGER: Duration = Duration::from_secs(60);

/// Runs until the daemon has ended, and longer if its program stays attached. Its socket is our standard input; `priority`
/// is the realtime priority, `node` the name by which the next daemon finds us.
///
/// # Errors
/// When it cannot do its work at all.
pub fn supervise(priority: i32, node: &str) -> Result<()> {
    ignore_signals().context("blocking signals")?;
    let socket = io::stdin().as_fd().try_clone_to_owned().context("taking the daemon's socket")?;
    let executor = Executor::open().context("opening the sockets of the supervisor")?;
    for notice in apart::stand_apart(priority) {
        warn!("supervisor: {notice}");
    }
    let (inbox, node) = (Inbox::new(UnixStream::from(socket)), node.to_owned());
    let (held, darkness) = ((Vec::new(), false), Darkness::default());
    Sentry { inbox, node, executor, watched: None, live: None, held, darkness }.run()
}

/// A signal that ends the daemon is sent to everybody around it, and we are needed just then. SIGKILL remains.
fn ignore_signals() -> nix::Result<()> {
    let ignored = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGPIPE, Signal::SIGTSTP];
    let set: SigSet = ignored.into_iter().collect();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)
}

struct Sentry {
    inbox: Inbox,
    executor: Executor,
    watched: Option<Watched>,
    live: Option<LiveWords>,
    node: String,
    /// Where the daemon's program is attached, and whether it stays until another daemon comes.
    held: (Vec<Held>, bool),
    darkness: Darkness,
}

/// The daemon, from its first word on.
struct Watched {
    process: OwnedFd,
    pulse: Pulse,
    /// What is to be released.
    testament: Prepared,
    /// While there is something to release, or the daemon hangs.
    vigil: Option<Vigil>,
    looked: Duration,
}

/// What is left to do after a turn.
enum Turn {
    Continue,
    /// The daemon needs us no more.
    Done,
}

impl Sentry {
    fn run(mut self) -> Result<()> {
        loop {
            let has_died = self.wait()?;
            // What it said before it died comes first: it may have been goodbye.
            match self.listen()? {
                Turn::Done => return Ok(()),
                Turn::Continue => {}
            }
            if has_died || self.inbox.ended {
                self.daemon_has_died();
                return Ok(());
            }
            self.look();
        }
    }

    /// Waits for the daemon's word, its end, or the next look. Returns whether it has ended.
    fn wait(&self) -> Result<bool> {
        let mut descriptors = vec![PollFd::new(self.inbox.socket().as_fd(), PollFlags::POLLIN)];
        if let Some(watched) = &self.watched {
            descriptors.push(PollFd::new(watched.process.as_fd(), PollFlags::POLLIN));
        }
        let is_watching = self.watched.as_ref().is_some_and(|watched| watched.vigil.is_some());
        let period = PollTimeout::try_from(PERIOD).expect("some milliseconds");
        match poll(&mut descriptors, if is_watching { period } else { PollTimeout::NONE }) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("waiting for the daemon"),
        }
        Ok(descriptors.get(1).is_some_and(|process| process.any() == Some(true)))
    }

    fn listen(&mut self) -> Result<Turn> {
        let messages = match self.inbox.receive() {
            Ok(messages) => messages,
            Err(error) => {
                // What it said last still holds, and it is alive: the keeper starts another supervisor.
                return Err(error).context("reading the daemon's word");
            }
        };
        for message in messages {
            match message {
                Message::Hello { pulse, daemon } => self.meet(pulse, daemon)?,
                Message::Testament(testament) => {
                    self.replace(Prepared::new(&testament));
                    message::confirm(self.inbox.socket());
                }
                Message::LiveWords(map) => {
                    self.live = Some(LiveWords::from_fd(map).context("mapping the live words")?);
                }
                Message::Held { held, for_ever } => self.held = (held, for_ever),
                Message::CleanStop => return Ok(Turn::Done),
            }
        }
        Ok(Turn::Continue)
    }

    fn meet(&mut self, pulse: OwnedFd, process: OwnedFd) -> Result<()> {
        let pulse = Pulse::from_memory(pulse).context("mapping the daemon's pulse")?;
        self.watched = Some(Watched { process, pulse, testament: Prepared::default(), vigil: None, looked: now() });
        Ok(())
    }

    fn replace(&mut self, testament: Prepared) {
        for failure in &testament.failures {
            warn!("supervisor: {failure}");
        }
        let Some(watched) = &mut self.watched else { return };
        watched.testament = testament;
        // Also for one that hung: its keeper has woken, and if its pulse has not, that is a new hang.
        let is_unwatched = watched.vigil.as_ref().is_none_or(Vigil::hangs);
        if is_unwatched && !watched.testament.is_empty() {
            watched.vigil = Some(Vigil::new(watched.pulse.count()));
            watched.looked = now();
        }
    }

    fn look(&mut self) {
        self.darken();
        let Some(Watched { process, pulse, vigil: Some(vigil), looked, .. }) = &mut self.watched else { return };
        let (now, before) = (now(), *looked);
        *looked = now;
        let is_stopped = || is_stopped(process.as_fd());
        match vigil.look(pulse.count(), now - before, is_stopped) {
            Found::Same => {}
            Found::Beats => info!("supervisor: the daemon is back"),
            Found::Hangs => {
                self.release("the daemon hangs: no pulse");
            }
        }
        self.rest();
    }

    /// With nothing to release and no hang to see the end of there is nothing to look at.
    fn rest(&mut self) {
        if let Some(watched) = &mut self.watched
            && watched.testament.is_empty()
            && watched.vigil.as_ref().is_some_and(|vigil| !vigil.hangs())
        {
            watched.vigil = None;
        }
    }

    fn daemon_has_died(&mut self) {
        // The next daemon may ask at any moment; it waits for the answer until we come to that.
        let listener = (!self.held.0.is_empty()).then(|| heritage::listen(&self.node));
        self.release("the daemon has died");
        match listener {
            Some(Ok(listener)) => self.forward_on(&listener),
            Some(Err(error)) => error!("supervisor: nothing is forwarded any more: {error}"),
            None => {}
        }
    }

    /// The program stays attached until another daemon asks for it, or nobody needs it any more.
    fn forward_on(&mut self, listener: &UnixListener) {
        let (held, for_ever) = std::mem::take(&mut self.held);
        let until = now() + LINGER;
        loop {
            let left = until.saturating_sub(now());
            let wait =
                if for_ever { PollTimeout::NONE } else { PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX) };
            let mut asked = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
            match poll(&mut asked, wait) {
                Ok(0) => return info!("supervisor: nothing is forwarded any more"),
                Err(Errno::EINTR) => {}
                Err(error) => return error!("supervisor: nothing is forwarded any more: {error}"),
                Ok(_) => match heritage::give(listener, &held) {
                    Ok(()) => return info!("supervisor: another daemon goes on with the attached program"),
                    Err(error) => warn!("supervisor: somebody asked for the attached program: {error}"),
                },
            }
        }
    }

    /// A daemon that hangs for long forwards what nobody should send it any more.
    fn darken(&mut self) {
        let Some(watched) = &self.watched else { return };
        for index in self.darkness.due(now(), watched.pulse.count()) {
            let dark = self.live.as_ref().map_or(Ok(()), |live| live.set(index, false));
            if let Err(error) = dark {
                error!("supervisor: live word {index} is not turned off: {error:#}");
            }
        }
    }

    fn release(&mut self, why: &str) {
        let Some(watched) = &mut self.watched else { return };
        let testament = std::mem::take(&mut watched.testament);
        if testament.is_empty() {
            return;
        }
        // Before anything else: should it go on at this very moment it must know.
        watched.pulse.depose();
        let began = now();
        let failures = self.executor.carry_out(&testament);
        self.darkness.fall(began + LINGER, watched.pulse.count(), testament.live());
        let took = now() - began;
        self.executor.repeat(&testament);
        // Only now, since a log may be slow to take it.
        warn!(routers = ?testament.routers(), ?took, "supervisor: {why}: released everything in its name");
        for failure in failures {
            error!("supervisor: {failure}");
        }
    }
}

/// Monotonic time since boot.
fn now() -> Duration {
    Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has a monotonic clock"))
}

/// Whether the kernel has stopped a process, by a signal or for a debugger (proc(5), `stat`, field 3). What cannot be read
/// is not stopped.
fn is_stopped(process: BorrowedFd<'_>) -> bool {
    let state = || -> Option<char> {
        let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd())).ok()?;
        let pid: u32 = about.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.trim_start().chars().next()
    };
    matches!(state(), Some('T' | 't'))
}
