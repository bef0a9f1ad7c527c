//! HTTP to the daemon over its Unix socket, one connection a request, and what to say when nobody is there.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::failure::{FAILURE, Failure, PERMISSION, UNREACHABLE};
use crate::controller::view::Problem;

/// A little longer than the daemon gives itself for its longest command, so that its own words arrive first.
const PATIENCE: Duration = Duration::from_secs(70);
/// Longest part of a line of a stream: a packet of 64 KiB as a list of numbers, and some.
const MOST_LINE: usize = 1 << 20;

/// Runs a command that waits for things.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(FAILURE, format!("starting: {error}")))?;
    runtime.block_on(work)
}

/// The way to a daemon.
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// To the daemon that listens there.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Asks a question.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.answer(Method::GET, path, Bytes::new()).await
    }

    /// Gives a command.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        self.answer(Method::POST, path, encode(body)).await
    }

    /// Gives a command that is answered line by line.
    pub async fn lines(&self, path: &str, body: &impl Serialize) -> Result<Lines, Failure> {
        self.stream(Method::POST, path, encode(body)).await
    }

    /// Asks a question that is answered line by line.
    pub async fn get_lines(&self, path: &str) -> Result<Lines, Failure> {
        self.stream(Method::GET, path, Bytes::new()).await
    }

    async fn stream(&self, method: Method, path: &str, body: Bytes) -> Result<Lines, Failure> {
        let response = self.within(self.exchange(method, path, body)).await?;
        Ok(Lines { body: response.into_body(), read: Vec::new() })
    }

    async fn answer<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, Failure> {
        let exchange = async {
            let response = self.exchange(method, path, body).await?;
            let octets = response.into_body().collect().await.map_err(|error| self.broken(&error))?.to_bytes();
            serde_json::from_slice(&octets).map_err(|error| self.broken(&error))
        };
        self.within(exchange).await
    }

    async fn within<T>(&self, exchange: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        timeout(PATIENCE, exchange).await.map_err(|_| {
            let message = format!("the daemon at {} does not answer; its log may say why", self.socket.display());
            Failure::new(UNREACHABLE, message)
        })?
    }

    /// Sends a request; an answer that is not a success is the daemon's [`Problem`].
    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        tokio::spawn(connection); // what goes wrong with it comes back from the request too
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "fairway")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .expect("paths are made of constants and numbers here, header values of constants");
        let response = sender.send_request(request).await.map_err(|error| self.broken(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let octets = response.into_body().collect().await.map_err(|error| self.broken(&error))?.to_bytes();
        Err(match serde_json::from_slice::<Problem>(&octets) {
            Ok(problem) => problem.into(),
            Err(_) => Failure::new(FAILURE, format!("the daemon at {} said {status}", self.socket.display())),
        })
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let socket = self.socket.display();
        match error.kind() {
            ErrorKind::PermissionDenied => {
                Failure::new(PERMISSION, format!("no permission for {socket}; try again as root (sudo)"))
            }
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                let hint = "is it running? (systemctl status fairway; if its admin.socket is elsewhere: --socket PATH)";
                Failure::new(UNREACHABLE, format!("no daemon listens at {socket}; {hint}"))
            }
            _ => Failure::new(UNREACHABLE, format!("cannot reach the daemon at {socket}: {error}")),
        }
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> Failure {
        let message = format!("the daemon at {} did not answer as expected: {error}", self.socket.display());
        Failure::new(UNREACHABLE, message)
    }
}

fn encode(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body).expect("strings, numbers and lists only").into()
}

/// An answer that arrives line by line.
pub struct Lines {
    body: Incoming,
    read: Vec<u8>,
}

impl Lines {
    /// The next one; `None` when the daemon has ended the answer.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        let broken = |what: &dyn std::fmt::Display| Failure::new(FAILURE, format!("the daemon's answer: {what}"));
        loop {
            if let Some(end) = self.read.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return serde_json::from_slice(&line).map(Some).map_err(|error| broken(&error));
            }
            if self.read.len() > MOST_LINE {
                return Err(broken(&"a line is too long"));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(broken(&error)),
                Some(Ok(frame)) => self.read.extend(frame.into_data().unwrap_or_default()),
            }
        }
    }
}
