//! What can be asked where. The TCP side gets the questions without a body; everything that takes one (a file, a packet)
//! or changes something is for the Unix socket alone, whose mode says who may.

mod backend;
mod service;
mod vrrp;

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::stream;
use tokio::sync::mpsc;

use super::ask::{COMMAND, Daemon, QUESTION, Refusal};
use super::metrics;
use crate::controller::flows::{FlowQuery, FlowsReport};
use crate::controller::view::{Explanation, PlanReport, Status};
use crate::runtime::request::{Request, TraceEvent};

/// One page, without anything from elsewhere.
const PAGE: &str = include_str!("page.html");
/// The page's own script and style run, and nothing else does, should a name in it ever be taken for markup.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'";

/// For the TCP listener.
pub(super) fn read_only(daemon: Daemon) -> Router {
    questions().fallback(unknown).method_not_allowed_fallback(wrong_method).with_state(daemon)
}

/// For the Unix socket.
pub(super) fn commands(daemon: Daemon) -> Router {
    questions()
        .route("/api/v1/diff", post(diff))
        .route("/api/v1/reload", post(reload))
        .route("/api/v1/explain", post(explain))
        .route("/api/v1/flows", post(flows))
        .route("/api/v1/trace", post(trace))
        .route("/api/v1/vrrp/resign", post(vrrp::resign))
        .route("/api/v1/vrrp/resume", post(vrrp::resume))
        .route("/api/v1/backend/{action}", post(backend::order))
        .route("/api/v1/service", get(service::list))
        .route("/api/v1/service/{action}", post(service::order))
        .route("/api/v1/events/follow", get(vrrp::follow))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(daemon)
}

fn questions() -> Router<Daemon> {
    Router::new()
        .route("/", get(page))
        .route("/api/v1/status", get(status))
        .route("/api/v1/events", get(vrrp::events))
        .route("/metrics", get(scrape))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
}

async fn page() -> impl IntoResponse {
    ([(header::CONTENT_SECURITY_POLICY, PAGE_POLICY)], Html(PAGE))
}

async fn status(State(daemon): State<Daemon>) -> Result<Json<Box<Status>>, Refusal> {
    Ok(Json(daemon.status().await?))
}

async fn scrape(State(daemon): State<Daemon>) -> Result<Response, Refusal> {
    let status = daemon.status().await?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::text(*status)).into_response())
}

/// Alive is a daemon whose loop answers, whatever it answers.
async fn livez(State(daemon): State<Daemon>) -> Result<&'static str, Refusal> {
    daemon.node().await?;
    Ok("alive\n")
}

async fn readyz(State(daemon): State<Daemon>) -> Result<Response, Refusal> {
    let node = daemon.node().await?;
    if node.ready {
        return Ok("ready\n".into_response());
    }
    let why = node.not_ready.unwrap_or_else(|| "no reason given".to_owned());
    Ok((StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response())
}

async fn diff(State(daemon): State<Daemon>, body: Body) -> Result<Json<PlanReport>, Refusal> {
    let file = daemon.read(body).await?;
    let plan = daemon.ask(COMMAND, |answer| Request::Diff(file, answer)).await??;
    Ok(Json(plan))
}

async fn reload(State(daemon): State<Daemon>, body: Body) -> Result<Json<PlanReport>, Refusal> {
    let file = daemon.read(body).await?;
    let plan = daemon.ask(COMMAND, |answer| Request::Reload(file, answer)).await??;
    Ok(Json(plan))
}

async fn explain(State(daemon): State<Daemon>, body: Body) -> Result<Json<Explanation>, Refusal> {
    let query = daemon.read(body).await?;
    let explanation = daemon.ask(QUESTION, |answer| Request::Explain(query, answer)).await??;
    Ok(Json(explanation))
}

/// Not for the TCP side: it takes a walk over every table, and names clients.
async fn flows(State(daemon): State<Daemon>, body: Body) -> Result<Json<FlowsReport>, Refusal> {
    let query: Option<FlowQuery> = daemon.read(body).await?;
    let query = query.unwrap_or_default();
    let report = daemon.ask(COMMAND, |answer| Request::Flows(query, answer)).await??;
    Ok(Json(report))
}

/// Streams events, one JSON object a line. A client that goes away ends the trace: its receiver is dropped.
async fn trace(State(daemon): State<Daemon>, body: Body) -> Result<Response, Refusal> {
    let query = daemon.read(body).await?;
    let events = daemon.ask(COMMAND, |answer| Request::Trace(query, answer)).await??;
    let lines = stream::unfold(events, next_line);
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

type Line = Result<Vec<u8>, Infallible>;

async fn next_line(mut events: mpsc::Receiver<TraceEvent>) -> Option<(Line, mpsc::Receiver<TraceEvent>)> {
    let event = events.recv().await?;
    Some((Ok(encoded(&event)), events))
}

/// As one line of JSON.
fn encoded(value: &impl serde::Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("strings, numbers, lists and maps of strings only");
    line.push(b'\n');
    line
}

async fn unknown() -> Refusal {
    let message = "there is no such page here; commands (diff, reload, explain, flows, trace, vrrp, backend, service) are served at the Unix socket only";
    Refusal::new(StatusCode::NOT_FOUND, 2, message)
}

async fn wrong_method() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, 2, "questions are asked with GET, commands with POST")
}
