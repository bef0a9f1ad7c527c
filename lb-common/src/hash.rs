//! The two hashes of the packet path: where a listener lies in the service table, and which slot a flow falls on.
//!
//! Both are a few multiplications: a packet is hashed twice, and on a steady path these are a good part of its cost. They
//! are keyed, so that who does not know `hash_seed` cannot aim at one slot; they are no cryptographic hashes.

use crate::abi::{BUCKETS, HALF_ENTRIES};
use crate::address::Address;

const A: u64 = 0x9e37_79b9_7f4a_7c15;
const B: u64 = 0xd6e8_feb8_6659_fd93;
const C: u64 = 0xa076_1d64_78bd_642f;

/// The hash of a (address, port, protocol) key of the service or reverse table.
#[inline(always)]
pub fn endpoint(seed: u64, address: Address, port_wire: u16, protocol: u8) -> u64 {
    let mut h = (address.low ^ seed).wrapping_mul(A) ^ address.high.wrapping_mul(B);
    h ^= h >> 32;
    h = (h ^ ((port_wire as u64) << 8 | protocol as u64)).wrapping_mul(C);
    h ^ h >> 32
}

/// The bucket of a key: the top bits of its hash.
#[inline(always)]
pub fn bucket(hash: u64) -> usize {
    (hash >> 52) as usize & (BUCKETS - 1)
}

/// The entry of a key in its half, given its bucket's displacement.
#[inline(always)]
pub fn entry(hash: u64, displacement: u16) -> usize {
    (hash as usize ^ displacement as usize) & (HALF_ENTRIES - 1)
}

/// The selection hash of a flow: of both ports and the client's address. The service's address is in the seed.
#[inline(always)]
pub fn flow(seed: u64, source: Address, ports_wire: u32) -> u64 {
    let mut h = (source.low ^ seed).wrapping_mul(A) ^ source.high.wrapping_mul(B);
    h ^= h >> 32;
    h = (h ^ ports_wire as u64).wrapping_mul(B);
    h ^= h >> 32;
    h.wrapping_mul(C)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    /// Chi-squared over 256 cells with 255 degrees of freedom: mean 255, standard deviation 22.6.
    fn chi_squared(hashes: impl Iterator<Item = u64>) -> f64 {
        let mut cells = [0u32; 256];
        let mut total = 0u32;
        for hash in hashes {
            cells[(hash >> 56) as usize] += 1;
            total += 1;
        }
        let expected = f64::from(total) / 256.0;
        cells.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum()
    }

    #[test]
    fn clients_that_differ_in_port_only_spread_over_the_slots() {
        let source = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1)).into();
        let ports = (0..65_535u16).map(|p| u32::from_ne_bytes([(p >> 8) as u8, p as u8, 0, 80]));
        assert!(chi_squared(ports.map(|p| flow(7, source, p))) < 400.0);
    }

    #[test]
    fn clients_that_differ_in_address_only_spread_over_the_slots() {
        let v4 = (0..65_536u32).map(|i| IpAddr::from(Ipv4Addr::from(0x0a00_0000 + i)).into());
        assert!(chi_squared(v4.map(|a| flow(7, a, 0x5000_0004))) < 400.0);
        let v6 = (0..65_536u128).map(|i| IpAddr::from(Ipv6Addr::from((0xfd00 << 112) + (i << 64) + 1)).into());
        assert!(chi_squared(v6.map(|a| flow(7, a, 0x5000_0004))) < 400.0);
    }

    #[test]
    fn another_seed_gives_another_slot() {
        let source = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1)).into();
        let same = (0..1000u32).filter(|&p| flow(1, source, p) >> 50 == flow(2, source, p) >> 50).count();
        assert!(same < 10, "{same} of 1000 flows fell on the same of 16,384 slots under two seeds");
    }
}
