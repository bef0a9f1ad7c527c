//! The admin side over real sockets, before a loop that answers from the sample.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::*;
use crate::controller::flows::FlowsReport;
use crate::controller::view::{BackendReport, OrderReport, PlanReport, Problem, RuntimeServices, Status};
use crate::effects::events::EventStream;
use crate::runtime::request::{QUEUE, TraceEvent};

/// Nothing here should take longer; only a failure does.
const PATIENCE: Duration = Duration::from_secs(20);
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Servers before a fake loop, in a directory of their own.
struct Bed {
    servers: AdminServers,
    directory: TempDir,
}

impl Bed {
    async fn start() -> Self {
        Self::with(LIMITS, sample::status()).await
    }

    async fn with(limits: Limits, status: Status) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (requests, queue) = mpsc::channel(QUEUE);
        tokio::spawn(answer(queue, status));
        let socket = directory.path().join("made/admin.sock");
        let servers = serve_within(limits, &socket, Some(ANY_PORT), requests).await.unwrap();
        Self { servers, directory }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("made/admin.sock")
    }

    async fn unix(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        ask(UnixStream::connect(self.socket()).await.unwrap(), method, path, body).await
    }

    async fn tcp(&self, method: &str, path: &str) -> (u16, String) {
        ask(self.tcp_stream().await, method, path, "").await
    }

    async fn tcp_stream(&self) -> TcpStream {
        TcpStream::connect(self.servers.listen().unwrap()).await.unwrap()
    }
}

/// Answers as a daemon would that accepts every file but the one called `bad`.
async fn answer(mut queue: mpsc::Receiver<Request>, status: Status) {
    let events = two_events();
    while let Some(request) = queue.recv().await {
        match request {
            Request::Status(sender) => drop(sender.send(Box::new(status.clone()))),
            Request::Node(sender) => drop(sender.send(status.node.clone())),
            Request::Diff(_, sender) => drop(sender.send(Ok(PlanReport::default()))),
            Request::Reload(file, sender) => {
                let name = file.map(|file| file.file);
                let bad = || Problem { exit: 2, message: "error[FW0001]: not TOML".to_owned() };
                let plan = || PlanReport { changes: vec![format!("~ {name:?}")], ..PlanReport::default() };
                drop(sender.send(if name.as_deref() == Some("bad") { Err(bad()) } else { Ok(plan()) }));
            }
            Request::Explain(_, sender) => drop(sender), // as a loop does that is stopping
            Request::Vrrp(order, sender) => {
                let unknown = || Problem { exit: 2, message: "no virtual router is called nosuch".to_owned() };
                let routers = || vec![format!("{:?} {:?}", order.action, order.router)];
                let report = || OrderReport { api: "v1".to_owned(), routers: routers() };
                drop(sender.send(if order.router.as_deref() == Some("nosuch") {
                    Err(unknown())
                } else {
                    Ok(report())
                }));
            }
            Request::Backend(order, sender) => {
                drop(sender.send(Ok(BackendReport { api: "v1".to_owned(), lines: vec![format!("{order:?}")] })));
            }
            Request::Events(sender) => drop(sender.send(events.clone())),
            Request::Services(order, sender) => {
                drop(sender.send(Ok(PlanReport { changes: vec![format!("{order:?}")], ..PlanReport::default() })));
            }
            Request::RuntimeServices(sender) => {
                drop(sender.send(RuntimeServices { file: "services.toml".to_owned(), ..RuntimeServices::default() }));
            }
            Request::Flows(query, sender) => {
                let busy = || Problem { exit: 1, message: "busy: somebody else asks".to_owned() };
                let matching = u64::from(query.limit.unwrap_or_default());
                let report = || FlowsReport { matching, ..FlowsReport::default() };
                drop(sender.send(if query.service.as_deref() == Some("busy") { Err(busy()) } else { Ok(report()) }));
            }
            Request::Trace(query, sender) => {
                let (events, receiver) = mpsc::channel(4);
                drop(sender.send(Ok(receiver)));
                tokio::spawn(async move {
                    let port = query.port.unwrap_or_default();
                    let _ = events.send(TraceEvent::Step(format!("port {port}"))).await;
                    let _ = events.send(TraceEvent::Packet(1.5, vec![1, 2])).await;
                });
            }
        }
    }
}

fn two_events() -> EventStream {
    let events = EventStream::default();
    events.tell(1.5, crate::happening::Happening::Stalled { seconds: 0.25 });
    events.tell(2.5, crate::happening::Happening::Stalled { seconds: 0.5 });
    events
}

