//! The keyed hash that spreads flows over backends: `SipHash-1-3`.
//!
//! Clients choose their tuples, so an unkeyed hash would let one of them aim all its connections
//! at one backend or one source port. The key is a secret of the boot: a choice that was forgotten
//! comes out the same again.

/// The secret of the boot.
pub type Key = [u64; 2];

/// For what is to come out the same everywhere.
pub const NO_KEY: Key = [0; 2];

/// `SipHash-1-3` (Aumasson, Bernstein 2012) over 64-bit words, one at a time.
#[derive(Clone, Copy)]
pub struct Hasher {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl Hasher {
    /// A hash under `key`.
    #[inline(always)]
    pub const fn new(key: Key) -> Self {
        Self {
            v0: key[0] ^ 0x736f_6d65_7073_6575,
            v1: key[1] ^ 0x646f_7261_6e64_6f6d,
            v2: key[0] ^ 0x6c79_6765_6e65_7261,
            v3: key[1] ^ 0x7465_6462_7974_6573,
        }
    }

    /// Takes in one word.
    #[inline(always)]
    pub fn write(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.v0 ^= word;
    }

    /// The hash. `words` of eight bytes each have been written.
    #[inline(always)]
    pub fn finish(mut self, words: u64) -> u64 {
        self.write((words * 8) << 56);
        self.v2 ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }

    #[inline(always)]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    #[expect(deprecated, reason = "the only SipHash of the standard library that takes a key")]
    use core::hash::{Hasher as _, SipHasher};

    use super::Hasher;

    /// The same construction with 2 and 4 rounds is the standard library's `SipHasher`: what is
    /// shared with it (constants, round, length word) is checked against that.
    #[test]
    fn the_round_and_the_constants_are_those_of_siphash() {
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let words = [0x0123_4567_89ab_cdef_u64, 0xfedc_ba98_7654_3210, 42];

        let mut ours = Hasher::new(key);
        for word in words.into_iter().chain([(8 * 3) << 56]) {
            ours.v3 ^= word;
            ours.round();
            ours.round();
            ours.v0 ^= word;
        }
        ours.v2 ^= 0xff;
        for _ in 0..4 {
            ours.round();
        }
        let ours = ours.v0 ^ ours.v1 ^ ours.v2 ^ ours.v3;

        #[expect(deprecated, reason = "see above")]
        let mut theirs = SipHasher::new_with_keys(key[0], key[1]);
        for word in words {
            theirs.write(&word.to_le_bytes());
        }
        assert_eq!(ours, theirs.finish());
    }

    #[test]
    fn another_key_gives_another_hash() {
        let hash = |key| {
            let mut hasher = Hasher::new(key);
            hasher.write(1);
            hasher.finish(1)
        };
        assert_ne!(hash([1, 2]), hash([1, 3]));
        assert_eq!(hash([1, 2]), hash([1, 2]));
    }
}
