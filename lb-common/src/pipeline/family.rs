//! The two address families, as far as their headers differ.

mod ipv4;
mod ipv6;

use super::parse::{Parsed, Unparsed};
use crate::{
    addr::Address,
    checksum::Delta,
    packet::Packet,
    tables::Device,
    verdict::{DropReason, PassReason},
    wire::{Ethernet, IcmpKind, L4, Protocol},
};

/// What the IP header said.
#[derive(Clone, Copy)]
pub struct Ip<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// The transport.
    pub l4: L4,
    /// Where its header begins, in bytes from the frame's beginning.
    pub l4_at: usize,
    /// Bytes from there on that the IP header speaks of.
    pub l4_len: u16,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Whether all of the packet is here.
    pub part: Part,
    /// What the packet's parts have in common.
    pub identification: u32,
}

/// Which part of a packet a frame holds: a number, and no enum, so that one that comes out of memory
/// needs no branch for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part(u32);

impl Part {
    /// All of it.
    pub const WHOLE: Self = Self(0);
    /// The first fragment, which has the transport's header.
    pub const FIRST: Self = Self(1);
    /// One that has not.
    pub const LATER: Self = Self(2);

    /// From the number.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        self.0
    }

    #[inline(always)]
    const fn of(is_later: bool, has_more: bool) -> Self {
        match (is_later, has_more) {
            (true, _) => Self::LATER,
            (false, true) => Self::FIRST,
            (false, false) => Self::WHOLE,
        }
    }
}

/// How many extension headers are walked.
const EXTENSIONS: usize = 6;

/// New addresses for an IP header.
#[derive(Clone, Copy)]
pub struct IpChange<A> {
    /// New source.
    pub source: A,
    /// New destination.
    pub destination: A,
    /// What they do to a checksum.
    pub delta: Delta,
    /// Whether the packet is forwarded without the kernel's stack: its time to live goes down.
    pub forwarded: bool,
}

/// For what is no transport of ours.
const OTHER_PROTOCOL: Unparsed = Unparsed::Pass(PassReason::Protocol);

/// The transport of a packet with ordinary headers.
#[inline(always)]
fn transport<A: Family>(protocol: Protocol) -> Result<L4, Unparsed> {
    match L4::of(protocol) {
        // Only one of many packets is SCTP: not worth a word among the ordinary ones.
        Some(L4::Sctp) => Err(Unparsed::Odd),
        Some(l4) => Ok(l4),
        None if protocol == A::ICMP => Err(Unparsed::Icmp),
        None => Err(OTHER_PROTOCOL),
    }
}

/// Where the IP header begins.
pub const L3_AT: usize = Ethernet::LEN;

/// An address family.
pub trait Family: Address {
    /// The version of IP.
    const VERSION: u32;
    /// The flag of a device that switches it past the packet filters.
    const SWITCHED: u8;
    /// Length of the header without options in bytes.
    const HEADER_LEN: usize;
    /// Its control protocol.
    const ICMP: Protocol;
    /// Whether that protocol's checksum covers the addresses.
    const ICMP_HAS_PSEUDO_HEADER: bool;
    /// Nobody listens at this port.
    const PORT_UNREACHABLE: IcmpKind;
    /// The time to live is over.
    const TIME_EXCEEDED: IcmpKind;
    /// The packet is longer than what can be forwarded; with the length that can.
    const TOO_BIG: IcmpKind;
    /// Reads the IP header.
    fn read<P: Packet>(packet: &P) -> Result<Ip<Self>, Unparsed>;
    /// Reads it with whatever may be between it and the transport.
    fn read_whole<P: Packet>(packet: &P) -> Result<Ip<Self>, Unparsed>;
    /// Source and destination, whatever the packet is.
    fn addresses<P: Packet>(packet: &P) -> Option<(Self, Self)>;
    /// Reads the header of a whole packet of the control protocol; the transport is not said.
    fn read_icmp<P: Packet>(packet: &P, at: usize) -> Option<Ip<Self>>;
    /// Reads the header of a packet that is quoted, if ports follow.
    fn read_quoted<P: Packet>(packet: &P, at: usize) -> Option<Ip<Self>>;
    /// A request to answer, and the answer.
    const ECHO: (IcmpKind, IcmpKind);
    /// Whether a message of the control protocol is an error that a sender's socket is to learn of.
    fn is_error(kind: IcmpKind) -> bool;
    /// Writes the addresses of a header that is quoted, and what they do to its checksum if it has one.
    fn set_addresses<P: Packet>(
        packet: &mut P,
        at: usize,
        source: Self,
        destination: Self,
        delta: Delta,
    ) -> Result<(), DropReason>;
    /// Writes the IP header.
    fn write<P: Packet>(packet: &mut P, change: IpChange<Self>) -> Result<(), DropReason>;
    /// Turns the header of a packet around, with this length behind it and its options.
    fn turn<P: Packet>(packet: &mut P, parsed: &Parsed<Self>, l4_len: u16) -> Option<()>;
    /// Writes the header of a packet of our own, with this length behind it.
    fn put<P: Packet>(
        packet: &mut P,
        source: Self,
        destination: Self,
        protocol: Protocol,
        l4_len: u16,
    ) -> Option<()>;
    /// The address for SNAT out of a device; `None`: it has none.
    fn snat_source(device: &Device) -> Option<Self>;
}
