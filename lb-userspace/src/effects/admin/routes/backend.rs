//! Orders to backends.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};

use super::super::ask::{COMMAND, Daemon, Refusal};
use crate::controller::view::{BackendReport, Problem};
use crate::health::pool::{Action, Order};
use crate::runtime::request::{BackendBody, Request};

pub(super) async fn order(
    State(daemon): State<Daemon>,
    Path(action): Path<String>,
    body: Body,
) -> Result<Json<BackendReport>, Refusal> {
    let order = read(&action, daemon.read(body).await?)?;
    let report = daemon.ask(COMMAND, |answer| Request::Backend(order, answer)).await??;
    Ok(Json(report))
}

fn read(action: &str, body: BackendBody) -> Result<Order, Problem> {
    let refused = |message: &str| Problem { exit: 2, message: message.to_owned() };
    let BackendBody { service, backend, everywhere, weight } = body;
    let action = match (action, weight) {
        ("weight", Some(weight)) => Action::Weight(weight),
        ("weight", None) => return Err(refused(r#"say which weight: {"weight": N}"#)),
        (_, Some(_)) => return Err(refused("a weight is for `weight` only")),
        ("drain", None) => Action::Drain,
        ("undrain", None) => Action::Undrain,
        ("disable", None) => Action::Disable,
        ("enable", None) => Action::Enable,
        ("clear", None) => Action::Clear,
        _ => return Err(refused("backends can be told: drain, undrain, disable, enable, weight, clear")),
    };
    match (service, backend, everywhere, action) {
        (Some(service), Some(backend), None, action) => Ok(Order::Backend { service, backend, action }),
        (None, None, Some(address), Action::Drain) => Ok(Order::DrainEverywhere(address)),
        (None, None, Some(address), Action::Undrain | Action::Clear) => Ok(Order::UndrainEverywhere(address)),
        (None, None, Some(_), Action::Disable | Action::Enable | Action::Weight(_)) => {
            Err(refused("everywhere at once a backend can be drained and undrained"))
        }
        _ => Err(refused(r#"say which backend: {"service": NAME, "backend": NAME}, or {"everywhere": ADDRESS}"#)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(json: &str) -> BackendBody {
        serde_json::from_str(json).unwrap()
    }

    const WEB1: &str = r#"{"service": "web", "backend": "web1"}"#;

    #[test]
    fn an_order_is_for_one_backend_or_one_address() {
        let order = |action| Order::Backend { service: "web".into(), backend: "web1".into(), action };
        for (word, action) in [
            ("drain", Action::Drain),
            ("undrain", Action::Undrain),
            ("disable", Action::Disable),
            ("enable", Action::Enable),
            ("clear", Action::Clear),
        ] {
            assert_eq!(read(word, body(WEB1)), Ok(order(action)));
        }
        let weighted = r#"{"service": "web", "backend": "web1", "weight": 7}"#;
        assert_eq!(read("weight", body(weighted)), Ok(order(Action::Weight(7))));
        let everywhere = r#"{"everywhere": "10.0.0.11"}"#;
        let address = "10.0.0.11".parse().unwrap();
        assert_eq!(read("drain", body(everywhere)), Ok(Order::DrainEverywhere(address)));
        assert_eq!(read("undrain", body(everywhere)), Ok(Order::UndrainEverywhere(address)));
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        for (word, json) in [
            ("drain", "{}"),
            ("drain", r#"{"service": "web"}"#),
            ("drain", r#"{"service": "web", "backend": "web1", "everywhere": "10.0.0.1"}"#),
            ("drain", r#"{"service": "web", "backend": "web1", "weight": 1}"#),
            ("weight", WEB1),
            ("disable", r#"{"everywhere": "10.0.0.1"}"#),
            ("explode", WEB1),
        ] {
            assert_eq!(read(word, body(json)).map_err(|problem| problem.exit), Err(2), "{word} {json}");
        }
    }
}
