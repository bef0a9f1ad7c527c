//! What is wrong with a backend that stays silent at the service's address: is it dead, or does only the service's address not
//! live there? While a steered probe waits for its answer, the backend's own address is asked too, by a TCP connection. Any
//! answer to that, a refusal as well, says that the host is alive.
//!
//! Asked only when half of the probe's time has passed in silence, so a backend that answers never sees it, and a dead
//! one is found out no later.

use std::net::IpAddr;
use std::pin::pin;

use tokio::time::sleep;

use super::probe::Prepared;
use super::route::{self, Route};
use crate::config::Wrapping;
use crate::health::spec::{Spec, Target, Way};
use crate::health::verdict::{Failure, FailureKind, Outcome};

/// Where nothing else is asked at a port: any will do, a refusal is an answer.
const DISCARD: u16 = 9;

/// Makes a probe; of a silence it says what else is known.
pub async fn run(prepared: &Prepared, spec: &Spec, route: &Route) -> Outcome {
    let Way::Steered { service, wrapping } = spec.target.way else { return prepared.run(spec, route).await };
    if !route.is_steered() {
        return prepared.run(spec, route).await;
    }
    let mut probe = pin!(prepared.run(spec, route));
    let doubt = async {
        sleep(spec.timing.timeout / 2).await;
        is_alive(&spec.target).await
    };
    let mut doubt = pin!(doubt);
    let mut alive = None;
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut probe => break outcome,
            answer = &mut doubt, if alive.is_none() => alive = Some(answer),
        }
    };
    Outcome {
        result: outcome.result.map_err(|failure| explain(failure, &spec.target, service, wrapping, alive)),
        ..outcome
    }
}

/// Whether the backend's own address answers at all; waits for as long as it may.
async fn is_alive(target: &Target) -> bool {
    let port = if target.port == 0 { DISCARD } else { target.port };
    match route::tcp(&Route::plain(&Target { port, way: Way::Plain, ..*target })).await {
        Ok(_) => true,
        Err(trouble) => trouble.failure(target).kind == FailureKind::Refused,
    }
}

fn explain(
    failure: Failure,
    target: &Target,
    service: IpAddr,
    wrapping: Option<Wrapping>,
    alive: Option<bool>,
) -> Failure {
    let Failure { kind: FailureKind::Silent, why } = failure else { return failure };
    let backend = target.address;
    match alive {
        // Not our own uplink, then: the backend is there.
        Some(true) => {
            let length = if service.is_ipv4() { 32 } else { 128 };
            let mut why = format!(
                "{why}: {service} is not answered by {backend}, though {backend} itself answers: does it hold the service's \
                 address (ip addr add {service}/{length} dev lo)?"
            );
            if let Some(wrapping) = wrapping {
                let encapsulation = wrapping.encapsulation.name();
                let port = wrapping.port().map(|port| format!(" at UDP port {port}")).unwrap_or_default();
                why += &format!(" Does it take packets out of their {encapsulation} tunnel{port}?");
            }
            Failure::new(FailureKind::Wrong, why)
        }
        Some(false) | None => Failure::new(FailureKind::Silent, format!("{why}; nor does {backend} itself answer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Encapsulation;

    fn target() -> Target {
        let service = "203.0.113.10".parse().expect("literal");
        let way = Way::Steered { service, wrapping: None };
        Target { address: "10.0.0.11".parse().expect("literal"), port: 80, way }
    }

    fn explained(kind: FailureKind, alive: Option<bool>) -> Failure {
        explained_behind(None, kind, alive)
    }

    fn explained_behind(wrapping: Option<Wrapping>, kind: FailureKind, alive: Option<bool>) -> Failure {
        let service = target().asked();
        explain(Failure::new(kind, "connect timed out after 1.0 s"), &target(), service, wrapping, alive)
    }

    #[test]
    fn a_tunnels_backend_that_answers_at_its_own_address_may_not_unwrap() {
        let told = |encapsulation, port| {
            explained_behind(Some(Wrapping { encapsulation, port }), FailureKind::Silent, Some(true)).why
        };
        let (gue, ipip) = (told(Encapsulation::Gue, Some(6081)), told(Encapsulation::Ipip, None));
        assert!(gue.ends_with("dev lo)? Does it take packets out of their gue tunnel at UDP port 6081?"), "{gue}");
        assert!(ipip.ends_with("dev lo)? Does it take packets out of their ipip tunnel?"), "{ipip}");
    }

    #[test]
    fn a_backend_that_answers_at_its_own_address_lacks_the_services() {
        let Failure { kind, why } = explained(FailureKind::Silent, Some(true));
        assert_eq!(kind, FailureKind::Wrong, "it is no trouble of our uplink");
        assert_eq!(
            why,
            "connect timed out after 1.0 s: 203.0.113.10 is not answered by 10.0.0.11, though 10.0.0.11 itself answers: \
             does it hold the service's address (ip addr add 203.0.113.10/32 dev lo)?"
        );
    }

    #[test]
    fn a_backend_that_answers_nowhere_may_be_dead_or_our_uplink_is() {
        for alive in [Some(false), None] {
            let Failure { kind, why } = explained(FailureKind::Silent, alive);
            assert_eq!(kind, FailureKind::Silent);
            assert_eq!(why, "connect timed out after 1.0 s; nor does 10.0.0.11 itself answer");
        }
    }

    #[test]
    fn what_is_no_silence_explains_itself() {
        let failure = explained(FailureKind::Refused, Some(true));
        assert_eq!(failure, Failure::new(FailureKind::Refused, "connect timed out after 1.0 s"));
    }
}
