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

use super::{Header, U16};
use crate::addr::Port;

/// The header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Udp {
    ports: [U16; 2],
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

    /// Source port.
    #[inline(always)]
    pub fn source(&self) -> Port {
        Port::from_wire(self.ports[0].get())
    }

    /// Destination port.
    #[inline(always)]
    pub fn destination(&self) -> Port {
        Port::from_wire(self.ports[1].get())
    }

    /// Sets both ports; the checksum is the caller's.
    #[inline(always)]
    pub fn set_ports(&mut self, source: Port, destination: Port) {
        self.ports[0].set(source.to_wire());
        self.ports[1].set(destination.to_wire());
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
