//! Faults put in on purpose, to see that the judgement of the simulation would notice them.

use std::time::Duration;

use fairway::scheduler::slots::Records;

use crate::packet_side::Survey;

/// What is broken on purpose, to see that the promise's test would notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// Slots leave "unsettled" after a quarter of the idle timeout.
    SettleEarly,
    /// A second change while unsettled makes the middle owner the previous one.
    MovePrevious,
    /// Slots leave "unsettled" although records were refused.
    IgnoreRefusals,
    /// Slots settle by a survey that began before they changed.
    TrustOldSurveys,
    /// Slots settle although live records differ.
    IgnoreRecords,
    /// Records of a backend that went down are still there when it is up again.
    KeepRecordsOfTheDead,
    /// An index is given to another backend while records name the old one.
    ReuseIndexEarly,
}

/// What the sweep is told, with the faults that lie to it.
pub struct FaultySurvey {
    pub survey: Survey,
    pub fault: Fault,
}

impl Records for FaultySurvey {
    fn surveyed_from(&self) -> Duration {
        if self.fault == Fault::TrustOldSurveys { Duration::MAX } else { self.survey.surveyed_from() }
    }

    fn last_refusal(&self, element: u32) -> Option<Duration> {
        self.survey.last_refusal(element).filter(|_| self.fault != Fault::IgnoreRefusals)
    }

    fn differing(&self, slot: u32, owner: u16) -> bool {
        self.fault != Fault::IgnoreRecords && self.survey.differing(slot, owner)
    }
}
