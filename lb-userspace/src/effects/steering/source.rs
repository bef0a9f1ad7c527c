//! Which of this host's addresses a backend is asked from. It has to be of the service's family, since the backend answers from
//! the service's address. Where the backend's own address is of that family too, it is the one that the kernel would use
//! towards it: that is where the backend's answers find back to. A tunnel's backend may be of the other family; then it is the
//! one that the kernel would use towards clients far away, or, without a route to these, any that it finds fit.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lb_common::probe;

use crate::controller::steering::Pair;
use crate::health::verdict::{Failure, FailureKind};

/// For so long the kernel is not asked again. Addresses come and go with mastership, but seldom those that are preferred.
const FRESH: Duration = Duration::from_secs(5);
/// Any port will do: nothing is sent.
const DISCARD: u16 = 9;
/// Addresses that lie beyond the default route: of the ranges for documentation (RFC 5737 and RFC 9637).
const FAR_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const FAR_V6: Ipv6Addr = Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 1);

/// The kernel's answer, and when it was given.
#[derive(Debug, Default)]
pub struct Source(Mutex<Option<(Instant, IpAddr)>>);

impl Source {
    /// The address that a backend is asked from at a service's address.
    ///
    /// # Errors
    /// When the kernel has no route to it, or this host no address of that family.
    #[allow(clippy::disallowed_methods, reason = "how long an answer is good for is this effect's own business")]
    pub fn address(&self, pair: &Pair) -> Result<IpAddr, Failure> {
        let now = Instant::now();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, address)) = *kept
            && now - since < FRESH
        {
            return Ok(address);
        }
        let address = source_towards(pair).map_err(|error| {
            let Pair { backend, service, .. } = pair;
            let why = format!("no address of this host to ask {backend} from at {service}: {error}");
            Failure::new(FailureKind::Local, why)
        })?;
        *kept = Some((now, address));
        Ok(address)
    }
}

/// The same, as the kernel says it now.
///
/// # Errors
/// The kernel's.
pub fn source_towards(pair: &Pair) -> std::io::Result<IpAddr> {
    let is_v4 = pair.service.is_ipv4();
    if pair.backend.is_ipv4() == is_v4 {
        return ask(pair.backend);
    }
    // Of the range that is routed to the steering device, which has no address: the kernel looks for one elsewhere.
    let reserved = || ask(probe::reserved(0, is_v4).into());
    ask(if is_v4 { FAR_V4.into() } else { FAR_V6.into() }).or_else(|_| reserved())
}

/// Connecting a datagram socket sends nothing, and chooses the address.
fn ask(destination: IpAddr) -> std::io::Result<IpAddr> {
    let any: IpAddr = if destination.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(SocketAddr::new(destination, DISCARD))?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_which_address_it_would_use() {
        let source = Source::default();
        let [backend, service] = [[127, 0, 0, 9], [203, 0, 113, 10]].map(IpAddr::from);
        let pair = Pair { backend, service, wrapping: None };
        assert_eq!(source.address(&pair), Ok(Ipv4Addr::LOCALHOST.into()));
    }
}
