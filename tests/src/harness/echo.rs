//! UDP servers in a backend: one that echoes, counting what it echoes, and one that says who it is and whom it sees.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fairway::playground::{Lab, Namespace};

use super::ECHO;

/// Larger than any datagram.
const MOST_DATAGRAM: usize = 65_536;
/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_UP: Duration = Duration::from_millis(50);

/// A socket for one flow to a service. It is connected, so that only what comes from the service's own address is an
/// answer.
pub fn flow(from: &Namespace, to: SocketAddr) -> UdpSocket {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = from.run(|| UdpSocket::bind((any, 0))).expect("the namespace is there").expect("a port is free");
    socket.connect(to).expect("the service has a route");
    socket.set_read_timeout(Some(PATIENCE)).expect("a valid timeout");
    socket
}

/// Echo servers at all addresses of one backend; dropped, they end.
pub struct Echo {
    echoed: Arc<AtomicUsize>,
    enough: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Echo {
    /// Starts them in a backend, counted from 0.
    pub fn start(lab: &Lab, index: usize) -> Self {
        Self::answering(lab, index, |datagram, _| datagram.to_vec())
    }

    /// Servers that answer whatever they are sent with the name of their backend, and the address and port that it came from.
    pub fn naming(lab: &Lab, index: usize) -> Self {
        Self::answering(lab, index, move |_, from| format!("b{} sees {from}", index + 1).into_bytes())
    }

    fn answering(
        lab: &Lab,
        index: usize,
        answer: impl Fn(&[u8], SocketAddr) -> Vec<u8> + Clone + Send + 'static,
    ) -> Self {
        let mut echo = Self { echoed: Arc::default(), enough: Arc::default(), threads: Vec::new() };
        for address in lab.backend_listeners(index, ECHO) {
            let socket = lab
                .backend(index)
                .run(|| UdpSocket::bind(address))
                .expect("the namespace is there")
                .unwrap_or_else(|error| panic!("listening at udp://{address}: {error}"));
            socket.set_read_timeout(Some(LOOK_UP)).expect("a valid timeout");
            let (echoed, enough, answer) = (Arc::clone(&echo.echoed), Arc::clone(&echo.enough), answer.clone());
            echo.threads.push(thread::spawn(move || serve(&socket, answer, &echoed, &enough)));
        }
        echo
    }

    /// Datagrams so far.
    pub fn echoed(&self) -> usize {
        self.echoed.load(Ordering::Relaxed)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // a panic has been printed already
        }
    }
}

fn serve(socket: &UdpSocket, answer: impl Fn(&[u8], SocketAddr) -> Vec<u8>, echoed: &AtomicUsize, enough: &AtomicBool) {
    let mut datagram = vec![0; MOST_DATAGRAM];
    while !enough.load(Ordering::Relaxed) {
        match socket.recv_from(&mut datagram) {
            Ok((length, from)) => {
                echoed.fetch_add(1, Ordering::Relaxed);
                socket.send_to(&answer(&datagram[..length], from), from).expect("the client is reachable");
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("receiving: {error}"),
        }
    }
}
