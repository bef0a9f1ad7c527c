//! Tables that programs address without a look-up.
//!
//! An array of one element has an address that the kernel writes into the instruction that asks for it: no key, no call, no check for
//! an element that might not be there. So each of these tables is one element, however much it holds. In the object a mark stands in the
//! place of the address; who loads it makes the tables and puts them in the place of the marks.

use super::{Displacements, HALF_ENTRIES, Root, Service};

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Table {
    /// [`Root`].
    Root,
    /// [`Displacements`] of both halves.
    Displacements,
    /// [`Service`] entries of both halves.
    Services,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Root, Self::Displacements, Self::Services];

    /// What the kernel calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "ROOT",
            Self::Displacements => "DISPLACEMENTS",
            Self::Services => "SERVICES",
        }
    }

    /// Octets of it.
    pub const fn octets(self) -> usize {
        match self {
            Self::Root => size_of::<Root>(),
            Self::Displacements => 2 * size_of::<Displacements>(),
            Self::Services => 2 * HALF_ENTRIES * size_of::<Service>(),
        }
    }

    /// What stands in the object in the place of its address: a number that no program has for anything else.
    pub const fn mark(self) -> u64 {
        const MARK: u64 = u64::from_be_bytes(*b"Fairway\0");
        MARK | self as u64
    }
}

/// The most that Linux 6.1 takes for an element of an array.
const LARGEST: usize = 4 << 20;

const _: () = {
    let mut at = 0;
    while at < Table::ALL.len() {
        assert!(Table::ALL[at].octets() <= LARGEST);
        at += 1;
    }
};
