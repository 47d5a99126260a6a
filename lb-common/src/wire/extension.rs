//! Extension headers of IPv6 (RFC 8200, section 4).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Next Header  |  Hdr Ext Len  | options and routing: any      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//!
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Next Header  |   Reserved    |      Fragment Offset    |Res|M|
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                         Identification                        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use super::{Header, Protocol, U16, U32};

/// The beginning of an extension header that says how long it is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Extension {
    next: u8,
    units: u8,
    kind: u8,
    segments_left: u8,
}

// SAFETY: bytes only.
unsafe impl Header for Extension {}

impl Extension {
    /// What follows.
    #[inline(always)]
    pub const fn next(&self) -> Protocol {
        Protocol(self.next)
    }

    /// Length in bytes (8 to 2048).
    #[inline(always)]
    pub const fn length(&self) -> usize {
        (self.units as usize + 1) << 3
    }

    /// Of a routing header: how many stops are before the destination.
    #[inline(always)]
    pub const fn segments_left(&self) -> u8 {
        self.segments_left
    }
}

/// The header of a fragment.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FragmentHeader {
    next: u8,
    reserved: u8,
    offset: U16,
    identification: U32,
}

// SAFETY: bytes and packed words only.
unsafe impl Header for FragmentHeader {}

impl FragmentHeader {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();

    /// What follows.
    #[inline(always)]
    pub const fn next(&self) -> Protocol {
        Protocol(self.next)
    }

    /// Whether the packet's beginning is elsewhere.
    #[inline(always)]
    pub fn is_later(&self) -> bool {
        u16::from_be(self.offset.get()) & 0xfff8 != 0
    }

    /// Whether there is more of the packet.
    #[inline(always)]
    pub fn has_more(&self) -> bool {
        u16::from_be(self.offset.get()) & 1 != 0
    }

    /// What fragments of one packet have in common, as it lies in memory.
    #[inline(always)]
    pub fn identification(&self) -> u32 {
        self.identification.get()
    }
}
