//! What the tests of all kinds need: specs, servers that behave and that do not, and asking.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use super::{Kind, Prepared, certificate};
use crate::config::check::{Probe, Timing, Tls};
use crate::effects::prober::route::Route;
use crate::health::spec::{Spec, Target, Way};
use crate::health::verdict::{FailureKind, Outcome, Success};

/// Of probes that are answered: longer than any machine is busy.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of probes that are not.
pub(super) const TIMEOUT: Duration = Duration::from_millis(500);
/// Why a server that accepts and never answers is down, after [`TIMEOUT`].
pub(super) const HUNG: &str = "no answer within 500 ms after connecting";
const DRIP: Duration = Duration::from_millis(40);
const DAY: Duration = Duration::from_secs(86_400);

/// A spec that asks a port of this host.
pub(super) fn spec(probe: Probe, port: u16) -> Spec {
    let target = Target { address: IpAddr::V4(Ipv4Addr::LOCALHOST), port, way: Way::Plain };
    let timing = Timing {
        interval: Duration::from_secs(1),
        fast_interval: Duration::from_secs(1),
        timeout: PATIENCE,
        rise: 1,
        fall: 1,
    };
    Spec { probe, target, timing, named: None }
}

/// The same for a server that is not expected to answer: it has only [`TIMEOUT`].
pub(super) fn hurried(probe: Probe, port: u16) -> Spec {
    let mut spec = spec(probe, port);
    spec.timing.timeout = TIMEOUT;
    spec
}

/// Prepares and makes a probe once.
pub(super) async fn ask(spec: &Spec) -> Outcome {
    Prepared::new(&spec.probe).unwrap().run(spec, &Route::plain(&spec.target)).await
}

/// The same for a probe that was prepared otherwise.
pub(super) async fn ask_prepared(kind: Kind, spec: &Spec) -> Outcome {
    Prepared { kind }.run(spec, &Route::plain(&spec.target)).await
}

/// The success that an outcome has to be.
pub(super) fn succeeds(outcome: Outcome) -> Success {
    outcome.result.unwrap_or_else(|failure| panic!("{failure:?}"))
}

/// The failure that an outcome has to be, in time.
pub(super) fn fails(outcome: Outcome, kind: FailureKind, why: &str) {
    let failure = outcome.result.expect_err("this cannot succeed");
    assert_eq!((failure.kind, failure.why.as_str()), (kind, why));
}

/// A server that accepts when the test says so.
pub(super) async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A server that treats each client as told.
pub(super) async fn serve<T>(treat: impl Fn(Client) -> T + Send + 'static) -> u16
where
    T: Future<Output = ()> + Send + 'static,
{
    let (listener, port) = listener().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(treat(Client { stream: Box::new(stream) }));
        }
    });
    port
}

/// The same behind a TLS handshake. What it makes of clients that break off is nobody's concern.
pub(super) async fn serve_tls<T>(config: ServerConfig, treat: impl Fn(Client) -> T + Send + 'static) -> u16
where
    T: Future<Output = ()> + Send + 'static,
{
    let (listener, port) = listener().await;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(treat(Client { stream: Box::new(stream) }));
            }
        }
    });
    port
}

/// A client, from the server's side.
pub(super) struct Client {
    pub(super) stream: Box<dyn Stream>,
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Client {
    /// Reads exactly this.
    pub(super) async fn expect(&mut self, wanted: &[u8]) {
        let mut read = vec![0; wanted.len()];
        self.stream.read_exact(&mut read).await.unwrap();
        assert_eq!(read.escape_ascii().to_string(), wanted.escape_ascii().to_string());
    }

    /// Reads the head of an HTTP request.
    pub(super) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    pub(super) async fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Whether the client is still there.
    pub(super) async fn try_send(&mut self, octets: &[u8]) -> bool {
        self.stream.write_all(octets).await.is_ok()
    }

    /// Keeps the connection until the client has gone.
    pub(super) async fn linger(mut self) {
        let mut octets = [0; 256];
        while matches!(self.stream.read(&mut octets).await, Ok(1..)) {}
    }

    /// Sends an octet at a time, until the client has had enough.
    pub(super) async fn drip(mut self, octets: &'static [u8]) {
        for octet in octets {
            if !self.try_send(&[*octet]).await {
                return;
            }
            sleep(DRIP).await;
        }
        self.linger().await;
    }
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

/// Waits until the process whose number is in that file is dead.
pub(super) async fn wait_until_dead(note: &Path) {
    let pid = std::fs::read_to_string(note).expect("the script had begun");
    let stat = format!("/proc/{}/stat", pid.trim());
    for _ in 0..500 {
        match std::fs::read_to_string(&stat) {
            Ok(text) if !text.contains(") Z ") => sleep(Duration::from_millis(10)).await,
            Ok(_) | Err(_) => return,
        }
    }
    panic!("process {} lives on", pid.trim());
}

/// An authority, and a server with a certificate of its.
pub(super) struct Certified {
    /// Who trusts the authority.
    pub(super) roots: Arc<RootCertStore>,
    /// The server.
    pub(super) server: ServerConfig,
}

/// A certificate for `web.example` that expires, or did, so long from now.
pub(super) fn certified(expires: Expires, protocols: &[&[u8]]) -> Certified {
    let today = date_time_ymd(1970, 1, 1) + Duration::from_secs(certificate::now().try_into().unwrap());
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.distinguished_name
        .push(DnType::CommonName, format!("authority {}", ca_key.public_key_raw()[1..9].escape_ascii()));
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut roots = RootCertStore::empty();
    roots.add(ca.self_signed(&ca_key).unwrap().der().clone()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["web.example".to_owned()]).unwrap();
    params.not_before = today - 100 * DAY;
    params.not_after = match expires {
        Expires::InDays(days) => today + days * DAY + DAY / 2,
        Expires::DaysAgo(days) => today - days * DAY - DAY / 2,
    };
    let certificate = params.signed_by(&key, &Issuer::from_params(&ca, &ca_key)).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut server = builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    server.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Certified { roots: Arc::new(roots), server }
}

pub(super) enum Expires {
    InDays(u32),
    DaysAgo(u32),
}

/// TLS that takes any certificate.
pub(super) fn unverified() -> Tls {
    Tls { server_name: None, verify: false, expiry_warning: Duration::ZERO }
}

/// TLS that takes only one for this name.
pub(super) fn verified(name: &str) -> Tls {
    Tls { server_name: Some(name.to_owned()), verify: true, expiry_warning: 7 * DAY }
}
