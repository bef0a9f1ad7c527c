//! Questions and orders to the kernel, each answered or given up after [`PATIENCE`].

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, new_connection};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::decode;
use crate::nexthop::tracker::{Snapshot, Upkeep};
use crate::nexthop::{NEIGHBOUR_PROTOCOL, NeighbourKey, RouteAnswer};

/// The kernel answers within microseconds; an answer that is missing for so long was lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lists of tens of thousands of neighbours take their time, more so on a machine that is busy.
const LIST_PATIENCE: Duration = Duration::from_secs(15);

/// A connection for requests, apart from the one for announcements.
pub struct Kernel {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Kernel {
    /// Connects, in the calling thread's network namespace. Needs a tokio runtime.
    pub fn connect() -> io::Result<Self> {
        let (connection, handle, _unsolicited) = new_connection()?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    /// Everything there is at present.
    pub async fn take_stock(&self) -> io::Result<Snapshot> {
        timeout(LIST_PATIENCE, self.dumps()).await?.map_err(io_error)
    }

    async fn dumps(&self) -> Result<Snapshot, rtnetlink::Error> {
        let links: Vec<_> = self.handle.link().get().execute().try_collect().await?;
        let addresses: Vec<_> = self.handle.address().get().execute().try_collect().await?;
        let neighbours: Vec<_> = self.handle.neighbours().get().execute().try_collect().await?;
        Ok(Snapshot {
            links: links.iter().filter_map(decode::link).collect(),
            addresses: addresses.iter().filter_map(decode::address).collect(),
            neighbours: neighbours.iter().filter_map(decode::neighbour).collect(),
        })
    }

    /// Asks how the kernel would send to `destination`.
    pub fn route(&self, destination: IpAddr) -> impl Future<Output = RouteAnswer> + Send + use<> {
        let handle = self.handle.clone();
        async move {
            let mut answers = Box::pin(handle.route().get(route_question(destination)).execute());
            match timeout(PATIENCE, answers.next()).await {
                Ok(Some(Ok(message))) => decode::route_answer(&message),
                Ok(Some(Err(rtnetlink::Error::NetlinkError(error)))) => decode::route_refusal(-error.raw_code()),
                Ok(Some(Err(error))) => RouteAnswer::Failed(error.to_string()),
                Ok(None) => RouteAnswer::Failed("no answer".to_owned()),
                Err(_) => RouteAnswer::Failed("no answer in time".to_owned()),
            }
        }
    }

    /// Does something to a neighbour entry.
    pub fn upkeep(&self, upkeep: Upkeep) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let message = match upkeep {
            Upkeep::Manage(key) => RouteNetlinkMessage::NewNeighbour(managed(&key)),
            Upkeep::Probe { key, managed } => RouteNetlinkMessage::NewNeighbour(probed(&key, managed)),
            Upkeep::Release(key) => RouteNetlinkMessage::DelNeighbour(neighbour(&key)),
        };
        self.order(message)
    }

    fn order(&self, message: RouteNetlinkMessage) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let mut request = NetlinkMessage::from(message);
        // The kernel looks at the last two only where a neighbour is added.
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        let answers = self.handle.clone().request(request);
        async move {
            let mut answers = answers.map_err(io_error)?;
            let acknowledgement = async {
                while let Some(answer) = answers.next().await {
                    if let NetlinkPayload::Error(error) = answer.payload {
                        return Err(error.to_io());
                    }
                }
                Ok(())
            };
            timeout(PATIENCE, acknowledgement).await?
        }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn route_question(destination: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    (message.header.address_family, message.header.destination_prefix_length) = match destination {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.attributes.push(RouteAttribute::Destination(destination.into()));
    message
}

/// State "none" with the managed flag: the kernel keeps the state the entry has, and starts asking.
fn managed(key: &NeighbourKey) -> NeighbourMessage {
    let mut message = neighbour(key);
    message.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
    message.attributes.push(NeighbourAttribute::Protocol(RouteProtocol::Other(NEIGHBOUR_PROTOCOL)));
    message
}

/// "In use": the kernel asks as if it had a packet to send. The managed flag has to be repeated or it is taken away.
fn probed(key: &NeighbourKey, managed: bool) -> NeighbourMessage {
    let mut message = neighbour(key);
    message.header.flags = NeighbourFlags::Use;
    if managed {
        message.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
    }
    message
}

fn neighbour(key: &NeighbourKey) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = match key.address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.ifindex = key.interface;
    message.attributes.push(NeighbourAttribute::Destination(key.address.into()));
    message
}

fn io_error(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(error) => error.to_io(),
        other => io::Error::other(other),
    }
}
