//! The pulse: two words of memory that the daemon and its supervisor share. One says that the VRRP thread lives, the other
//! that it was deposed. A store and a load, no system call: nothing that could be late for another reason.

use std::cell::Cell;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;

/// One page, the least that can be mapped; two words of it are used.
const OCTETS: usize = 4096;
const BEATS: usize = 0;
const DEPOSED: usize = 1;

/// The shared words. Clones are of the same ones.
#[derive(Clone, Debug)]
pub struct Pulse {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    start: NonNull<AtomicU64>,
    memory: OwnedFd,
}

// SAFETY: the words are only used as atomics, and the mapping lives until the last owner is gone.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Pulse {
    /// New words, both 0.
    ///
    /// # Errors
    /// When the kernel has no memory or no descriptor left.
    pub fn new() -> io::Result<Self> {
        let memory = memfd_create("fairway-pulse", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        ftruncate(&memory, i64::try_from(OCTETS).expect("a page is small"))?;
        // Its size is for ever, so that a mapping of it can never lead nowhere.
        fcntl(&memory, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL))?;
        Self::from_memory(memory)
    }

    /// The words of a daemon, from what it has sent ([`Self::memory`]).
    ///
    /// # Errors
    /// When that is something else.
    pub fn from_memory(memory: OwnedFd) -> io::Result<Self> {
        let seals = fcntl(&memory, FcntlArg::F_GET_SEALS)?;
        let has_size = usize::try_from(fstat(&memory)?.st_size) == Ok(OCTETS);
        if !has_size || !SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_SHRINK) {
            return Err(io::Error::other("not the memory of a pulse"));
        }
        let length = NonZeroUsize::new(OCTETS).expect("a page is not empty");
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping wherever the kernel finds room, of a file that has this size and, being sealed, keeps it.
        let start = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, &memory, 0)? };
        Ok(Self { shared: Arc::new(Shared { start: start.cast(), memory }) })
    }

    /// To be sent to the other process.
    pub fn memory(&self) -> BorrowedFd<'_> {
        self.shared.memory.as_fd()
    }

    /// The daemon's VRRP thread lives. To be called at every turn of its loop, and at least every 10 ms.
    pub fn beat(&self) {
        self.word(BEATS).fetch_add(1, Ordering::Release);
    }

    /// How often it has beaten.
    pub fn count(&self) -> u64 {
        self.word(BEATS).load(Ordering::Acquire)
    }

    /// The supervisor acts in the daemon's name from now on.
    pub fn depose(&self) {
        self.word(DEPOSED).fetch_add(1, Ordering::AcqRel);
    }

    /// How often the daemon was deposed. Its VRRP thread looks after each wait, before anything else: a number that is not
    /// the one it has seen before means that it holds nothing any more.
    pub fn deposed(&self) -> u64 {
        self.word(DEPOSED).load(Ordering::Acquire)
    }

    /// Asks, each time it is called, whether the daemon was deposed since the last time. For the VRRP thread alone.
    pub fn deposed_since(&self) -> impl Fn() -> bool + Send + 'static {
        let (pulse, seen) = (self.clone(), Cell::new(self.deposed()));
        move || {
            let deposed = pulse.deposed();
            seen.replace(deposed) != deposed
        }
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        debug_assert!(index < OCTETS / size_of::<AtomicU64>(), "inside the page");
        // SAFETY: inside the mapping, aligned since a page is, and mapped as long as `self`. Both processes use it as an
        // atomic only.
        unsafe { self.shared.start.add(index).as_ref() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped, and nobody borrows from it any more.
        let _ = unsafe { munmap(self.start.cast(), OCTETS) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_side_writes_the_other_reads() {
        let ours = Pulse::new().unwrap();
        let theirs = Pulse::from_memory(ours.memory().try_clone_to_owned().unwrap()).unwrap();
        ours.beat();
        ours.beat();
        theirs.depose();
        assert_eq!((theirs.count(), ours.deposed()), (2, 1));
    }

    #[test]
    fn being_deposed_is_noticed_once() {
        let pulse = Pulse::new().unwrap();
        pulse.depose();
        let is_deposed = pulse.deposed_since();
        assert!(!is_deposed(), "that was before");
        pulse.depose();
        assert!(is_deposed());
        assert!(!is_deposed());
    }

    #[test]
    fn other_memory_is_refused() {
        let empty = memfd_create("other", MFdFlags::MFD_CLOEXEC).unwrap();
        assert!(Pulse::from_memory(empty).is_err());
        let file = tempfile::tempfile().unwrap();
        assert!(Pulse::from_memory(file.into()).is_err());
    }
}
