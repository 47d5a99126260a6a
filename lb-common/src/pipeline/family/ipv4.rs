//! IPv4.

use super::{Family, Ip, IpChange, L3_AT, OTHER_PROTOCOL, Part, transport};
use crate::{
    addr::Ipv4,
    checksum::Delta,
    packet::Packet,
    pipeline::parse::{CUT_SHORT, Parsed, Unparsed},
    tables::Device,
    verdict::DropReason,
    wire::{IcmpKind, Ipv4Header, L4, Protocol},
};

impl Family for Ipv4 {
    const VERSION: u32 = 4;
    const SWITCHED: u8 = Device::SWITCHED_V4;
    const HEADER_LEN: usize = Ipv4Header::LEN;
    const ICMP: Protocol = Protocol::ICMP;
    const ICMP_HAS_PSEUDO_HEADER: bool = false;
    const PORT_UNREACHABLE: IcmpKind = IcmpKind::new(3, 3);
    const TIME_EXCEEDED: IcmpKind = IcmpKind::new(11, 0);
    const ECHO: (IcmpKind, IcmpKind) = (IcmpKind::new(8, 0), IcmpKind::new(0, 0));
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
    fn addresses<P: Packet>(packet: &P) -> Option<(Self, Self)> {
        let header = packet.header::<Ipv4Header>(L3_AT)?;
        Some((header.source(), header.destination()))
    }

    #[inline(always)]
    fn read_icmp<P: Packet>(packet: &P, at: usize) -> Option<Ip<Self>> {
        let header = packet.header::<Ipv4Header>(at)?;
        (!header.is_fragment()).then(|| header.ip(at, L4::Other)).flatten()
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
            part: Part::WHOLE,
            identification: 0,
        })
    }
}
