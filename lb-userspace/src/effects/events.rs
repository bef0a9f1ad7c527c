//! Following the event store: whoever has something to tell tells it here, and any number of followers (the socket, the
//! hook) get everything in order.
//!
//! Followers have no queues of their own. Each knows the number of the last event it has got and reads on in the store,
//! so that one who is slow costs nothing and loses nothing until the store itself has dropped it; then it is told how much.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::controller::events::{Event, Events, Page};
use crate::happening::Happening;

/// The event store, shared. Clones are of the same store.
#[derive(Clone, Debug)]
pub struct EventStream {
    events: Arc<Mutex<Events>>,
    last: watch::Sender<u64>,
}

impl Default for EventStream {
    fn default() -> Self {
        Self { events: Arc::default(), last: watch::Sender::new(0) }
    }
}

impl EventStream {
    /// Takes note of something that happened at `time`, in seconds since the Unix epoch, and wakes the followers.
    pub fn tell(&self, time: f64, happening: Happening) -> Event {
        let mut events = self.lock();
        let event = events.record(time, happening).clone();
        // Under the lock, so that the number never goes backwards.
        self.last.send_replace(event.sequence);
        event
    }

    /// At most `limit` of the events after number `sequence`; see [`Events::since`].
    pub fn since(&self, sequence: u64, limit: usize) -> Page {
        self.lock().since(sequence, limit)
    }

    /// The number of the last event; 0: there was none.
    pub fn last(&self) -> u64 {
        self.lock().last()
    }

    /// Follows from number `sequence` on; see [`Events::since`].
    pub fn follow(&self, sequence: u64) -> Follower {
        Follower { stream: self.clone(), position: sequence, changed: self.last.subscribe() }
    }

    fn lock(&self) -> MutexGuard<'_, Events> {
        // Nothing in there panics half-way; a store that was being written by a thread that panicked elsewhere is whole.
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who reads along.
#[derive(Debug)]
pub struct Follower {
    stream: EventStream,
    position: u64,
    changed: watch::Receiver<u64>,
}

impl Follower {
    /// Waits for events, and returns those that there are, at most `limit`. May be dropped half-way: nothing is lost.
    pub async fn next(&mut self, limit: usize) -> Page {
        loop {
            // Marked as seen before looking, so that what is told in between wakes us.
            self.changed.borrow_and_update();
            let page = self.stream.since(self.position, limit);
            if !page.events.is_empty() {
                self.position = page.position(self.position);
                return page;
            }
            // The stream, and so the sender, lives at least as long as we.
            self.changed.changed().await.expect("the follower holds the stream");
        }
    }

    /// Passes over the oldest of those that wait, so that no more than `most` do. Returns how many were passed over.
    pub fn skip_to(&mut self, most: u64) -> u64 {
        let position = self.stream.last().saturating_sub(most);
        let skipped = position.saturating_sub(self.position);
        self.position += skipped;
        skipped
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::controller::events::CAPACITY;

    #[tokio::test]
    async fn followers_get_everything_in_order_whenever_they_begin() {
        let stream = EventStream::default();
        tell(&stream, 2);
        let (mut early, mut later) = (stream.follow(0), stream.follow(stream.last()));
        let reader = tokio::spawn(async move { (take(&mut early, 1002).await, take(&mut later, 1000).await) });
        tell(&stream, 1000);
        let (all, new) = reader.await.unwrap();
        assert_eq!(all, (1..=1002).collect::<Vec<_>>());
        assert_eq!(new, (3..=1002).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn who_is_too_slow_is_told_how_much_it_has_missed() {
        let stream = EventStream::default();
        tell(&stream, 1);
        let mut slow = stream.follow(1);
        tell(&stream, CAPACITY + 4);
        let page = slow.next(10).await;
        assert_eq!((page.missed, page.events[0].sequence), (4, 6));
    }

    #[tokio::test]
    async fn who_wants_only_the_latest_may_pass_over_the_others() {
        let stream = EventStream::default();
        tell(&stream, 10);
        let mut follower = stream.follow(2);
        assert_eq!((follower.skip_to(3), follower.skip_to(3), follower.skip_to(100)), (5, 0, 0));
        assert_eq!(take(&mut follower, 3).await, [8, 9, 10]);
    }

    #[tokio::test]
    async fn without_events_a_follower_waits() {
        let mut follower = EventStream::default().follow(0);
        assert!(timeout(Duration::from_millis(20), follower.next(1)).await.is_err());
    }

    fn tell(stream: &EventStream, count: usize) {
        for _ in 0..count {
            stream.tell(0.0, Happening::Stalled { seconds: 1.0 });
        }
    }

    async fn take(follower: &mut Follower, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            numbers.extend(follower.next(100).await.events.iter().map(|event| event.sequence));
        }
        numbers
    }
}
