//! Builds the perfect hash that the packet path reads (hash and displace): every key of the set gets an entry of its own,
//! found by two array reads and never by a chain.
//!
//! Keys are spread over buckets; the fullest bucket first, each bucket gets the smallest displacement that puts all of
//! its keys on free entries. With at most half of the entries in use a displacement is found after a few tries. Two keys
//! of one bucket whose hashes agree in the entry bits can never be parted; then another seed is tried.

use lb_common::abi::{BUCKETS, HALF_ENTRIES};
use lb_common::address::Address;
use lb_common::hash;

/// Seeds that are tried before the key set is given up on. The chance that one fails is about a quarter at the largest
/// configuration, so that all of them fail is not expected in the life of the universe.
const ATTEMPTS: u64 = 256;

/// A key of the service or reverse table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Key {
    /// The address.
    pub address: Address,
    /// The port, as it lies in a packet; 0 = every port.
    pub port_wire: u16,
    /// IP protocol number; 0 in an address entry.
    pub protocol: u8,
}

/// Where every key lies.
pub struct PerfectHash {
    /// Seed of the hash.
    pub seed: u64,
    /// Displacement of each bucket.
    pub displacements: [u16; BUCKETS],
    /// The entry of each key, in the order of the keys.
    pub entries: Vec<u32>,
}

/// Finds a perfect hash for `keys`, all different, at most half as many as there are entries. `None` when no seed will do,
/// which means that a key is there twice or that there are too many.
pub fn build(keys: &[Key]) -> Option<PerfectHash> {
    if keys.len() > HALF_ENTRIES / 2 {
        return None;
    }
    (1..=ATTEMPTS).find_map(|seed| attempt(keys, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn attempt(keys: &[Key], seed: u64) -> Option<PerfectHash> {
    let hashes: Vec<u64> =
        keys.iter().map(|key| hash::endpoint(seed, key.address, key.port_wire, key.protocol)).collect();
    let mut by_bucket: Vec<usize> = (0..keys.len()).collect();
    by_bucket.sort_by_key(|&key| hash::bucket(hashes[key]));
    let mut buckets: Vec<&[usize]> =
        by_bucket.chunk_by(|&a, &b| hash::bucket(hashes[a]) == hash::bucket(hashes[b])).collect();
    buckets.sort_by_key(|members| std::cmp::Reverse(members.len()));

    let mut built = PerfectHash { seed, displacements: [0; BUCKETS], entries: vec![0; keys.len()] };
    let mut taken = vec![false; HALF_ENTRIES];
    for members in buckets {
        let displacement = (0..HALF_ENTRIES as u16).find(|&d| fits(members, &hashes, d, &taken))?;
        built.displacements[hash::bucket(hashes[members[0]])] = displacement;
        for &key in members {
            let entry = hash::entry(hashes[key], displacement);
            taken[entry] = true;
            built.entries[key] = entry as u32;
        }
    }
    Some(built)
}

fn fits(members: &[usize], hashes: &[u64], displacement: u16, taken: &[bool]) -> bool {
    let entry = |key: usize| hash::entry(hashes[key], displacement);
    members
        .iter()
        .enumerate()
        .all(|(i, &key)| !taken[entry(key)] && members[..i].iter().all(|&other| entry(other) != entry(key)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;

    use super::*;

    fn key(i: u32) -> Key {
        let address = Ipv4Addr::from(0x0a00_0000 + i / 16).into();
        Key { address, port_wire: (80 + (i % 16) as u16).to_be(), protocol: 6 }
    }

    #[test]
    fn every_key_has_an_entry_of_its_own_in_the_largest_configuration() {
        let keys: Vec<Key> = (0..HALF_ENTRIES as u32 / 2).map(key).collect();
        let built = build(&keys).expect("a perfect hash of all different keys");
        let entries: BTreeSet<u32> = built.entries.iter().copied().collect();
        assert_eq!(entries.len(), keys.len());
        for (key, &entry) in keys.iter().zip(&built.entries) {
            let hash = hash::endpoint(built.seed, key.address, key.port_wire, key.protocol);
            assert_eq!(hash::entry(hash, built.displacements[hash::bucket(hash)]) as u32, entry);
        }
    }

    #[test]
    fn the_same_key_twice_is_refused() {
        assert!(build(&[key(1), key(1)]).is_none());
    }

    #[test]
    fn no_key_is_no_problem() {
        assert!(build(&[]).expect("empty").entries.is_empty());
    }
}
