//! A packet in a vector at a device without link layer: it begins with its IP header.

use alloc::vec::Vec;

extern crate alloc;

use super::HostPacket;
use crate::{
    packet::Packet,
    tables::Held,
    wire::{EtherType, Ethernet, Header, MacPair},
};

/// A packet without link header, at a hook that can finish every packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarePacket {
    /// From the IP header on.
    pub packet: HostPacket<true>,
    /// What the kernel says that it is.
    pub ether_type: EtherType,
    /// Of the link header that it gets if it is sent on.
    pub macs: Option<MacPair>,
}

impl BarePacket {
    /// What is in a frame, at an interface. The frame has a link header.
    pub fn of(frame: &[u8], ifindex: u32) -> Option<Self> {
        let (link, packet) = frame.split_at_checked(Ethernet::LEN)?;
        let ether_type = EtherType::from_wire(u16::from_ne_bytes([link[12], link[13]]));
        let packet = HostPacket::new(Vec::from(packet), ifindex);
        Some(Self { packet, ether_type, macs: None })
    }
}

impl Packet for BarePacket {
    const COMPLETE: bool = true;

    fn header<H: Header>(&self, offset: usize) -> Option<&H> {
        self.packet.header(offset.checked_sub(Ethernet::LEN)?)
    }

    fn header_mut<H: Header>(&mut self, offset: usize) -> Option<&mut H> {
        self.packet.header_mut(offset.checked_sub(Ethernet::LEN)?)
    }

    fn ether_type(&self) -> Option<EtherType> {
        Some(self.ether_type)
    }

    fn macs(&self) -> Option<MacPair> {
        Some(MacPair::default())
    }

    fn set_macs(&mut self, macs: MacPair) -> Option<()> {
        self.macs = Some(macs);
        Some(())
    }

    fn len(&self) -> u32 {
        self.packet.len() + LINK
    }

    fn segment_payload(&self) -> u32 {
        self.packet.segment_payload()
    }

    fn ifindex(&self) -> u32 {
        self.packet.ifindex()
    }

    fn is_tagged(&self) -> bool {
        self.packet.is_tagged()
    }

    fn is_own(&self) -> bool {
        self.packet.is_own()
    }

    fn cut(&mut self, len: u32) -> bool {
        len.checked_sub(LINK).is_some_and(|len| self.packet.cut(len))
    }

    fn grow(&mut self, bytes: u32) -> bool {
        let room = core::iter::repeat_n(0, bytes as usize);
        self.packet.frame.splice(0..0, room);
        true
    }

    fn save(&self, held: &mut Held) -> bool {
        self.packet.save(held)
    }

    fn restore(&mut self, held: &Held) -> bool {
        self.packet.restore(held)
    }

    fn come_in_again(&mut self) -> bool {
        self.packet.come_in_again()
    }

    fn note_mtu(&self, mtu: u32) {
        self.packet.note_mtu(mtu);
    }

    fn mtu(&self) -> u32 {
        self.packet.mtu()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "14")]
const LINK: u32 = Ethernet::LEN as u32;
