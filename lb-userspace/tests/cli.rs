//! The built binary: exit codes, and what goes to which stream. Needs neither root nor a daemon: where one is asked, a
//! few lines here answer in its place.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;

use tempfile::TempDir;

const GOOD: &str = "\
[dataplane]
interfaces = [\"eth0\"]

[[service]]
name = \"web\"
listen = [\"tcp://203.0.113.10:80\", \"tcp://203.0.113.10:443\"]

[[service.backend]]
address = \"10.0.0.11\"
";

fn fairway(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fairway"))
        .args(arguments)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts")
}

/// Exit code, standard output, standard error.
fn told(output: &Output) -> (i32, String, String) {
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).expect("output is text");
    (output.status.code().expect("not killed"), text(&output.stdout), text(&output.stderr))
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("there is room for a directory"))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("temporary paths are text").to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).expect("the directory is writable");
        self.path(name)
    }

    /// Answers one request with this, and returns the socket.
    fn daemon_saying(&self, code: &str, body: &str) -> (String, thread::JoinHandle<String>) {
        let socket = self.path("admin.sock");
        let listener = UnixListener::bind(PathBuf::from(&socket)).expect("the directory is fresh");
        let answer = format!("HTTP/1.1 {code}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        let asked = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody asks");
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            while !is_whole(&request) {
                let length = stream.read(&mut piece).expect("the request can be read");
                assert!(length > 0, "the request ends early");
                request.extend(&piece[..length]);
            }
            stream.write_all(answer.as_bytes()).expect("the answer is taken");
            String::from_utf8(request).expect("requests are text")
        });
        (socket, asked)
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

#[test]
fn check_accepts_a_good_file() {
    let files = Files::new();
    let (code, out, err) = told(&fairway(&["check", &files.write("good.toml", GOOD)]));
    assert_eq!((code, &*out, &*err), (0, "ok: 1 service, 2 listeners, 1 backend\n", ""));
}

#[test]
fn check_shows_every_problem_with_its_place() {
    let files = Files::new();
    let file = files.write("bad.toml", &GOOD.replace("10.0.0.11", "nowhere").replace("eth0\"", "eth0\", 7"));
    let (code, out, err) = told(&fairway(&["validate", &file]));
    assert_eq!((code, &*out), (2, ""));
    assert_eq!(err.matches("error[FW").count(), 2, "{err}");
    assert!(err.contains("bad.toml:2:") && err.contains("bad.toml:9:"), "{err}");
}

#[test]
fn check_tells_programs_in_json() {
    let files = Files::new();
    let good: serde_json::Value =
        serde_json::from_slice(&fairway(&["check", "-o", "json", &files.write("good.toml", GOOD)]).stdout).unwrap();
    assert_eq!((&good["api"], &good["ok"], &good["problems"]), (&"v1".into(), &true.into(), &serde_json::json!([])));
    let output = fairway(&["check", "-o", "json", &files.write("bad.toml", "x = 1\n")]);
    let bad: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &bad["ok"]), (Some(2), &false.into()));
    assert_eq!((&bad["problems"][0]["line"], &bad["problems"][0]["severity"]), (&1.into(), &"error".into()));
}

#[test]
fn a_missing_file_and_a_wrong_option_are_bad_usage() {
    assert_eq!(told(&fairway(&["check", "/nowhere/fairway.toml"])).0, 2);
    assert_eq!(told(&fairway(&["check", "--no-such-option"])).0, 2);
    assert_eq!(told(&fairway(&["show", "nothing"])).0, 2);
}

#[test]
fn a_daemon_that_is_not_there_is_named_with_a_hint() {
    let files = Files::new();
    let (code, out, err) = told(&fairway(&["status", "--socket", &files.path("none.sock")]));
    assert_eq!((code, &*out), (3, ""));
    assert!(err.contains("none.sock") && err.contains("--socket"), "{err}");
}

