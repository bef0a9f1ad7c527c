//! A TCP connection is accepted. It is closed by a reset as soon as it stands.

use super::attempt::Attempt;
use crate::health::verdict::{Failure, Success};

pub(super) async fn run(attempt: &Attempt<'_>) -> Result<Success, Failure> {
    drop(attempt.connect().await?);
    Ok(Success { detail: "connected".to_owned(), ..Success::default() })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ask, hurried, listener, spec, succeeds, timed_out, unused_port};
    use crate::config::check::Probe;
    use crate::health::verdict::FailureKind;

    #[tokio::test]
    async fn an_accepted_connection_is_up_and_closed_by_a_reset() {
        let (listener, port) = listener().await;
        assert_eq!(succeeds(ask(&spec(Probe::Tcp, port)).await).detail, "connected");
        let (connection, _) = listener.accept().await.unwrap();
        let error = connection.readable().await.and_then(|()| connection.try_read(&mut [0]).map(drop)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_closed_port_is_refused() {
        let port = unused_port();
        let failure = ask(&spec(Probe::Tcp, port)).await.result.unwrap_err();
        let why = format!("connection refused by 127.0.0.1:{port}");
        assert_eq!((failure.kind, failure.why), (FailureKind::Refused, why));
    }

    #[tokio::test]
    async fn a_full_queue_of_connections_is_silence() {
        let (_listener, _held, port) = timed_out().await;
        let failure = ask(&hurried(Probe::Tcp, port)).await.result.unwrap_err();
        assert_eq!((failure.kind, failure.why.as_str()), (FailureKind::Silent, "connect timed out after 500 ms"));
    }
}
