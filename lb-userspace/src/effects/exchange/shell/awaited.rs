//! Tells the packet path of which virtual routers records may be on their way: see [`crate::exchange`]. From a peer whose heartbeats are
//! not heard none is, whatever its session looks like.

use super::Shell;

impl Shell {
    pub(super) fn await_records(&mut self) {
        let Some(tables) = &self.party.tables else { return };
        let is_alive = (self.start.routers)().peer.as_ref().is_some_and(|peer| peer.alive);
        let awaited = self.party.awaited(self.now(), is_alive);
        let other = awaited.symmetric_difference(&self.awaited);
        let said = other.map(|index| tables.records.await_records(*index, awaited.contains(index)));
        let said = said.collect::<anyhow::Result<()>>();
        self.awaited = awaited;
        match said {
            Ok(()) => drop(self.problems.remove("awaited")),
            Err(error) => self.problem("awaited", format!("the packet path is not told what to wait for: {error:#}")),
        }
    }
}
