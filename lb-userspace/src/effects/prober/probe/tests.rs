//! What the tests of all kinds need: specs, servers that misbehave, and asking.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::Prepared;
use crate::config::check::{Probe, Timing};
use crate::effects::prober::route::Route;
use crate::health::spec::{Spec, Target, Way};
use crate::health::verdict::{Outcome, Success};

/// Of every probe here; long enough for a busy machine to answer over loopback.
pub(super) const TIMEOUT: Duration = Duration::from_millis(300);

/// A spec that asks a port of this host.
pub(super) fn spec(probe: Probe, port: u16) -> Spec {
    let target = Target { address: IpAddr::V4(Ipv4Addr::LOCALHOST), port, way: Way::Plain };
    let timing = Timing {
        interval: Duration::from_secs(1),
        fast_interval: Duration::from_secs(1),
        timeout: TIMEOUT,
        rise: 1,
        fall: 1,
    };
    Spec { probe, target, timing, named: None }
}

/// Prepares and makes a probe once.
pub(super) async fn ask(spec: &Spec) -> Outcome {
    Prepared::new(&spec.probe).unwrap().run(spec, &Route::plain(&spec.target)).await
}

/// The success that an outcome has to be.
pub(super) fn succeeds(outcome: Outcome) -> Success {
    outcome.result.unwrap_or_else(|failure| panic!("{failure:?}"))
}

/// A server that accepts when the test says so.
pub(super) async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port that nobody listens at.
pub(super) fn unused_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server whose queue of connections is full, so that it answers no SYN.
pub(super) async fn timed_out() -> (TcpListener, Vec<TcpStream>, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(connected) = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        held.push(connected.unwrap());
        assert!(held.len() < 64, "the queue never fills");
    }
    (listener, held, address.port())
}
