//! By which algorithm a selection table is used, and what the algorithms keep beside it.

use bytemuck::{Pod, Zeroable};

use super::SelectionKind;

/// How a slot of a selection table is chosen, as a number of eight bits. One that isn't named here is
/// never written.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct Algorithm(pub u8);

impl Algorithm {
    /// By a hash of the whole tuple.
    pub const RANDOM: Self = Self(0);
    /// One after the other.
    pub const ROUND_ROBIN: Self = Self(1);
    /// By a hash of the client's address.
    pub const SOURCE_HASH: Self = Self(2);
    /// By a hash of the frontend's address.
    pub const DESTINATION_HASH: Self = Self(3);
    /// By a hash of the client's address, in a table that moves little when backends come and go.
    pub const MAGLEV: Self = Self(4);
    /// The backend with the fewest open flows for its weight.
    pub const LEAST_CONNECTION: Self = Self(Self::COMPARES);
    /// The one that would have the fewest with this one.
    pub const SHORTEST_EXPECTED_DELAY: Self = Self(Self::COMPARES | Self::COUNTS_OWN);
    /// The same, but one without any goes first.
    pub const NEVER_QUEUE: Self = Self(Self::COMPARES | Self::COUNTS_OWN | Self::IDLE_FIRST);

    /// Backends are compared by their open flows.
    const COMPARES: u8 = 8;
    /// The flow that is to begin counts.
    const COUNTS_OWN: u8 = 1;
    /// But not at a backend that has none.
    const IDLE_FIRST: u8 = 2;

    /// Whether one end of the tuple is hashed, by itself and under no secret: each node finds the same.
    #[inline(always)]
    pub const fn hashes_one_end(self) -> bool {
        self.0 >= Self::SOURCE_HASH.0 && self.0 <= Self::MAGLEV.0
    }

    /// Whether backends are compared by their open flows.
    #[inline(always)]
    pub const fn compares(self) -> bool {
        self.0 & Self::COMPARES != 0
    }

    /// How much there is to do at a backend for its weight. Without a branch: the verifier follows each.
    #[inline(always)]
    pub const fn to_do(self, load: Load) -> u64 {
        let open = load.open as u64;
        let is_idle = open.wrapping_sub(1) >> 63;
        let own = (self.0 & Self::COUNTS_OWN) as u64;
        let flows = open + (own & !((self.0 & Self::IDLE_FIRST) as u64 >> 1 & is_idle));
        flows * load.share as u64
    }
}

/// How busy a backend is. One word, in which the programs count and user space sets the rest.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Load {
    /// Its open flows, as this node sees them.
    pub open: u32,
    /// What one of them is to it: the reciprocal of its weight.
    pub share: u32,
}

impl Load {
    /// So many flows at a backend of this weight; 0 counts as 1.
    pub const fn of(open: u32, weight: u16) -> Self {
        let weight = if weight == 0 { 1 } else { weight as u32 };
        Self { open, share: u32::MAX / weight }
    }
}

/// Whose turn it is in each of a service's selections. The programs' own; user space never looks at it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Turns([u32; 4]);

impl Turns {
    /// Where in the value the number of a selection's kind stands, in words; always within.
    #[inline(always)]
    pub const fn position(kind: u32) -> usize {
        (kind & 3) as usize
    }
}

const _: () =
    assert!(size_of::<Load>() == 8 && size_of::<Turns>() == 16 && SelectionKind::ALL.len() < 4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_without_flows_is_free_only_where_the_algorithm_says_so() {
        for (algorithm, flows) in [
            (Algorithm::LEAST_CONNECTION, [0, 1, 2]),
            (Algorithm::SHORTEST_EXPECTED_DELAY, [1, 2, 3]),
            (Algorithm::NEVER_QUEUE, [0, 2, 3]),
        ] {
            for (open, flows) in (0..).zip(flows) {
                for weight in [1, 4] {
                    let expected = flows * u64::from(u32::MAX / u32::from(weight));
                    let to_do = algorithm.to_do(Load::of(open, weight));
                    assert_eq!(to_do, expected, "{algorithm:?} {open} {weight}");
                }
                assert_eq!(Load::of(open, 0), Load::of(open, 1));
            }
        }
    }

    #[test]
    fn each_algorithm_is_of_one_sort() {
        let sort = |one: Algorithm| (one.hashes_one_end(), one.compares());
        let others = [Algorithm::RANDOM, Algorithm::ROUND_ROBIN];
        assert_eq!(others.map(sort), [(false, false); 2]);
        let hashed = [Algorithm::SOURCE_HASH, Algorithm::DESTINATION_HASH, Algorithm::MAGLEV];
        assert_eq!(hashed.map(sort), [(true, false); 3]);
        let compared = [
            Algorithm::LEAST_CONNECTION,
            Algorithm::SHORTEST_EXPECTED_DELAY,
            Algorithm::NEVER_QUEUE,
        ];
        assert_eq!(compared.map(sort), [(false, true); 3]);
    }
}
