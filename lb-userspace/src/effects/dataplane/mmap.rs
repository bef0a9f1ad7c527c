//! BPF arrays mapped into this process, so that one word of a table changes by one store and no system call.
//!
//! A room for `unsafe`: aya has no mapping of arrays. All access goes through two methods, a copy of a whole element that
//! nothing reads yet, and an aligned store of one word that the kernel program may be reading.

use std::marker::PhantomData;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};

use anyhow::{Context as _, bail};
use aya::maps::MapData;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// An array map (`BPF_F_MMAPABLE`) of `T`, mapped for reading and writing.
pub struct MappedArray<T> {
    start: *mut u8,
    bytes: usize,
    length: usize,
    /// Held because programs that are loaded later still name the map by its descriptor.
    map: MapData,
    _element: PhantomData<T>,
}

// SAFETY: the mapping belongs to no thread; every access is a bounded copy or an atomic.
unsafe impl<T: Send> Send for MappedArray<T> {}
// SAFETY: as above; methods that copy whole elements in take `&mut self`.
unsafe impl<T: Sync> Sync for MappedArray<T> {}

impl<T: FromBytes + IntoBytes + Immutable + Copy> MappedArray<T> {
    /// What the kernel puts between two elements: it rounds each up to 8 octets.
    const STRIDE: usize = size_of::<T>().next_multiple_of(8);

