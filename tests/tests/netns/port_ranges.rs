//! Listeners of a range of ports: connections to each of its ports are served by that port of a backend, under `direct` and under `nat`, whose
//! replies come from the port that was asked; and the port behind the range is the host's.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fairway::playground::Lab;
use fairway::playground::topology::{Replies, SERVICE_V4, SERVICE_V6, backend_v4, backend_v6};

use crate::harness::{Fairway, four_backends, lab, usual_config};

const FIRST: u16 = 8000;
const LAST: u16 = 8099;
const SERVED: [u16; 3] = [FIRST, 8050, LAST];
const BACKENDS: usize = 4;
const CONNECTIONS: usize = 40;
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_UP: Duration = Duration::from_millis(5);

#[test]
fn every_port_of_a_range_is_served_under_direct() {
    check(Replies::Direct, "direct");
}

#[test]
fn every_port_of_a_range_is_served_under_nat() {
    check(Replies::ThroughBalancer, "nat");
}

fn check(replies: Replies, forwarding: &str) {
    let lab = lab(&four_backends(replies));
    let _servers: Vec<Servers> = (0..BACKENDS).map(|index| Servers::start(&lab, index)).collect();
    let fairway = Fairway::start_with(&lab, &config(&lab, forwarding));
    fairway.wait_until_ready();
    for service in [IpAddr::from(SERVICE_V4), IpAddr::from(SERVICE_V6)] {
        for port in SERVED {
            let mut served = BTreeSet::new();
            for number in 0..CONNECTIONS {
                let (index, by) = ask(&lab, SocketAddr::new(service, port))
                    .unwrap_or_else(|error| panic!("{service}, port {port}, {number}: {error}\n{}", fairway.fates()));
                assert_eq!(by, port, "{service}: backend {index} was asked at another port");
                served.insert(index);
            }
            assert_eq!(served.len(), BACKENDS, "{service}, port {port}: {served:?}");
        }
        let refused = ask(&lab, SocketAddr::new(service, LAST + 1)).expect_err("nobody listens there");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{service}: {refused}");
    }
    let begun = fairway.metric_sum("fairway_service_connections_total");
    assert!(begun >= (2 * SERVED.len() * CONNECTIONS) as f64, "{begun}");
    let said = fairway.command(&["explain", "--from", "10.1.0.1:4711", &format!("{SERVICE_V4}:8077")]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains(&format!("tcp://{SERVICE_V4}:{FIRST}-{LAST}")), "{said}");
}

/// Which backend answers a connection, and at which of its ports.
fn ask(lab: &Lab, service: SocketAddr) -> std::io::Result<(u8, u16)> {
    let connect = move || TcpStream::connect_timeout(&service, PATIENCE);
    let mut stream = lab.client().run(connect).expect("the namespace is there")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = [0; 3];
    stream.read_exact(&mut answer)?;
    Ok((answer[0], u16::from_be_bytes([answer[1], answer[2]])))
}

/// Servers at some ports of the range at all addresses of one backend; dropped, they end.
struct Servers {
    enough: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Servers {
    fn start(lab: &Lab, index: usize) -> Self {
        let mut servers = Self { enough: Arc::default(), threads: Vec::new() };
        for address in SERVED.into_iter().flat_map(|port| lab.backend_listeners(index, port)) {
            let listener = lab.backend(index).run(|| TcpListener::bind(address)).expect("the namespace is there");
            let listener = listener.unwrap_or_else(|error| panic!("listening at {address}: {error}"));
            listener.set_nonblocking(true).expect("a socket can be asked without waiting");
            let enough = Arc::clone(&servers.enough);
            let answer = [&[index as u8][..], &address.port().to_be_bytes()].concat();
            servers.threads.push(thread::spawn(move || serve(&listener, &answer, &enough)));
        }
        servers
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // a panic has been printed already
        }
    }
}

fn serve(listener: &TcpListener, answer: &[u8], enough: &AtomicBool) {
    while !enough.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((mut stream, _)) => stream.write_all(answer).expect("three octets fit"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(LOOK_UP),
            Err(error) => panic!("accepting: {error}"),
        }
    }
}

fn config(lab: &Lab, forwarding: &str) -> String {
    let usual = usual_config(lab, &[]);
    let beginning = &usual[..usual.find("[[service]]").expect("it has services")];
    let service = |name: &str, address: String, backend: fn(usize) -> IpAddr| {
        let mut text = format!(
            "\n[[service]]\nname = \"{name}\"\nlisten = [\"tcp://{address}:{FIRST}-{LAST}\"]\nforwarding = \"{forwarding}\"\n"
        );
        for index in 0..BACKENDS {
            text += &format!("[[service.backend]]\naddress = \"{}\"\n", backend(index));
        }
        text
    };
    let four = service("four", SERVICE_V4.to_string(), |index| backend_v4(index).into());
    let six = service("six", format!("[{SERVICE_V6}]"), |index| backend_v6(index).into());
    format!("{beginning}{four}{six}")
}
