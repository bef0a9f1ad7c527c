use std::net::Ipv4Addr;

use domain::base::iana::Class;
use domain::rdata::{A, Cname, Mx};
use tokio::net::UdpSocket;

use super::super::tests::{ask, fails, hurried, spec, succeeds};
use super::*;
use crate::config::check::Probe;
use crate::health::verdict::Outcome;

#[tokio::test]
async fn the_expected_answer_is_right_wherever_it_stands() {
    let port = name_server().await;
    assert_eq!(succeeds(probe("web.example", "A", Some("10.0.0.2"), port).await).detail, "DNS A 10.0.0.2");
    assert_eq!(succeeds(probe("web.example", "A", None, port).await).detail, "DNS A 10.0.0.1");
    succeeds(probe("web.example", "MX", Some("10 MX.Example"), port).await);
    succeeds(probe("alias.example", "A", Some("10.0.0.1"), port).await);
}

#[tokio::test]
async fn another_answer_is_named_beside_the_expected_one() {
    let port = name_server().await;
    let outcome = probe("web.example", "A", Some("10.0.0.3"), port).await;
    fails(outcome, FailureKind::Wrong, "DNS answer A 10.0.0.1, 10.0.0.2, expected A 10.0.0.3");
}

#[tokio::test]
async fn no_such_name_and_no_such_record_are_wrong_unless_accepted() {
    let port = name_server().await;
    let outcome = probe("nowhere.example", "A", Some("10.0.0.1"), port).await;
    fails(outcome, FailureKind::Wrong, "DNS answer NXDOMAIN, expected A 10.0.0.1");
    let outcome = probe("web.example", "TXT", None, port).await;
    fails(outcome, FailureKind::Wrong, "DNS answer without TXT, expected TXT");
    for (name, record, detail) in
        [("nowhere.example", "A", "DNS NXDOMAIN, no A"), ("web.example", "TXT", "DNS NOERROR, no TXT")]
    {
        let dns = check::Dns { accept_empty: true, ..question_of(name, record, None) };
        assert_eq!(succeeds(ask(&spec(Probe::Dns(dns), port)).await).detail, detail);
    }
}

#[tokio::test]
async fn a_server_that_fails_is_wrong_even_if_nothing_is_accepted() {
    let port = name_server().await;
    let dns = check::Dns { accept_empty: true, ..question_of("broken.example", "A", None) };
    fails(ask(&spec(Probe::Dns(dns), port)).await, FailureKind::Wrong, "DNS answer SERVFAIL, expected A");
}

#[tokio::test]
async fn silence_and_forgeries_are_no_answer_and_a_closed_port_is_refused() {
    let port = name_server().await;
    fails(hurried_probe("silent.example", "A", None, port).await, FailureKind::Silent, "no answer within 500 ms");
    fails(hurried_probe("forged.example", "A", None, port).await, FailureKind::Silent, "no answer within 500 ms");
    let port = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let why = format!("connection refused by 127.0.0.1:{port} (ICMP port unreachable from 127.0.0.1)");
    fails(probe("web.example", "A", None, port).await, FailureKind::Refused, &why);
}

#[test]
fn what_cannot_be_asked_is_refused_in_words() {
    let error = Dns::new(&question_of("web.example", "NONSENSE", None)).unwrap_err();
    assert_eq!(error, r#""NONSENSE" is no type of records"#);
    let long = "x".repeat(64);
    assert!(Dns::new(&question_of(&long, "A", None)).unwrap_err().starts_with("name \"xxx"));
}

#[test]
fn texts_are_compared_as_zone_files_mean_them() {
    assert!(is_same("\"v=spf1 -all\"", "v=spf1 -all"));
    assert!(is_same("10 mx.example.", "10  MX.example"));
    assert!(!is_same("10.0.0.11", "10.0.0.1"));
}

async fn probe(name: &str, record: &str, expect: Option<&str>, port: u16) -> Outcome {
    ask(&spec(Probe::Dns(question_of(name, record, expect)), port)).await
}

async fn hurried_probe(name: &str, record: &str, expect: Option<&str>, port: u16) -> Outcome {
    ask(&hurried(Probe::Dns(question_of(name, record, expect)), port)).await
}

fn question_of(name: &str, record: &str, expect: Option<&str>) -> check::Dns {
    check::Dns { name: name.into(), record: record.into(), expect: expect.map(str::to_owned), accept_empty: false }
}

/// Knows `web.example`; `alias.example` is another name of it, `broken.example` it fails to find.
async fn name_server() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        loop {
            let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
            let question = Message::from_octets(&buffer[..length]).unwrap();
            if let Some(answer) = answer(&question) {
                socket.send_to(&answer, client).await.unwrap();
            }
        }
    });
    port
}

fn answer(message: &Message<&[u8]>) -> Option<Vec<u8>> {
    let question = message.sole_question().unwrap();
    assert!(message.header().rd());
    let name = question.qname().to_string();
    let rcode = match name.as_str() {
        "nowhere.example" => Rcode::NXDOMAIN,
        "broken.example" => Rcode::SERVFAIL,
        "silent.example" => return None,
        _ => Rcode::NOERROR,
    };
    let mut answer = MessageBuilder::new_vec().start_answer(message, rcode).unwrap();
    if name == "forged.example" {
        answer.header_mut().set_id(message.header().id().wrapping_add(1));
    }
    let web: Name<Vec<u8>> = "web.example".parse().unwrap();
    let mail: Name<Vec<u8>> = "mx.example".parse().unwrap();
    if name == "alias.example" {
        answer.push((question.qname(), Class::IN, 60, Cname::new(web.clone()))).unwrap();
    }
    match (rcode, question.qtype()) {
        (Rcode::NOERROR, Rtype::A) => {
            for last in [1, 2] {
                answer.push((&web, Class::IN, 60, A::new(Ipv4Addr::new(10, 0, 0, last)))).unwrap();
            }
        }
        (Rcode::NOERROR, Rtype::MX) => answer.push((&web, Class::IN, 60, Mx::new(10, mail))).unwrap(),
        _ => {}
    }
    Some(answer.finish())
}
