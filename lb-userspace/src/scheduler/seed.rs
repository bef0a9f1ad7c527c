//! The key of all hashing: derived once from the configuration's `hash_seed`, so that every node of a cluster agrees
//! and nobody outside can aim flows at one backend.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

/// A 128-bit key, the same on all nodes that share a `hash_seed`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seed(pub [u8; 16]);

/// Keeps this derivation apart from any other use of SipHash with the same text.
const DERIVATION_KEY: (u64, u64) = (u64::from_le_bytes(*b"fairway "), u64::from_le_bytes(*b"hashseed"));

impl Seed {
    /// The seed that the configuration's text stands for.
    pub fn from_text(text: &str) -> Self {
        let mut hasher = SipHasher24::new_with_keys(DERIVATION_KEY.0, DERIVATION_KEY.1);
        hasher.write(text.as_bytes());
        let hash = hasher.finish128();
        Self::from_words(hash.h1, hash.h2)
    }

    /// 128 bits for `bytes`, under this seed. `purpose` keeps the users of one seed apart.
    pub(crate) fn hash(&self, purpose: u8, bytes: &[u8]) -> (u64, u64) {
        let (k0, k1) = self.words();
        let mut hasher = SipHasher24::new_with_keys(k0, k1);
        hasher.write(&[purpose]);
        hasher.write(bytes);
        let hash = hasher.finish128();
        (hash.h1, hash.h2)
    }

    /// The key as SipHash takes it.
    pub fn words(&self) -> (u64, u64) {
        let all = u128::from_le_bytes(self.0);
        (all as u64, (all >> 64) as u64)
    }

    fn from_words(low: u64, high: u64) -> Self {
        Self((u128::from(high) << 64 | u128::from(low)).to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_derivation_never_changes_because_nodes_of_two_versions_must_agree() {
        assert_eq!(format!("{:016x?}", Seed::from_text("fairway").words()), "(8937349a1ff6cb67, 748793c0f534aedc)");
    }

    #[test]
    fn two_texts_give_two_seeds_and_words_are_its_bytes_in_little_endian() {
        assert_ne!(Seed::from_text("a"), Seed::from_text("b"));
        let seed = Seed::from_text("a");
        let (low, high) = seed.words();
        assert_eq!(Seed::from_words(low, high), seed);
    }
}
