//! An HTTP answer, by whichever version.

use hyper::HeaderMap;

use super::MOST_READ;

/// What came back.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// The beginning of it.
    pub(super) body: Vec<u8>,
    /// What followed the body, where it was read to its end.
    pub(super) trailers: HeaderMap,
}

impl Answer {
    /// Whether as much of the body is there as is ever read.
    pub(super) fn is_full(&self) -> bool {
        self.body.len() >= MOST_READ
    }

    /// Adds a piece of the body.
    pub(super) fn take(&mut self, piece: &[u8]) {
        let fits = piece.len().min(MOST_READ - self.body.len());
        self.body.extend_from_slice(&piece[..fits]);
    }
}
