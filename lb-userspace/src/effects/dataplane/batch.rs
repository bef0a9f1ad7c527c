//! Reads a hash map many entries at a time (`BPF_MAP_LOOKUP_BATCH`): a census of a million records takes a fraction of a
//! second, not the seconds of two system calls an entry. A room for `unsafe`: aya has no batch operations.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use anyhow::bail;

/// Entries asked for at a time. A hash map answers by whole buckets, so the buffer must hold the longest bucket.
const BATCH: usize = 4096;

/// `BPF_MAP_LOOKUP_BATCH`, a `bpf(2)` command.
const LOOKUP_BATCH: libc::c_long = 24;

/// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`.
const LOOKUP_AND_DELETE: libc::c_long = 21;

/// The part of `union bpf_attr` for operations on one element.
#[repr(C, align(8))]
#[derive(Default)]
struct ElementAttributes {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The part of `union bpf_attr` for batch operations.
#[repr(C, align(8))]
#[derive(Default)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// Deletes an entry of a hash map with keys of `K` and values of `V` octets, and returns its value: in one step, so that nothing
/// that a packet writes meanwhile is lost (`BPF_MAP_LOOKUP_AND_DELETE_ELEM`, since Linux 5.14). `None`: there is no such entry.
///
/// # Errors
/// When the kernel refuses.
pub fn take<const K: usize, const V: usize>(map: BorrowedFd<'_>, key: &[u8; K]) -> anyhow::Result<Option<[u8; V]>> {
    let mut value = [0u8; V];
    let attributes = ElementAttributes {
        map: map.as_raw_fd() as u32,
        key: key.as_ptr() as u64,
        value: value.as_mut_ptr() as u64,
        ..ElementAttributes::default()
    };
    // SAFETY: both addresses are of buffers that live past the call and have the map's key and value sizes, as the types of the
    // maps say.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, LOOKUP_AND_DELETE, &raw const attributes, size_of::<ElementAttributes>())
    };
    if result == 0 {
        return Ok(Some(value));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOENT) => Ok(None),
        _ => bail!("deleting from a flow table: {error}"),
    }
}

/// Runs `visit` on every entry of a hash map with keys of `K` and values of `V` octets. Entries that come or go meanwhile
/// may be seen or not.
///
/// # Errors
/// When the kernel refuses.
pub fn for_each<const K: usize, const V: usize>(
    map: BorrowedFd<'_>,
    mut visit: impl FnMut(&[u8; K], &[u8; V]),
) -> anyhow::Result<()> {
    let mut walk = Walk::default();
    while walk.step(map, &mut visit)?.is_continue() {}
    Ok(())
}

/// A walk over a hash map with keys of `K` and values of `V` octets, some thousands of entries at a time.
pub struct Walk<const K: usize, const V: usize> {
    keys: Vec<[u8; K]>,
    values: Vec<[u8; V]>,
    /// The kernel's place in the table: an index of 4 octets. `None`: before the first entry.
    place: Option<u64>,
}

impl<const K: usize, const V: usize> Default for Walk<K, V> {
    fn default() -> Self {
        Self { keys: vec![[0; K]; BATCH], values: vec![[0; V]; BATCH], place: None }
    }
}

impl<const K: usize, const V: usize> Walk<K, V> {
    /// Runs `visit` on the next entries; whether there are more. After the last it begins anew.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn step(
        &mut self,
        map: BorrowedFd<'_>,
        mut visit: impl FnMut(&[u8; K], &[u8; V]),
    ) -> anyhow::Result<ControlFlow<()>> {
        let (from, mut to) = (self.place, 0u64);
        let mut attributes = Attributes {
            in_batch: from.as_ref().map_or(0, |from| &raw const *from as u64),
            out_batch: &raw mut to as u64,
            keys: self.keys.as_mut_ptr() as u64,
            values: self.values.as_mut_ptr() as u64,
            count: BATCH as u32,
            map: map.as_raw_fd() as u32,
            ..Attributes::default()
        };
        // SAFETY: every address in the attributes is of a buffer that lives past the call: `keys` and `values` hold
        // `count` entries of the map's key and value sizes, as the types of the maps say, and the places hold 8 octets.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, LOOKUP_BATCH, &raw mut attributes, size_of::<Attributes>()) };
        let error = (result != 0).then(io::Error::last_os_error);
        let is_last = match error.as_ref().map(io::Error::raw_os_error) {
            None => false,
            Some(Some(libc::ENOENT)) => true,
            Some(_) => bail!("reading a flow table: {}", error.expect("an error was seen")),
        };
        for (key, value) in self.keys.iter().zip(&self.values).take(attributes.count as usize) {
            visit(key, value);
        }
        self.place = (!is_last).then_some(to);
        Ok(if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}
