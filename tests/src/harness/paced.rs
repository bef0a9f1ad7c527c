//! Clients that ask at a steady rate, each time on a new connection from a port that is known: so what failed can be asked
//! again later, from the same port, and shows whose it was.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fairway::playground::Namespace;
use socket2::{Domain, Socket, Type};

/// So many that the rate holds while a tenth of them waits for an answer that does not come.
const CLIENTS: u16 = 400;
/// The kernel must not give these out by itself: `net.ipv4.ip_local_port_range` begins above them.
const FIRST_PORT: u16 = 2_000;
/// Each uses its own in turn.
const PORTS_A_CLIENT: u16 = 75;

/// A request on a connection of its own.
#[derive(Debug)]
pub struct Request {
    /// When it began, in seconds since the Unix epoch.
    pub at: f64,
    /// The client's port.
    pub port: u16,
    /// The backend that answered, or what went wrong.
    pub result: Result<String, ErrorKind>,
}

/// Requests at a steady rate, until [`Self::stop`].
pub struct Load {
    enough: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<Request>>>,
}

impl Load {
    /// Asks so many times a second, as long as the machine keeps up. A client gives up after `patience` without a
    /// connection, or without an answer.
    pub fn start(from: &Namespace, to: SocketAddr, a_second: u32, patience: Duration) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let period = Duration::from_secs(1) * u32::from(CLIENTS) / a_second;
        let client = |number: u16| {
            let (from, enough) = (from.clone(), Arc::clone(&enough));
            thread::spawn(move || {
                from.enter().expect("the namespace is there");
                thread::sleep(period * u32::from(number) / u32::from(CLIENTS));
                ask_until(&enough, to, FIRST_PORT + number * PORTS_A_CLIENT, period, patience)
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { enough, clients }
    }

    /// Ends it: all that was asked, in no order.
    pub fn stop(self) -> Vec<Request> {
        self.enough.store(true, Ordering::Relaxed);
        self.clients.into_iter().flat_map(|client| client.join().expect("clients do not panic")).collect()
    }
}

fn ask_until(enough: &AtomicBool, to: SocketAddr, first: u16, period: Duration, patience: Duration) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut due = wall();
    for port in (first..first + PORTS_A_CLIENT).cycle() {
        if enough.load(Ordering::Relaxed) {
            break;
        }
        // Who was held up asks at once until the rate is right again.
        due += period.as_secs_f64();
        let at = wall();
        requests.push(Request { at, port, result: ask(port, to, patience).map_err(|error| error.kind()) });
        thread::sleep(Duration::try_from_secs_f64(due - wall()).unwrap_or_default());
    }
    requests
}

/// One request from this port of the calling thread's namespace: the backend that answers.
///
/// # Errors
/// When none does in time.
pub fn ask(port: u16, to: SocketAddr, patience: Duration) -> io::Result<String> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    // Closed by a reset, so that the port can be used again at once.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
    socket.connect_timeout(&to.into(), patience)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut body = String::new();
    reader.read_to_string(&mut body)?;
    match body.trim() {
        "" => Err(ErrorKind::UnexpectedEof.into()),
        name => Ok(name.to_owned()),
    }
}

/// Seconds since the Unix epoch, as events have them.
#[expect(clippy::disallowed_methods, reason = "compares moments with those of the daemon's events")]
pub fn wall() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}
