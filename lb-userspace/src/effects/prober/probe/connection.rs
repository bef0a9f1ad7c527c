//! A connection to the backend, encrypted or not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::attempt::Attempt;
use super::secure::Secure;
use crate::effects::prober::route::Tcp;
use crate::health::verdict::Failure;

/// A connection; dropped, it is reset.
pub(super) enum Connection {
    Plain(Tcp),
    Tls(Box<TlsStream<Tcp>>),
}

/// Connects, and makes the handshake if there is to be one. Also says until when the server's certificate is valid.
pub(super) async fn open(attempt: &Attempt<'_>, secure: Option<&Secure>) -> Result<(Connection, Option<i64>), Failure> {
    let tcp = attempt.connect().await?;
    let Some(secure) = secure else { return Ok((Connection::Plain(tcp), None)) };
    let (stream, expires) = secure.handshake(attempt, tcp).await?;
    Ok((Connection::Tls(Box::new(stream)), expires))
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, octets),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
