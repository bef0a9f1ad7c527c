//! `grpc`, against a server of the test's own that says what the test wants.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use h2::server;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Response};

use fairway::playground::Lab;

use super::servers::at;
use super::{Checked, await_down, await_up, fairway, one_backend};

const SERVING: u8 = 1;
const NOT_SERVING: u8 = 2;
/// No status, but an error: the server does not know the service.
const UNKNOWN: u8 = 99;

#[test]
fn grpc_is_up_while_it_says_serving() {
    let lab = one_backend();
    let status = Arc::new(AtomicU8::new(SERVING));
    serve(&lab, Arc::clone(&status));
    let fairway = fairway(&lab, &[Checked::new("cart", 50051, "type = \"grpc\"\ngrpc_service = \"shop.Cart\"")]);
    await_up(&fairway, "cart", "gRPC SERVING");
    status.store(NOT_SERVING, Ordering::Relaxed);
    await_down(&fairway, "cart", "gRPC NOT_SERVING, expected SERVING");
    status.store(UNKNOWN, Ordering::Relaxed);
    await_down(&fairway, "cart", "gRPC status 5 (NOT_FOUND): \"unknown service\"");
    status.store(SERVING, Ordering::Relaxed);
    await_up(&fairway, "cart", "gRPC SERVING");
}

/// Until the test's process ends.
fn serve(lab: &Lab, status: Arc<AtomicU8>) {
    let listener = lab.backend(0).run(|| TcpListener::bind(at(50051))).expect("the namespace is there");
    let listener = listener.expect("the port is free");
    listener.set_nonblocking(true).expect("a socket can be made non-blocking");
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime is there");
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(treat(client, Arc::clone(&status)));
            }
        });
    });
}

/// Answers each request of a client, if the client waits for it.
async fn treat(client: tokio::net::TcpStream, status: Arc<AtomicU8>) {
    let Ok(mut connection) = server::handshake(client).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        let status = status.load(Ordering::Relaxed);
        if status == UNKNOWN {
            let response = Response::builder().header("grpc-status", "5").header("grpc-message", "unknown service");
            let _ = respond.send_response(response.body(()).expect("the fields are valid"), true);
            continue;
        }
        let Ok(mut stream) = respond.send_response(Response::new(()), false) else { return };
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let _ = stream.send_data(Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]), false);
        let _ = stream.send_trailers(trailers);
    }
}
