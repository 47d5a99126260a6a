//! Headers as they lie in a packet.
//!
//! Every field is a packed wrapper of alignment 1 ([`U16`], [`U32`], [`U64`]) whose `get` and `set`
//! are the only access to packet memory; values come out and go in as they lie in memory (network
//! order). One file per protocol, all with the same shape: picture, struct, getters, setters.
//! What a header means for a flow is the pipeline's business, not this module's.

mod ethernet;
mod extension;
mod icmp;
mod ipv4;
mod ipv6;
mod ports;
mod sctp;
mod tcp;
mod udp;
mod word;

pub use ethernet::{EtherType, Ethernet, MacPair};
pub use extension::{Extension, FragmentHeader};
pub use icmp::{Icmp, IcmpKind};
pub use ipv4::Ipv4Header;
pub use ipv6::Ipv6Header;
pub use ports::Ports;
pub use sctp::{Chunk, Sctp};
pub use tcp::{Tcp, TcpFlags};
pub use udp::Udp;
pub use word::{U16, U32, U64};

/// A header: any bytes are a valid one, and it may lie at any address.
///
/// # Safety
///
/// Only for `#[repr(C)]` structs that consist of bytes and the packed words of this module: size
/// without padding, alignment 1, every bit pattern valid.
pub unsafe trait Header: Copy {}

// SAFETY: one packed word.
unsafe impl Header for U16 {}
// SAFETY: one packed word.
unsafe impl Header for U32 {}

/// An IP protocol number, or the next header of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol(pub u8);

impl Protocol {
    /// RFC 9293.
    pub const TCP: Self = Self(6);
    /// RFC 768.
    pub const UDP: Self = Self(17);
    /// Nobody's (IANA).
    pub const RESERVED: Self = Self(255);
    /// RFC 9260.
    pub const SCTP: Self = Self(132);
    /// RFC 792.
    pub const ICMP: Self = Self(1);
    /// Hop-by-hop options, destination options, routing (RFC 8200).
    pub const HOP_BY_HOP: Self = Self(0);
    /// See there.
    pub const DESTINATION_OPTIONS: Self = Self(60);
    /// See there.
    pub const ROUTING: Self = Self(43);
    /// A fragment (RFC 8200).
    pub const FRAGMENT: Self = Self(44);
    /// RFC 4443.
    pub const ICMPV6: Self = Self(58);
}

/// The transports that are translated, and the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum L4 {
    /// Transmission Control Protocol.
    Tcp = 0,
    /// User Datagram Protocol.
    Udp = 1,
    /// Stream Control Transmission Protocol.
    Sctp = 2,
    /// None that is translated.
    Other = 3,
}

impl L4 {
    /// The transport with this protocol number, if it is one that is translated.
    #[inline(always)]
    pub const fn of(protocol: Protocol) -> Option<Self> {
        match protocol {
            Protocol::TCP => Some(Self::Tcp),
            Protocol::UDP => Some(Self::Udp),
            Protocol::SCTP => Some(Self::Sctp),
            _ => None,
        }
    }

    /// From the number of the variant: the same number, without a branch for each.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Tcp,
            1 => Self::Udp,
            2 => Self::Sctp,
            _ => Self::Other,
        }
    }

    /// Whether its connections begin with a handshake.
    #[inline(always)]
    pub const fn has_handshake(self) -> bool {
        matches!(self, Self::Tcp | Self::Sctp)
    }

    /// Its protocol number. Looked up in a word, without a branch for each.
    #[inline(always)]
    pub const fn protocol(self) -> Protocol {
        let all = [Protocol::TCP.0, Protocol::UDP.0, Protocol::SCTP.0, Protocol::RESERVED.0];
        let [number, ..] = (u32::from_le_bytes(all) >> (8 * self as u32)).to_le_bytes();
        Protocol(number)
    }
}
