//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! Sums are over 16-bit words as they lie in memory: the ones' complement sum has the same bytes
//! whichever way the machine orders them (RFC 1071, section 2.B), so nothing is swapped.

use bytemuck::{Pod, Zeroable};
use core::ops::Add;

/// A ones' complement sum, not yet folded. Adding up to 2¹⁵ words can't overflow it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u32);

/// What a rewrite adds to a checksum: the sum of all (new − old), folded to 16 bits.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Delta(u16);

#[expect(clippy::cast_possible_truncation, reason = "halves of words are what is summed")]
impl Sum {
    /// Of one 16-bit word.
    #[inline(always)]
    pub const fn of_half(half: u16) -> Self {
        Self(half as u32)
    }

    /// Of the two halves of a 32-bit word.
    #[inline(always)]
    pub const fn of_word(word: u32) -> Self {
        Self((word & 0xffff) + (word >> 16))
    }

    /// Of the four halves of a 64-bit word.
    #[inline(always)]
    pub const fn of_long(long: u64) -> Self {
        Self(
            (long & 0xffff) as u32
                + ((long >> 16) & 0xffff) as u32
                + ((long >> 32) & 0xffff) as u32
                + (long >> 48) as u32,
        )
    }

    /// Of bytes, the last one padded with a zero.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let mut sum = Self(0);
        for pair in bytes.chunks(2) {
            let half = [pair[0], pair.get(1).copied().unwrap_or(0)];
            sum = Self::of_half(Self(sum.0).fold()) + Self::of_half(u16::from_ne_bytes(half));
        }
        sum
    }

    /// The sum in 16 bits.
    #[inline(always)]
    pub const fn fold(self) -> u16 {
        let once = (self.0 & 0xffff) + (self.0 >> 16);
        let twice = (once & 0xffff) + (once >> 16);
        twice as u16
    }

    /// The checksum of data with this sum: its complement.
    #[inline(always)]
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }
}

impl Add for Sum {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Delta {
    /// What changes when data that sums to `old` is replaced by data that sums to `new`.
    #[inline(always)]
    pub fn replace(old: Sum, new: Sum) -> Self {
        Self((Sum::of_half(!old.fold()) + Sum::of_half(new.fold())).fold())
    }

    /// Both changes.
    #[inline(always)]
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self((Sum::of_half(self.0) + Sum::of_half(other.0)).fold())
    }

    /// The change that undoes this one.
    #[inline(always)]
    #[must_use]
    pub const fn inverse(self) -> Self {
        Self(!self.0)
    }

    /// The checksum after the change: RFC 1624, equation 3.
    #[inline(always)]
    pub fn apply(self, checksum: u16) -> u16 {
        (Sum::of_half(!checksum) + Sum::of_half(self.0)).checksum()
    }

    /// The value that `bpf_l4_csum_replace` takes as `to` when its size is 0.
    #[inline(always)]
    pub const fn for_helper(self) -> u64 {
        self.0 as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_sums_to_ddf2() {
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(u16::from_be_bytes(Sum::of_bytes(&data).fold().to_ne_bytes()), 0xddf2);
    }

    #[test]
    fn words_and_longs_sum_like_their_bytes() {
        let long = 0x0123_4567_89ab_cdef_u64;
        assert_eq!(Sum::of_long(long).fold(), Sum::of_bytes(&long.to_ne_bytes()).fold());
        let word = 0xfedc_ba98_u32;
        assert_eq!(Sum::of_word(word).fold(), Sum::of_bytes(&word.to_ne_bytes()).fold());
    }

    #[test]
    fn the_example_of_rfc_1624_gives_zero() {
        // HC = 0xdd2f, m = 0x5555, m' = 0x3285: equation 3 gives 0x0000, not 0xffff.
        let delta = Delta::replace(Sum::of_half(0x5555), Sum::of_half(0x3285));
        assert_eq!(delta.apply(0xdd2f), 0x0000);
    }
}
