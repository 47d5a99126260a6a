//! Addresses: which are Services', and from which a guarded frontend takes clients.

use bytemuck::{Pod, Zeroable};

use super::frontend::pod_per_family;
use crate::addr::{Address, Ipv4, Ipv6};

/// Whose an address is, as the table of addresses says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum AddressOwner {
    /// A Service's, and nothing else's: what is no frontend there is nothing.
    Service = 1,
    /// The node's own, or another proxy's: it is left alone.
    Other = 2,
    /// A Service's that has endpoints, and nothing else's.
    Answering = 3,
}

/// The bits that tell ordinary traffic from a Service's without a lookup: addresses by their mix.
pub struct AddressSet;

impl AddressSet {
    /// How many 64-bit words there are.
    pub const WORDS: u32 = 65_536 / 64;

    /// The word and the bit of an address.
    #[inline(always)]
    pub fn position<A: Address>(address: A) -> (u32, u64) {
        let number = address.mix() >> 16;
        (number >> 6, 1 << (number & 63))
    }
}

/// A range of clients' addresses that a service admits: a key of a longest-prefix trie, which takes the
/// bits after the length in the order in which they lie in memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceRangeKey<A> {
    /// How many bits count, the service's included.
    pub prefix_len: u32,
    /// The service.
    pub service: u32,
    /// The address.
    pub address: A,
}

impl<A: Address> SourceRangeKey<A> {
    /// Bits of the service's number, which count always.
    const SERVICE_BITS: u32 = 32;

    /// Addresses that have `bits` bits in common with this one.
    #[inline(always)]
    pub const fn range(service: u32, address: A, bits: u32) -> Self {
        Self { prefix_len: Self::SERVICE_BITS + bits, service, address }
    }

    /// One address, to be looked up.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "at most 128")]
    pub const fn client(service: u32, address: A) -> Self {
        Self::range(service, address, 8 * size_of::<A>() as u32)
    }

    /// How many bits of the address count.
    pub const fn bits(&self) -> u32 {
        self.prefix_len.saturating_sub(Self::SERVICE_BITS)
    }
}

pod_per_family!(SourceRangeKey, 12, 24);
