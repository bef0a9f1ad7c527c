//! Asks a daemon in a lab whether it is ready to serve.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::config::admin_address;
use super::namespace::Namespace;

/// A daemon that does not answer for so long is not ready.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether the daemon whose admin side listens in this namespace says on `/readyz` that it is ready.
pub fn is_ready(namespace: &Namespace) -> bool {
    let answer = namespace.run(ask);
    matches!(answer, Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200"))
}

fn ask() -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin_address(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
