//! Faults put in on purpose, to see that the judgement would notice them.

use fairway::reconcile::write::Write;

use crate::rng::Rng;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// Now and then a verdict is not heard.
    LoseVerdicts,
    /// No check is known to be silent, so that nothing is ever held.
    SilenceIsRefusal,
    /// Now and then a word of a table is not stored.
    LoseWords,
    /// Records that name dead backends stay.
    KeepRecordsOfTheDead,
    /// Rows of dead backends look alive.
    KeepRowsOfTheDead,
}

impl Fault {
    /// Whether a write is carried out.
    pub fn carries_out(self, rng: &mut Rng, write: &Write) -> bool {
        match (self, write) {
            (Self::LoseWords, Write::Slot(..)) => !rng.one_in(50),
            (Self::KeepRecordsOfTheDead, Write::Forget(_)) => false,
            (Self::KeepRowsOfTheDead, Write::RowState(_, 0)) => false,
            _ => true,
        }
    }
}
