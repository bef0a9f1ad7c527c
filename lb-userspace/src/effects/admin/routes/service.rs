//! Services that are added at run time.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};

use super::super::ask::{COMMAND, Daemon, QUESTION, Refusal};
use crate::config::{Change, LayerOrder};
use crate::controller::view::{PlanReport, Problem, RuntimeServices};
use crate::runtime::request::Request;

pub(super) async fn order(
    State(daemon): State<Daemon>,
    Path(action): Path<String>,
    body: Body,
) -> Result<Json<PlanReport>, Refusal> {
    let order = read(&action, daemon.read(body).await?)?;
    let plan = daemon.ask(COMMAND, |answer| Request::Services(order, answer)).await??;
    Ok(Json(plan))
}

pub(super) async fn list(State(daemon): State<Daemon>) -> Result<Json<RuntimeServices>, Refusal> {
    Ok(Json(daemon.ask(QUESTION, Request::RuntimeServices).await?))
}

fn read(action: &str, change: Option<Change>) -> Result<LayerOrder, Problem> {
    let refused = |message: &str| Err(Problem { exit: 2, message: message.to_owned() });
    let takes_away = |change: &Change| !change.unset.is_empty() || !change.remove_backends.is_empty();
    match (action, change) {
        ("add", Some(change)) if takes_away(&change) => refused("a new service has nothing to take away"),
        ("add", Some(change)) => Ok(LayerOrder::Add(change)),
        ("edit", Some(change)) => Ok(LayerOrder::Edit(change)),
        ("remove", Some(change)) if Change { name: change.name.clone(), ..Change::default() } == change => {
            Ok(LayerOrder::Remove { name: change.name })
        }
        ("remove", Some(_)) => refused("`remove` takes the name of a service, and nothing else"),
        ("clear", None) => Ok(LayerOrder::Clear),
        ("clear", Some(_)) => refused("`clear` takes nothing: it is for all services that were added at run time"),
        ("add" | "edit" | "remove", None) => refused(r#"say which service: {"name": NAME}"#),
        _ => refused("services can be told: add, edit, remove, clear"),
    }
}
