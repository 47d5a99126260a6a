//! The two address families, as far as their headers differ.

use super::parse::{CUT_SHORT, Parsed, Unparsed};
use crate::{
    addr::{Address, Ipv4, Ipv6},
    checksum::Delta,
    packet::Packet,
    tables::Device,
    verdict::{DropReason, PassReason},
    wire::{
        EtherType, Ethernet, Extension, FragmentHeader, IcmpKind, Ipv4Header, Ipv6Header, L4,
        Protocol,
    },
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

/// Which part of a packet a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The first fragment, which has the transport's header.
    First,
    /// One that has not.
    Later,
}

impl Part {
    #[inline(always)]
    const fn of(is_later: bool, has_more: bool) -> Self {
        match (is_later, has_more) {
            (true, _) => Self::Later,
            (false, true) => Self::First,
            (false, false) => Self::Whole,
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

/// For what is neither TCP nor UDP.
const OTHER_PROTOCOL: Unparsed = Unparsed::Pass(PassReason::Protocol);

/// The transport of a packet with ordinary headers.
#[inline(always)]
fn transport<A: Family>(protocol: Protocol) -> Result<L4, Unparsed> {
    match L4::of(protocol) {
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
    /// What a frame with it says that it carries.
    const ETHER_TYPE: EtherType;
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
    /// Reads the header of a whole packet of the control protocol; the transport is not said.
    fn read_icmp<P: Packet>(packet: &P, at: usize) -> Option<Ip<Self>>;
    /// Reads the header of a packet that is quoted, if ports follow.
    fn read_quoted<P: Packet>(packet: &P, at: usize) -> Option<Ip<Self>>;
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

impl Family for Ipv4 {
    const VERSION: u32 = 4;
    const SWITCHED: u8 = Device::SWITCHED_V4;
    const ETHER_TYPE: EtherType = EtherType::IPV4;
    const HEADER_LEN: usize = Ipv4Header::LEN;
    const ICMP: Protocol = Protocol::ICMP;
    const ICMP_HAS_PSEUDO_HEADER: bool = false;
    const PORT_UNREACHABLE: IcmpKind = IcmpKind::new(3, 3);
    const TIME_EXCEEDED: IcmpKind = IcmpKind::new(11, 0);
    const TOO_BIG: IcmpKind = IcmpKind::new(3, 4);

    #[inline(always)]
    fn read<P: Packet>(packet: &P) -> Result<Ip<Self>, Unparsed> {
        let header = packet.header::<Ipv4Header>(L3_AT).ok_or(CUT_SHORT)?;
        if header.header_len().is_none() {
            return Err(CUT_SHORT);
        }
        if header.is_fragment() {
            return Err(Unparsed::Odd);
        }
        header.ip(L3_AT, transport::<Self>(header.protocol())?).ok_or(CUT_SHORT)
    }

    #[inline(always)]
    fn read_whole<P: Packet>(packet: &P) -> Result<Ip<Self>, Unparsed> {
        let header = packet.header::<Ipv4Header>(L3_AT).ok_or(CUT_SHORT)?;
        let protocol = header.protocol();
        let l4 = L4::of(protocol).ok_or(OTHER_PROTOCOL)?;
        let ip = header.ip(L3_AT, l4).ok_or(CUT_SHORT)?;
        Ok(Ip {
            part: Part::of(header.is_later_fragment(), header.has_more_fragments()),
            identification: u32::from(header.identification()) | u32::from(protocol.0) << 16,
            ..ip
        })
    }

    #[inline(always)]
    fn write<P: Packet>(packet: &mut P, change: IpChange<Self>) -> Result<(), DropReason> {
        let header = packet.header_mut::<Ipv4Header>(L3_AT).ok_or(DropReason::Unwritable)?;
        header.set_addresses(change.source, change.destination, change.delta);
        if change.forwarded {
            header.decrement_ttl();
        }
        Ok(())
    }

    #[inline(always)]
    fn read_icmp<P: Packet>(packet: &P, at: usize) -> Option<Ip<Self>> {
        let header = packet.header::<Ipv4Header>(at)?;
        (!header.is_fragment()).then(|| header.ip(at, L4::Udp)).flatten()
    }

    #[inline(always)]
    fn read_quoted<P: Packet>(packet: &P, at: usize) -> Option<Ip<Self>> {
        let header = packet.header::<Ipv4Header>(at)?;
        let l4 = L4::of(header.protocol())?;
        (!header.is_later_fragment()).then(|| header.ip(at, l4)).flatten()
    }

    #[inline(always)]
    fn is_error(kind: IcmpKind) -> bool {
        // Destination unreachable, time exceeded, parameter problem.
        matches!(kind.kind, 3 | 11 | 12)
    }

    #[inline(always)]
    fn set_addresses<P: Packet>(
        packet: &mut P,
        at: usize,
        source: Self,
        destination: Self,
        delta: Delta,
    ) -> Result<(), DropReason> {
        let header = packet.header_mut::<Ipv4Header>(at).ok_or(DropReason::Unwritable)?;
        header.set_addresses(source, destination, delta);
        Ok(())
    }

    #[inline(always)]
    fn turn<P: Packet>(packet: &mut P, parsed: &Parsed<Self>, l4_len: u16) -> Option<()> {
        #[expect(clippy::cast_possible_truncation, reason = "at most 60")]
        let header_len = (parsed.l4_at - L3_AT) as u16;
        packet.header_mut::<Ipv4Header>(L3_AT)?.turn(header_len + l4_len);
        Some(())
    }

    #[inline(always)]
    fn put<P: Packet>(
        packet: &mut P,
        source: Self,
        destination: Self,
        protocol: Protocol,
        l4_len: u16,
    ) -> Option<()> {
        let header = packet.header_mut::<Ipv4Header>(L3_AT)?;
        #[expect(clippy::cast_possible_truncation, reason = "20")]
        header.fill(Self::HEADER_LEN as u16 + l4_len, protocol, source, destination);
        Some(())
    }

    #[inline(always)]
    fn snat_source(device: &Device) -> Option<Self> {
        (device.snat_v4 != Self::default()).then_some(device.snat_v4)
    }
}

impl Family for Ipv6 {
    const VERSION: u32 = 6;
    const SWITCHED: u8 = Device::SWITCHED_V6;
    const ETHER_TYPE: EtherType = EtherType::IPV6;
    const HEADER_LEN: usize = Ipv6Header::LEN;
    const ICMP: Protocol = Protocol::ICMPV6;
    const ICMP_HAS_PSEUDO_HEADER: bool = true;
    const PORT_UNREACHABLE: IcmpKind = IcmpKind::new(1, 4);
    const TIME_EXCEEDED: IcmpKind = IcmpKind::new(3, 0);
    const TOO_BIG: IcmpKind = IcmpKind::new(2, 0);

    #[inline(always)]
    fn read<P: Packet>(packet: &P) -> Result<Ip<Self>, Unparsed> {
        let header = packet.header::<Ipv6Header>(L3_AT).ok_or(CUT_SHORT)?;
        if !header.is_version_6() {
            return Err(CUT_SHORT);
        }
        let next = header.next_header();
        if let Protocol::HOP_BY_HOP
        | Protocol::ROUTING
        | Protocol::FRAGMENT
        | Protocol::DESTINATION_OPTIONS = next
        {
            return Err(Unparsed::Odd);
        }
        Ok(header.ip(L3_AT, transport::<Self>(next)?))
    }

    /// What says that the packet is to make another stop first, or is longer than we walk, passes.
    #[inline(always)]
    fn read_whole<P: Packet>(packet: &P) -> Result<Ip<Self>, Unparsed> {
        let header = packet.header::<Ipv6Header>(L3_AT).ok_or(CUT_SHORT)?;
        if !header.is_version_6() {
            return Err(CUT_SHORT);
        }
        let mut ip = header.ip(L3_AT, L4::Tcp);
        let mut next = header.next_header();
        for _ in 0..EXTENSIONS {
            let length = match next {
                Protocol::HOP_BY_HOP | Protocol::ROUTING | Protocol::DESTINATION_OPTIONS => {
                    let extension = packet.header::<Extension>(ip.l4_at).ok_or(CUT_SHORT)?;
                    if next == Protocol::ROUTING && extension.segments_left() != 0 {
                        return Err(OTHER_PROTOCOL);
                    }
                    next = extension.next();
                    extension.len()
                }
                Protocol::FRAGMENT => {
                    let fragment = packet.header::<FragmentHeader>(ip.l4_at).ok_or(CUT_SHORT)?;
                    ip.part = Part::of(fragment.is_later(), fragment.has_more());
                    ip.identification = fragment.identification();
                    next = fragment.next();
                    FragmentHeader::LEN
                }
                _ => break,
            };
            ip.l4_at += length;
            #[expect(clippy::cast_possible_truncation, reason = "at most 2048")]
            let length = length as u16;
            ip.l4_len = ip.l4_len.saturating_sub(length);
            if let Part::Later = ip.part {
                // What comes now is the middle of something.
                return Ok(ip);
            }
        }
        ip.l4 = L4::of(next).ok_or(OTHER_PROTOCOL)?;
        Ok(ip)
    }

    #[inline(always)]
    fn write<P: Packet>(packet: &mut P, change: IpChange<Self>) -> Result<(), DropReason> {
        let header = packet.header_mut::<Ipv6Header>(L3_AT).ok_or(DropReason::Unwritable)?;
        header.set_addresses(change.source, change.destination);
        if change.forwarded {
            header.decrement_hop_limit();
        }
        Ok(())
    }

    #[inline(always)]
    fn read_icmp<P: Packet>(packet: &P, at: usize) -> Option<Ip<Self>> {
        Some(packet.header::<Ipv6Header>(at)?.ip(at, L4::Udp))
    }

    #[inline(always)]
    fn read_quoted<P: Packet>(packet: &P, at: usize) -> Option<Ip<Self>> {
        let header = packet.header::<Ipv6Header>(at)?;
        if !header.is_version_6() {
            return None;
        }
        let mut ip = header.ip(at, L4::Tcp);
        let mut next = header.next_header();
        if next == Protocol::FRAGMENT {
            let fragment = packet.header::<FragmentHeader>(ip.l4_at)?;
            if fragment.is_later() {
                return None;
            }
            next = fragment.next();
            ip.l4_at += FragmentHeader::LEN;
        }
        ip.l4 = L4::of(next)?;
        Some(ip)
    }

    #[inline(always)]
    fn is_error(kind: IcmpKind) -> bool {
        // Destination unreachable, packet too big, time exceeded, parameter problem.
        matches!(kind.kind, 1..=4)
    }

    #[inline(always)]
    fn set_addresses<P: Packet>(
        packet: &mut P,
        at: usize,
        source: Self,
        destination: Self,
        _: Delta,
    ) -> Result<(), DropReason> {
        let header = packet.header_mut::<Ipv6Header>(at).ok_or(DropReason::Unwritable)?;
        header.set_addresses(source, destination);
        Ok(())
    }

    #[inline(always)]
    fn turn<P: Packet>(packet: &mut P, parsed: &Parsed<Self>, l4_len: u16) -> Option<()> {
        #[expect(clippy::cast_possible_truncation, reason = "the walk is shorter")]
        let extensions = (parsed.l4_at - L3_AT - Self::HEADER_LEN) as u16;
        packet.header_mut::<Ipv6Header>(L3_AT)?.turn(extensions + l4_len);
        Some(())
    }

    #[inline(always)]
    fn put<P: Packet>(
        packet: &mut P,
        source: Self,
        destination: Self,
        protocol: Protocol,
        l4_len: u16,
    ) -> Option<()> {
        packet.header_mut::<Ipv6Header>(L3_AT)?.fill(l4_len, protocol, source, destination);
        Some(())
    }

    #[inline(always)]
    fn snat_source(device: &Device) -> Option<Self> {
        (device.snat_v6 != Self::default()).then_some(device.snat_v6)
    }
}

impl Ipv4Header {
    /// What it says at this place, as of a whole packet with this transport.
    #[inline(always)]
    fn ip(&self, at: usize, l4: L4) -> Option<Ip<Ipv4>> {
        let header_len = self.header_len()?;
        Some(Ip {
            source: self.source(),
            destination: self.destination(),
            l4,
            l4_at: at + header_len,
            #[expect(clippy::cast_possible_truncation, reason = "at most 60")]
            l4_len: self.total_len().saturating_sub(header_len as u16),
            ttl: self.ttl(),
            part: Part::Whole,
            identification: 0,
        })
    }
}

impl Ipv6Header {
    /// What it says at this place, as of a whole packet with this transport.
    #[inline(always)]
    fn ip(&self, at: usize, l4: L4) -> Ip<Ipv6> {
        Ip {
            source: self.source(),
            destination: self.destination(),
            l4,
            l4_at: at + Self::LEN,
            l4_len: self.payload_len(),
            ttl: self.hop_limit(),
            part: Part::Whole,
            identification: 0,
        }
    }
}
