//! One flow table: records by key, both as octets.

use std::ops::ControlFlow;
use std::os::fd::AsFd as _;

use anyhow::{Context as _, bail};
use aya::maps::{HashMap, Map, MapData, MapError};

use super::batch::{self, Walk};

/// `BPF_NOEXIST`: only if there is no record yet.
const NO_EXIST: u64 = 1;

/// What became of a record that was to be deleted.
pub enum Taken<const V: usize> {
    /// It was deleted, and this is what it last said.
    Gone([u8; V]),
    /// It is there still, since it says this by now.
    Kept([u8; V]),
    /// It was not there any more.
    Absent,
}

/// A hash map with keys of `K` octets and records of `V`.
pub struct FlowTable<const K: usize, const V: usize = 16>(Map);

impl<const K: usize, const V: usize> FlowTable<K, V>
where
    [u8; K]: aya::Pod,
    [u8; V]: aya::Pod,
{
    /// The table in a map of the object.
    ///
    /// # Errors
    /// When the map is of another shape.
    pub fn new(map: Map) -> anyhow::Result<Self> {
        let _: HashMap<&MapData, [u8; K], [u8; V]> = (&map).try_into().context("a flow table of another shape")?;
        Ok(Self(map))
    }

    /// The same table by a descriptor of its own.
    ///
    /// # Errors
    /// When this process has no descriptors left.
    pub fn duplicate(&self) -> anyhow::Result<Self> {
        let Map::HashMap(data) = &self.0 else { bail!("a flow table of another shape") };
        let descriptor = data.fd().as_fd().try_clone_to_owned().context("duplicating a flow table's descriptor")?;
        Self::new(Map::HashMap(MapData::from_fd(descriptor).context("asking what a flow table is")?))
    }

    /// The record of a key.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn get(&self, key: &[u8; K]) -> anyhow::Result<Option<[u8; V]>> {
        let map: HashMap<&MapData, [u8; K], [u8; V]> = (&self.0).try_into()?;
        match map.get(key, 0) {
            Ok(record) => Ok(Some(record)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error).context("reading a flow table"),
        }
    }

    /// Makes or replaces a record.
    ///
    /// # Errors
    /// When the table is full or the kernel refuses.
    pub fn insert(&mut self, key: &[u8; K], record: [u8; V]) -> anyhow::Result<()> {
        let mut map: HashMap<&mut MapData, [u8; K], [u8; V]> = (&mut self.0).try_into()?;
        map.insert(key, record, 0).context("writing a flow table")
    }

    /// Makes a record where there is none; whether it did.
    ///
    /// # Errors
    /// When the table is full or the kernel refuses.
    pub fn add(&mut self, key: &[u8; K], record: [u8; V]) -> anyhow::Result<bool> {
        let mut map: HashMap<&mut MapData, [u8; K], [u8; V]> = (&mut self.0).try_into()?;
        match map.insert(key, record, NO_EXIST) {
            Ok(()) => Ok(true),
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(error) => Err(error).context("writing a flow table"),
        }
    }

    /// Deletes a record, if it is there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(&mut self, key: &[u8; K]) -> anyhow::Result<()> {
        let mut map: HashMap<&mut MapData, [u8; K], [u8; V]> = (&mut self.0).try_into()?;
        match map.remove(key) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(error).context("deleting from a flow table"),
        }
    }

    /// Deletes a record and returns what it last said, if it is there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn take(&mut self, key: &[u8; K]) -> anyhow::Result<Option<[u8; V]>> {
        let Map::HashMap(data) = &self.0 else { bail!("a flow table of another shape") };
        batch::take(data.fd().as_fd(), key)
    }

    /// Deletes a record if it is over still: since it was read a packet may have made it the record of another flow with the same
    /// ports, which must not lose it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn take_if(&mut self, key: &[u8; K], is_over: impl Fn(&[u8; V]) -> bool) -> anyhow::Result<Taken<V>> {
        let Some(record) = self.get(key)? else { return Ok(Taken::Absent) };
        if !is_over(&record) {
            return Ok(Taken::Kept(record));
        }
        let Some(last) = self.take(key)? else { return Ok(Taken::Absent) };
        // Between these two calls there was time for a packet, too, and after them for one that made a record of its own.
        Ok(if !is_over(&last) && self.add(key, last)? { Taken::Kept(last) } else { Taken::Gone(last) })
    }

    /// Runs `visit` on every record.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn for_each(&self, visit: impl FnMut(&[u8; K], &[u8; V])) -> anyhow::Result<()> {
        let Map::HashMap(data) = &self.0 else { bail!("a flow table of another shape") };
        batch::for_each(data.fd().as_fd(), visit)
    }

    /// Runs `visit` on the next records of a walk; whether there are more.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn step(
        &self,
        walk: &mut Walk<K, V>,
        visit: impl FnMut(&[u8; K], &[u8; V]),
    ) -> anyhow::Result<ControlFlow<()>> {
        let Map::HashMap(data) = &self.0 else { bail!("a flow table of another shape") };
        walk.step(data.fd().as_fd(), visit)
    }
}
