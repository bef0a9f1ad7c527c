//! Turns: so many at once as there are processors, and the others wait.

use std::sync::{Condvar, LazyLock, Mutex, PoisonError};
use std::thread;

/// Daemons that start. The kernel's verifier takes a processor for more than a second for each, so that a dozen of them would have to
/// be waited for very long, and nobody could tell one that hangs.
pub static STARTING: LazyLock<Turns> = LazyLock::new(|| Turns {
    free: Mutex::new(thread::available_parallelism().map_or(2, usize::from)),
    freed: Condvar::new(),
});

/// See the module's description.
pub struct Turns {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A turn; it is over when this is dropped.
pub struct Turn<'a>(&'a Turns);

impl Turns {
    /// Waits for a turn.
    pub fn take(&self) -> Turn<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        *self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner) -= 1;
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}
