//! Services and their selection tables.

use bytemuck::{Pod, Zeroable};

/// One service: for each scope, where its selection table lies. Each selection is one word, so
/// that one 8-byte store publishes it whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Service {
    /// For clients inside the cluster.
    pub internal: Selection,
    /// For clients outside it.
    pub external: Selection,
}

/// Where a selection table lies in the array of slots: bits 0–31 the first slot, bits 32–55 how
/// many slots, bits 56–63 the algorithm (0: the hash's remainder picks the slot).
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Selection(u64);

impl Selection {
    /// No endpoint may be chosen.
    pub const EMPTY: Self = Self(0);

    /// The largest table.
    pub const MAX_LEN: u32 = (1 << 24) - 1;

    /// A table of `len` slots from `base` on; `None` if it is longer than [`Self::MAX_LEN`].
    pub const fn new(base: u32, len: u32) -> Option<Self> {
        if len > Self::MAX_LEN {
            return None;
        }
        Some(Self((len as u64) << 32 | base as u64))
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

    /// Whether there is no slot.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// What is counted per service, by every CPU for itself.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct ServiceCounters {
    /// Packets translated, both ways.
    pub packets: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// Flows begun.
    pub flows: u64,
}

const _: () = assert!(size_of::<Service>() == 16 && size_of::<ServiceCounters>() == 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_gives_back_what_went_in() {
        let selection = Selection::new(u32::MAX, Selection::MAX_LEN).unwrap();
        assert_eq!((selection.base(), selection.len()), (u32::MAX, Selection::MAX_LEN));
        assert!(Selection::new(0, Selection::MAX_LEN + 1).is_none());
        assert!(Selection::EMPTY.is_empty());
    }
}
