//! Clients that a service remembers: who comes back gets the backend that it had, on whichever node. What a client may be forgotten for is said here, as
//! docs/exchange.md has it: it was remembered since the last walk of a master that gave up or died; or its backend has no weight, or no place.

use std::time::Duration;

use crate::desired::GREEN;
use crate::world::{World, tell};

/// Clients that there are.
pub const CLIENTS: usize = 4;

/// What is remembered of a client.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// The server's number.
    backend: u8,
    since: Duration,
    /// The node that its last connection came to.
    came_to: usize,
    /// The node that has it, and has lived since.
    holder: Option<usize>,
    /// Nodes that have to know of it besides.
    known_to: [bool; 2],
}

impl Memory {
    pub fn is_of(&self, backend: u8) -> bool {
        self.backend == backend
    }
}

impl World {
    /// A connection of a client was given a backend by a node.
    ///
    /// # Errors
    /// When it should have had another.
    pub fn note_client(&mut self, client: usize, node: usize, backend: u8) -> Result<(), String> {
        if !self.nodes[node].is_master {
            self.strange_clients[node].insert(client);
        }
        if node != self.route.to {
            // What a node that was master before makes of it, the new one may hear of or not.
            self.memories[client] = self.memories[client].filter(|memory| memory.backend == backend);
            return Ok(());
        }
        let (now, memory) = (self.now, self.memories[client]);
        let known = memory.filter(|memory| memory.holder == Some(node) || memory.known_to[node]);
        let owed = known.filter(|memory| self.nodes[node].takes_clients(GREEN, memory.backend));
        if let Some(Memory { backend: had, .. }) = owed {
            self.coverage.note("clients that came back");
            let is_elsewhere = known.is_some_and(|memory| memory.came_to != node);
            self.coverage.more("clients that came back at another node", u64::from(is_elsewhere));
            if had != backend {
                return Err(format!("client {client} had {had}, and gets {backend} at node {node}"));
            }
        }
        let since = memory.filter(|memory| memory.backend == backend).map_or(now, |memory| memory.since);
        let known_to = known.filter(|memory| memory.backend == backend).map_or([false; 2], |memory| memory.known_to);
        self.memories[client] = Some(Memory { backend, since, came_to: node, holder: Some(node), known_to });
        Ok(())
    }

    /// What a node knows was shared since some time, and is not from now on.
    pub fn note_known_clients(&mut self, teller: usize, since: Duration) {
        let (found, gathered) = (self.found_until(teller, since), self.gathered_at(teller, since));
        for memory in self.memories.iter_mut().flatten().filter(|memory| memory.holder == Some(teller)) {
            let place = self.nodes[1 - teller].places_since(GREEN, memory.backend);
            let has_place = place.is_some_and(|place| place <= gathered.max(memory.since));
            memory.known_to[1 - teller] |= memory.since < found && has_place;
        }
    }

    /// A node's memory is lost.
    pub fn forget_known_clients(&mut self, node: usize) {
        for memory in self.memories.iter_mut().flatten() {
            memory.known_to[node] = false;
            memory.holder = memory.holder.filter(|holder| *holder != node);
        }
    }

    /// Clients come to this node from now on; of those that it does not have to know nothing is owed any more.
    pub fn note_takeover_of_clients(&mut self, node: usize) {
        let shared = self.shared_since;
        for teller in [node, 1 - node] {
            if let Some(since) = shared[teller] {
                self.note_known_clients(teller, since);
            }
        }
        for memory in &mut self.memories {
            *memory = memory.filter(|memory| memory.holder == Some(node) || memory.known_to[node]);
            memory.iter_mut().for_each(|memory| (memory.holder, memory.known_to) = (Some(node), [false; 2]));
        }
        tell!(self, "clients: {:?}", self.memories);
    }
}
