//! Services and their selection tables.

use bytemuck::{Pod, Zeroable};

use super::{AffinityRule, Algorithm};
use crate::{hook::Scope, tables::Frontend, verdict::DropReason};

/// One service: where its selection tables lie. Each selection is one word, so that one 8-byte store
/// publishes it whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Service {
    /// Every usable endpoint.
    pub all: Selection,
    /// What the internal traffic policy leaves of them.
    pub internal: Selection,
    /// What the external traffic policy leaves of them.
    pub external: Selection,
    /// Session affinity.
    pub affinity: AffinityRule,
}

/// Which of a service's selections a client is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum SelectionKind {
    /// All: for clients inside the cluster, at any address but the cluster IP.
    All = 0,
    /// The internal policy's: for whoever asks at the cluster IP.
    Internal = 1,
    /// The external policy's: for clients outside, at any other address.
    External = 2,
}

impl SelectionKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::All, Self::Internal, Self::External];

    /// What a client of this scope is given at a frontend. The policies don't mix: the external one
    /// never touches the cluster IP, and holds for clients outside only.
    #[inline(always)]
    pub const fn of(frontend: Frontend, scope: Scope) -> Self {
        if frontend.is(Frontend::CLUSTER_IP) {
            return Self::Internal;
        }
        match scope {
            Scope::Internal => Self::All,
            Scope::External => Self::External,
        }
    }
}

/// Where a selection table lies in the array of slots: bits 0–31 the first slot, bits 32–55 how
/// many slots, bits 56–63 the algorithm. Without slots, the place of the first one says what
/// becomes of the client.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Selection(u64);

impl Selection {
    /// There is no endpoint: clients are refused.
    pub const EMPTY: Self = Self(0);

    /// There are endpoints, but a policy leaves none here: clients are dropped, so that a balancer in
    /// front of the nodes notices.
    pub const NONE_HERE: Self = Self(1);

    /// The largest table.
    pub const MAX_LEN: u32 = (1 << 24) - 1;

    /// A table of `len` slots from `base` on; `None` if it is longer than [`Self::MAX_LEN`].
    pub const fn new(base: u32, len: u32) -> Option<Self> {
        if len > Self::MAX_LEN {
            return None;
        }
        Some(Self((len as u64) << 32 | base as u64))
    }

    /// The same table, used by this algorithm.
    #[must_use]
    pub const fn by(self, algorithm: Algorithm) -> Self {
        Self(self.0 & ((1 << 56) - 1) | (algorithm.0 as u64) << 56)
    }

    /// The algorithm.
    #[inline(always)]
    pub const fn algorithm(self) -> Algorithm {
        Algorithm((self.0 >> 56) as u8)
    }

    /// From the word in the map.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The first slot.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
    pub const fn base(self) -> u32 {
        self.0 as u32
    }

    /// How many slots; 0: no endpoint may be chosen.
    #[inline(always)]
    pub const fn len(self) -> u32 {
        (self.0 >> 32) as u32 & Self::MAX_LEN
    }

    /// Why there is nothing to choose from, if there isn't.
    #[inline(always)]
    pub const fn reason(self) -> DropReason {
        if self.base() == Self::NONE_HERE.base() {
            DropReason::NoLocalBackend
        } else {
            DropReason::NoBackend
        }
    }

    /// Whether there is no slot.
    #[inline(always)]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

const _: () = assert!(size_of::<Service>() == 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_gives_back_what_went_in() {
        let selection = Selection::new(u32::MAX, Selection::MAX_LEN).unwrap();
        assert_eq!((selection.base(), selection.len()), (u32::MAX, Selection::MAX_LEN));
        assert!(Selection::new(0, Selection::MAX_LEN + 1).is_none());
        let by = selection.by(Algorithm(255)).by(Algorithm::MAGLEV);
        assert_eq!((by.base(), by.len()), (selection.base(), selection.len()));
        assert_eq!((by.algorithm(), selection.algorithm()), (Algorithm::MAGLEV, Algorithm::RANDOM));
        for (empty, reason) in [
            (Selection::EMPTY, DropReason::NoBackend),
            (Selection::NONE_HERE, DropReason::NoLocalBackend),
        ] {
            assert!(empty.is_empty());
            assert_eq!(empty.reason(), reason);
        }
    }
}
