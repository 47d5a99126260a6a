//! What is counted per backend, and how it is kept when numbers of backends are given again.
//!
//! The programs count by backend only, and upwards only. A service's figures are those of its backends,
//! which user space adds up: what each counted since it was given its number, and what was counted by
//! those whose numbers went to others since.

use core::ops::{Add, Sub};

use bytemuck::{Pod, Zeroable};

/// What was counted; by every CPU for itself.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Traffic {
    /// Packets translated, both ways.
    pub packets: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// Flows that were begun.
    pub flows: u64,
    /// Connections that another backend was tried for, because this one did not answer the first SYN.
    pub unanswered: u64,
}

impl Traffic {
    /// How many backends share an element of the per-CPU map: the kernel allocates each element on each
    /// CPU by itself, which for an element a backend takes half a second.
    pub const CHUNK: u32 = 64;

    /// The element of a backend, and its place there.
    #[inline(always)]
    pub const fn position(backend: u32) -> (u32, u32) {
        (backend / Self::CHUNK, backend % Self::CHUNK)
    }

    /// How many elements so many backends need.
    pub const fn chunks(backends: u32) -> u32 {
        backends.div_ceil(Self::CHUNK)
    }
}

/// All that overflows wraps: what was counted once is taken off again.
impl Add for Traffic {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
            flows: self.flows.wrapping_add(other.flows),
            unanswered: self.unanswered.wrapping_add(other.unanswered),
        }
    }
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_sub(other.packets),
            bytes: self.bytes.wrapping_sub(other.bytes),
            flows: self.flows.wrapping_sub(other.flows),
            unanswered: self.unanswered.wrapping_sub(other.unanswered),
        }
    }
}

/// Whose a backend's figures are. Kept by user space; the programs never look at it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Account {
    /// The service's number + 1; [`Account::NEW`] or [`Account::NOBODY`].
    pub owner: u32,
    /// Reserved, 0.
    pub reserved: u32,
    /// What had been counted when the backend was given its number.
    pub before: Traffic,
}

impl Account {
    /// The number was never given.
    pub const NEW: u32 = 0;
    /// The service is gone, and its number is another's.
    pub const NOBODY: u32 = u32::MAX;

    /// A service's as an owner.
    pub const fn owner(service: u32) -> u32 {
        service + 1
    }

    /// The service that owns it.
    pub const fn service(self) -> Option<u32> {
        match self.owner {
            Self::NEW | Self::NOBODY => None,
            owner => Some(owner - 1),
        }
    }
}

const _: () = assert!(size_of::<Traffic>() == 32 && size_of::<Account>() == 40);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_backend_has_a_place_of_its_own_in_the_elements_that_there_are() {
        let backends = Traffic::CHUNK + 1;
        assert_eq!(Traffic::chunks(backends), 2);
        let mut all: [Option<(u32, u32)>; Traffic::CHUNK as usize + 1] =
            [None; Traffic::CHUNK as usize + 1];
        for backend in 0..backends {
            let (chunk, within) = Traffic::position(backend);
            assert!(chunk < Traffic::chunks(backends) && within < Traffic::CHUNK);
            assert!(!all.contains(&Some((chunk, within))));
            all[backend as usize] = Some((chunk, within));
        }
    }

    #[test]
    fn an_account_is_a_services_or_nobodys() {
        let of = |owner| Account { owner, ..Account::default() };
        assert_eq!(of(Account::owner(0)).service(), Some(0));
        assert_eq!(of(Account::NEW).service(), None);
        assert_eq!(of(Account::NOBODY).service(), None);
    }
}
