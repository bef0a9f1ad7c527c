//! Which of this host's addresses a backend is asked from: the one that the kernel would use towards the backend's own
//! address, since that is where the backend's answers find back to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::health::verdict::{Failure, FailureKind};

/// For so long the kernel is not asked again. Addresses come and go with mastership, but seldom those that are preferred.
const FRESH: Duration = Duration::from_secs(5);
/// Any port will do: nothing is sent.
const DISCARD: u16 = 9;

/// The kernel's answer, and when it was given.
#[derive(Debug, Default)]
pub struct Source(Mutex<Option<(Instant, IpAddr)>>);

impl Source {
    /// The address towards `backend`.
    ///
    /// # Errors
    /// When the kernel has no route to it.
    #[allow(clippy::disallowed_methods, reason = "how long an answer is good for is this effect's own business")]
    pub fn address(&self, backend: IpAddr) -> Result<IpAddr, Failure> {
        let now = Instant::now();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, address)) = *kept
            && now - since < FRESH
        {
            return Ok(address);
        }
        let address = ask(backend).map_err(|error| {
            Failure::new(FailureKind::Local, format!("no address of this host to ask {backend} from: {error}"))
        })?;
        *kept = Some((now, address));
        Ok(address)
    }
}

/// Connecting a datagram socket sends nothing, and chooses the address.
fn ask(backend: IpAddr) -> std::io::Result<IpAddr> {
    let any: IpAddr = if backend.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(SocketAddr::new(backend, DISCARD))?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_which_address_it_would_use() {
        let source = Source::default();
        let loopback: IpAddr = Ipv4Addr::LOCALHOST.into();
        assert_eq!(source.address(Ipv4Addr::new(127, 0, 0, 9).into()), Ok(loopback));
    }
}
