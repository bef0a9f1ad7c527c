//! `grpc.health.v1.Health/Check` says SERVING: one request and its answer over HTTP/2, two messages of one field each.
//! Protocol: gRPC over HTTP/2, and the health checking protocol, of the gRPC project.

use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, TE};
use hyper::http::uri::{Authority, PathAndQuery, Scheme, Uri};
use hyper::{HeaderMap, Method, Request};

use super::attempt::Attempt;
use super::connection::open;
use super::exchange::Answer;
use super::http2;
use super::pattern::Shown;
use super::secure::Secure;
use crate::config::check::Tls;
use crate::health::verdict::{Failure, FailureKind, Success};

const PATH: &str = "/grpc.health.v1.Health/Check";
/// A message is preceded by whether it is compressed (an octet) and its length (four).
const PREFIX: usize = 5;
/// `HealthCheckResponse.ServingStatus`
const STATUS: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const SERVING: u64 = 1;
/// `HealthCheckRequest.service`, a length-delimited field (wire type 2) with number 1.
const SERVICE_TAG: u8 = 1 << 3 | 2;
/// `HealthCheckResponse.status`, a varint (wire type 0) with number 1.
const STATUS_TAG: u64 = 1 << 3;

/// The request.
#[derive(Debug)]
pub(super) struct Grpc {
    message: Bytes,
    secure: Option<Secure>,
}

impl Grpc {
    pub(super) fn new(service: &str, tls: Option<&Tls>) -> Result<Self, String> {
        Ok(Self { message: request_message(service)?, secure: tls.map(|tls| Secure::new(tls, &[b"h2"])).transpose()? })
    }

    pub(super) async fn run(&self, attempt: &Attempt<'_>) -> Result<Success, Failure> {
        let request = self.request(attempt)?;
        let (connection, certificate_expires) = open(attempt, self.secure.as_ref()).await?;
        let answer = http2::exchange(attempt, connection, request).await?;
        judge(&answer).map_err(|why| Failure::new(FailureKind::Wrong, why))?;
        let note = self.secure.as_ref().map(|secure| secure.note(certificate_expires)).unwrap_or_default();
        Ok(Success { detail: format!("gRPC SERVING{note}"), certificate_expires, agent: None })
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request<Bytes>, Failure> {
        let local =
            |error: hyper::http::Error| Failure::new(FailureKind::Local, format!("cannot make the request: {error}"));
        let authority: Authority =
            attempt.target().to_string().parse().expect("an address with a port is an authority");
        let scheme = if self.secure.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let path = PathAndQuery::from_static(PATH);
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build().map_err(local)?;
        Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .body(self.message.clone())
            .map_err(local)
    }
}

fn request_message(service: &str) -> Result<Bytes, String> {
    let mut field = Vec::new();
    if !service.is_empty() {
        field.push(SERVICE_TAG);
        push_varint(&mut field, service.len());
        field.extend(service.as_bytes());
    }
    let length = u32::try_from(field.len()).map_err(|_| "the name of the gRPC service is too long")?;
    let mut message = vec![0];
    message.extend(length.to_be_bytes());
    message.extend(field);
    Ok(message.into())
}

/// Why an answer is not SERVING.
fn judge(answer: &Answer) -> Result<(), String> {
    if answer.status != 200 {
        return Err(format!("HTTP {}, expected gRPC", answer.status));
    }
    // An error without a message has its status in the head.
    let fields = if answer.trailers.contains_key("grpc-status") { &answer.trailers } else { &answer.headers };
    match fields.get("grpc-status").map(HeaderValue::as_bytes) {
        Some(b"0") => {}
        Some(status) => return Err(refused(status, fields)),
        None => return Err("the answer is not gRPC: no grpc-status".to_owned()),
    }
    match status_of(&answer.body) {
        Some(SERVING) => Ok(()),
        Some(status) => Err(match usize::try_from(status).ok().and_then(|status| STATUS.get(status)) {
            Some(name) => format!("gRPC {name}, expected SERVING"),
            None => format!("gRPC serving status {status}, expected SERVING"),
        }),
        None => Err(format!("gRPC message {} is no HealthCheckResponse", Shown(&answer.body))),
    }
}

fn refused(status: &[u8], fields: &HeaderMap) -> String {
    let name = match status {
        b"2" => " (UNKNOWN)",
        b"5" => " (NOT_FOUND)",
        b"7" => " (PERMISSION_DENIED)",
        b"12" => " (UNIMPLEMENTED)",
        b"14" => " (UNAVAILABLE)",
        b"16" => " (UNAUTHENTICATED)",
        _ => "",
    };
    let message = fields.get("grpc-message").map(|text| format!(": {}", Shown(text.as_bytes()))).unwrap_or_default();
    format!("gRPC status {}{name}{message}", status.escape_ascii())
}

/// The status in a response; a field that is missing is 0, and fields that are not known are skipped (of the wire types that
/// a later version may add).
fn status_of(body: &[u8]) -> Option<u64> {
    let (prefix, message) = body.split_first_chunk::<PREFIX>()?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    if prefix[0] != 0 || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    let (mut rest, mut status) = (message, 0);
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        match tag & 7 {
            0 => {
                let value = varint(&mut rest)?;
                if tag == STATUS_TAG {
                    status = value;
                }
            }
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            _ => return None,
        }
    }
    Some(status)
}

/// Seven bits an octet, the lowest first; the top bit says that more follow.
fn push_varint(message: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        message.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

/// The same, read.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (octet, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests;
