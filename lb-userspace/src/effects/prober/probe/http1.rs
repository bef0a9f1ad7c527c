//! One request and its answer over HTTP/1.1 (RFC 9112), by hyper.

use std::error::Error as _;
use std::io;
use std::pin::pin;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::MOST_READ;
use super::attempt::Attempt;
use super::connection::Connection;
use super::exchange::Answer;
use crate::health::verdict::{Failure, FailureKind};

/// Sends a request in origin form and reads the answer, of its body at most [`MOST_READ`] octets.
pub(super) async fn exchange(
    attempt: &Attempt<'_>,
    connection: Connection,
    request: Request<Bytes>,
) -> Result<Answer, Failure> {
    let failure = |error: hyper::Error| failure(attempt, &error);
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MOST_READ);
    let (mut sender, driver) = builder.handshake(TokioIo::new(connection)).await.map_err(failure)?;
    let mut driver = pin!(driver);
    let mut answer = pin!(async move {
        let response = sender.send_request(request.map(Full::new)).await.map_err(failure)?;
        read(attempt, response).await.map_err(failure)
    });
    let mut driven = false;
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            // Whatever ended it, the answer knows: it may be complete.
            _ = &mut driver, if !driven => driven = true,
        }
    }
}

async fn read(attempt: &Attempt<'_>, response: Response<Incoming>) -> Result<Answer, hyper::Error> {
    attempt.received(1);
    let (head, mut body) = response.into_parts();
    let mut answer = Answer { status: head.status.as_u16(), headers: head.headers, ..Answer::default() };
    while !answer.is_full() {
        let Some(frame) = body.frame().await else { break };
        if let Ok(data) = frame?.into_data() {
            attempt.received(data.len());
            answer.take(&data);
        }
    }
    Ok(answer)
}

fn failure(attempt: &Attempt<'_>, error: &hyper::Error) -> Failure {
    if error.is_incomplete_message() {
        return attempt.broken(&io::ErrorKind::UnexpectedEof.into());
    }
    match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        Some(error) => attempt.broken(error),
        None => Failure::new(FailureKind::Wrong, format!("the answer is not HTTP/1.1: {error}")),
    }
}
