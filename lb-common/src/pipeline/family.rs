//! The two address families, as far as their headers differ.

use crate::{
    addr::{Address, Ipv4, Ipv6},
    checksum::Delta,
    packet::Packet,
    tables::Device,
    verdict::{DropReason, PassReason},
    wire::{Ethernet, Ipv4Header, Ipv6Header, L4},
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
}

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

/// Where the IP header begins.
pub const L3_AT: usize = Ethernet::LEN;

/// An address family.
pub trait Family: Address {
    /// The version of IP.
    const VERSION: u32;
    /// Reads the IP header.
    fn read<P: Packet>(packet: &P) -> Result<Ip<Self>, PassReason>;
    /// Writes the IP header.
    fn write<P: Packet>(packet: &mut P, change: IpChange<Self>) -> Result<(), DropReason>;
    /// The address for SNAT out of a device; `None`: it has none.
    fn snat_source(device: &Device) -> Option<Self>;
}

impl Family for Ipv4 {
    const VERSION: u32 = 4;

    #[inline(always)]
    fn read<P: Packet>(packet: &P) -> Result<Ip<Self>, PassReason> {
        let header = packet.header::<Ipv4Header>(L3_AT).ok_or(PassReason::NotIp)?;
        let header_len = header.header_len().ok_or(PassReason::NotIp)?;
        if header.is_fragment() {
            return Err(PassReason::Fragment);
        }
        Ok(Ip {
            source: header.source(),
            destination: header.destination(),
            l4: L4::of(header.protocol()).ok_or(PassReason::Protocol)?,
            l4_at: L3_AT + header_len,
            #[expect(clippy::cast_possible_truncation, reason = "at most 60")]
            l4_len: header.total_len().saturating_sub(header_len as u16),
            ttl: header.ttl(),
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
    fn snat_source(device: &Device) -> Option<Self> {
        (device.snat_v4 != Self::default()).then_some(device.snat_v4)
    }
}

impl Family for Ipv6 {
    const VERSION: u32 = 6;

    #[inline(always)]
    fn read<P: Packet>(packet: &P) -> Result<Ip<Self>, PassReason> {
        let header = packet.header::<Ipv6Header>(L3_AT).ok_or(PassReason::NotIp)?;
        if !header.is_version_6() {
            return Err(PassReason::NotIp);
        }
        Ok(Ip {
            source: header.source(),
            destination: header.destination(),
            l4: L4::of(header.next_header()).ok_or(PassReason::Protocol)?,
            l4_at: L3_AT + Ipv6Header::LEN,
            l4_len: header.payload_len(),
            ttl: header.hop_limit(),
        })
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
    fn snat_source(device: &Device) -> Option<Self> {
        (device.snat_v6 != Self::default()).then_some(device.snat_v6)
    }
}
