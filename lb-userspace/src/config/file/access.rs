//! `allow`, `deny` and `[service.rate_limit]`.

use super::scheduling;
use crate::config::diagnostic::Problems;
use crate::config::draft::{DraftAccess, DraftRate, DraftRateLimit};
use crate::config::reader::TableReader;
use crate::config::value;

/// Reads the keys out of a service's table.
pub(super) fn access(table: &mut TableReader<'_>, problems: &mut Problems) -> DraftAccess {
    DraftAccess {
        allow: table.list("allow", value::network, problems),
        deny: table.list("deny", value::network, problems),
        rate_limit: table.optional_table("rate_limit", problems).map(|table| rate_limit(table, problems)),
    }
}

fn rate_limit(mut table: TableReader<'_>, problems: &mut Problems) -> DraftRateLimit {
    let draft = DraftRateLimit {
        span: table.span,
        service: rate(&mut table, ["connections", "burst"], problems),
        client: rate(&mut table, ["client_connections", "client_burst"], problems),
        prefixes: scheduling::prefixes(&mut table, ["prefix_v4", "prefix_v6"], problems),
    };
    table.finish();
    draft
}

fn rate(table: &mut TableReader<'_>, [per_second, burst]: [&str; 2], problems: &mut Problems) -> DraftRate {
    DraftRate { per_second: table.number(per_second, problems), burst: table.number(burst, problems) }
}
