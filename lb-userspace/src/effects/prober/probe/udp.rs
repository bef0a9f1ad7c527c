//! A datagram is answered as expected. Where nothing is expected, silence until the deadline is right, and only an ICMP
//! error is not: a host that is gone is silent too, so such a check sees a dead process, not a dead host.

use tokio::time::timeout_at;

use super::attempt::{Attempt, Stage};
use super::pattern::{Matcher, Shown};
use crate::config::check;
use crate::effects::prober::route;
use crate::health::verdict::{Failure, FailureKind, Success};

/// Of an answer so many octets are searched.
const MOST_OCTETS: usize = 8 * 1024;

/// What is sent, and what is right.
#[derive(Debug)]
pub(super) struct Udp {
    send: Vec<u8>,
    expect: Option<Matcher>,
}

impl Udp {
    pub(super) fn new(udp: &check::Udp) -> Result<Self, String> {
        Ok(Self { send: udp.send.clone(), expect: udp.expect.as_ref().map(Matcher::new).transpose()? })
    }

    pub(super) async fn run(&self, attempt: &Attempt<'_>) -> Result<Success, Failure> {
        attempt.enter(Stage::Datagram);
        let failure = |trouble: route::Trouble| trouble.failure(attempt.target());
        let socket = route::udp(attempt.route).map_err(failure)?;
        socket.send(&self.send).await.map_err(failure)?;
        let mut answer = vec![0; MOST_OCTETS];
        let Some(wanted) = &self.expect else {
            let detail = match timeout_at(attempt.deadline(), socket.receive(&mut answer)).await {
                Ok(received) => received.map(|_| "answered").map_err(failure)?,
                Err(_) => "not refused",
            };
            return Ok(Success { detail: detail.to_owned(), ..Success::default() });
        };
        let length = socket.receive(&mut answer).await.map_err(failure)?;
        match wanted.find_end(&answer[..length]) {
            Some(_) => Ok(Success { detail: format!("answered with {wanted}"), ..Success::default() }),
            None => {
                let why = format!("answer {}, expected {wanted}", Shown(&answer[..length]));
                Err(Failure::new(FailureKind::Wrong, why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::super::tests::{ask, fails, hurried, spec, succeeds};
    use super::*;
    use crate::config::check::{Pattern, Probe};

    #[tokio::test]
    async fn the_expected_answer_is_right_and_another_is_not() {
        let port = answering(b"pong").await;
        assert_eq!(succeeds(ask(&spec(udp(Some("pong")), port)).await).detail, r#"answered with "pong""#);
        let port = answering(b"gnop").await;
        let outcome = ask(&spec(udp(Some("pong")), port)).await;
        fails(outcome, FailureKind::Wrong, r#"answer "gnop", expected "pong""#);
    }

    #[tokio::test]
    async fn silence_is_right_only_where_nothing_is_expected() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(succeeds(ask(&hurried(udp(None), port)).await).detail, "not refused");
        fails(ask(&hurried(udp(Some("pong")), port)).await, FailureKind::Silent, "no answer within 500 ms");
    }

    #[tokio::test]
    async fn port_unreachable_counts_whatever_is_expected() {
        let port = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let why = format!("connection refused by 127.0.0.1:{port} (ICMP port unreachable from 127.0.0.1)");
        fails(ask(&spec(udp(None), port)).await, FailureKind::Refused, &why);
        fails(ask(&spec(udp(Some("pong")), port)).await, FailureKind::Refused, &why);
    }

    async fn answering(answer: &'static [u8]) -> u16 {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut question = [0; 64];
            let (length, client) = socket.recv_from(&mut question).await.unwrap();
            assert_eq!(&question[..length], b"ping");
            socket.send_to(answer, client).await.unwrap();
        });
        port
    }

    fn udp(expect: Option<&str>) -> Probe {
        Probe::Udp(check::Udp { send: b"ping".into(), expect: expect.map(|text| Pattern::Contains(text.into())) })
    }
}
