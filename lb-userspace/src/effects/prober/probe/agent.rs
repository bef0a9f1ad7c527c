//! An agent on the backend yields a line of words, as HAProxy's `agent-check` has it: `up 75%`, `drain`, `down #disk full`.
//! What it asks for is a wish ([`AgentWish`]); the pool grants it.

use super::attempt::Attempt;
use super::connection::open;
use super::conversation::Conversation;
use super::pattern::Shown;
use crate::health::verdict::{AgentWish, Failure, FailureKind, Success};

/// What is sent.
#[derive(Debug)]
pub(super) struct Agent {
    send: Vec<u8>,
}

impl Agent {
    pub(super) fn new(send: &[u8]) -> Self {
        Self { send: send.to_vec() }
    }

    pub(super) async fn run(&self, attempt: &Attempt<'_>) -> Result<Success, Failure> {
        let (connection, _) = open(attempt, None).await?;
        let mut conversation = Conversation::new(attempt, connection);
        if !self.send.is_empty() {
            conversation.send(&self.send).await?;
        }
        understand(&conversation.line().await?)
    }
}

/// What a line says. A word that is none of the language makes the whole line wrong: half of it may be misunderstood.
fn understand(line: &str) -> Result<Success, Failure> {
    let (words, reason) = line.split_once('#').unwrap_or((line, ""));
    let mut wish = AgentWish::default();
    let mut down = None;
    let mut any = false;
    for word in words.split([' ', '\t', ',', '\r']).filter(|word| !word.is_empty()) {
        any = true;
        match word.to_ascii_lowercase().as_str() {
            "up" => {}
            "ready" => wish.drain = Some(false),
            "drain" | "maint" => wish.drain = Some(true),
            "down" | "fail" | "failed" | "stopped" => down = Some(word),
            // A limit of connections, which a balancer that sees no connections cannot keep.
            word if word.starts_with("maxconn:") => {}
            word => wish.percent = Some(percent(word).ok_or_else(|| unknown(line))?),
        }
    }
    match (down, any, reason.trim()) {
        (_, false, _) => Err(unknown(line)),
        (Some(word), true, "") => Err(Failure::new(FailureKind::Wrong, format!("agent says {word}"))),
        (Some(word), true, reason) => Err(Failure::new(FailureKind::Wrong, format!("agent says {word}: {reason}"))),
        (None, true, _) => {
            let detail = format!("agent says {}", line.trim());
            Ok(Success { detail, agent: Some(wish), certificate_expires: None })
        }
    }
}

/// More than the whole weight is the whole weight.
fn percent(word: &str) -> Option<u8> {
    let number: u32 = word.strip_suffix('%')?.parse().ok()?;
    u8::try_from(number.min(100)).ok()
}

fn unknown(line: &str) -> Failure {
    Failure::new(FailureKind::Wrong, format!("agent says {}, which it has no word for", Shown(line.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{HUNG, ask, fails, hurried, serve, spec, succeeds};
    use super::*;
    use crate::config::check::Probe;

    #[test]
    fn wishes_are_understood() {
        let wish = |percent, drain| Some(AgentWish { percent, drain });
        for (line, wanted) in [
            ("up", wish(None, None)),
            ("ready", wish(None, Some(false))),
            ("75%", wish(Some(75), None)),
            ("up 0%", wish(Some(0), None)),
            ("Ready,\t50% maxconn:30", wish(Some(50), Some(false))),
            ("250%", wish(Some(100), None)),
            ("drain", wish(None, Some(true))),
            ("maint # reboot", wish(None, Some(true))),
        ] {
            assert_eq!(understand(line).map(|success| success.agent), Ok(wanted), "{line}");
        }
    }

    #[test]
    fn troubles_have_their_reasons() {
        for (line, why) in [
            ("down", "agent says down"),
            ("fail #disk full", "agent says fail: disk full"),
            ("stopped", "agent says stopped"),
            ("up down # both", "agent says down: both"),
            ("", r#"agent says "", which it has no word for"#),
            ("#", r##"agent says "#", which it has no word for"##),
            ("fine", r#"agent says "fine", which it has no word for"#),
            ("-1%", r#"agent says "-1%", which it has no word for"#),
        ] {
            let failure = Failure::new(FailureKind::Wrong, why);
            assert_eq!(understand(line).map(|success| success.detail), Err(failure), "{line}");
        }
    }

    #[tokio::test]
    async fn an_agent_is_asked_and_its_line_needs_no_end() {
        let port = serve(|mut client| async move {
            client.expect(b"web1\n").await;
            client.send(b"up 40%").await;
        })
        .await;
        let success = succeeds(ask(&spec(agent("web1\n"), port)).await);
        assert_eq!(success.agent, Some(AgentWish { percent: Some(40), drain: None }));
        assert_eq!(success.detail, "agent says up 40%");
    }

    #[tokio::test]
    async fn an_agent_that_says_nothing_hangs_or_hangs_up() {
        let port = serve(|client| client.linger()).await;
        fails(ask(&hurried(agent(""), port)).await, FailureKind::Hung, HUNG);
        let port = serve(|client| async move { drop(client) }).await;
        let why = format!("connection closed by 127.0.0.1:{port} before an answer");
        fails(ask(&spec(agent(""), port)).await, FailureKind::Wrong, &why);
    }

    fn agent(send: &str) -> Probe {
        Probe::Agent { send: send.into() }
    }
}
