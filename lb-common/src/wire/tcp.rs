//! TCP (RFC 9293).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |          Source Port          |       Destination Port        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                        Sequence Number                        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    Acknowledgment Number                      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Data |       |C|E|U|A|P|R|S|F|                               |
//! | Offset| Rsrvd |W|C|R|C|S|S|Y|I|            Window             |
//! |       |       |R|E|G|K|H|T|N|N|                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |           Checksum            |         Urgent Pointer        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use super::{Header, Ports, U16, U32};
use crate::{
    addr::Port,
    checksum::{Delta, Sum},
};

/// The header without options.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Tcp {
    ports: Ports,
    sequence: U32,
    acknowledgment: U32,
    data_offset: u8,
    flags: u8,
    window: U16,
    checksum: U16,
    urgent: U16,
}

// SAFETY: bytes and packed words only.
unsafe impl Header for Tcp {}

/// Length of the header without options in words of four bytes.
const WORDS: u8 = 5;

/// The control bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgment number means something.
    pub const ACK: u8 = 0x10;

    /// Whether any bit of `mask` is set.
    #[inline(always)]
    pub const fn any(self, mask: u8) -> bool {
        self.0 & mask != 0
    }

    /// The first packet of a connection: SYN without ACK.
    #[inline(always)]
    pub const fn opens(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::RST) == Self::SYN
    }

    /// The answer to it: SYN with ACK.
    #[inline(always)]
    pub const fn accepts(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::RST) == Self::SYN | Self::ACK
    }
}

impl Tcp {
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

    /// Sequence number.
    #[inline(always)]
    pub fn sequence(&self) -> u32 {
        u32::from_be(self.sequence.get())
    }

    /// Acknowledgment number.
    #[inline(always)]
    pub fn acknowledgment(&self) -> u32 {
        u32::from_be(self.acknowledgment.get())
    }

    /// Length of the header with its options in bytes, as it says (0 to 60).
    #[inline(always)]
    pub fn header_len(&self) -> u32 {
        u32::from(self.data_offset >> 4) << 2
    }

    /// Control bits.
    #[inline(always)]
    pub fn flags(&self) -> TcpFlags {
        TcpFlags(self.flags)
    }

    /// Replaces the control bits, and says what that does to the checksum.
    #[inline(always)]
    pub fn exchange_flags(&mut self, flags: TcpFlags) -> Delta {
        let half = |flags| Sum::of_half(u16::from_ne_bytes([self.data_offset, flags]));
        let delta = Delta::replace(half(self.flags), half(flags.0));
        self.flags = flags.0;
        delta
    }

    /// Writes the header of a segment of our own, without options, window and checksum.
    #[inline(always)]
    pub fn fill(
        &mut self,
        source: Port,
        destination: Port,
        sequence: u32,
        acknowledgment: u32,
        flags: TcpFlags,
    ) {
        self.ports.set(source, destination);
        self.sequence.set(sequence.to_be());
        self.acknowledgment.set(acknowledgment.to_be());
        self.data_offset = WORDS << 4;
        self.flags = flags.0;
        self.window.set(0);
        self.checksum.set(0);
        self.urgent.set(0);
    }

    /// Sum of a header as `fill` writes it.
    #[inline(always)]
    pub fn sum(&self) -> Sum {
        Sum::of_half(self.ports.source().to_wire())
            + Sum::of_half(self.ports.destination().to_wire())
            + Sum::of_word(self.sequence.get())
            + Sum::of_word(self.acknowledgment.get())
            + Sum::of_half(u16::from_ne_bytes([self.data_offset, self.flags]))
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
}
