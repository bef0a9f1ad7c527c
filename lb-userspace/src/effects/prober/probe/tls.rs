//! A TLS handshake is completed.

use tokio::io::AsyncWriteExt as _;

use super::attempt::Attempt;
use super::connection::open;
use super::secure::Secure;
use crate::config::check;
use crate::health::verdict::{Failure, Success};

/// How to make it.
#[derive(Debug)]
pub(super) struct Tls {
    secure: Secure,
}

impl Tls {
    pub(super) fn new(tls: &check::Tls) -> Result<Self, String> {
        Ok(Self { secure: Secure::new(tls, &[])? })
    }

    pub(super) async fn run(&self, attempt: &Attempt<'_>) -> Result<Success, Failure> {
        let (mut connection, certificate_expires) = open(attempt, Some(&self.secure)).await?;
        // Farewell, so that servers do not log a broken connection; the answer does not count.
        let _ = connection.shutdown().await;
        let detail = format!("TLS handshake completed{}", self.secure.note(certificate_expires));
        Ok(Success { detail, certificate_expires, agent: None })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Kind;
    use super::super::certificate::now;
    use super::super::tests::{
        Certified, Client, Expires, HUNG, TIMEOUT, ask, ask_prepared, certified, fails, hurried, serve, serve_tls,
        spec, succeeds, unverified, verified,
    };
    use super::*;
    use crate::config::check::Probe;
    use crate::health::verdict::{FailureKind, Outcome};

    #[tokio::test]
    async fn a_valid_certificate_is_right_and_its_end_is_told() {
        let success = succeeds(ask_verified("web.example", Expires::InDays(90)).await);
        assert_eq!(success.detail, "TLS handshake completed");
        let days = (success.certificate_expires.unwrap() - now()) / 86_400;
        assert_eq!(days, 90);
    }

    #[tokio::test]
    async fn a_certificate_that_expires_soon_is_right_and_said() {
        let success = succeeds(ask_verified("web.example", Expires::InDays(3)).await);
        assert_eq!(success.detail, "TLS handshake completed, certificate expires in 3 days");
    }

    #[tokio::test]
    async fn an_expired_certificate_is_wrong_under_verify_and_told_without() {
        let outcome = ask_verified("web.example", Expires::DaysAgo(3)).await;
        fails(outcome, FailureKind::Wrong, "certificate expired 3 days ago");
        let port = serve_tls(certified(Expires::DaysAgo(3), &[]).server, Client::linger).await;
        let success = succeeds(ask(&spec(Probe::Tls(unverified()), port)).await);
        assert_eq!(success.detail, "TLS handshake completed, certificate expired 3 days ago");
        assert!(success.certificate_expires.unwrap() < now());
    }

    #[tokio::test]
    async fn a_certificate_for_another_name_is_wrong() {
        let outcome = ask_verified("shop.example", Expires::InDays(90)).await;
        let why = "certificate not valid for shop.example, but for web.example";
        fails(outcome, FailureKind::Wrong, why);
    }

    #[tokio::test]
    async fn a_certificate_of_an_authority_that_the_host_does_not_trust_is_wrong() {
        let Certified { server, .. } = certified(Expires::InDays(90), &[]);
        let Certified { roots, .. } = certified(Expires::InDays(90), &[]);
        let port = serve_tls(server, Client::linger).await;
        let outcome = ask_with(&verified("web.example"), roots, port).await;
        fails(outcome, FailureKind::Wrong, "certificate of an unknown issuer");
    }

    #[tokio::test]
    async fn what_is_not_tls_is_wrong_and_silence_hangs() {
        let port = serve(|mut client| async move {
            client.send(b"220 mx.example ESMTP\r\n").await;
            client.linger().await;
        })
        .await;
        fails(ask(&spec(Probe::Tls(unverified()), port)).await, FailureKind::Wrong, "the answer is not TLS");
        let port = serve(Client::linger).await;
        let why = HUNG.replace("no answer", "no TLS handshake");
        fails(ask(&hurried(Probe::Tls(unverified()), port)).await, FailureKind::Hung, &why);
    }

    #[tokio::test]
    async fn a_handshake_an_octet_at_a_time_is_late() {
        // The head of a handshake record that promises more than ever comes.
        let port =
            serve(|client| client.drip(&[0x16, 3, 3, 1, 0, 2, 0, 0, 0xfc, 3, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9])).await;
        let outcome = ask(&hurried(Probe::Tls(unverified()), port)).await;
        assert!(outcome.took < 4 * TIMEOUT, "{:?}", outcome.took);
        fails(outcome, FailureKind::Hung, &HUNG.replace("no answer", "no TLS handshake"));
    }

    async fn ask_verified(name: &str, expires: Expires) -> Outcome {
        let Certified { roots, server } = certified(expires, &[]);
        let port = serve_tls(server, Client::linger).await;
        ask_with(&verified(name), roots, port).await
    }

    async fn ask_with(tls: &check::Tls, roots: Arc<rustls::RootCertStore>, port: u16) -> Outcome {
        let secure = Secure::trusting(tls, &[], || Ok(roots)).unwrap();
        ask_prepared(Kind::Tls(Tls { secure }), &spec(Probe::Tls(tls.clone()), port)).await
    }
}
