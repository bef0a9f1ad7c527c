//! The live words of the virtual routers: whether this node takes the packets of the services that follow one, and whether it may lack
//! records of their flows.
//!
//! A handle is a mapping of its own, so that the VRRP thread needs nothing of the data plane but this, and neither waits
//! for the other: a word changes by one store, no system call and no lock. The kernel makes all pages of such a mapping
//! when it is mapped, so a store never faults. The map outlives every handle while the program is loaded or another
//! process (the supervisor) has it mapped.
//!
//! Layout: [`LIVE_WORDS`] elements of [`LiveWord`], in host order. Whether it is live the VRRP thread says (and the supervisor in its
//! name), whether records are awaited the exchange's thread: two words, so that neither undoes what the other says.

use std::mem::offset_of;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, ensure};
use aya::maps::MapData;
use lb_common::abi::{ALWAYS_LIVE, LiveWord};
use lb_common::limits::LIVE_WORDS;

use super::mmap::MappedArray;

const LIVE: usize = offset_of!(LiveWord, live);
const AWAITS_RECORDS: usize = offset_of!(LiveWord, awaits_records);

/// A mapping of the live words. May be moved to another thread; several may exist.
pub struct LiveWords {
    words: MappedArray<LiveWord>,
}

impl LiveWords {
    /// Maps the words of a map descriptor, such as [`Self::descriptor`] gives, possibly in another process.
    ///
    /// # Errors
    /// When it is not the map of live words, or the kernel refuses.
    pub fn from_fd(descriptor: OwnedFd) -> anyhow::Result<Self> {
        Self::from_map(MapData::from_fd(descriptor).context("asking what a descriptor for the live words is")?)
    }

    /// Maps the words of an object that was just loaded, and makes the one 1 that always is.
    pub(super) fn of_object(map: MapData) -> anyhow::Result<Self> {
        let words = Self::from_map(map)?;
        words.words.store_u32(ALWAYS_LIVE as usize, LIVE, 1)?;
        Ok(words)
    }

    fn from_map(map: MapData) -> anyhow::Result<Self> {
        let info = map.info().context("asking for the size of the live words")?;
        let (length, size) = (info.max_entries(), info.value_size());
        ensure!(
            (length, size) == (LIVE_WORDS, 8),
            "not the live words: {length} elements of {size} octets instead of {LIVE_WORDS} of 8"
        );
        Ok(Self { words: MappedArray::new(map).context("mapping the live words")? })
    }

    /// A descriptor of the map, to be handed to another process. Closed on exec; see [`Self::from_fd`].
    ///
    /// # Errors
    /// When this process has no descriptors left.
    pub fn descriptor(&self) -> anyhow::Result<OwnedFd> {
        self.words.map().fd().as_fd().try_clone_to_owned().context("duplicating the live words' descriptor")
    }

    /// Says whether this node is live for a virtual router: one store, after everything written before. Every packet that
    /// is looked up later obeys it; one that was looked up a moment earlier is still on its way.
    ///
    /// # Errors
    /// When there is no such virtual router: index 0, which is always live, or one beyond the words.
    pub fn set(&self, index: u32, live: bool) -> anyhow::Result<()> {
        ensure!(index != ALWAYS_LIVE, "live word {index} is always 1: no virtual router has it");
        self.words.store_u32(index as usize, LIVE, u32::from(live))
    }

    /// Says whether records of connections that began at the node that was master may still be on their way: one store.
    ///
    /// # Errors
    /// When there is no such virtual router.
    pub fn await_records(&self, index: u32, awaits: bool) -> anyhow::Result<()> {
        ensure!(index != ALWAYS_LIVE, "live word {index} is always 1: no virtual router has it");
        self.words.store_u32(index as usize, AWAITS_RECORDS, u32::from(awaits))
    }

    /// Whether they may, as the packet path sees it.
    pub fn awaits_records(&self, index: u32) -> bool {
        self.words.load_u32(index as usize, AWAITS_RECORDS).is_ok_and(|word| word != 0)
    }

    /// Whether this node is live for a virtual router, as the packet path sees it: an index beyond the words is not.
    pub fn is_live(&self, index: u32) -> bool {
        self.words.load_u32(index as usize, LIVE).is_ok_and(|word| word != 0)
    }
}