/// One request; status code and body of its answer.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, method: &str, path: &str, body: &str) -> (u16, String) {
    let head = format!("{method} {path} HTTP/1.0\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("answered in time").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let code = head.split(' ').nth(1).expect("a head has a code").parse().unwrap();
    (code, body.to_owned())
}

fn problem(body: &str) -> Problem {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

#[tokio::test]
async fn both_listeners_tell_the_status_and_the_metrics() {
    let bed = Bed::start().await;
    for (code, body) in [bed.unix("GET", "/api/v1/status", "").await, bed.tcp("GET", "/api/v1/status").await] {
        assert_eq!((code, serde_json::from_str::<Status>(&body).unwrap()), (200, sample::status()));
    }
    for (code, body) in [bed.unix("GET", "/metrics", "").await, bed.tcp("GET", "/metrics").await] {
        assert_eq!((code, body), (200, metrics::text(sample::status())));
    }
}

#[tokio::test]
async fn the_page_the_scrape_and_the_probes_say_what_they_are() {
    let bed = Bed::start().await;
    let mut stream = bed.tcp_stream().await;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
    let mut scrape = String::new();
    stream.read_to_string(&mut scrape).await.unwrap();
    assert!(scrape.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{scrape}");
    assert!(bed.tcp("GET", "/").await.1.contains("<title>Fairway</title>"));
    assert_eq!(bed.tcp("GET", "/livez").await, (200, "alive\n".to_owned()));
    assert_eq!(bed.tcp("GET", "/readyz").await, (200, "ready\n".to_owned()));
}

#[tokio::test]
async fn a_node_that_is_not_ready_says_why() {
    let mut status = sample::status();
    status.node.ready = false;
    status.node.not_ready = Some("1 of 2 next hops pending".to_owned());
    let bed = Bed::with(LIMITS, status).await;
    assert_eq!(bed.tcp("GET", "/readyz").await, (503, "not ready: 1 of 2 next hops pending\n".to_owned()));
    assert_eq!(bed.tcp("GET", "/livez").await.0, 200);
}

#[tokio::test]
async fn commands_are_for_the_unix_socket_alone() {
    let bed = Bed::start().await;
    for path in ["/api/v1/reload", "/api/v1/diff", "/api/v1/explain", "/api/v1/trace", "/api/v1/vrrp/resign"] {
        let (code, body) = bed.tcp("POST", path).await;
        assert_eq!((code, problem(&body).exit), (404, 2), "{path}");
    }
    assert_eq!(bed.tcp("POST", "/api/v1/status").await.0, 405);
}

#[tokio::test]
async fn a_reload_is_answered_with_its_plan_or_its_problem() {
    let bed = Bed::start().await;
    let reload = |body: &'static str| bed.unix("POST", "/api/v1/reload", body);
    let (code, plan) = reload("").await;
    assert_eq!((code, serde_json::from_str::<PlanReport>(&plan).unwrap().changes), (200, vec!["~ None".to_owned()]));
    assert_eq!(reload(r#"{"file": "good", "text": ""}"#).await.0, 200);
    let (code, body) = reload(r#"{"file": "bad", "text": ""}"#).await;
    assert_eq!((code, problem(&body).exit), (422, 2));
    let (code, body) = reload("{").await;
    assert_eq!((code, problem(&body).exit), (400, 2));
}

#[tokio::test]
async fn a_loop_that_is_stopping_is_told_as_such() {
    let bed = Bed::start().await;
    let query = r#"{"from": "10.0.0.1:1", "to": "10.0.0.2:80", "protocol": 6, "established": false}"#;
    let (code, body) = bed.unix("POST", "/api/v1/explain", query).await;
    assert_eq!((code, problem(&body).exit), (503, 3));
}

#[tokio::test]
async fn flows_are_listed_for_whoever_asks_by_the_socket_alone() {
    let bed = Bed::start().await;
    let listed = |(code, body): (u16, String)| (code, serde_json::from_str::<FlowsReport>(&body).unwrap().matching);
    assert_eq!(listed(bed.unix("POST", "/api/v1/flows", "").await), (200, 0));
    assert_eq!(listed(bed.unix("POST", "/api/v1/flows", r#"{"client": "192.0.2.0/24", "limit": 7}"#).await), (200, 7));
    let (code, body) = bed.unix("POST", "/api/v1/flows", r#"{"service": "busy"}"#).await;
    assert_eq!((code, problem(&body).exit), (500, 1));
    let (code, body) = bed.unix("POST", "/api/v1/flows", r#"{"servise": "web"}"#).await;
    assert_eq!((code, problem(&body).exit), (400, 2));
    assert_eq!(bed.tcp("POST", "/api/v1/flows").await.0, 404);
}

#[tokio::test]
async fn services_are_added_and_listed_by_the_socket_alone() {
    let bed = Bed::start().await;
    let order = |action: &str, body: &'static str| {
        let path = format!("/api/v1/service/{action}");
        let bed = &bed;
        async move { bed.unix("POST", &path, body).await }
    };
    let add = r#"{"name": "a", "set": {"quorum": 2}, "backends": [{"address": "10.0.0.1", "weight": 5}]}"#;
    let (code, body) = order("add", add).await;
    let said = serde_json::from_str::<PlanReport>(&body).unwrap().changes;
    assert_eq!(code, 200);
    assert!(said[0].starts_with("Add(Change { name: \"a\", set: {\"quorum\": Integer(2)}"), "{said:?}");
    assert!(order("remove", r#"{"name": "a"}"#).await.1.contains("Remove { name: \\\"a\\\" }"));
    assert!(order("clear", "").await.1.contains("Clear"));
    for (action, body) in [
        ("add", ""),
        ("add", r#"{"name": "a", "sett": {}}"#),
        ("add", r#"{"name": "a", "unset": ["quorum"]}"#),
        ("remove", r#"{"name": "a", "set": {"quorum": 2}}"#),
        ("clear", r#"{"name": "a"}"#),
        ("dance", r#"{"name": "a"}"#),
    ] {
        let (code, answer) = order(action, body).await;
        assert!(matches!(code, 400 | 422) && problem(&answer).exit == 2, "{action} {body}: {code} {answer}");
    }
    let (code, body) = bed.unix("GET", "/api/v1/service", "").await;
    assert_eq!((code, serde_json::from_str::<RuntimeServices>(&body).unwrap().file.as_str()), (200, "services.toml"));
    assert_eq!(bed.tcp("GET", "/api/v1/service").await.0, 404);
    assert_eq!(bed.tcp("POST", "/api/v1/service/clear").await.0, 404);
}

#[tokio::test]
async fn a_trace_is_streamed_line_by_line() {
    let bed = Bed::start().await;
    let query = r#"{"address": null, "port": 80, "protocol": 6, "seconds": 1, "packets": true}"#;
    let (code, body) = bed.unix("POST", "/api/v1/trace", query).await;
    assert_eq!((code, &*body), (200, "{\"Step\":\"port 80\"}\n{\"Packet\":[1.5,[1,2]]}\n"));
}

#[tokio::test]
async fn events_are_lines_of_json_that_can_be_asked_for_by_number() {
    let bed = Bed::start().await;
    let [first, second] = [(1, 1.5, 0.25), (2, 2.5, 0.5)].map(|(sequence, time, seconds)| {
        format!("{{\"sequence\":{sequence},\"time\":{time},\"kind\":\"stalled\",\"seconds\":{seconds}}}\n")
    });
    assert_eq!(bed.unix("GET", "/api/v1/events", "").await, (200, format!("{first}{second}")));
    assert_eq!(bed.tcp("GET", "/api/v1/events?since=1").await, (200, second.clone()));
    assert_eq!(bed.tcp("GET", "/api/v1/events?limit=1").await, (200, first.clone()));
    let (code, body) = bed.unix("GET", "/api/v1/events?since=x", "").await;
    assert_eq!((code, problem(&body).exit), (400, 2));
    // A place among the listener's connections is not for who only looks.
    assert_eq!(bed.tcp("GET", "/api/v1/events/follow").await.0, 404);
}

#[tokio::test]
async fn events_are_followed_until_the_follower_goes() {
    let bed = Bed::start().await;
    let mut stream = UnixStream::connect(bed.socket()).await.unwrap();
    stream.write_all(b"GET /api/v1/events/follow?since=1 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("\"seconds\":0.5}") {
        let mut piece = [0; 1024];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut piece)).await.expect("answered in time").unwrap();
        assert!(read > 0, "the answer ends");
        answer.extend(&piece[..read]);
    }
    assert!(!String::from_utf8_lossy(&answer).contains("\"seconds\":0.25"), "only what follows");
    drop(stream);
    assert_eq!(bed.unix("GET", "/livez", "").await.0, 200);
}

#[tokio::test]
async fn orders_name_one_virtual_router_or_say_all() {
    let bed = Bed::start().await;
    let ask = |what: &'static str, body: &'static str| bed.unix("POST", what, body);
    let (code, body) = ask("/api/v1/vrrp/resign", r#"{"router": "public"}"#).await;
    let told = |body: &str| serde_json::from_str::<OrderReport>(body).unwrap().routers;
    assert_eq!((code, told(&body)), (200, vec!["Resign Some(\"public\")".to_owned()]));
    let (code, body) = ask("/api/v1/vrrp/resume", r#"{"all": true}"#).await;
    assert_eq!((code, told(&body)), (200, vec!["Resume None".to_owned()]));
    for body in [r#"{}"#, r#"{"router": "public", "all": true}"#, r#"{"router": "nosuch"}"#] {
        let (code, answer) = ask("/api/v1/vrrp/resign", body).await;
        assert_eq!((code, problem(&answer).exit), (422, 2), "{body}");
    }
    for body in ["", r#"{"name": "public"}"#] {
        assert_eq!(ask("/api/v1/vrrp/resign", body).await.0, 400, "{body}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let bed = Bed::start().await;
    let mut stream = UnixStream::connect(bed.socket()).await.unwrap();
    let head = format!("POST /api/v1/diff HTTP/1.0\r\nContent-Length: {}\r\n\r\n", MOST_BODY + 1);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("answered in time").unwrap();
    assert_eq!(&answer, b"HTTP/1.0 413");
}

#[tokio::test]
async fn slow_clients_are_disconnected_and_block_nobody() {
    let limits = Limits { connections: 2, head: Duration::from_millis(200), ..LIMITS };
    let bed = Bed::with(limits, sample::status()).await;
    // Two that say nothing, or half of it, take up the places of the TCP side.
    let (mut silent, mut halting) = (bed.tcp_stream().await, bed.tcp_stream().await);
    halting.write_all(b"GET /metr").await.unwrap();
    // The third is turned away, the operator is not.
    let mut third = bed.tcp_stream().await;
    assert!(ended(&mut third).await);
    assert_eq!(bed.unix("GET", "/livez", "").await.0, 200);
    // Soon their time is up, and there is room again.
    assert!(ended(&mut silent).await && ended(&mut halting).await);
    assert_eq!(bed.tcp("GET", "/livez").await.0, 200);
}

#[tokio::test]
async fn a_client_that_takes_no_answer_is_disconnected() {
    let mut status = sample::status();
    status.warnings = vec!["x".repeat(64 << 20)];
    let limits = Limits { connections: 1, stall: Duration::from_millis(100), ..LIMITS };
    let bed = Bed::with(limits, status).await;
    let mut greedy = bed.tcp_stream().await;
    greedy.write_all(b"GET /api/v1/status HTTP/1.0\r\n\r\n").await.unwrap();
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut next = bed.tcp_stream().await;
        next.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        if next.read_to_string(&mut answer).await.is_ok() && answer.starts_with("HTTP/1.0 200") {
            return;
        }
    }
    panic!("the client keeps its place");
}

/// Whether the other side has closed the connection.
async fn ended(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    match tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => error.kind() == io::ErrorKind::ConnectionReset,
        Err(_) => false,
    }
}

#[tokio::test]
async fn the_socket_is_for_owner_and_group_and_goes_with_the_server() {
    let bed = Bed::start().await;
    let mode = std::fs::metadata(bed.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let Bed { servers, directory } = bed;
    servers.stop().await;
    assert_eq!(std::fs::read_dir(directory.path().join("made")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_dead_daemons_socket_is_taken_over_and_a_live_ones_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("admin.sock");
    let start = || {
        let (requests, queue) = mpsc::channel(QUEUE);
        tokio::spawn(answer(queue, sample::status()));
        let socket = socket.clone();
        async move { serve(&socket, None, requests).await }
    };
    drop(UnixListener::bind(&socket).unwrap()); // leaves its file, as a killed process does
    let first = start().await.expect("a stale socket is replaced");
    let error = format!("{:#}", start().await.expect_err("a live daemon keeps its socket"));
    assert!(error.contains("another fairway is running"), "{error}");
    let stream = UnixStream::connect(&socket).await.unwrap();
    assert_eq!(ask(stream, "GET", "/livez", "").await.0, 200);
    first.stop().await;
    start().await.expect("the place is free again");
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("admin.sock");
    std::fs::write(&path, "precious").unwrap();
    let error = serve(&path, None, mpsc::channel(1).0).await.expect_err("it is not ours");
    assert!(format!("{error:#}").contains("is not a socket"), "{error:#}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_port_in_use_is_named_and_leaves_no_socket() {
    let taken = tokio::net::TcpListener::bind(ANY_PORT).await.unwrap();
    let address = taken.local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("admin.sock");
    let error = serve(&socket, Some(address), mpsc::channel(1).0).await.expect_err("the port is taken");
    assert!(format!("{error:#}").contains(&address.to_string()), "{error:#}");
    assert!(!socket.exists());
}
