//! Makes the tables that programs address without a look-up, and names them in the object where their marks stand.
//!
//! Loaders know such tables as sections of data, which cannot be mapped. These are ordinary arrays that can, made before the
//! object is loaded. Their elements are addressed by the kernel itself: it checks every access against the size of the table.

use std::os::fd::{AsFd as _, AsRawFd as _};

use anyhow::{Context as _, ensure};
use aya::maps::MapData;
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY;
use lb_common::abi::addressed::Table;

/// `BPF_F_MMAPABLE` of `linux/bpf.h`.
const MMAPABLE: u32 = 1 << 10;

/// The tables, until they are mapped; by descriptors that the object names.
pub struct Tables(Vec<(Table, MapData)>);

impl Tables {
    /// Makes the tables, empty.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new() -> anyhow::Result<Self> {
        let make = |table: Table| {
            let value = u32::try_from(table.octets()).context("tables are smaller than 4 GiB")?;
            let definition = aya_obj::Map::new_from_params(BPF_MAP_TYPE_ARRAY as u32, 4, value, 1, MMAPABLE);
            let map = MapData::create(definition, table.name(), None);
            Ok((table, map.with_context(|| format!("making the table `{}`", table.name()))?))
        };
        Ok(Self(Table::ALL.into_iter().map(make).collect::<anyhow::Result<_>>()?))
    }

    /// Puts the tables' descriptors in the place of their marks, wherever an object has them.
    ///
    /// # Errors
    /// When it lacks one: it and this program are of different versions.
    pub fn write_into(&self, object: &mut [u8]) -> anyhow::Result<()> {
        for (table, map) in &self.0 {
            let places = replace(object, *table, map.fd().as_fd().as_raw_fd());
            ensure!(places > 0, "the eBPF object does not address the table `{}`", table.name());
        }
        Ok(())
    }

    /// Takes out a table, which stays there as long as what is returned, or a program that addresses it.
    ///
    /// # Errors
    /// When it was taken before.
    pub fn take(&mut self, table: Table) -> anyhow::Result<MapData> {
        let at = self.0.iter().position(|(other, _)| *other == table);
        Ok(self.0.swap_remove(at.with_context(|| format!("the table `{}` was taken before", table.name()))?).1)
    }
}

/// Instructions lie at multiples of this in an object.
const INSTRUCTION: usize = 8;
/// Loads eight octets that follow; two instructions.
const LOAD: u8 = 0x18;
/// In the place of the source register: what follows is a map's descriptor, and an offset in its first element.
const ADDRESS_IN_MAP: u8 = 2 << 4;

/// Where a load of the mark is, loads the address of the map's first element; how often.
fn replace(object: &mut [u8], table: Table, descriptor: i32) -> usize {
    let [low, high] = [table.mark() as u32, (table.mark() >> 32) as u32].map(u32::to_le_bytes);
    let mut places = 0;
    for at in (0..object.len().saturating_sub(2 * INSTRUCTION - 1)).step_by(INSTRUCTION) {
        let [code, registers, 0, 0, first @ .., 0, 0, 0, 0, a, b, c, d] = &mut object[at..at + 2 * INSTRUCTION] else {
            continue;
        };
        if *code == LOAD && *registers < ADDRESS_IN_MAP && *first == low && [*a, *b, *c, *d] == high {
            *registers |= ADDRESS_IN_MAP;
            first.copy_from_slice(&descriptor.to_le_bytes());
            [*a, *b, *c, *d] = [0; 4];
            places += 1;
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(register: u8, value: u64) -> Vec<u8> {
        let [low, high] = [value as u32, (value >> 32) as u32].map(u32::to_le_bytes);
        [&[LOAD, register, 0, 0], &low[..], &[0; 4], &high].concat()
    }

    #[test]
    fn a_mark_becomes_the_address_of_the_map() {
        let mut object = [load(3, 5), load(9, Table::Services.mark()), load(1, Table::Root.mark())].concat();
        assert_eq!(replace(&mut object, Table::Services, 77), 1);
        let addressed = [&[LOAD, 9 | ADDRESS_IN_MAP, 0, 0, 77, 0, 0, 0], &[0; 8][..]].concat();
        assert_eq!(object, [load(3, 5), addressed, load(1, Table::Root.mark())].concat());
    }

    #[test]
    fn the_object_addresses_every_table() {
        let mut object = super::super::object::bytes().expect("the object");
        for table in Table::ALL {
            assert!(replace(&mut object, table, 1) > 0, "{table:?}");
            assert_eq!(replace(&mut object, table, 1), 0, "{table:?}");
        }
    }
}
