//! What could be read of checks, and of what follows from them.

use super::Field;
use crate::config::check::{Check, Outlier, Sorry};
use crate::config::check_kind::CheckKind;
use crate::config::diagnostic::Span;
use crate::config::model::Forwarding;
use std::net::IpAddr;
use std::time::Duration;

/// A `[service.check]`.
pub(in super::super) struct DraftCheck {
    /// Its header.
    pub span: Span,
    pub kind: Field<CheckKind>,
    pub interval_span: Span,
    pub command_span: Span,
    /// The place of `via`, if it is written.
    pub via_span: Option<Span>,
    pub port_written: bool,
    /// If all of it could be read and it asks anything.
    pub check: Option<Check>,
}

impl DraftCheck {
    /// The check, `None` inside where nothing is asked; the outer `None`: it could not be read.
    pub(super) fn into_check(self) -> Option<Option<Check>> {
        match (self.kind.take()?, self.check) {
            (CheckKind::None, _) => Some(None),
            (_, check) => check.map(Some),
        }
    }
}

/// `[service.outlier]`.
pub(in super::super) struct DraftOutlier {
    pub percent: Field<u8>,
    pub minimum_connections: Field<u32>,
    pub window: Field<Duration>,
}

impl DraftOutlier {
    pub(super) fn into_outlier(self) -> Option<Outlier> {
        Some(Outlier {
            percent: self.percent.take()?,
            minimum_connections: self.minimum_connections.take()?,
            window: self.window.take()?,
        })
    }
}

/// `sorry`.
pub(in super::super) struct DraftSorry {
    pub address: Field<IpAddr>,
    pub port: Field<u16>,
    pub forwarding: Field<Forwarding>,
}

impl DraftSorry {
    pub(super) fn into_sorry(self) -> Option<Sorry> {
        if matches!(self.port, Field::Bad) {
            return None;
        }
        Some(Sorry { address: self.address.take()?, port: self.port.take(), forwarding: self.forwarding.take()? })
    }
}
