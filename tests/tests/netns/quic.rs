//! QUIC: a connection stays with its server when the client's port changes, which a service that goes by address and port loses; by
//! quinn, on both ends.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use fairway::playground::Lab;
use fairway::playground::topology::{Replies, SERVICE_V4, SERVICE_V6, backend_v4, backend_v6};
use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use quinn::{
    ClientConfig, Connection, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, Incoming, RecvStream,
    SendStream, ServerConfig, TokioRuntime,
};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::harness::{Fairway, four_backends, lab, usual_config};

/// The port of a service that goes by connection IDs, and of one that does not.
const QUIC: u16 = 4433;
const STATELESS: u16 = 4434;
/// Connections, and ports that each client has, one after the other.
const MOVES: usize = 8;
/// The first port of a client. Each socket gets the next: what is closed may linger.
const FIRST_PORT: u16 = 40_000;
/// An answer takes less: loss is repaired after a few round trips, and these take microseconds.
const PATIENCE: Duration = Duration::from_secs(3);
/// Configuration 1 of QUIC-LB, and bits that do not matter.
const FIRST_OCTET: u8 = 1 << 5 | 0x0c;
/// Addresses of the balancer that full NAT gives.
const SOURCES: &str = "[dataplane]\nsource_nat_addresses = [\"10.2.0.11\", \"fd02::11\"]\n";
const NAME: &str = "service.test";

#[test]
fn a_connection_outlives_its_clients_port_in_direct() {
    check(Replies::Direct, "direct");
}

#[test]
fn a_connection_outlives_its_clients_port_in_nat() {
    check(Replies::ThroughBalancer, "nat");
}

#[test]
fn a_connection_outlives_its_clients_port_in_full_nat() {
    check(Replies::ThroughBalancer, "full-nat");
}

fn check(replies: Replies, forwarding: &str) {
    let lab = lab(&four_backends(replies));
    let (runtime, trust) = (Runtime::new().expect("threads"), Trust::new());
    let world = World { lab: &lab, runtime: &runtime, trust: &trust, next_port: Cell::new(FIRST_PORT) };
    let _servers: Vec<Endpoint> = (0..4).flat_map(|index| world.servers(index)).collect();
    let fairway = Fairway::start_with(&lab, &config(&lab, forwarding));
    fairway.wait_until_ready();

    for (name, address) in [("four", IpAddr::from(SERVICE_V4)), ("six", IpAddr::from(SERVICE_V6))] {
        let mut homes = [0; 4];
        let service = SocketAddr::new(address, QUIC);
        for _ in 0..MOVES {
            let mut client = world.connect(service);
            let home = client.ask().unwrap_or_else(|error| panic!("{name}: {error}\n{}", fairway.fates()));
            homes[home] += 1;
            for number in 0..MOVES {
                client.rebind();
                assert_eq!(client.ask(), Ok(home), "{name}, move {number}: {}", fairway.fates());
            }
        }
        assert!(homes.iter().filter(|connections| **connections > 0).count() > 1, "{name}: no spread: {homes:?}");
        drained(&world, &fairway, name, service);
        let packets = |way: &str| {
            let series = format!("fairway_quic_packets_total{{service=\"{name}\",way=\"{way}\"}}");
            fairway.metric(&series).expect("it is counted")
        };
        assert!(packets("connection-id") > 0.0);
        assert!(packets("beginning") > 0.0, "of every connection the first packet at least");
        assert_eq!(packets("unknown"), 0.0);
        explained(&fairway, address);

        let mut client = world.connect(SocketAddr::new(address, STATELESS));
        client.ask().expect("while its port stays");
        let lost = (0..2 * MOVES).any(|_| {
            client.rebind();
            client.ask().is_err()
        });
        assert!(lost, "{name}: by address and port all of them came to one server, and nothing is shown");
    }
}

