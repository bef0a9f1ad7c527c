//! Asking the daemon's loop on behalf of a client, and saying no in a way the CLI can pass on: every refusal is a JSON
//! [`Problem`] that carries the exit code.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, HttpBody as _, to_bytes};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::controller::view::{NodeStatus, Problem, Status};
use crate::runtime::request::Request;

/// Largest request body, in octets: a configuration of every service and backend the tables hold, twice over.
pub const MOST_BODY: usize = 64 << 20;
/// For questions. The loop answers them in milliseconds; a scrape must not wait for ever on one that hangs.
pub(super) const QUESTION: Duration = Duration::from_secs(10);
/// For commands, which may fill tables of many services.
pub(super) const COMMAND: Duration = Duration::from_secs(60);

/// The way to the daemon's loop.
#[derive(Clone)]
pub(super) struct Daemon {
    pub requests: mpsc::Sender<Request>,
    /// For reading a request's body.
    pub body_patience: Duration,
}

/// Why there is no answer.
pub(super) struct Refusal {
    status: StatusCode,
    problem: Problem,
}

impl Daemon {
    /// The state of everything.
    pub async fn status(&self) -> Result<Box<Status>, Refusal> {
        self.ask(QUESTION, Request::Status).await
    }

    /// The state of the node.
    pub async fn node(&self) -> Result<NodeStatus, Refusal> {
        self.ask(QUESTION, Request::Node).await
    }

    /// Sends a request and waits for its answer.
    pub async fn ask<T>(
        &self,
        patience: Duration,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Refusal> {
        let (sender, answer) = oneshot::channel();
        let exchange = async {
            self.requests.send(request(sender)).await.map_err(|_| Refusal::stopping())?;
            answer.await.map_err(|_| Refusal::stopping())
        };
        timeout(patience, exchange).await.map_err(|_| Refusal::no_answer(patience))?
    }

    /// Reads a request's JSON. An empty body reads as `null`, so that what is optional need not be sent.
    pub async fn read<T: DeserializeOwned>(&self, body: Body) -> Result<T, Refusal> {
        let too_large = || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, 2, "the request's body is larger than 64 MiB");
        // Of a body that announces its size none needs to be read to refuse it.
        if body.size_hint().lower() > MOST_BODY as u64 {
            return Err(too_large());
        }
        let octets = timeout(self.body_patience, to_bytes(body, MOST_BODY))
            .await
            .map_err(|_| Refusal::new(StatusCode::REQUEST_TIMEOUT, 1, "the request's body did not arrive in time"))?
            .map_err(|_| too_large())?; // or broken off, and then nobody reads this
        let json: &[u8] = if octets.is_empty() { b"null" } else { &octets };
        serde_json::from_slice(json)
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, 2, format!("the request's body: {error}")))
    }
}

impl Refusal {
    pub fn new(status: StatusCode, exit: u8, message: impl Into<String>) -> Self {
        Self { status, problem: Problem { exit, message: message.into() } }
    }

    fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, 3, "the daemon is stopping")
    }

    fn no_answer(patience: Duration) -> Self {
        let message = format!("the daemon's loop did not answer within {} s; its log may say why", patience.as_secs());
        Self::new(StatusCode::SERVICE_UNAVAILABLE, 3, message)
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let status = match problem.exit {
            2 => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, problem }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.problem)).into_response()
    }
}
