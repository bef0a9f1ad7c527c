//! Lines or octets are sent and expected in turns: Redis' PING, MySQL's greeting, whatever speaks first or after a word.

use super::attempt::Attempt;
use super::connection::open;
use super::conversation::Conversation;
use super::pattern::Matcher;
use super::secure::Secure;
use crate::config::check::{ExpectStep, Tls};
use crate::health::verdict::{Failure, Success};

/// Compiled steps.
#[derive(Debug)]
pub(super) struct Expect {
    steps: Vec<Step>,
    secure: Option<Secure>,
}

#[derive(Debug)]
enum Step {
    Send(Vec<u8>),
    Expect(Matcher),
}

impl Expect {
    pub(super) fn new(steps: &[ExpectStep], tls: Option<&Tls>) -> Result<Self, String> {
        let steps = steps.iter().map(Step::new).collect::<Result<_, _>>()?;
        Ok(Self { steps, secure: tls.map(|tls| Secure::new(tls, &[])).transpose()? })
    }

    pub(super) async fn run(&self, attempt: &Attempt<'_>) -> Result<Success, Failure> {
        let (connection, certificate_expires) = open(attempt, self.secure.as_ref()).await?;
        let mut conversation = Conversation::new(attempt, connection);
        for step in &self.steps {
            match step {
                Step::Send(octets) => conversation.send(octets).await?,
                Step::Expect(wanted) => conversation.expect(wanted).await?,
            }
        }
        let detail = match self.steps.iter().rev().find_map(Step::expected) {
            Some(wanted) => format!("answered with {wanted}"),
            None => "connected".to_owned(),
        };
        Ok(Success { detail, certificate_expires, agent: None })
    }
}

impl Step {
    fn new(step: &ExpectStep) -> Result<Self, String> {
        match step {
            ExpectStep::Send(octets) => Ok(Self::Send(octets.clone())),
            ExpectStep::Expect(pattern) => Matcher::new(pattern).map(Self::Expect),
        }
    }

    fn expected(&self) -> Option<&Matcher> {
        match self {
            Self::Send(_) => None,
            Self::Expect(wanted) => Some(wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{HUNG, ask, fails, hurried, serve, spec, succeeds};
    use super::*;
    use crate::config::check::{Pattern, Probe};
    use crate::health::verdict::FailureKind;

    #[tokio::test]
    async fn redis_answers_ping() {
        let port = serve(|mut client| async move {
            client.expect(b"PING\r\n").await;
            client.send(b"+PONG\r\n").await;
            client.linger().await;
        })
        .await;
        assert_eq!(succeeds(ask(&spec(ping(), port)).await).detail, r#"answered with "+PONG\r\n""#);
    }

    #[tokio::test]
    async fn another_answer_is_wrong_and_shown_whether_or_not_the_server_hangs_up() {
        let port = serve(|mut client| async move {
            client.send(b"-NOAUTH Authentication required.\r\n").await;
            client.linger().await;
        })
        .await;
        let why = r#"no "+PONG\r\n" within 500 ms, but "-NOAUTH Authentication required.\r\n""#;
        fails(ask(&hurried(ping(), port)).await, FailureKind::Wrong, why);

        let port = serve(|mut client| async move {
            client.expect(b"PING\r\n").await;
            client.send(b"-ERR max number of clients reached\r\n").await;
        })
        .await;
        let why = r#"connection closed without "+PONG\r\n", after "-ERR max number of clients reached\r\n""#;
        fails(ask(&spec(ping(), port)).await, FailureKind::Wrong, why);
    }

    #[tokio::test]
    async fn steps_are_taken_in_order_and_each_octet_is_used_once() {
        let steps = || vec![expect("a"), expect("a"), ExpectStep::Send(b"next".into()), matches("^b+$")];
        let port = serve(|mut client| async move {
            client.send(b"aa").await;
            client.expect(b"next").await;
            client.send(b"bbb").await;
            client.linger().await;
        })
        .await;
        succeeds(ask(&spec(Probe::Expect { steps: steps(), tls: None }, port)).await);

        let port = serve(|mut client| async move {
            client.send(b"a").await;
            client.linger().await;
        })
        .await;
        let outcome = ask(&hurried(Probe::Expect { steps: steps(), tls: None }, port)).await;
        fails(outcome, FailureKind::Hung, r#"no "a" within 500 ms"#);
    }

    #[tokio::test]
    async fn a_server_that_accepts_and_says_nothing_hangs() {
        let port = serve(|client| client.linger()).await;
        fails(ask(&hurried(ping(), port)).await, FailureKind::Hung, HUNG);
    }

    #[tokio::test]
    async fn endless_chatter_is_cut_off() {
        let port = serve(|mut client| async move { while client.try_send(&[b'x'; 4096]).await {} }).await;
        let outcome = ask(&spec(ping(), port)).await;
        fails(outcome, FailureKind::Wrong, r#"no "+PONG\r\n" in the first 65536 octets"#);
    }

    fn ping() -> Probe {
        Probe::Expect { steps: vec![ExpectStep::Send(b"PING\r\n".into()), expect("+PONG\r\n")], tls: None }
    }

    fn expect(text: &str) -> ExpectStep {
        ExpectStep::Expect(Pattern::Contains(text.into()))
    }

    fn matches(text: &str) -> ExpectStep {
        ExpectStep::Expect(Pattern::Matches(text.into()))
    }
}