    /// Maps an array map, whose elements are each a `T`, or many of them.
    ///
    /// # Errors
    /// When the kernel refuses, as it does for a map that was not made with `BPF_F_MMAPABLE`.
    pub fn new(map: MapData) -> anyhow::Result<Self> {
        let info = map.info().context("asking for a map's size")?;
        let stride = (info.value_size() as usize).next_multiple_of(8);
        if !stride.is_multiple_of(Self::STRIDE) {
            bail!("elements of {stride} octets do not hold a number of {} each", Self::STRIDE);
        }
        let length = info.max_entries() as usize * (stride / Self::STRIDE);
        let descriptor = map.fd().as_fd().as_raw_fd();
        let bytes = (length * Self::STRIDE).next_multiple_of(page_size());
        // SAFETY: asks for a new mapping at an address of the kernel's choice; the result is checked.
        let start = unsafe {
            libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, descriptor, 0)
        };
        if start == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error()).context("mapping a BPF array into memory");
        }
        Ok(Self { start: start.cast(), bytes, length, map, _element: PhantomData })
    }

    /// The same array by a descriptor and a mapping of its own.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn duplicate(&self) -> anyhow::Result<Self> {
        let descriptor = self.map.fd().as_fd().try_clone_to_owned().context("duplicating an array's descriptor")?;
        Self::new(MapData::from_fd(descriptor).context("asking what an array is")?)
    }

    /// The map.
    pub fn map(&self) -> &MapData {
        &self.map
    }

    /// Elements of the array.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether the array has no elements.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// A copy of an element, which may be torn if the kernel is writing it.
    ///
    /// # Errors
    /// When there is no such element.
    pub fn read(&self, index: usize) -> anyhow::Result<T> {
        let at = self.at(index, 0, size_of::<T>())?;
        // SAFETY: `at` lies inside the mapping with room for a `T`, for which any octets are valid.
        Ok(unsafe { ptr::read_unaligned(at.cast::<T>()) })
    }

    /// Writes an element that no packet can reach yet.
    ///
    /// # Errors
    /// When there is no such element.
    pub fn write(&mut self, index: usize, value: T) -> anyhow::Result<()> {
        let at = self.at(index, 0, size_of::<T>())?;
        // SAFETY: `at` lies inside the mapping with room for a `T`.
        unsafe { ptr::write_unaligned(at.cast::<T>(), value) };
        Ok(())
    }

    /// Loads one aligned word of an element, at once.
    ///
    /// # Errors
    /// When it is outside the array or not aligned.
    pub fn load_u64(&self, index: usize, offset: usize) -> anyhow::Result<u64> {
        Ok(self.word::<AtomicU64>(index, offset)?.load(Ordering::Acquire))
    }

    /// Stores one aligned word of an element, at once, after everything written before.
    ///
    /// # Errors
    /// When it is outside the array or not aligned.
    pub fn store_u64(&self, index: usize, offset: usize, value: u64) -> anyhow::Result<()> {
        self.word::<AtomicU64>(index, offset)?.store(value, Ordering::Release);
        Ok(())
    }

    /// Loads one aligned half-word of an element, at once.
    ///
    /// # Errors
    /// When it is outside the array or not aligned.
    pub fn load_u32(&self, index: usize, offset: usize) -> anyhow::Result<u32> {
        Ok(self.word::<AtomicU32>(index, offset)?.load(Ordering::Acquire))
    }

    /// Stores one aligned half-word of an element, at once, after everything written before.
    ///
    /// # Errors
    /// When it is outside the array or not aligned.
    pub fn store_u32(&self, index: usize, offset: usize, value: u32) -> anyhow::Result<()> {
        self.word::<AtomicU32>(index, offset)?.store(value, Ordering::Release);
        Ok(())
    }

    /// Stores one octet, at once for all readers.
    ///
    /// # Errors
    /// When it is outside the array.
    pub fn store_u8(&self, index: usize, offset: usize, value: u8) -> anyhow::Result<()> {
        self.word::<AtomicU8>(index, offset)?.store(value, Ordering::Release);
        Ok(())
    }

    /// Stores one aligned word if it is `old`; whether it was. At once for all threads.
    ///
    /// # Errors
    /// When it is outside the array or not aligned.
    pub fn exchange_u32(&self, index: usize, offset: usize, old: u32, new: u32) -> anyhow::Result<bool> {
        let word = self.word::<AtomicU32>(index, offset)?;
        Ok(word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok())
    }

    /// Stores one aligned word if it is `old`; whether it was. At once for all threads and CPUs.
    ///
    /// # Errors
    /// When it is outside the array or not aligned.
    pub fn exchange_u64(&self, index: usize, offset: usize, old: u64, new: u64) -> anyhow::Result<bool> {
        let word = self.word::<AtomicU64>(index, offset)?;
        Ok(word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok())
    }

    /// Adds to one aligned half-word, at once for all threads and CPUs.
    ///
    /// # Errors
    /// When it is outside the array or not aligned.
    pub fn add_i32(&self, index: usize, offset: usize, summand: i32) -> anyhow::Result<()> {
        self.word::<AtomicI32>(index, offset)?.fetch_add(summand, Ordering::AcqRel);
        Ok(())
    }

    /// An atomic view of a word; `W` is one of the standard atomics.
    fn word<W>(&self, index: usize, offset: usize) -> anyhow::Result<&W> {
        let at = self.at(index, offset, size_of::<W>())?;
        if !(at as usize).is_multiple_of(align_of::<W>()) {
            bail!("offset {offset} is not aligned to {} octets", align_of::<W>());
        }
        // SAFETY: `at` is aligned and lies inside the mapping, which lives as long as `self`; the kernel and this process
        // access the word only by whole loads and stores.
        Ok(unsafe { &*at.cast::<W>() })
    }

    fn at(&self, index: usize, offset: usize, size: usize) -> anyhow::Result<*mut u8> {
        if index >= self.length || offset + size > Self::STRIDE {
            bail!("element {index}, offset {offset} is outside an array of {}", self.length);
        }
        // SAFETY: the sum is below `length * STRIDE`, which the mapping covers.
        Ok(unsafe { self.start.add(index * Self::STRIDE + offset) })
    }
}

impl<T> Drop for MappedArray<T> {
    fn drop(&mut self) {
        // SAFETY: unmaps exactly what `new` mapped; nothing borrows from it any more.
        unsafe { libc::munmap(self.start.cast(), self.bytes) };
    }
}

fn page_size() -> usize {
    // SAFETY: a call without arguments that matter.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("the page size is a positive number")
}
