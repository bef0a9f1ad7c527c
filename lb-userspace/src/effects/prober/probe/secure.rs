//! TLS for all kinds that may be encrypted: one handshake, by rustls, and what the server's certificate says.
//!
//! Sessions are never resumed: a probe sees the certificate that a new client would see. Without `verify` anything is taken
//! for a certificate, and its expiry is still told.

use std::error::Error as _;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::attempt::{Attempt, Stage};
use super::certificate;
use crate::config::check::Tls;
use crate::effects::prober::route::Tcp;
use crate::health::verdict::{Failure, FailureKind};

/// How to make handshakes.
#[derive(Clone)]
pub(super) struct Secure {
    connector: TlsConnector,
    server_name: Option<ServerName<'static>>,
    warning: Duration,
}

impl Secure {
    /// With the application protocols that are offered.
    ///
    /// # Errors
    /// When the server's name is none, and when certificates are to be verified on a host that trusts nobody.
    pub(super) fn new(tls: &Tls, protocols: &[&[u8]]) -> Result<Self, String> {
        Self::trusting(tls, protocols, trust_store)
    }

    /// The same with other roots than the host's.
    pub(super) fn trusting(
        tls: &Tls,
        protocols: &[&[u8]],
        roots: impl FnOnce() -> Result<Arc<RootCertStore>, String>,
    ) -> Result<Self, String> {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = if tls.verify {
            builder.with_root_certificates(roots()?)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anything::new()))
        };
        let mut config = builder.with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let server_name = match &tls.server_name {
            Some(name) => Some(ServerName::try_from(name.clone()).map_err(|_| format!("{name:?} is no server name"))?),
            None => None,
        };
        Ok(Self { connector: Arc::new(config).into(), server_name, warning: tls.expiry_warning })
    }

    /// Makes the handshake over a connection. Also says until when the server's certificate is valid.
    pub(super) async fn handshake(
        &self,
        attempt: &Attempt<'_>,
        tcp: Tcp,
    ) -> Result<(TlsStream<Tcp>, Option<i64>), Failure> {
        attempt.enter(Stage::Handshake);
        // Of an address no server name is sent.
        let name = self.server_name.clone().unwrap_or_else(|| attempt.target().asked().into());
        let stream = self.connector.connect(name, tcp).await.map_err(|error| failure(&error, attempt))?;
        attempt.enter(Stage::Answer);
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let expires = certificates.first().and_then(certificate::expiry);
        Ok((stream, expires))
    }

    /// To follow a detail when the certificate is about to expire: `, certificate expires in 5 days`.
    pub(super) fn note(&self, expires: Option<i64>) -> String {
        let note = expires.and_then(|expires| certificate::warning(expires, certificate::now(), self.warning));
        note.map(|note| format!(", {note}")).unwrap_or_default()
    }
}

impl std::fmt::Debug for Secure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secure").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// The host's trust store, read once.
fn trust_store() -> Result<Arc<RootCertStore>, String> {
    static STORE: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(store) = STORE.get() {
        return Ok(Arc::clone(store));
    }
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!("this host has no trust store{why}: install ca-certificates, or set verify = false"));
    }
    Ok(Arc::clone(STORE.get_or_init(|| Arc::new(store))))
}

fn failure(error: &io::Error, attempt: &Attempt<'_>) -> Failure {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let Some(tls) = tls else { return attempt.broken(error) };
    let why = match tls {
        Error::InvalidCertificate(error) => certificate::wrong(error),
        Error::AlertReceived(alert) => format!("TLS handshake refused: {alert:?}"),
        Error::InvalidMessage(_) => "the answer is not TLS".to_owned(),
        Error::NoApplicationProtocol => "the server speaks none of the offered protocols (ALPN)".to_owned(),
        other => match other.source() {
            Some(source) => format!("TLS handshake failed: {other}: {source}"),
            None => format!("TLS handshake failed: {other}"),
        },
    };
    Failure::new(FailureKind::Wrong, why)
}

/// Takes anything for a right certificate.
#[derive(Debug)]
struct Anything {
    schemes: Vec<SignatureScheme>,
}

impl Anything {
    fn new() -> Self {
        Self { schemes: default_provider().signature_verification_algorithms.supported_schemes() }
    }
}

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
