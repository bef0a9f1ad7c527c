use super::super::tests::{
    Client, Expires, HUNG, TIMEOUT, ask, certified, fails, hurried, serve, serve_tls, spec, succeeds, unverified,
};
use super::*;
use crate::config::check::{Pattern, Probe};
use crate::health::verdict::Outcome;

#[tokio::test]
async fn a_right_status_is_up_and_the_request_says_what_was_configured() {
    let (told, heard) = tokio::sync::mpsc::unbounded_channel();
    let port = serve(move |mut client: Client| {
        let told = told.clone();
        async move {
            told.send(client.head().await).unwrap();
            client.expect(b"are you well?").await;
            client.send(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            client.linger().await;
        }
    })
    .await;
    let http = check::Http {
        method: "POST".into(),
        path: "/health?deep=1".into(),
        host: Some("shop.example".into()),
        headers: vec![("X-Probe".into(), "yes".into()), ("User-Agent".into(), "ours".into())],
        body: "are you well?".into(),
        ..get()
    };
    assert_eq!(succeeds(probe(http, port).await).detail, "HTTP 204");
    let mut heard = heard;
    let head = heard.recv().await.unwrap();
    let mut lines: Vec<&str> = head.lines().filter(|line| !line.is_empty()).collect();
    lines[1..].sort_unstable();
    let wanted = [
        "POST /health?deep=1 HTTP/1.1",
        "content-length: 13",
        "host: shop.example",
        "user-agent: ours",
        "x-probe: yes",
    ];
    assert_eq!(lines, wanted);
}

#[tokio::test]
async fn a_wrong_status_is_named_with_the_right_ones() {
    let port = answering(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
    fails(probe(get(), port).await, FailureKind::Wrong, "HTTP 503, expected 200-299");
    let http = check::Http { status: vec![(200, 200), (301, 302)], ..get() };
    fails(probe(http, port).await, FailureKind::Wrong, "HTTP 503, expected 200, 301-302");
    let http = check::Http { status: vec![(500, 599)], ..get() };
    assert_eq!(succeeds(probe(http, port).await).detail, "HTTP 503");
}

#[tokio::test]
async fn a_body_must_hold_what_is_expected() {
    let port = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall is ok").await;
    succeeds(probe(expecting(Pattern::Contains("is ok".into())), port).await);
    succeeds(probe(expecting(Pattern::Matches("ok$".into())), port).await);
    let outcome = probe(expecting(Pattern::Contains("well".into())), port).await;
    fails(outcome, FailureKind::Wrong, r#"body without "well""#);
    fails(probe(expecting(Pattern::Matches("^ok".into())), port).await, FailureKind::Wrong, "body without /^ok/");
}

#[tokio::test]
async fn of_an_endless_body_the_beginning_counts() {
    let endless = || async {
        serve(|mut client| async move {
            client.head().await;
            client.send(b"HTTP/1.1 200 OK\r\n\r\nok").await;
            while client.try_send(&[b'x'; 4096]).await {}
        })
        .await
    };
    succeeds(probe(expecting(Pattern::Contains("ok".into())), endless().await).await);
    let outcome = probe(expecting(Pattern::Contains("no".into())), endless().await).await;
    fails(outcome, FailureKind::Wrong, r#"body without "no" in its first 65536 octets"#);
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_hangs() {
    let port = serve(Client::linger).await;
    fails(hurried_probe(get(), port).await, FailureKind::Hung, HUNG);
}

#[tokio::test]
async fn an_answer_an_octet_at_a_time_is_as_late_as_none() {
    for slow in [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".as_slice(),
        b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n",
    ] {
        let port = serve(move |client| client.drip(slow)).await;
        let outcome = hurried_probe(get(), port).await;
        assert!(outcome.took < 4 * TIMEOUT, "{:?}", outcome.took);
        assert_eq!(outcome.result.unwrap_err().kind, FailureKind::Hung);
    }
    let port = serve(|mut client: Client| async move {
        client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n").await;
        client.drip(b"this is a body that comes a letter at a time, and never to its end").await;
    })
    .await;
    let failure = hurried_probe(get(), port).await.result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Hung);
    assert!(failure.why.starts_with("answer incomplete after 500 ms: "), "{}", failure.why);
}

#[tokio::test]
async fn a_connection_that_ends_early_is_wrong() {
    let port = serve(|mut client: Client| async move {
        client.head().await;
    })
    .await;
    let why = format!("connection closed by 127.0.0.1:{port} before an answer");
    fails(probe(get(), port).await, FailureKind::Wrong, &why);
    let port = serve(|mut client: Client| async move {
        client.head().await;
        client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok").await;
    })
    .await;
    let why = format!("connection closed by 127.0.0.1:{port} in the middle of the answer");
    fails(probe(get(), port).await, FailureKind::Wrong, &why);
}

#[tokio::test]
async fn what_is_not_http_is_wrong() {
    let port = answering(b"-ERR unknown command\r\n").await;
    let failure = probe(get(), port).await.result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Wrong);
    assert!(failure.why.starts_with("the answer is not HTTP/1.1: "), "{}", failure.why);
    let failure = probe(http2(None), port).await.result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Wrong);
    assert!(failure.why.starts_with("the answer is not HTTP/2: "), "{}", failure.why);
}

#[tokio::test]
async fn http_2_is_spoken_with_prior_knowledge_and_over_tls() {
    let port = serve(|client| serve_http2(client, 200)).await;
    assert_eq!(succeeds(probe(http2(None), port).await).detail, "HTTP 200");
    let certified = certified(Expires::InDays(90), &[b"h2"]);
    let port = serve_tls(certified.server, |client| serve_http2(client, 503)).await;
    fails(probe(http2(Some(unverified())), port).await, FailureKind::Wrong, "HTTP 503, expected 200-299");
    let expecting = check::Http {
        expect: Some(Pattern::Contains("well".into())),
        status: vec![(503, 503)],
        ..http2(Some(unverified()))
    };
    fails(probe(expecting, port).await, FailureKind::Wrong, r#"body without "well""#);
}

#[tokio::test]
async fn a_server_that_does_not_offer_http_2_is_wrong() {
    let certified = certified(Expires::InDays(90), &[b"http/1.1"]);
    let port = serve_tls(certified.server, Client::linger).await;
    let why = "TLS handshake refused: NoApplicationProtocol";
    fails(probe(http2(Some(unverified())), port).await, FailureKind::Wrong, why);
}

#[tokio::test]
async fn http_2_hangs_and_breaks_off_like_any_other() {
    let port = serve(Client::linger).await;
    fails(hurried_probe(http2(None), port).await, FailureKind::Hung, HUNG);
    let port = serve(|mut client: Client| async move {
        client.expect(b"PRI * HTTP/2.0\r\n").await;
    })
    .await;
    let failure = probe(http2(None), port).await.result.unwrap_err();
    assert!(failure.why.starts_with("connection "), "{}", failure.why);
    // A server that gives its settings and then forgets the request.
    let port = serve(|client: Client| async move {
        let mut connection = h2::server::handshake(client.stream).await.unwrap();
        let _held = connection.accept().await;
        while connection.accept().await.is_some() {}
    })
    .await;
    fails(hurried_probe(http2(None), port).await, FailureKind::Hung, HUNG);
}

#[tokio::test]
async fn a_stream_that_the_server_resets_says_why() {
    let port = serve(|client: Client| async move {
        let mut connection = h2::server::handshake(client.stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
        }
    })
    .await;
    let failure = probe(http2(None), port).await.result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Wrong);
    assert!(failure.why.starts_with("HTTP/2 request refused: "), "{}", failure.why);
}

#[test]
fn what_cannot_be_asked_is_refused_in_words() {
    for (http, why) in [
        (check::Http { method: "GE T".into(), ..get() }, r#""GE T" is no method"#),
        (
            check::Http { headers: vec![("a b".into(), String::new())], ..get() },
            r#""a b" is no name of a header field"#,
        ),
        (check::Http { headers: vec![("a".into(), "\n".into())], ..get() }, r#""\n" is no value of a header field"#),
        (
            check::Http { tls: Some(check::Tls { server_name: Some("a b".into()), ..unverified() }), ..get() },
            r#""a b" is no server name"#,
        ),
    ] {
        assert_eq!(Http::new(&http).unwrap_err(), why);
    }
}

async fn probe(http: check::Http, port: u16) -> Outcome {
    ask(&spec(Probe::Http(http), port)).await
}

async fn hurried_probe(http: check::Http, port: u16) -> Outcome {
    ask(&hurried(Probe::Http(http), port)).await
}

/// A server that answers every request so.
async fn answering(answer: &'static [u8]) -> u16 {
    serve(move |mut client: Client| async move {
        client.send(answer).await;
        client.linger().await;
    })
    .await
}

async fn serve_http2(client: Client, status: u16) {
    let Ok(mut connection) = h2::server::handshake(client.stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        assert_eq!((request.method(), request.uri().path()), (&Method::GET, "/"));
        assert!(request.uri().authority().unwrap().as_str().starts_with("127.0.0.1:"));
        let response = hyper::Response::builder().status(status).body(()).unwrap();
        respond.send_response(response, false).unwrap().send_data(Bytes::from_static(b"ok"), true).unwrap();
    }
}

fn get() -> check::Http {
    check::Http {
        version: HttpVersion::Http1,
        tls: None,
        method: "GET".into(),
        path: "/".into(),
        host: None,
        headers: Vec::new(),
        body: String::new(),
        status: vec![(200, 299)],
        expect: None,
    }
}

fn expecting(pattern: Pattern) -> check::Http {
    check::Http { expect: Some(pattern), ..get() }
}

fn http2(tls: Option<check::Tls>) -> check::Http {
    check::Http { version: HttpVersion::Http2, tls, ..get() }
}
