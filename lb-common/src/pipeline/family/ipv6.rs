//! IPv6.

use super::{EXTENSIONS, Family, Ip, IpChange, L3_AT, OTHER_PROTOCOL, Part, transport};
use crate::{
    addr::Ipv6,
    checksum::Delta,
    packet::Packet,
    pipeline::parse::{CUT_SHORT, Parsed, Unparsed},
    tables::Device,
    verdict::DropReason,
    wire::{Extension, FragmentHeader, IcmpKind, Ipv6Header, L4, Protocol},
};

impl Family for Ipv6 {
    const VERSION: u32 = 6;
    const SWITCHED: u8 = Device::SWITCHED_V6;
    const HEADER_LEN: usize = Ipv6Header::LEN;
    const ICMP: Protocol = Protocol::ICMPV6;
    const ICMP_HAS_PSEUDO_HEADER: bool = true;
    const PORT_UNREACHABLE: IcmpKind = IcmpKind::new(1, 4);
    const TIME_EXCEEDED: IcmpKind = IcmpKind::new(3, 0);
    const ECHO: (IcmpKind, IcmpKind) = (IcmpKind::new(128, 0), IcmpKind::new(129, 0));
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
        let mut ip = header.ip(L3_AT, L4::Other);
        let mut next = header.next_header();
        for _ in 0..EXTENSIONS {
            let length = match next {
                Protocol::HOP_BY_HOP | Protocol::ROUTING | Protocol::DESTINATION_OPTIONS => {
                    let extension = packet.header::<Extension>(ip.l4_at).ok_or(CUT_SHORT)?;
                    if next == Protocol::ROUTING && extension.segments_left() != 0 {
                        return Err(OTHER_PROTOCOL);
                    }
                    next = extension.next();
                    extension.length()
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
            if ip.part == Part::LATER {
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
    fn addresses<P: Packet>(packet: &P) -> Option<(Self, Self)> {
        let header = packet.header::<Ipv6Header>(L3_AT)?;
        Some((header.source(), header.destination()))
    }

    #[inline(always)]
    fn read_icmp<P: Packet>(packet: &P, at: usize) -> Option<Ip<Self>> {
        Some(packet.header::<Ipv6Header>(at)?.ip(at, L4::Other))
    }

    #[inline(always)]
    fn read_quoted<P: Packet>(packet: &P, at: usize) -> Option<Ip<Self>> {
        let header = packet.header::<Ipv6Header>(at)?;
        if !header.is_version_6() {
            return None;
        }
        let mut ip = header.ip(at, L4::Other);
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
            part: Part::WHOLE,
            identification: 0,
        }
    }
}
