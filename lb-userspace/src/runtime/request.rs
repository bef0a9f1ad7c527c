//! What the admin side asks of the daemon's loop. Each request carries the sender for its answer; the loop serves them
//! one after the other, so an answer is always of one moment.

use std::net::SocketAddr;

use tokio::sync::{mpsc, oneshot};

use crate::config::LayerOrder;
use crate::controller::flows::{FlowQuery, FlowsReport};
use crate::controller::view::{
    BackendReport, Explanation, NodeStatus, OrderReport, PlanReport, Problem, RuntimeServices, Status,
};
use crate::effects::events::EventStream;
use crate::health::pool;

/// Requests that may wait; more make the asker wait.
pub const QUEUE: usize = 64;

/// A question or a command.
pub enum Request {
    /// The state of everything.
    Status(oneshot::Sender<Box<Status>>),
    /// The state of the node alone: cheap however many services there are, for whoever asks every second.
    Node(oneshot::Sender<NodeStatus>),
    /// What reloading would change. `None`: from the file in force.
    Diff(Option<ConfigText>, oneshot::Sender<Result<PlanReport, Problem>>),
    /// Reload. `None`: from the file in force.
    Reload(Option<ConfigText>, oneshot::Sender<Result<PlanReport, Problem>>),
    /// What happens to a packet.
    Explain(ExplainQuery, oneshot::Sender<Result<Explanation, Problem>>),
    /// Change the services that were added at run time.
    Services(LayerOrder, oneshot::Sender<Result<PlanReport, Problem>>),
    /// The services that were added at run time.
    RuntimeServices(oneshot::Sender<RuntimeServices>),
    /// The flows that are recorded.
    Flows(FlowQuery, oneshot::Sender<Result<FlowsReport, Problem>>),
    /// Trace packets for a while; lines arrive until the receiver is dropped or the time is over.
    Trace(TraceQuery, oneshot::Sender<Result<mpsc::Receiver<TraceEvent>, Problem>>),
    /// Hand over virtual routers, or take part again.
    Vrrp(Order, oneshot::Sender<Result<OrderReport, Problem>>),
    /// What an operator wants of backends.
    Backend(pool::Order, oneshot::Sender<Result<BackendReport, Problem>>),
    /// The event store, to be read and followed without asking again.
    Events(oneshot::Sender<EventStream>),
}

/// An order to virtual routers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What to do.
    pub action: OrderAction,
    /// Which; `None`: all.
    pub router: Option<String>,
}

/// What virtual routers can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderAction {
    /// Hand over, and hold back until told to resume.
    Resign,
    /// Take part again.
    Resume,
}

/// The body of an order: exactly one of the two. An empty one is refused, so that nobody resigns everything by accident.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderBody {
    /// This one.
    #[serde(default)]
    pub router: Option<String>,
    /// All of them.
    #[serde(default)]
    pub all: bool,
}

/// The body of an order to a backend: service and backend, or an address; for `weight` also that.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendBody {
    /// The service.
    #[serde(default)]
    pub service: Option<String>,
    /// The backend.
    #[serde(default)]
    pub backend: Option<String>,
    /// Everywhere where it has this address.
    #[serde(default)]
    pub everywhere: Option<std::net::IpAddr>,
    /// The weight.
    #[serde(default)]
    pub weight: Option<u16>,
}

/// A configuration as it was read by the client, who may read files that the daemon may not.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct ConfigText {
    /// What to call it in messages.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// A packet to explain: the first of a flow unless `established`.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct ExplainQuery {
    /// The client. Port 0 where the protocol has none.
    pub from: SocketAddr,
    /// The service's address and port, 0 where the protocol has none.
    pub to: SocketAddr,
    /// As a protocol number: TCP, UDP, SCTP, ESP or AH.
    pub protocol: u8,
    /// A packet of a connection that exists, not a SYN or INIT.
    pub established: bool,
    /// Of UDP: the packet is one of QUIC with a short header and this connection ID.
    #[serde(default)]
    pub connection_id: Option<Vec<u8>>,
}

/// Which packets to trace: all terms that are given must hold, in either direction of the flow.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct TraceQuery {
    /// An address of either end.
    pub address: Option<std::net::IpAddr>,
    /// A port of either end.
    pub port: Option<u16>,
    /// `tcp`, `udp`, `sctp`, `esp`, `ah`, `icmp`, as a protocol number.
    pub protocol: Option<u8>,
    /// How long.
    pub seconds: u32,
    /// Whether the packets' octets are wanted too.
    pub packets: bool,
}

/// Something a traced packet did.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub enum TraceEvent {
    /// A step, in words.
    Step(String),
    /// A packet as it came in, and again as it was sent on if it was: seconds since the Unix epoch, octets (2,048 at
    /// most).
    Packet(f64, Vec<u8>),
}
