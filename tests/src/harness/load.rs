//! Clients: many short connections, or a few that are kept, with everything that goes wrong written down.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fairway::playground::Namespace;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use socket2::{Domain, Socket, Type};

use super::nginx::SERVING_CPU;

/// Longer than several retransmissions: what takes longer is broken, not late.
const PATIENCE: Duration = Duration::from_secs(10);
const CLIENTS: usize = 8;
/// Between two requests on a kept connection: keeps a hundred of them from filling a core.
const THINKING: Duration = Duration::from_millis(20);
const SETTLE_POLL: Duration = Duration::from_millis(20);
const SETTLE_TRIES: u32 = 500;

/// What came of a number of requests.
#[derive(Debug, Default)]
pub struct Results {
    /// Answers, by what they said.
    pub answers: BTreeMap<String, usize>,
    /// What went wrong, each time.
    pub failures: Vec<String>,
}

/// Asks for `/` so many times, each on a new connection, from a few clients at once.
pub fn requests(from: &Namespace, to: SocketAddr, count: usize) -> Results {
    let client = || -> Vec<io::Result<String>> {
        stay_on_one_cpu();
        (0..count / CLIENTS).map(|_| name_of(to)).collect()
    };
    let outcomes = from
        .run(|| {
            // Threads inherit the namespace of the one that makes them.
            thread::scope(|scope| {
                let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
                clients.into_iter().flat_map(|client| client.join().expect("clients do not panic")).collect::<Vec<_>>()
            })
        })
        .expect("the namespace is there");
    let mut results = Results::default();
    for outcome in outcomes {
        match outcome {
            Ok(name) => *results.answers.entry(name).or_default() += 1,
            Err(error) => results.failures.push(error.to_string()),
        }
    }
    results
}

/// One request on a connection of its own, made from inside the namespace; returns the body.
pub fn fetch(from: &Namespace, to: SocketAddr, path: &str, body: Option<&[u8]>) -> io::Result<Vec<u8>> {
    from.run(|| {
        let mut connection = Connection::open(to)?;
        connection.ask(path, body)
    })
    .map_err(io::Error::other)?
}

/// Keeps the calling thread where nginx is kept too, so that all packets of a flow are handled on one CPU, as the queues of a
/// network card see to. Spread over two, the last packet of a handshake and the first with data can reach a server at the
/// same moment, and now and then, once in some hundred thousand connections, the server's host then has the connection
/// established and resets its client all the same: the socket was looked up just as it was being made.
fn stay_on_one_cpu() {
    let mut cpus = CpuSet::new();
    cpus.set(SERVING_CPU).expect("a small number");
    sched_setaffinity(Pid::from_raw(0), &cpus).expect("every machine has a first CPU");
}

fn name_of(to: SocketAddr) -> io::Result<String> {
    Connection::open(to)?.ask_name()
}

/// Connections that each ask again and again until told to stop.
pub struct KeptConnections {
    enough: Arc<AtomicBool>,
    connections: Vec<Kept>,
}

struct Kept {
    answered: Arc<AtomicU64>,
    thread: JoinHandle<History>,
}

/// The life of one kept connection.
#[derive(Clone, Debug)]
pub struct History {
    /// The backends that answered, each once, in the order of their first answer. A whole connection has one.
    pub backends: Vec<String>,
    /// What ended it before its time.
    pub failure: Option<String>,
}

impl KeptConnections {
    /// Opens connections and starts asking on each.
    pub fn open(from: &Namespace, to: SocketAddr, count: usize) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let start = |_| {
            let answered = Arc::new(AtomicU64::new(0));
            let (from, enough, counter) = (from.clone(), Arc::clone(&enough), Arc::clone(&answered));
            let thread = thread::spawn(move || {
                from.enter().expect("the namespace is there");
                live(to, &enough, &counter)
            });
            Kept { answered, thread }
        };
        let connections: Vec<Kept> = (0..count).map(start).collect();
        Self { enough, connections }
    }

    /// Waits until each connection that still lives has had `more` further answers.
    pub fn wait_for_answers(&self, more: u64) {
        let goals: Vec<u64> =
            self.connections.iter().map(|kept| kept.answered.load(Ordering::Relaxed) + more).collect();
        for _ in 0..SETTLE_TRIES {
            let reached = |(kept, goal): (&Kept, &u64)| {
                kept.thread.is_finished() || kept.answered.load(Ordering::Relaxed) >= *goal
            };
            if self.connections.iter().zip(&goals).all(reached) {
                return;
            }
            thread::sleep(SETTLE_POLL);
        }
        panic!("some connections stand still without failing");
    }

    /// Stops asking and returns what became of each.
    pub fn close(self) -> Vec<History> {
        self.enough.store(true, Ordering::Relaxed);
        self.connections.into_iter().map(|kept| kept.thread.join().expect("clients do not panic")).collect()
    }
}

fn live(to: SocketAddr, enough: &AtomicBool, answered: &AtomicU64) -> History {
    let mut history = History { backends: Vec::new(), failure: None };
    let mut ask = || -> io::Result<()> {
        let mut connection = Connection::open(to)?;
        while !enough.load(Ordering::Relaxed) {
            let name = connection.ask_name()?;
            if !history.backends.contains(&name) {
                history.backends.push(name);
            }
            answered.fetch_add(1, Ordering::Relaxed);
            thread::sleep(THINKING);
        }
        Ok(())
    };
    let failure = ask().err().map(|error| error.to_string());
    history.failure = failure;
    history
}

/// An HTTP connection.
pub struct Connection {
    to: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Opens one from inside the namespace.
    pub fn open_from(from: &Namespace, to: SocketAddr) -> io::Result<Self> {
        from.run(|| Self::open(to)).map_err(io::Error::other)?
    }

    /// The same from a port of its own, which connections to other addresses may have too.
    pub fn open_from_port(from: &Namespace, port: u16, to: SocketAddr) -> io::Result<Self> {
        let open = || {
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            let any = if to.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
            socket.bind(&SocketAddr::from((any, port)).into())?;
            socket.connect_timeout(&to.into(), PATIENCE)?;
            Self::over(socket.into(), to)
        };
        from.run(open).map_err(io::Error::other)?
    }

    /// The client's address and port.
    pub fn local(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().expect("a connection has two ends")
    }

    fn open(to: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&to, PATIENCE)?, to)
    }

    fn over(stream: TcpStream, to: SocketAddr) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { to, stream: BufReader::new(stream) })
    }

    /// Asks for `/`: the name of the backend.
    pub fn ask_name(&mut self) -> io::Result<String> {
        let body = self.ask("/", None)?;
        Ok(String::from_utf8_lossy(&body).trim().to_owned())
    }

    fn ask(&mut self, path: &str, body: Option<&[u8]>) -> io::Result<Vec<u8>> {
        let method = if body.is_some() { "POST" } else { "GET" };
        let body = body.unwrap_or_default();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n", self.to, body.len());
        self.stream.get_mut().write_all(head.as_bytes())?;
        self.stream.get_mut().write_all(body)?;
        let mut answer = vec![0; self.read_head()?];
        self.stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    /// Reads the head of an answer and returns the length of its body.
    fn read_head(&mut self) -> io::Result<usize> {
        let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(broken("the connection was closed instead of an answer"));
        }
        if !line.starts_with("HTTP/1.1 200") {
            return Err(broken(line.trim()));
        }
        let mut length = None;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            match line.trim().split_once(':') {
                None => return length.ok_or_else(|| broken("an answer without Content-Length")),
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().ok()
                }
                Some(_) => {}
            }
        }
    }
}
