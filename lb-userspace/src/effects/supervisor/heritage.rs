//! What a dead daemon leaves to the next one: where its program is attached. The supervisor keeps the program in place, so
//! that packets of living connections go on to their backends and do not reach a host that would reset them; the next
//! daemon asks for it and puts its own program there, with no packet in between.
//!
//! They meet at an abstract socket, which is of the network namespace as interfaces are, and named after the node. Only
//! the user that runs the daemon is answered.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, getsockopt, recv, sockopt::PeerCredentials};
use nix::unistd::geteuid;

use super::message::{self, Inbox, Message};
use crate::effects::dataplane::Held;

/// A supervisor that does not answer for so long has nothing to give.
const PATIENCE: Duration = Duration::from_secs(1);

/// Waits for the next daemon of this node.
///
/// # Errors
/// When another supervisor of the node waits already.
pub fn listen(node: &str) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&place(node)?)
}

/// Gives an asker what there is, if it may have it.
///
/// # Errors
/// When it may not, or has gone.
pub fn give(listener: &UnixListener, held: &[Held]) -> io::Result<()> {
    let (asker, _) = listener.accept()?;
    if getsockopt(&asker, PeerCredentials)?.uid() != geteuid().as_raw() {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied));
    }
    asker.set_write_timeout(Some(PATIENCE))?;
    message::held(&asker, held, false)
}

/// Asks for what an earlier daemon of this node has left attached; mostly nothing.
pub fn claim(node: &str) -> Vec<Held> {
    let Ok(place) = place(node) else { return Vec::new() };
    let Ok(supervisor) = UnixStream::connect_addr(&place) else { return Vec::new() };
    ask(supervisor).unwrap_or_default()
}

fn ask(supervisor: UnixStream) -> io::Result<Vec<Held>> {
    // Anybody may bind an abstract name.
    if getsockopt(&supervisor, PeerCredentials)?.uid() != geteuid().as_raw() {
        return Ok(Vec::new());
    }
    supervisor.set_read_timeout(Some(PATIENCE))?;
    let mut inbox = Inbox::new(supervisor);
    loop {
        wait(inbox.socket())?;
        match inbox.receive()?.pop() {
            Some(Message::Held { held, .. }) => return Ok(held),
            // The answer comes in pieces: the rest of it is on its way.
            None if !inbox.ended => {}
            _ => return Ok(Vec::new()),
        }
    }
}

/// Until there is something to read, which `Inbox` does not wait for. A signal is no answer.
fn wait(stream: &UnixStream) -> io::Result<()> {
    let mut first = [0];
    loop {
        match recv(stream.as_raw_fd(), &mut first, MsgFlags::MSG_PEEK) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(()),
        }
    }
}

fn place(node: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("fairway/heritage/{node}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nexthop::ProgramMode;

    #[test]
    fn the_next_daemon_gets_what_the_last_one_left() {
        let node = format!("test-{}", std::process::id());
        assert!(claim(&node).is_empty(), "nobody has died");
        let listener = listen(&node).unwrap();
        let left = Held { interface: 3, mode: ProgramMode::Native, link: tempfile::tempfile().unwrap().into() };
        let giver = std::thread::spawn(move || give(&listener, &[left]));
        let held = claim(&node);
        giver.join().unwrap().unwrap();
        assert_eq!(held.iter().map(|held| (held.interface, held.mode)).collect::<Vec<_>>(), [(3, ProgramMode::Native)]);
        assert!(claim(&node).is_empty(), "it gives once");
    }
}
