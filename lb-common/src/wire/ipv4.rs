//! IPv4 (RFC 791).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |Version|  IHL  |Type of Service|          Total Length         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |         Identification        |Flags|      Fragment Offset    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Time to Live |    Protocol   |         Header Checksum       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       Source Address                          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    Destination Address                        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use super::{Header, Protocol, U16, U32};
use crate::{
    addr::Ipv4,
    checksum::{Delta, Sum},
};

/// The header without options.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ipv4Header {
    version_ihl: u8,
    tos: u8,
    total_length: U16,
    identification: U16,
    fragment: U16,
    ttl_protocol: U16,
    checksum: U16,
    source: U32,
    destination: U32,
}

// SAFETY: bytes and packed words only.
unsafe impl Header for Ipv4Header {}

/// Everything of the fragment field but "don't fragment": a packet with one of these bits set is
/// a fragment, or the reserved bit is.
const IS_FRAGMENT: u16 = 0xbfff_u16.to_be();

/// The bit that forbids fragments.
const DONT_FRAGMENT: u16 = 0x4000_u16.to_be();

/// The time to live of packets of our own.
pub(super) const FIRST_TTL: u8 = 64;

impl Ipv4Header {
    /// Length without options in bytes.
    pub const LEN: usize = size_of::<Self>();

    /// Length of the header with its options in bytes (20 to 60), if the version is 4 and the
    /// length at least that of the fixed part.
    #[inline(always)]
    pub fn header_len(&self) -> Option<usize> {
        let version_ihl = self.version_ihl;
        if !(0x45..=0x4f).contains(&version_ihl) {
            return None;
        }
        Some(usize::from(version_ihl & 0xf) << 2)
    }

    /// Length of the packet from this header on, in bytes.
    #[inline(always)]
    pub fn total_len(&self) -> u16 {
        u16::from_be(self.total_length.get())
    }

    /// Whether this is a fragment, the first included.
    #[inline(always)]
    pub fn is_fragment(&self) -> bool {
        self.fragment.get() & IS_FRAGMENT != 0
    }

    /// Whether the packet's beginning is elsewhere.
    #[inline(always)]
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.get() & 0x1fff_u16.to_be() != 0
    }

    /// Whether there is more of the packet.
    #[inline(always)]
    pub fn has_more_fragments(&self) -> bool {
        self.fragment.get() & 0x2000_u16.to_be() != 0
    }

    /// What fragments of one packet have in common, with its protocol, as it lies in memory.
    #[inline(always)]
    pub fn identification(&self) -> u16 {
        self.identification.get()
    }

    /// What the packet carries.
    #[inline(always)]
    pub fn protocol(&self) -> Protocol {
        Protocol(self.ttl_protocol.get().to_ne_bytes()[1])
    }

    /// Time to live.
    #[inline(always)]
    pub fn ttl(&self) -> u8 {
        self.ttl_protocol.get().to_ne_bytes()[0]
    }

    /// Source address.
    #[inline(always)]
    pub fn source(&self) -> Ipv4 {
        Ipv4::from_wire(self.source.get())
    }

    /// Destination address.
    #[inline(always)]
    pub fn destination(&self) -> Ipv4 {
        Ipv4::from_wire(self.destination.get())
    }

    /// Sets both addresses; `delta` is what they do to the checksum.
    #[inline(always)]
    pub fn set_addresses(&mut self, source: Ipv4, destination: Ipv4, delta: Delta) {
        self.source.set(source.to_wire());
        self.destination.set(destination.to_wire());
        self.checksum.set(delta.apply(self.checksum.get()));
    }

    /// Sends the packet back to where it came from, with this length from this header on. Options stay.
    #[inline(always)]
    pub fn turn(&mut self, total_len: u16) {
        let (source, destination) = (self.source.get(), self.destination.get());
        self.source.set(destination);
        self.destination.set(source);
        let protocol = self.ttl_protocol.get().to_ne_bytes()[1];
        let old = self.changing();
        self.total_length.set(total_len.to_be());
        self.identification.set(0);
        self.fragment.set(DONT_FRAGMENT);
        self.ttl_protocol.set(u16::from_ne_bytes([FIRST_TTL, protocol]));
        let delta = Delta::replace(old, self.changing());
        self.checksum.set(delta.apply(self.checksum.get()));
    }

    /// Sum of what `turn` changes.
    #[inline(always)]
    fn changing(&self) -> Sum {
        Sum::of_half(self.total_length.get())
            + Sum::of_half(self.identification.get())
            + Sum::of_half(self.fragment.get())
            + Sum::of_half(self.ttl_protocol.get())
    }

    /// Writes the header of a packet of our own, without options.
    #[inline(always)]
    pub fn fill(&mut self, total_len: u16, protocol: Protocol, source: Ipv4, destination: Ipv4) {
        self.version_ihl = 0x45;
        self.tos = 0;
        self.total_length.set(total_len.to_be());
        self.identification.set(0);
        self.fragment.set(DONT_FRAGMENT);
        self.ttl_protocol.set(u16::from_ne_bytes([FIRST_TTL, protocol.0]));
        self.source.set(source.to_wire());
        self.destination.set(destination.to_wire());
        let sum = Sum::of_half(u16::from_ne_bytes([0x45, 0]))
            + self.changing()
            + Sum::of_word(source.to_wire())
            + Sum::of_word(destination.to_wire());
        self.checksum.set(sum.checksum());
    }

    /// Takes one from the time to live, which must not be 0.
    #[inline(always)]
    pub fn decrement_ttl(&mut self) {
        let old = self.ttl_protocol.get();
        let [ttl, protocol] = old.to_ne_bytes();
        let new = u16::from_ne_bytes([ttl.wrapping_sub(1), protocol]);
        self.ttl_protocol.set(new);
        let delta = Delta::replace(Sum::of_half(old), Sum::of_half(new));
        self.checksum.set(delta.apply(self.checksum.get()));
    }
}
