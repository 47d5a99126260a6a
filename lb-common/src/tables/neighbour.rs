//! When neighbours were last asked for: what leaves without the kernel's stack keeps the kernel's
//! entries of them alive, because nothing else does.

use super::Egress;

/// A neighbour, as far as a cached way out knows it, and a place for it in [`Neighbour::SLOTS`].
///
/// Two that fall into one place take turns, and are asked for more often than need be. Next hops that
/// share their link-layer addresses are one neighbour here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour(u32);

impl Neighbour {
    /// How many places there are.
    pub const SLOTS: u32 = 256;

    /// The neighbour behind a way out; `version` is that of IP, because each has neighbours of its own.
    #[inline(always)]
    pub const fn of(egress: &Egress, version: u32) -> Self {
        let macs = egress.macs.folded();
        Self((macs ^ egress.ifindex.rotate_left(8) ^ version).wrapping_mul(0x9e37_79b1))
    }

    /// Its place.
    #[inline(always)]
    pub const fn slot(self) -> u32 {
        self.0 >> 24
    }

    /// What stands there once it was asked for, at a time in jiffies.
    #[inline(always)]
    pub const fn asked(self, now: u32) -> u64 {
        (self.0 as u64) << 32 | now as u64
    }

    /// Whether, by what stands there, it was asked for within the interval.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "halves of the word")]
    pub const fn was_asked(self, word: u64, now: u32, interval: u32) -> bool {
        (word >> 32) as u32 == self.0 && now.wrapping_sub(word as u32) < interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MacPair;

    fn neighbour(last: u8, ifindex: u32, version: u32) -> Neighbour {
        let macs = MacPair::new([2, 0, 0, 0, 0, last], [2, 0, 0, 0, 1, 0]);
        Neighbour::of(&Egress { ifindex, macs, ..Egress::default() }, version)
    }

    #[test]
    fn a_neighbour_was_asked_for_until_the_interval_is_over() {
        let one = neighbour(1, 2, 4);
        let word = one.asked(u32::MAX);
        assert!(one.was_asked(word, u32::MAX, 10));
        assert!(one.was_asked(word, 8, 10));
        assert!(!one.was_asked(word, 9, 10));
        assert!(!one.was_asked(0, 9, 10), "never");
    }

    #[test]
    fn neighbours_differ_by_address_interface_and_family() {
        let all = [(1, 2, 4), (2, 2, 4), (1, 3, 4), (1, 2, 6)].map(|(a, b, c)| neighbour(a, b, c));
        for (at, one) in all.iter().enumerate() {
            assert!(one.slot() < Neighbour::SLOTS);
            for other in &all[at + 1..] {
                assert!(!other.was_asked(one.asked(5), 5, 10));
            }
        }
    }
}
