//! SCTP (RFC 9260): the common header, and that of a chunk.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |      Source Port Number       |    Destination Port Number    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       Verification Tag                        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                           Checksum                            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Chunk Type   |  Chunk Flags  |         Chunk Length          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use super::{Header, Ports, TcpFlags, U16, U32};
use crate::{addr::Port, crc32c};

/// The common header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sctp {
    ports: Ports,
    tag: U32,
    checksum: U32,
}

// SAFETY: packed words only.
unsafe impl Header for Sctp {}

const _: () = assert!(size_of::<Sctp>() == Sctp::LEN);

/// The header of a chunk.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Chunk {
    kind: u8,
    flags: u8,
    length: U16,
}

// SAFETY: bytes and a packed word only.
unsafe impl Header for Chunk {}

const _: () = assert!(size_of::<Chunk>() == Chunk::LEN);

/// Types of chunks.
mod kind {
    pub const INIT: u8 = 1;
    pub const INIT_ACK: u8 = 2;
    pub const ABORT: u8 = 6;
    pub const SHUTDOWN: u8 = 7;
    pub const SHUTDOWN_ACK: u8 = 8;
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

/// Of an ABORT: the verification tag is the one that its receiver sent.
const REFLECTED: u8 = 1;

impl Sctp {
    /// Length in bytes.
    pub const LEN: usize = 12;

    /// Source and destination port.
    #[inline(always)]
    pub const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Verification tag.
    #[inline(always)]
    pub fn tag(&self) -> u32 {
        u32::from_be(self.tag.get())
    }

    /// Checksum as it lies in memory; 0: the device is to fill it in (no packet in two to the 32 has
    /// that one).
    #[inline(always)]
    pub fn checksum(&self) -> u32 {
        self.checksum.get()
    }

    /// Sets both ports, and says what is to be amended in the checksum: 0 for nothing, because nothing
    /// changed, or a device is to fill it in anyway.
    #[inline(always)]
    pub fn exchange_ports(&mut self, source: Port, destination: Port) -> u32 {
        let before = self.ports_word();
        self.ports.set(source, destination);
        if self.checksum() == 0 { 0 } else { before ^ self.ports_word() }
    }

    /// Amends the checksum, which covers the whole packet of this length: nothing of it is read.
    #[inline(always)]
    pub fn amend(&mut self, change: u32, length: u16) {
        let change = crc32c::zeros(crc32c::word(change), length.wrapping_sub(4));
        self.checksum.set((u32::from_le(self.checksum()) ^ change).to_le());
    }

    /// Writes the header of a packet that consists of this chunk.
    #[inline(always)]
    pub fn fill(
        &mut self,
        source: Port,
        destination: Port,
        tag: u32,
        chunk: Chunk,
        has_checksum: bool,
    ) {
        self.ports.set(source, destination);
        self.tag.set(tag.to_be());
        self.checksum.set(0);
        if has_checksum {
            let mut state = crc32c::word(!0 ^ self.ports_word());
            state = crc32c::word(state ^ u32::from_le(self.tag.get()));
            state = crc32c::word(state);
            state = crc32c::word(state ^ chunk.word());
            self.checksum.set((!state).to_le());
        }
    }

    /// Both ports, their first byte the lowest.
    #[inline(always)]
    fn ports_word(&self) -> u32 {
        let (first, second) = (self.ports.source().to_wire(), self.ports.destination().to_wire());
        u32::from(u16::from_le(first)) | u32::from(u16::from_le(second)) << 16
    }
}

impl Chunk {
    /// Length in bytes.
    pub const LEN: usize = 4;

    /// An ABORT without a cause; `is_reflected`: sent with the tag that its receiver sent.
    #[inline(always)]
    pub fn abort(is_reflected: bool) -> Self {
        let mut length = U16::zero();
        length.set(4_u16.to_be());
        Self { kind: kind::ABORT, flags: if is_reflected { REFLECTED } else { 0 }, length }
    }

    /// Whether it carries its sender's tag, which follows this header.
    #[inline(always)]
    pub const fn has_initiate_tag(&self) -> bool {
        matches!(self.kind, kind::INIT | kind::INIT_ACK)
    }

    /// What it means for an association as a packet's first chunk, in TCP's control bits.
    #[inline(always)]
    pub const fn meaning(&self) -> TcpFlags {
        TcpFlags(match self.kind {
            kind::INIT => TcpFlags::SYN,
            kind::INIT_ACK => TcpFlags::SYN | TcpFlags::ACK,
            kind::ABORT | kind::SHUTDOWN_COMPLETE => TcpFlags::RST | TcpFlags::ACK,
            kind::SHUTDOWN | kind::SHUTDOWN_ACK => TcpFlags::FIN | TcpFlags::ACK,
            _ => TcpFlags::ACK,
        })
    }

    /// The header as a word, its first byte the lowest.
    #[inline(always)]
    fn word(self) -> u32 {
        let length = u32::from(u16::from_le(self.length.get()));
        u32::from(self.kind) | u32::from(self.flags) << 8 | length << 16
    }
}