/// A connection stays with a server that is drained, whatever its port, and others go elsewhere.
fn drained(world: &World<'_>, fairway: &Fairway, name: &str, service: SocketAddr) {
    let mut client = world.connect(service);
    let home = client.ask().expect("an answer");
    let order = |what: &str| {
        let output = fairway.command(&["backend", what, name, &format!("b{home}")]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    order("drain");
    for number in 0..MOVES {
        client.rebind();
        assert_eq!(client.ask(), Ok(home), "{name}, move {number}: its server is drained");
        let other = world.connect(service).ask().expect("an answer");
        assert_ne!(other, home, "{name}: a new connection came to a drained server");
    }
    order("undrain");
}

/// `explain` speaks of connection IDs too.
fn explained(fairway: &Fairway, address: IpAddr) {
    let (from, to) = match address {
        IpAddr::V4(v4) => ("10.1.0.1:4711", format!("udp://{v4}:{QUIC}")),
        IpAddr::V6(v6) => ("[fd01::1]:4711", format!("udp://[{v6}]:{QUIC}")),
    };
    for index in 0..4 {
        let id: String = connection_id(index, [7; 4]).iter().map(|octet| format!("{octet:02x}")).collect();
        let said = fairway.command(&["explain", "--from", from, "--quic-cid", &id, &to]);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains(&format!("backend  b{index}")) && said.contains("its connection ID names"), "{said}");
    }
}

/// Two services of each family with the same servers; one of each two goes by connection IDs.
fn config(lab: &Lab, forwarding: &str) -> String {
    let usual = usual_config(lab, &[]);
    let text = usual[..usual.find("[[service]]").expect("it has services")].to_owned();
    let mut text = if forwarding == "full-nat" { text.replacen("[dataplane]\n", SOURCES, 1) } else { text };
    for (family, address, backend) in [
        ("four", SERVICE_V4.to_string(), (|index| backend_v4(index).into()) as fn(usize) -> IpAddr),
        ("six", format!("[{SERVICE_V6}]"), |index| backend_v6(index).into()),
    ] {
        for (name, port, keys) in [
            (family.to_owned(), QUIC, "udp = \"quic\"\nquic_configuration = 1\n"),
            (format!("{family}-stateless"), STATELESS, ""),
        ] {
            text += &format!("\n[[service]]\nname = \"{name}\"\nlisten = [\"udp://{address}:{port}\"]\n");
            text += &format!("forwarding = \"{forwarding}\"\n{keys}");
            for index in 0..4 {
                text += &format!("[[service.backend]]\nname = \"b{index}\"\naddress = \"{}\"\n", backend(index));
                if port == QUIC {
                    let id: String = server_id(index).iter().map(|octet| format!("{octet:02x}")).collect();
                    text += &format!("server_id = \"{id}\"\n");
                }
            }
        }
    }
    text
}

fn server_id(index: usize) -> [u8; 3] {
    [0x5e, 0x00, index as u8]
}

/// A connection ID as QUIC-LB has it, in plain text.
fn connection_id(index: usize, nonce: [u8; 4]) -> Vec<u8> {
    [&[FIRST_OCTET][..], &server_id(index), &nonce].concat()
}

/// A certificate, and who trusts it.
struct Trust {
    server: ServerConfig,
    client: ClientConfig,
}

impl Trust {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
        let certificate = CertificateDer::from(made.cert);
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("it is sound");
        Self {
            server: ServerConfig::with_single_cert(vec![certificate], key.into()).expect("a key that fits"),
            client: ClientConfig::with_root_certificates(Arc::new(roots)).expect("a usual provider"),
        }
    }
}

/// Where servers and clients are.
struct World<'a> {
    lab: &'a Lab,
    runtime: &'a Runtime,
    trust: &'a Trust,
    next_port: Cell<u16>,
}

