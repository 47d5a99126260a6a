//! ICMP (RFC 792), also that of IPv6 (RFC 4443).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     Type      |     Code      |           Checksum            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                 depends on type and code                      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |          errors: the packet that they are about               |
//! ```

use super::{Header, U16, U32};

/// The header, up to what it is about.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Icmp {
    kind: U16,
    checksum: U16,
    rest: U32,
}

// SAFETY: packed words only.
unsafe impl Header for Icmp {}

/// Type and code of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpKind {
    /// The type.
    pub kind: u8,
    /// The code.
    pub code: u8,
}

impl IcmpKind {
    /// A type and a code.
    #[inline(always)]
    pub const fn new(kind: u8, code: u8) -> Self {
        Self { kind, code }
    }

    /// Both as they lie in memory.
    #[inline(always)]
    pub const fn to_wire(self) -> u16 {
        u16::from_ne_bytes([self.kind, self.code])
    }
}

impl Icmp {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();

    /// Where the checksum stands in the header, in bytes.
    pub const CHECKSUM_AT: usize = core::mem::offset_of!(Self, checksum);

    /// Type and code.
    #[inline(always)]
    pub fn kind(&self) -> IcmpKind {
        let [kind, code] = self.kind.get().to_ne_bytes();
        IcmpKind { kind, code }
    }

    /// Sets type and code; the checksum is the caller's.
    #[inline(always)]
    pub fn set_kind(&mut self, kind: IcmpKind) {
        self.kind.set(kind.to_wire());
    }

    /// Checksum as it lies in memory.
    #[inline(always)]
    pub fn checksum(&self) -> u16 {
        self.checksum.get()
    }

    /// Sets the checksum as it is to lie in memory.
    #[inline(always)]
    pub fn set_checksum(&mut self, checksum: u16) {
        self.checksum.set(checksum);
    }

    /// Writes all but the checksum; `rest` as it is to lie in memory.
    #[inline(always)]
    pub fn fill(&mut self, kind: IcmpKind, rest: u32) {
        self.kind.set(kind.to_wire());
        self.rest.set(rest);
    }
}
