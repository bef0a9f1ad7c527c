//! What could be read about how a service chooses backends.

use super::Field;
use crate::config::diagnostic::Span;
use crate::config::scheduling::{Persistence, Prefixes};
use std::time::Duration;

/// Two prefix lengths.
pub(in super::super) struct DraftPrefixes {
    pub v4: Field<u8>,
    pub v6: Field<u8>,
    /// The place of the first that is written.
    pub written: Option<Span>,
}

impl DraftPrefixes {
    pub(super) fn into_prefixes(self) -> Option<Prefixes> {
        Some(Prefixes { v4: self.v4.take()?, v6: self.v6.take()? })
    }
}

/// `[service.persistence]`.
pub(in super::super) struct DraftPersistence {
    pub span: Span,
    pub timeout: Field<Duration>,
    pub prefixes: DraftPrefixes,
}

impl DraftPersistence {
    pub(super) fn into_persistence(self) -> Option<Persistence> {
        if matches!(self.timeout, Field::Bad) {
            return None;
        }
        Some(Persistence { timeout: self.timeout.take(), prefixes: self.prefixes.into_prefixes()? })
    }
}