impl World<'_> {
    /// The endpoints of a backend: each says its number to whatever comes in by a stream.
    fn servers(&self, index: usize) -> Vec<Endpoint> {
        let _inside = self.runtime.enter();
        let addresses = [QUIC, STATELESS].into_iter().flat_map(|port| self.lab.backend_listeners(index, port));
        let bind = |address| UdpSocket::bind(address).expect("nobody else has the port");
        let sockets = self.lab.backend(index).run(|| addresses.map(bind).collect::<Vec<UdpSocket>>());
        let endpoint = |socket| {
            let mut config = EndpointConfig::default();
            config.cid_generator(move || Box::new(Ids(index)));
            let server = Some(self.trust.server.clone());
            let endpoint = Endpoint::new(config, server, socket, Arc::new(TokioRuntime)).expect("a socket");
            let accepting = endpoint.clone();
            self.runtime.spawn(async move {
                while let Some(incoming) = accepting.accept().await {
                    tokio::spawn(serve(incoming, index as u8));
                }
            });
            endpoint
        };
        sockets.expect("the namespace is there").into_iter().map(endpoint).collect()
    }

    /// A client's connection.
    fn connect(&self, service: SocketAddr) -> Client<'_> {
        let _inside = self.runtime.enter();
        let endpoint = Endpoint::new(EndpointConfig::default(), None, self.bind(service), Arc::new(TokioRuntime));
        let endpoint = endpoint.expect("a socket");
        let connecting = endpoint.connect_with(self.trust.client.clone(), service, NAME).expect("an address");
        let connection = self.runtime.block_on(async { timeout(PATIENCE, connecting).await });
        let connection = connection.expect("in time").expect("a server");
        let stream = self.runtime.block_on(connection.open_bi()).expect("a stream");
        Client { world: self, service, endpoint, _connection: connection, stream }
    }

    /// A client's next socket.
    fn bind(&self, service: SocketAddr) -> UdpSocket {
        let port = self.next_port.get();
        self.next_port.set(port + 1);
        let any = if service.is_ipv4() { "0.0.0.0" } else { "::" };
        let address = SocketAddr::new(any.parse().expect("literal"), port);
        let socket = self.lab.client().run(|| UdpSocket::bind(address).expect("nobody else has the port"));
        socket.expect("the namespace is there")
    }
}

/// Serves one connection until it ends.
async fn serve(incoming: Incoming, index: u8) -> Option<()> {
    let connection = incoming.await.ok()?;
    let (mut answers, mut questions) = connection.accept_bi().await.ok()?;
    let mut question = [0];
    loop {
        questions.read_exact(&mut question).await.ok()?;
        answers.write_all(&[index]).await.ok()?;
    }
}

/// Gives connection IDs that say which server it is.
struct Ids(usize);

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&connection_id(self.0, rand()))
    }

    fn cid_len(&self) -> usize {
        connection_id(self.0, [0; 4]).len()
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Four octets that no other connection of this test has.
fn rand() -> [u8; 4] {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9).to_be_bytes()
}

/// A connection with one stream.
struct Client<'a> {
    world: &'a World<'a>,
    service: SocketAddr,
    endpoint: Endpoint,
    _connection: Connection,
    stream: (SendStream, RecvStream),
}

impl Client<'_> {
    /// Goes on from another port.
    fn rebind(&self) {
        let _inside = self.world.runtime.enter();
        self.endpoint.rebind(self.world.bind(self.service)).expect("a socket");
    }

    /// Which server answers on the stream.
    fn ask(&mut self) -> Result<usize, String> {
        let (questions, answers) = &mut self.stream;
        self.world.runtime.block_on(async {
            let asked = async {
                questions.write_all(b"?").await.map_err(|error| error.to_string())?;
                let mut answer = [0];
                answers.read_exact(&mut answer).await.map_err(|error| error.to_string())?;
                Ok(answer[0].into())
            };
            timeout(PATIENCE, asked).await.map_err(|_| "no answer".to_owned())?
        })
    }
}
