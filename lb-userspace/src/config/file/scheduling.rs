//! `[service.persistence]`, and the keys of a service that say what its scheduler hashes.

use crate::config::diagnostic::Problems;
use crate::config::draft::{DraftPersistence, DraftPrefixes};
use crate::config::reader::TableReader;

/// The prefixes under two keys of a table.
pub(super) fn prefixes(table: &mut TableReader<'_>, [v4, v6]: [&str; 2], problems: &mut Problems) -> DraftPrefixes {
    let written = table.value_span(v4).or_else(|| table.value_span(v6));
    DraftPrefixes { v4: table.octet(v4, problems), v6: table.octet(v6, problems), written }
}

pub(super) fn persistence(mut table: TableReader<'_>, problems: &mut Problems) -> DraftPersistence {
    let draft = DraftPersistence {
        span: table.span,
        timeout: table.duration("timeout", problems),
        prefixes: prefixes(&mut table, ["prefix_v4", "prefix_v6"], problems),
    };
    table.finish();
    draft
}
