//! Which clients may come to a service, and how often, typed. As with [`super::model`], a value that exists is valid.

use std::fmt;

use ipnet::IpNet;
use serde::Serialize;

use super::scheduling::Prefixes;

/// `allow`, `deny` and `rate_limit` of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Access {
    /// Clients that may come. If there are any, all others may not, but for those of a longer prefix.
    pub allow: Vec<IpNet>,
    /// Clients that may not, but for those of a longer prefix.
    pub deny: Vec<IpNet>,
    /// How many new connections are let in; `None`: any number.
    pub rate_limit: Option<RateLimit>,
}

/// `[service.rate_limit]`: new connections that are let in. One of its two rates is set at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RateLimit {
    /// Of all clients together.
    pub service: Option<Rate>,
    /// Of each client.
    pub client: Option<Rate>,
    /// Who counts as one client.
    pub prefixes: Prefixes,
}

/// New connections that are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rate {
    /// In a second, in the long run. Never 0.
    pub per_second: u32,
    /// At once, after a pause. Never 0.
    pub burst: u32,
}

impl Access {
    /// Whether anybody may come, as often as they like.
    pub fn is_open(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty() && self.rate_limit.is_none()
    }

    /// Every prefix, and whether its clients may come.
    pub fn prefixes(&self) -> impl Iterator<Item = (IpNet, bool)> {
        let allowed = self.allow.iter().map(|&prefix| (prefix, true));
        allowed.chain(self.deny.iter().map(|&prefix| (prefix, false)))
    }
}

/// As `show services` has it: `allow 2, deny 1, 100/s, 10/s a client`; empty for one that is open to all.
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |word: &str, list: &[IpNet]| (!list.is_empty()).then(|| format!("{word} {}", list.len()));
        let rate = |rate: Option<Rate>, of: &str| rate.map(|rate| format!("{}/s{of}", rate.per_second));
        let limit = self.rate_limit;
        let parts = [
            count("allow", &self.allow),
            count("deny", &self.deny),
            limit.and_then(|limit| rate(limit.service, "")),
            limit.and_then(|limit| rate(limit.client, " a client")),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_is_shown_in_few_words() {
        let network = |text: &str| text.parse::<IpNet>().expect("a network");
        let rate = |per_second| Some(Rate { per_second, burst: 1 });
        let limit = RateLimit { service: rate(100), client: rate(10), prefixes: Prefixes::HOSTS };
        let access = Access {
            allow: vec![network("10.0.0.0/8"), network("192.0.2.0/24")],
            deny: vec![network("10.6.0.0/16")],
            rate_limit: Some(limit),
        };
        assert_eq!(access.to_string(), "allow 2, deny 1, 100/s, 10/s a client");
        assert_eq!(Access::default().to_string(), "");
        assert!(Access::default().is_open() && !access.is_open());
    }
}
