//! One request and its answer over HTTP/2 (RFC 9113), by h2, which hyper is made of: it needs no task of its own, so a
//! probe that is dropped is gone.

use std::io;
use std::pin::pin;

use h2::client::{Builder, ResponseFuture};
use hyper::Request;
use hyper::body::Bytes;

use super::attempt::Attempt;
use super::connection::Connection;
use super::exchange::Answer;
use crate::health::verdict::{Failure, FailureKind};

/// Header fields of an answer may take so many octets.
const MOST_HEADERS: u32 = 64 * 1024;

/// Sends a request and reads the answer, of its body at most [`MOST_READ`](super::MOST_READ) octets.
pub(super) async fn exchange(
    attempt: &Attempt<'_>,
    connection: Connection,
    request: Request<Bytes>,
) -> Result<Answer, Failure> {
    let failure = |error: h2::Error| failure(attempt, error);
    let mut builder = Builder::new();
    builder.enable_push(false).max_header_list_size(MOST_HEADERS);
    let (sender, driver) = builder.handshake::<_, Bytes>(connection).await.map_err(failure)?;
    let mut driver = pin!(driver);
    let mut answer = pin!(async move {
        let mut sender = sender.ready().await?;
        let (head, body) = request.into_parts();
        let (response, mut stream) = sender.send_request(Request::from_parts(head, ()), body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(body, true)?;
        }
        read(attempt, response).await
    });
    let mut ended = None;
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return answer.map_err(|error| match ended {
                // What ended the connection says more than that the stream ended with it.
                Some(Ok(())) if !is_told(&error) => attempt.broken(&io::ErrorKind::UnexpectedEof.into()),
                Some(Err(cause)) if !is_told(&error) => failure(cause),
                _ => failure(error),
            }),
            end = &mut driver, if ended.is_none() => ended = Some(end),
        }
    }
}

/// Whether the server itself said so, by resetting the stream or going away.
fn is_told(error: &h2::Error) -> bool {
    error.is_remote() && error.reason().is_some()
}

async fn read(attempt: &Attempt<'_>, response: ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, mut body) = response.await?.into_parts();
    attempt.received(1);
    let mut answer = Answer { status: head.status.as_u16(), headers: head.headers, ..Answer::default() };
    while !answer.is_full() {
        let Some(data) = body.data().await else { break };
        let data = data?;
        attempt.received(data.len());
        body.flow_control().release_capacity(data.len())?;
        answer.take(&data);
    }
    if !answer.is_full() {
        answer.trailers = body.trailers().await?.unwrap_or_default();
    }
    Ok(answer)
}

fn failure(attempt: &Attempt<'_>, error: h2::Error) -> Failure {
    if error.is_io() {
        return attempt.broken(&error.into_io().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()));
    }
    let why = match error.reason() {
        Some(reason) if is_told(&error) => format!("HTTP/2 request refused: {reason}"),
        _ => format!("the answer is not HTTP/2: {error}"),
    };
    Failure::new(FailureKind::Wrong, why)
}
