//! Orders to virtual routers, and the event stream.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Deserialize;

use super::super::ask::{COMMAND, Daemon, QUESTION, Refusal};
use super::encoded;
use crate::controller::events::{CAPACITY, Line};
use crate::controller::view::{OrderReport, Problem};
use crate::effects::events::{EventStream, Follower};
use crate::runtime::request::{Order, OrderAction, OrderBody, Request};

/// Events that are read from the store at once; in between others may have it.
const PAGE: usize = 256;

pub(super) async fn resign(daemon: State<Daemon>, body: Body) -> Result<Json<OrderReport>, Refusal> {
    order(daemon, OrderAction::Resign, body).await
}

pub(super) async fn resume(daemon: State<Daemon>, body: Body) -> Result<Json<OrderReport>, Refusal> {
    order(daemon, OrderAction::Resume, body).await
}

async fn order(State(daemon): State<Daemon>, action: OrderAction, body: Body) -> Result<Json<OrderReport>, Refusal> {
    let router = match daemon.read(body).await? {
        OrderBody { router: Some(name), all: false } => Some(name),
        OrderBody { router: None, all: true } => None,
        OrderBody { router: None, all: false } | OrderBody { router: Some(_), all: true } => {
            let message = r#"say which virtual router: {"router": NAME}, or {"all": true}"#;
            return Err(Problem { exit: 2, message: message.to_owned() }.into());
        }
    };
    let report = daemon.ask(COMMAND, |answer| Request::Vrrp(Order { action, router }, answer)).await??;
    Ok(Json(report))
}

/// Which events.
#[derive(Deserialize)]
pub(super) struct Wanted {
    /// Those after this number; 0: from the oldest on.
    #[serde(default)]
    since: u64,
    /// So many at most.
    #[serde(default = "all")]
    limit: usize,
}

fn all() -> usize {
    CAPACITY
}

/// The events there are, one a line.
pub(super) async fn events(
    State(daemon): State<Daemon>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Refusal> {
    let (events, wanted) = stream_and_wish(&daemon, wanted).await?;
    let mut lines = Vec::new();
    for line in events.since(wanted.since, wanted.limit.min(CAPACITY)).lines() {
        lines.extend(encoded(&line));
    }
    Ok(as_lines(Body::from(lines)))
}

/// The same, and then every event as it happens, until the client goes away.
pub(super) async fn follow(
    State(daemon): State<Daemon>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Refusal> {
    let (events, wanted) = stream_and_wish(&daemon, wanted).await?;
    let following = Following { follower: events.follow(wanted.since), waiting: VecDeque::new() };
    Ok(as_lines(Body::from_stream(stream::unfold(following, Following::next))))
}

async fn stream_and_wish(
    daemon: &Daemon,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<(EventStream, Wanted), Refusal> {
    let Query(wanted) = wanted.map_err(|error| {
        Refusal::new(StatusCode::BAD_REQUEST, 2, format!("`since` and `limit` are numbers: {error}"))
    })?;
    Ok((daemon.ask(QUESTION, Request::Events).await?, wanted))
}

fn as_lines(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

struct Following {
    follower: Follower,
    waiting: VecDeque<Line>,
}

impl Following {
    async fn next(mut self) -> Option<(Result<Vec<u8>, Infallible>, Self)> {
        if self.waiting.is_empty() {
            self.waiting.extend(self.follower.next(PAGE).await.lines());
        }
        let line = self.waiting.pop_front()?;
        Some((Ok(encoded(&line)), self))
    }
}
