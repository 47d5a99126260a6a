//! IPv6 (RFC 8200).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |Version| Traffic Class |           Flow Label                  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |         Payload Length        |  Next Header  |   Hop Limit   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                         Source Address                        |
//! |                        (four words)                           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                      Destination Address                      |
//! |                        (four words)                           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use super::{Header, Protocol, U16, U32, U64, ipv4::FIRST_TTL};
use crate::addr::Ipv6;

/// The fixed header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ipv6Header {
    version_class_label: U32,
    payload_length: U16,
    next_header: u8,
    hop_limit: u8,
    source: [U64; 2],
    destination: [U64; 2],
}

// SAFETY: bytes and packed words only.
unsafe impl Header for Ipv6Header {}

impl Ipv6Header {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();

    /// Whether the version is 6.
    #[inline(always)]
    pub fn is_version_6(&self) -> bool {
        self.version_class_label.get().to_ne_bytes()[0] >> 4 == 6
    }

    /// Length of what follows this header, in bytes.
    #[inline(always)]
    pub fn payload_len(&self) -> u16 {
        u16::from_be(self.payload_length.get())
    }

    /// What follows this header.
    #[inline(always)]
    pub fn next_header(&self) -> Protocol {
        Protocol(self.next_header)
    }

    /// Hop limit.
    #[inline(always)]
    pub fn hop_limit(&self) -> u8 {
        self.hop_limit
    }

    /// Source address.
    #[inline(always)]
    pub fn source(&self) -> Ipv6 {
        Ipv6::from_wire([self.source[0].get(), self.source[1].get()])
    }

    /// Destination address.
    #[inline(always)]
    pub fn destination(&self) -> Ipv6 {
        Ipv6::from_wire([self.destination[0].get(), self.destination[1].get()])
    }

    /// Sets both addresses.
    #[inline(always)]
    pub fn set_addresses(&mut self, source: Ipv6, destination: Ipv6) {
        let (source, destination) = (source.to_wire(), destination.to_wire());
        self.source[0].set(source[0]);
        self.source[1].set(source[1]);
        self.destination[0].set(destination[0]);
        self.destination[1].set(destination[1]);
    }

    /// Sends the packet back to where it came from, with this length after this header.
    #[inline(always)]
    pub fn turn(&mut self, payload_len: u16) {
        let (source, destination) = (self.source(), self.destination());
        self.set_addresses(destination, source);
        self.payload_length.set(payload_len.to_be());
        self.hop_limit = FIRST_TTL;
    }

    /// Writes the header of a packet of our own.
    #[inline(always)]
    pub fn fill(&mut self, payload_len: u16, next: Protocol, source: Ipv6, destination: Ipv6) {
        self.version_class_label.set(0x6000_0000_u32.to_be());
        self.payload_length.set(payload_len.to_be());
        self.next_header = next.0;
        self.hop_limit = FIRST_TTL;
        self.set_addresses(source, destination);
    }

    /// Takes one from the hop limit, which must not be 0.
    #[inline(always)]
    pub fn decrement_hop_limit(&mut self) {
        self.hop_limit = self.hop_limit.wrapping_sub(1);
    }
}
