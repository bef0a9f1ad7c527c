//! An SMTP server greets with 220 and answers EHLO with 250 (RFC 5321, sections 3.1, 3.2, 4.2).

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::attempt::Attempt;
use super::connection::open;
use super::conversation::Conversation;
use super::pattern::Shown;
use crate::health::verdict::{Failure, FailureKind, Success};

/// The answer to QUIT is waited for so long, and does not count: a server that lost its client says so in its log.
const FAREWELL: Duration = Duration::from_millis(250);
/// Lines of one reply; a server has some twenty extensions to tell of.
const MOST_LINES: usize = 100;

/// The words that are sent.
#[derive(Debug)]
pub(super) struct Smtp {
    ehlo: String,
}

impl Smtp {
    pub(super) fn new(helo: &str) -> Result<Self, String> {
        let fit = !helo.is_empty() && helo.chars().all(|character| character.is_ascii_graphic());
        if fit { Ok(Self { ehlo: format!("EHLO {helo}\r\n") }) } else { Err(format!("{helo:?} is no name for EHLO")) }
    }

    pub(super) async fn run(&self, attempt: &Attempt<'_>) -> Result<Success, Failure> {
        let (connection, _) = open(attempt, None).await?;
        let mut conversation = Conversation::new(attempt, connection);
        let greeting = reply(&mut conversation).await?;
        require(&greeting, "220", "greeting")?;
        conversation.send(self.ehlo.as_bytes()).await?;
        require(&reply(&mut conversation).await?, "250", "answer to EHLO")?;
        let farewell = async {
            conversation.send(b"QUIT\r\n").await?;
            reply(&mut conversation).await
        };
        let _ = timeout_at(attempt.deadline().min(Instant::now() + FAREWELL), farewell).await;
        Ok(Success { detail: format!("SMTP {greeting}"), ..Success::default() })
    }
}

/// The first line of a reply, which may have several: all but the last have a hyphen after the code.
async fn reply(conversation: &mut Conversation<'_>) -> Result<String, Failure> {
    let first = conversation.line().await?;
    let mut last = first.clone();
    for _ in 0..MOST_LINES {
        match last.as_bytes().get(3) {
            Some(b'-') => last = conversation.line().await?,
            _ => return Ok(first),
        }
    }
    Err(Failure::new(FailureKind::Wrong, format!("SMTP reply of more than {MOST_LINES} lines")))
}

fn require(reply: &str, code: &str, what: &str) -> Result<(), Failure> {
    if reply.starts_with(code) {
        return Ok(());
    }
    Err(Failure::new(FailureKind::Wrong, format!("SMTP {what} {}, expected {code}", Shown(reply.as_bytes()))))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Client, HUNG, ask, fails, hurried, serve, spec, succeeds};
    use super::*;
    use crate::config::check::Probe;

    #[tokio::test]
    async fn a_server_that_greets_and_answers_is_up_and_bidden_farewell() {
        let (told, parted) = tokio::sync::oneshot::channel();
        let told = std::sync::Mutex::new(Some(told));
        let port = serve(move |mut client: Client| {
            let told = told.lock().unwrap().take().unwrap();
            async move {
                client.send(b"220-mx.example ESMTP\r\n220 no spam\r\n").await;
                client.expect(b"EHLO lb1.example\r\n").await;
                client.send(b"250-mx.example\r\n250-SIZE 1000\r\n250 HELP\r\n").await;
                client.expect(b"QUIT\r\n").await;
                client.send(b"221 bye\r\n").await;
                told.send(()).unwrap();
            }
        })
        .await;
        assert_eq!(succeeds(ask(&spec(smtp(), port)).await).detail, "SMTP 220-mx.example ESMTP");
        parted.await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_never_says_goodbye_is_up() {
        let port = serve(|mut client| async move {
            client.send(b"220 mx\r\n").await;
            client.expect(b"EHLO lb1.example\r\n").await;
            client.send(b"250 mx\r\n").await;
            client.linger().await;
        })
        .await;
        succeeds(ask(&spec(smtp(), port)).await);
    }

    #[tokio::test]
    async fn refusals_are_wrong() {
        let port = serve(|mut client| async move { client.send(b"554 no SMTP service here\r\n").await }).await;
        let why = r#"SMTP greeting "554 no SMTP service here", expected 220"#;
        fails(ask(&spec(smtp(), port)).await, FailureKind::Wrong, why);

        let port = serve(|mut client| async move {
            client.send(b"220 mx\r\n").await;
            client.expect(b"EHLO lb1.example\r\n").await;
            client.send(b"421 too busy\r\n").await;
        })
        .await;
        let why = r#"SMTP answer to EHLO "421 too busy", expected 250"#;
        fails(ask(&spec(smtp(), port)).await, FailureKind::Wrong, why);
    }

    #[tokio::test]
    async fn a_server_that_does_not_greet_hangs() {
        let port = serve(|client| client.linger()).await;
        fails(ask(&hurried(smtp(), port)).await, FailureKind::Hung, HUNG);
    }

    #[tokio::test]
    async fn a_greeting_an_octet_at_a_time_is_late() {
        let port = serve(|client| client.drip(b"220 mx.example ESMTP at your service\r\n")).await;
        let failure = ask(&hurried(smtp(), port)).await.result.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Hung);
        assert!(failure.why.starts_with("answer incomplete after 500 ms: "), "{}", failure.why);
    }

    fn smtp() -> Probe {
        Probe::Smtp { helo: "lb1.example".into() }
    }
}
