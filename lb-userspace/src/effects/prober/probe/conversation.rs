//! Sending and expecting in turns over a connection: what line-based protocols have in common.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout_at;

use super::MOST_READ;
use super::attempt::{Attempt, Brief};
use super::connection::Connection;
use super::pattern::{Matcher, Shown};
use crate::health::verdict::{Failure, FailureKind};

/// Of what is read at once.
const PIECE: usize = 4096;

/// A connection with what was read from it and not yet used.
pub(super) struct Conversation<'a> {
    attempt: &'a Attempt<'a>,
    connection: Connection,
    unused: Vec<u8>,
    /// Whether a match has used something.
    answered: bool,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(attempt: &'a Attempt<'a>, connection: Connection) -> Self {
        Self { attempt, connection, unused: Vec::new(), answered: false }
    }

    /// Sends all of it.
    pub(super) async fn send(&mut self, octets: &[u8]) -> Result<(), Failure> {
        let sent = async {
            self.connection.write_all(octets).await?;
            self.connection.flush().await
        };
        sent.await.map_err(|error| self.attempt.broken(&error))
    }

    /// Reads until what was read since the last match holds a match; what follows it is kept for the next.
    pub(super) async fn expect(&mut self, wanted: &Matcher) -> Result<(), Failure> {
        loop {
            if let Some(end) = wanted.find_end(&self.unused) {
                self.unused.drain(..end);
                self.answered = true;
                return Ok(());
            }
            match timeout_at(self.attempt.deadline(), self.read()).await {
                Err(_) => return Err(self.too_late_for(wanted)),
                Ok(Err(error)) if self.unused.is_empty() => return Err(error),
                Ok(Err(_)) | Ok(Ok(Read::End)) => return Err(self.ended_without(wanted)),
                Ok(Ok(Read::Full)) => return Err(too_long(wanted)),
                Ok(Ok(Read::Some)) => {}
            }
        }
    }

    /// The next line, without its end. The last one needs none.
    pub(super) async fn line(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(end) = self.unused.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.unused.drain(..=end).collect();
                return Ok(text(&line));
            }
            match self.read().await? {
                Read::Some => {}
                Read::End if self.unused.is_empty() => {
                    return Err(self.attempt.broken(&io::ErrorKind::UnexpectedEof.into()));
                }
                Read::End => return Ok(text(&std::mem::take(&mut self.unused))),
                Read::Full => {
                    return Err(Failure::new(FailureKind::Wrong, format!("no end of line in {MOST_READ} octets")));
                }
            }
        }
    }

    async fn read(&mut self) -> Result<Read, Failure> {
        if self.unused.len() >= MOST_READ {
            return Ok(Read::Full);
        }
        let mut piece = [0; PIECE];
        let length = self.connection.read(&mut piece).await.map_err(|error| self.attempt.broken(&error))?;
        self.attempt.received(length);
        self.unused.extend_from_slice(&piece[..length]);
        Ok(if length == 0 { Read::End } else { Read::Some })
    }

    /// What came says more than that it is late.
    fn too_late_for(&self, wanted: &Matcher) -> Failure {
        let limit = Brief(self.attempt.spec.timing.timeout);
        match (self.unused.as_slice(), self.answered) {
            ([], false) => self.attempt.too_late(),
            ([], true) => Failure::new(FailureKind::Hung, format!("no {wanted} within {limit}")),
            (came, _) => Failure::new(FailureKind::Wrong, format!("no {wanted} within {limit}, but {}", Shown(came))),
        }
    }

    fn ended_without(&self, wanted: &Matcher) -> Failure {
        let got = if self.unused.is_empty() { "nothing".to_owned() } else { Shown(&self.unused).to_string() };
        Failure::new(FailureKind::Wrong, format!("connection closed without {wanted}, after {got}"))
    }
}

enum Read {
    Some,
    End,
    Full,
}

fn too_long(wanted: &Matcher) -> Failure {
    Failure::new(FailureKind::Wrong, format!("no {wanted} in the first {MOST_READ} octets"))
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end_matches(['\r', '\n']).to_owned()
}
