//! `show flows`: the loop hands out a view of the tables and of the names in them, and a thread of its own walks. One at a
//! time, so that askers cannot make the machine busy with nothing else.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::clock;
use super::daemon::Daemon;
use super::reload::problem;
use crate::controller::flows::{FlowQuery, FlowsReport, Listing, MOST_LIMIT, Roster};
use crate::controller::view::Problem;
use crate::effects::dataplane::FlowView;

type Reply = oneshot::Sender<Result<FlowsReport, Problem>>;

/// Who may walk over the flow tables.
pub(super) struct Walks(Arc<Semaphore>);

impl Default for Walks {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Walks {
    /// The right to walk, until it is dropped.
    ///
    /// # Errors
    /// When somebody else has it.
    fn begin(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let busy = "busy: the flow tables are being listed for somebody else, one at a time; ask again in a moment";
        self.0.clone().try_acquire_owned().map_err(|_| Problem { exit: 1, message: busy.to_owned() })
    }
}

impl Daemon {
    /// Answers when the tables have been walked over.
    pub(super) fn list_flows(&mut self, query: FlowQuery, reply: Reply) {
        match self.prepare_listing(query) {
            Ok((permit, view, mut listing)) => drop(tokio::task::spawn_blocking(move || {
                let walked = view.walk(&mut listing).map(|()| listing.finish()).map_err(problem);
                // Whoever has this answer may ask the next question at once.
                drop(permit);
                drop(reply.send(walked));
            })),
            Err(refusal) => drop(reply.send(Err(refusal))),
        }
    }

    fn prepare_listing(&mut self, query: FlowQuery) -> Result<(OwnedSemaphorePermit, FlowView, Listing), Problem> {
        if query.limit.is_some_and(|limit| limit > MOST_LIMIT) {
            return Err(Problem { exit: 2, message: format!("the limit is {MOST_LIMIT} at most") });
        }
        let roster = Roster::new(self.controller.planner());
        roster.check(&query)?;
        let view = self.dataplane.required()?.flow_view().map_err(problem)?;
        let permit = self.walks.begin()?;
        let now = u64::try_from(clock::now().as_nanos()).unwrap_or(u64::MAX);
        Ok((permit, view, Listing::new(roster, query, now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_walks_and_others_are_told() {
        let walks = Walks::default();
        let first = walks.begin().unwrap();
        let busy = walks.begin().unwrap_err();
        assert_eq!(busy.exit, 1);
        assert!(busy.message.starts_with("busy: "), "{busy}");
        drop(first);
        assert!(walks.begin().is_ok());
    }
}