#[test]
fn a_reload_sends_the_file_and_passes_the_daemons_problem_on() {
    let files = Files::new();
    let (socket, asked) =
        files.daemon_saying("422 Unprocessable Entity", r#"{"exit": 2, "message": "error[FW0001]: not TOML"}"#);
    let file = files.write("new.toml", "this is it");
    let (code, out, err) = told(&fairway(&["reload", &file, "--socket", &socket]));
    assert_eq!((code, &*out, &*err), (2, "", "error[FW0001]: not TOML\n"));
    let request = asked.join().unwrap();
    assert!(request.starts_with("POST /api/v1/reload") && request.contains("this is it"), "{request}");
}

#[test]
fn diff_exits_with_6_when_something_would_change() {
    for (changes, expected) in [(r#"["+ service web"]"#, 6), ("[]", 0)] {
        let files = Files::new();
        let plan = format!(
            r#"{{"api": "v1", "changes": {changes}, "writes": 1, "slots_moved": 0, "slots": 0, "rehomed": [], "warnings": []}}"#
        );
        let (socket, asked) = files.daemon_saying("200 OK", &plan);
        let (code, out, err) = told(&fairway(&["diff", "--socket", &socket]));
        assert_eq!((code, &*err), (expected, ""), "{out}");
        assert!(asked.join().unwrap().ends_with("\r\n\r\nnull"));
    }
}

#[test]
fn a_trace_prints_steps_and_keeps_packets() {
    let files = Files::new();
    let (socket, asked) = files.daemon_saying("200 OK", "{\"Step\":\"a SYN\"}\n{\"Packet\":[1.5,[1,2]]}\n");
    let pcap = files.path("out.pcap");
    let (code, out, err) = told(&fairway(&["trace", "tcp", "and", "port", "80", "--pcap", &pcap, "--socket", &socket]));
    assert_eq!((code, &*out), (0, "a SYN\n"), "{err}");
    assert_eq!(fs::read(&pcap).unwrap().len(), 24 + 16 + 2);
    let request = asked.join().unwrap();
    assert!(request.contains(r#""port":80,"protocol":6"#) && request.contains(r#""packets":true"#), "{request}");
}

#[test]
fn an_order_names_a_virtual_router_or_all_and_passes_the_daemons_problem_on() {
    let files = Files::new();
    let (socket, asked) = files.daemon_saying("200 OK", r#"{"api": "v1", "routers": ["public"]}"#);
    let (code, out, err) = told(&fairway(&["vrrp", "resign", "public", "--socket", &socket]));
    assert_eq!((code, &*out), (0, "virtual router public resigns, and holds back until resumed\n"), "{err}");
    let request = asked.join().unwrap();
    assert!(request.starts_with("POST /api/v1/vrrp/resign") && request.contains(r#""router":"public""#), "{request}");

    let refusal = r#"{"exit": 2, "message": "no virtual router is called x; there are public"}"#;
    let files = Files::new();
    let (socket, asked) = files.daemon_saying("422 Unprocessable Entity", refusal);
    let (code, out, err) = told(&fairway(&["vrrp", "resume", "x", "--socket", &socket]));
    assert_eq!((code, &*out), (2, ""));
    assert_eq!(err, "fairway: no virtual router is called x; there are public\n");
    asked.join().unwrap();

    for arguments in [&["vrrp", "resign"][..], &["vrrp", "resign", "public", "--all"], &["vrrp"]] {
        assert_eq!(told(&fairway(arguments)).0, 2, "{arguments:?}");
    }
}

#[test]
fn events_are_lines_for_people_and_for_programs() {
    let lines = "{\"missed\":2}\n{\"sequence\":3,\"time\":1.5,\"kind\":\"stalled\",\"seconds\":0.25}\n";
    let files = Files::new();
    let (socket, asked) = files.daemon_saying("200 OK", lines);
    let (code, out, err) = told(&fairway(&["show", "events", "--since", "1", "-o", "json", "--socket", &socket]));
    assert_eq!((code, &*out), (0, lines), "{err}");
    assert!(asked.join().unwrap().starts_with("GET /api/v1/events?since=1 "));

    let files = Files::new();
    let (socket, asked) = files.daemon_saying("200 OK", lines);
    let (code, out, err) = told(&fairway(&["show", "events", "--follow", "--socket", &socket]));
    let stalled = "     3  1970-01-01T00:00:01.500Z  the VRRP thread did not run for 0.250 s\n";
    assert_eq!((code, out), (0, format!("2 events are not kept any more\n{stalled}")), "{err}");
    assert!(asked.join().unwrap().starts_with("GET /api/v1/events/follow?since=0 "));

    assert_eq!(told(&fairway(&["show", "services", "--follow"])).0, 2);
}

#[test]
fn the_schema_is_json() {
    let (code, out, _) = told(&fairway(&["schema"]));
    assert_eq!(code, 0);
    let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(schema["properties"]["service"].is_object(), "{out}");
}

#[test]
fn output_that_nobody_reads_is_no_panic() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fairway"))
        .arg("schema")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut err).unwrap();
    assert!(!err.contains("panicked"), "{err}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
