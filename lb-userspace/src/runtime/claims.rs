//! Looks now and then for backends that answer ARP for a service's address: a round of questions at a time, on a thread that
//! may wait.

use std::io;

use futures::FutureExt as _;
use tokio::task::JoinHandle;
use tracing::warn;

use super::clock;
use super::daemon::Daemon;
use crate::controller::Event;
use crate::controller::claims::{Answers, Question};
use crate::controller::steering::Pair;
use crate::effects::claims::ask;

/// Ticks between two rounds.
const ROUND: u32 = 30;
/// The first round begins when next hops are usually known.
const FIRST: u32 = 3;

/// See the module's description.
pub(super) struct Claims {
    due_in: u32,
    /// The last pair that was asked.
    last: Option<Pair>,
    under_way: Option<JoinHandle<io::Result<Answers>>>,
    /// That it cannot be looked for was said.
    is_told: bool,
}

impl Claims {
    /// No round has begun.
    pub(super) fn new() -> Self {
        Self { due_in: FIRST, last: None, under_way: None, is_told: false }
    }
}

impl Daemon {
    /// To be called with every tick.
    pub(super) fn look_for_claims(&mut self) {
        let claims = &mut self.claims;
        if let Some(round) = claims.under_way.as_mut().and_then(|thread| thread.now_or_never()) {
            claims.under_way = None;
            match round.map_err(io::Error::other).flatten() {
                Ok(answers) => {
                    let effects = self.controller.handle(clock::now(), Event::Claims(answers));
                    self.perform(effects);
                }
                Err(error) if !std::mem::replace(&mut claims.is_told, true) => {
                    warn!(%error, "backends that answer ARP for a service's address are not looked for");
                }
                Err(_) => {}
            }
        }
        self.claims.due_in = self.claims.due_in.saturating_sub(1);
        if self.claims.due_in == 0 && self.claims.under_way.is_none() {
            self.begin_round();
        }
    }

    fn begin_round(&mut self) {
        self.claims.due_in = ROUND;
        let questions: Vec<Question> = self.controller.questions_after(self.claims.last);
        self.claims.last = questions.last().map(|question| question.pair);
        let asked: Vec<Pair> = questions.iter().map(|question| question.pair).collect();
        if !asked.is_empty() {
            let round = move || Ok(Answers { answered: ask(&questions)?, asked });
            self.claims.under_way = Some(tokio::task::spawn_blocking(round));
        }
    }
}
