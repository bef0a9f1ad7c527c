use hyper::Response;

use super::super::tests::{Client, HUNG, ask, fails, hurried, serve, spec, succeeds};
use super::*;
use crate::config::check::Probe;
use crate::health::verdict::Outcome;

#[tokio::test]
async fn serving_is_up() {
    let port = answering(&[0, 0, 0, 0, 2, 8, 1], "0").await;
    assert_eq!(succeeds(probe("shop.Cart", port).await).detail, "gRPC SERVING");
}

#[tokio::test]
async fn another_status_is_wrong() {
    let port = answering(&[0, 0, 0, 0, 2, 8, 2], "0").await;
    fails(probe("shop.Cart", port).await, FailureKind::Wrong, "gRPC NOT_SERVING, expected SERVING");
    let port = answering(&[0, 0, 0, 0, 0], "0").await;
    fails(probe("shop.Cart", port).await, FailureKind::Wrong, "gRPC UNKNOWN, expected SERVING");
    let port = answering(&[0, 0, 0, 0, 3, 8, 1], "0").await;
    let why = r#"gRPC message "\x00\x00\x00\x00\x03\x08\x01" is no HealthCheckResponse"#;
    fails(probe("shop.Cart", port).await, FailureKind::Wrong, why);
}

#[tokio::test]
async fn an_error_without_message_is_named() {
    let port = serve(|client: Client| async move {
        let mut connection = h2::server::handshake(client.stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let response = Response::builder().header("grpc-status", "5").header("grpc-message", "unknown service");
            respond.send_response(response.body(()).unwrap(), true).unwrap();
        }
    })
    .await;
    fails(probe("", port).await, FailureKind::Wrong, r#"gRPC status 5 (NOT_FOUND): "unknown service""#);
}

#[tokio::test]
async fn a_server_that_never_answers_hangs() {
    let port = serve(Client::linger).await;
    fails(hurried_probe("", port).await, FailureKind::Hung, HUNG);
}

#[test]
fn a_request_names_its_service() {
    assert_eq!(request_message("").unwrap().as_ref(), [0, 0, 0, 0, 0]);
    assert_eq!(request_message("ab").unwrap().as_ref(), [0, 0, 0, 0, 4, 10, 2, b'a', b'b']);
    let long = request_message(&"x".repeat(300)).unwrap();
    assert_eq!((&long[..8], long.len()), ([0, 0, 0, 1, 0x2f, 10, 0xac, 2].as_slice(), 308));
}

#[test]
fn a_response_is_read_past_fields_that_are_new() {
    for (message, status) in [
        (vec![8, 1], Some(1)),
        (vec![], Some(0)),
        (vec![18, 2, 8, 9, 8, 3], Some(3)),
        (vec![16, 0x80, 1, 8, 1], Some(1)),
        (vec![8, 0x80], None),
        (vec![18, 9, 8, 1], None),
        (vec![13, 0, 0, 0, 0], None),
        ([vec![8], vec![0xff; 11]].concat(), None),
    ] {
        let body = [vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()], message].concat();
        assert_eq!(status_of(&body), status, "{body:?}");
    }
    assert_eq!(status_of(&[0, 0, 0]), None);
    assert_eq!(status_of(&[1, 0, 0, 0, 2, 8, 1]), None, "compressed");
}

async fn probe(service: &str, port: u16) -> Outcome {
    ask(&spec(Probe::Grpc { service: service.into(), tls: None }, port)).await
}

async fn hurried_probe(service: &str, port: u16) -> Outcome {
    ask(&hurried(Probe::Grpc { service: service.into(), tls: None }, port)).await
}

/// A server that is asked about `shop.Cart`, and answers with a message and a status.
async fn answering(message: &'static [u8], status: &'static str) -> u16 {
    serve(move |client: Client| async move {
        let mut connection = h2::server::handshake(client.stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let (head, mut body) = request.into_parts();
            assert_eq!((head.uri.path(), head.headers[TE].to_str().unwrap()), (PATH, "trailers"));
            // The request's body comes by the same connection, so whoever reads it has to drive that, too.
            let asked = tokio::select! {
                asked = body.data() => asked.unwrap().unwrap(),
                _ = connection.accept() => panic!("the connection ends"),
            };
            assert_eq!(&asked[5..], b"\x0a\x09shop.Cart");
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(message), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static(status));
            stream.send_trailers(trailers).unwrap();
        }
    })
    .await
}
