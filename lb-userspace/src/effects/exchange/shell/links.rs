//! The connections to the peer: one that this node opens and tells on, one that it accepts and follows on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::super::connection::{self, Connection, Failure, Greeted};
use super::Shell;
use crate::exchange::readiness::Readiness;
use crate::exchange::seal::Who;
use crate::exchange::{Direction, Event};

/// Who has connected and not shown the key yet, at most; more are closed at once.
const STRANGERS: usize = 8;
/// After a connection failed or ended, the next is tried so much later.
const AGAIN: Duration = Duration::from_millis(250);
/// After the port could not be listened on, it is tried again so much later.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// The same refusal is logged so often at most.
const QUIET: Duration = Duration::from_secs(10);

impl Shell {
    /// A connection is over, whoever ended it.
    pub(super) fn close(&mut self, direction: Direction, why: &str) {
        let connection = match direction {
            Direction::Telling => self.telling.take(),
            Direction::Following => self.following.take(),
        };
        let Some(connection) = connection else { return };
        let name = if direction == Direction::Telling { "telling" } else { "following" };
        warn!(peer = %connection.who.node, why, "{name} the peer ended");
        self.connect_at = self.connect_at.max(self.now() + AGAIN);
        drop(connection);
        self.happened(Event::Lost(direction));
    }

    pub(super) fn relink(&mut self) {
        let link = self.wires.linked.borrow_and_update().clone();
        self.close(Direction::Telling, "the peer is configured differently");
        self.close(Direction::Following, "the peer is configured differently");
        self.greeting.abort_all();
        (self.greeting, self.is_connecting) = (JoinSet::new(), false);
        (self.listener, self.listen_at, self.connect_at) = (None, Duration::ZERO, Duration::ZERO);
        self.problems.clear();
        self.readiness = Readiness::new(self.now());
        self.link = link;
    }

    /// Whether it was published what the tables mean: before that nothing can be told or taken.
    pub(super) fn knows_tables(&self) -> bool {
        !self.party.directory.config.is_empty()
    }

    pub(super) fn listen(&mut self) {
        let (Some(link), None, true) = (&self.link, &self.listener, self.knows_tables()) else { return };
        let now = self.now();
        if now < self.listen_at {
            return;
        }
        match listener(link.port) {
            Ok(listener) => {
                self.problems.remove("listen");
                self.listener = Some(listener);
            }
            Err(error) => {
                self.listen_at = now + LISTEN_AGAIN;
                let why = format!("the peer cannot connect: TCP port {} cannot be listened on: {error}", link.port);
                self.problem("listen", why);
            }
        }
    }

    pub(super) fn accept(&mut self, stream: TcpStream, address: IpAddr) {
        let Some(link) = &self.link else { return };
        if !link.addresses.contains(&address) {
            return self.refuse("address", Some(address));
        }
        if self.greeting.len() >= STRANGERS {
            return self.refuse("too-many", Some(address));
        }
        let (link, who) = (Arc::clone(link), self.who());
        self.greeting.spawn(async move {
            (Direction::Following, address, connection::accept(link, who, stream, address).await)
        });
    }

    pub(super) fn connect(&mut self) {
        let (Some(link), true) = (&self.link, self.knows_tables()) else { return };
        if self.telling.is_some() || self.is_connecting || self.now() < self.connect_at {
            return;
        }
        let (link, who) = (Arc::clone(link), self.who());
        let address = link.addresses[self.next_address % link.addresses.len()];
        self.is_connecting = true;
        self.greeting.spawn(async move { (Direction::Telling, address, connection::open(link, who, address).await) });
    }

    pub(super) fn greeted(&mut self, direction: Direction, address: IpAddr, greeted: Result<Box<Greeted>, Failure>) {
        if direction == Direction::Telling {
            self.is_connecting = false;
            self.connect_at = self.now() + AGAIN;
        }
        match greeted {
            Ok(greeted) => self.begin(direction, greeted),
            Err(failure) => {
                if let Failure::Refused(refusal) = &failure {
                    self.refuse(refusal.name(), Some(address));
                }
                if direction == Direction::Telling {
                    self.next_address += 1;
                    self.problems.insert("connect", format!("the peer at {address} is not reached: {failure}"));
                }
            }
        }
    }

    pub(super) fn begin(&mut self, direction: Direction, greeted: Box<Greeted>) {
        self.close(direction, "the peer has connected anew");
        self.connections += 1;
        self.sessions += 1;
        let connection = Connection::start(greeted, self.connections, direction, self.now(), self.tell.clone());
        let (boot, peer, address) = (connection.who.boot, Arc::clone(&connection.who.node), connection.address);
        match direction {
            Direction::Telling => {
                self.problems.remove("connect");
                info!(%peer, %address, "telling the peer what this node is master of");
                self.telling = Some(connection);
            }
            Direction::Following => {
                info!(%peer, %address, "the peer tells what it is master of");
                self.following = Some(connection);
            }
        }
        self.happened(Event::Connected(direction, boot));
    }

    pub(super) fn who(&self) -> Who {
        Who { boot: self.start.boot, node: Arc::clone(&self.start.node) }
    }

    pub(super) fn refuse(&mut self, reason: &str, address: Option<IpAddr>) {
        *self.refused.entry(reason.to_owned()).or_default() += 1;
        let now = self.now();
        if self.logged.get(reason).is_none_or(|at| now >= *at + QUIET) {
            self.logged.insert(reason.to_owned(), now);
            warn!(reason, ?address, "refused: it does not show to be the peer");
        }
    }
}

/// Who connects next; never, while nobody can. What cannot be accepted (for want of descriptors) is tried again at the next tick.
pub(super) async fn accepted(listener: &Option<TcpListener>) -> (TcpStream, IpAddr) {
    let Some(listener) = listener else { return std::future::pending().await };
    match listener.accept().await {
        Ok((stream, address)) => (stream, address.ip().to_canonical()),
        Err(_) => std::future::pending().await,
    }
}

fn listener(port: u16) -> std::io::Result<TcpListener> {
    const BACKLOG: u32 = 16;
    let of_both = |socket: TcpSocket| {
        SockRef::from(&socket).set_only_v6(false)?;
        Ok((socket, IpAddr::from(Ipv6Addr::UNSPECIFIED)))
    };
    // A host without IPv6 has no such sockets.
    let (socket, any) = TcpSocket::new_v6()
        .and_then(of_both)
        .or_else(|_: std::io::Error| TcpSocket::new_v4().map(|socket| (socket, IpAddr::from(Ipv4Addr::UNSPECIFIED))))?;
    socket.set_reuseaddr(true)?;
    socket.bind((any, port).into())?;
    socket.listen(BACKLOG)
}
