//! Ethernet (IEEE 802.3).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                      Destination address                      |
//! +                               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                               |                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+                               +
//! |                         Source address                        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |           EtherType           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use bytemuck::{Pod, Zeroable};

use super::{Header, U16, U32};

/// What an Ethernet frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EtherType(u16);

impl EtherType {
    /// RFC 791 over Ethernet.
    pub const IPV4: Self = Self(0x0800_u16.to_be());
    /// RFC 2464.
    pub const IPV6: Self = Self(0x86dd_u16.to_be());

    /// From the 16 bits as they lie in memory (network order).
    #[inline(always)]
    pub const fn from_wire(wire: u16) -> Self {
        Self(wire)
    }

    /// The 16 bits as they lie in memory (network order).
    #[inline(always)]
    pub const fn to_wire(self) -> u16 {
        self.0
    }
}

/// Destination and source address of a frame, as three words in memory order.
///
/// Three fields, because an array is copied by a function call on the BPF target.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct MacPair {
    first: u32,
    second: u32,
    third: u32,
}

impl MacPair {
    /// From the twelve bytes at the beginning of a frame, as three words in memory order.
    #[inline(always)]
    pub const fn from_wire(first: u32, second: u32, third: u32) -> Self {
        Self { first, second, third }
    }

    /// The three words.
    #[inline(always)]
    pub const fn to_wire(self) -> (u32, u32, u32) {
        (self.first, self.second, self.third)
    }

    /// From a destination and a source address.
    pub fn new(destination: [u8; 6], source: [u8; 6]) -> Self {
        let mut bytes = [0; 12];
        bytes[..6].copy_from_slice(&destination);
        bytes[6..].copy_from_slice(&source);
        bytemuck::cast(bytes)
    }

    /// The source of this one, and the destination of the other.
    #[inline(always)]
    #[must_use]
    pub const fn with_destination_of(self, other: Self) -> Self {
        let half = if cfg!(target_endian = "little") { 0xffff } else { 0xffff_0000 };
        let second = other.second & half | self.second & !half;
        Self::from_wire(other.first, second, self.third)
    }

    /// Both in one word, for telling pairs apart.
    #[inline(always)]
    pub const fn folded(self) -> u32 {
        self.first.rotate_left(16) ^ self.second.wrapping_mul(0x85eb_ca6b) ^ self.third
    }

    /// The same two addresses, each in the other's place.
    #[inline(always)]
    #[must_use]
    pub const fn swapped(self) -> Self {
        let Self { first: a, second: b, third: c } = self;
        if cfg!(target_endian = "little") {
            Self::from_wire(b >> 16 | c << 16, c >> 16 | a << 16, a >> 16 | b << 16)
        } else {
            Self::from_wire(b << 16 | c >> 16, c << 16 | a >> 16, a << 16 | b >> 16)
        }
    }
}

/// The header of a frame.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ethernet {
    macs: [U32; 3],
    ether_type: U16,
}

// SAFETY: packed words only.
unsafe impl Header for Ethernet {}

impl Ethernet {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();

    /// What the frame carries.
    #[inline(always)]
    pub fn ether_type(&self) -> EtherType {
        EtherType(self.ether_type.get())
    }

    /// Sets what the frame carries.
    #[inline(always)]
    pub fn set_ether_type(&mut self, ether_type: EtherType) {
        self.ether_type.set(ether_type.0);
    }

    /// Destination and source.
    #[inline(always)]
    pub fn macs(&self) -> MacPair {
        MacPair::from_wire(self.macs[0].get(), self.macs[1].get(), self.macs[2].get())
    }

    /// Sets destination and source.
    #[inline(always)]
    pub fn set_macs(&mut self, macs: MacPair) {
        self.macs[0].set(macs.first);
        self.macs[1].set(macs.second);
        self.macs[2].set(macs.third);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapping_puts_each_address_in_the_others_place() {
        let (one, two) = ([1, 2, 3, 4, 5, 6], [0xa, 0xb, 0xc, 0xd, 0xe, 0xf]);
        assert_eq!(MacPair::new(one, two).swapped(), MacPair::new(two, one));
    }

    #[test]
    fn a_destination_is_replaced_and_the_source_stays() {
        let (one, two, three) = ([1, 2, 3, 4, 5, 6], [0xa, 0xb, 0xc, 0xd, 0xe, 0xf], [7; 6]);
        let pair = MacPair::new(one, two).with_destination_of(MacPair::new(three, [9; 6]));
        assert_eq!(pair, MacPair::new(three, two));
    }
}
