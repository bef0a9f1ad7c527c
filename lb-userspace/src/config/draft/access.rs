//! What could be read about which clients may come to a service, and how often.

use super::{At, DraftPrefixes, Field, whole};
use crate::config::access::{Access, Rate, RateLimit};
use crate::config::diagnostic::Span;
use ipnet::IpNet;

/// `allow`, `deny` and `rate_limit`.
pub(in super::super) struct DraftAccess {
    /// The readable ones.
    pub allow: Vec<At<IpNet>>,
    /// The readable ones.
    pub deny: Vec<At<IpNet>>,
    pub rate_limit: Option<DraftRateLimit>,
}

/// `[service.rate_limit]`.
pub(in super::super) struct DraftRateLimit {
    pub span: Span,
    pub service: DraftRate,
    pub client: DraftRate,
    pub prefixes: DraftPrefixes,
}

/// A rate, and how many come at once.
pub(in super::super) struct DraftRate {
    pub per_second: Field<u32>,
    pub burst: Field<u32>,
}

impl DraftAccess {
    pub(super) fn into_access(self) -> Option<Access> {
        let values = |list: Vec<At<IpNet>>| list.into_iter().map(|at| at.value).collect();
        let rate_limit = whole(self.rate_limit, DraftRateLimit::into_rate_limit)?;
        Some(Access { allow: values(self.allow), deny: values(self.deny), rate_limit })
    }
}

impl DraftRateLimit {
    fn into_rate_limit(self) -> Option<RateLimit> {
        let (service, client) = (self.service.into_rate()?, self.client.into_rate()?);
        Some(RateLimit { service, client, prefixes: self.prefixes.into_prefixes()? })
    }
}

impl DraftRate {
    /// `None` if it could not be read.
    fn into_rate(self) -> Option<Option<Rate>> {
        if matches!(self.per_second, Field::Bad) || matches!(self.burst, Field::Bad) {
            return None;
        }
        let burst = self.burst.take();
        Some(self.per_second.take().map(|per_second| Rate { per_second, burst: burst.unwrap_or(per_second) }))
    }
}
