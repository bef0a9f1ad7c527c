//! Tables of flows that take all their memory as they are made. To make a record is cheaper then by more than a third, on the packet path too, and
//! cannot fail for want of memory while there is room in the table. So the tables of stateful services are like this; those of exceptions, which are
//! mostly empty, and of translations take memory as they fill.

use anyhow::{Context as _, ensure};
use object::{File, Object as _, ObjectSection as _, ObjectSymbol as _};

/// `BPF_F_NO_PREALLOC` of `linux/bpf.h`.
const AS_IT_FILLS: u32 = 1;
/// Where the flags are in what an object says of a map: behind its type, the sizes of keys and values, and the number of entries.
const FLAGS_AT: usize = 16;

/// Of which address families the connections of stateful services have a table that takes all its memory at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Preallocated {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

impl Preallocated {
    /// Says so in an object that is to be loaded, which says of all tables that they take memory as they fill.
    ///
    /// # Errors
    /// When it lacks one: it and this program are of different versions.
    pub(super) fn write_into(self, object: &mut [u8]) -> anyhow::Result<()> {
        for name in self.names() {
            let at = flags_of(object, name).with_context(|| format!("looking for the map `{name}` in the object"))?;
            let flags = object.get_mut(at..at + 4).context("the object is cut off")?;
            let before = u32::from_le_bytes(flags.try_into().expect("four octets"));
            ensure!(before & AS_IT_FILLS != 0, "the eBPF object says something else of the map `{name}`");
            flags.copy_from_slice(&(before & !AS_IT_FILLS).to_le_bytes());
        }
        Ok(())
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        let names = [(self.v4, "CONNECTIONS_V4"), (self.v6, "CONNECTIONS_V6")];
        names.into_iter().filter(|(is_so, _)| *is_so).map(|(_, name)| name)
    }
}

/// Where an object has the flags of a map.
fn flags_of(object: &[u8], name: &str) -> anyhow::Result<usize> {
    let file = File::parse(object)?;
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name)).context("there is no such symbol")?;
    let section = file.section_by_index(symbol.section_index().context("it is in no section")?)?;
    let (from, _) = section.file_range().context("its section has no content")?;
    Ok(usize::try_from(from + symbol.address())? + FLAGS_AT)
}

#[cfg(test)]
mod tests {
    use aya_obj::Object;

    use super::*;

    const V4: Preallocated = Preallocated { v4: true, v6: false };

    #[test]
    fn those_that_are_named_take_their_memory_at_once_and_no_others() {
        let original = super::super::object::bytes().expect("the object");
        for (preallocated, count) in [(Preallocated::default(), 0), (V4, 1), (Preallocated { v4: true, v6: true }, 2)] {
            let mut bytes = original.clone();
            preallocated.write_into(&mut bytes).expect("the object has these maps");
            let maps = [&original, &bytes].map(|bytes| Object::parse(bytes).expect("an object").maps);
            let mut changed: Vec<&str> = Vec::new();
            for (name, before) in &maps[0] {
                let (before, after) = (before.map_flags(), maps[1][name].map_flags());
                if before != after {
                    assert_eq!(after, before & !AS_IT_FILLS, "{name}");
                    changed.push(name);
                }
            }
            changed.sort_unstable();
            let mut named: Vec<&str> = preallocated.names().collect();
            named.sort_unstable();
            assert_eq!((changed.len(), &changed), (count, &named));
        }
    }

    #[test]
    fn an_object_that_lacks_a_map_is_refused() {
        let mut bytes = super::super::object::bytes().expect("the object");
        V4.write_into(&mut bytes).expect("the object has this map");
        assert!(V4.write_into(&mut bytes).is_err(), "it says so already");
        assert!(V4.write_into(&mut [0; 64]).is_err(), "it is no object");
    }
}
