//! UDP (RFC 768).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |          Source Port          |       Destination Port        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |            Length             |            Checksum           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use super::{Header, Ports, U16};

/// The header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Udp {
    ports: Ports,
    length: U16,
    checksum: U16,
}

// SAFETY: packed words only.
unsafe impl Header for Udp {}

const _: () = assert!(size_of::<Udp>() == Udp::LEN as usize);

impl Udp {
    /// Length in bytes.
    pub const LEN: u32 = 8;

    /// Where the checksum stands in the header, in bytes.
    pub const CHECKSUM_AT: usize = core::mem::offset_of!(Self, checksum);

    /// Source and destination port.
    #[inline(always)]
    pub const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The same, to be set; the checksum is the caller's.
    #[inline(always)]
    pub const fn ports_mut(&mut self) -> &mut Ports {
        &mut self.ports
    }

    /// Checksum as it lies in memory; 0 means that there is none.
    #[inline(always)]
    pub fn checksum(&self) -> u16 {
        self.checksum.get()
    }

    /// Sets the checksum as it is to lie in memory.
    #[inline(always)]
    pub fn set_checksum(&mut self, checksum: u16) {
        self.checksum.set(checksum);
    }
}
