//! The one file that touches packet memory.
//!
//! References are made in [`at`], which the verifier follows: it learns the packet's length from
//! the comparison there, for this pointer and whatever is read through it.

use core::marker::PhantomData;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR},
    helpers::generated::{bpf_l4_csum_replace, bpf_skb_pull_data},
    programs::{TcContext, XdpContext},
};
use lb_common::{
    packet::{L4Change, Packet},
    verdict::DropReason,
    wire::{EtherType, Header, L4, Tcp, Udp},
};

/// A packet at XDP.
pub struct XdpPacket<'a> {
    ctx: &'a XdpContext,
}

/// A packet at TC.
pub struct SkbPacket<'a> {
    skb: *mut __sk_buff,
    _ctx: PhantomData<&'a TcContext>,
}

/// The header `offset` bytes into the packet, if it ends within it.
#[inline(always)]
fn at<H: Header>(data: usize, data_end: usize, offset: usize) -> Option<*mut H> {
    let start = data + offset;
    if start + size_of::<H>() > data_end {
        return None;
    }
    Some(start as *mut H)
}

impl<'a> XdpPacket<'a> {
    /// The packet of this context.
    #[inline(always)]
    pub fn new(ctx: &'a XdpContext) -> Self {
        Self { ctx }
    }
}

impl Packet for XdpPacket<'_> {
    const COMPLETE: bool = false;

    #[inline(always)]
    fn header<H: Header>(&self, offset: usize) -> Option<&H> {
        // SAFETY: `at` checked the bounds; `Header` has alignment 1 and takes any bytes; the
        // packet's memory stays where it is while `self` is borrowed.
        at::<H>(self.ctx.data(), self.ctx.data_end(), offset).map(|header| unsafe { &*header })
    }

    #[inline(always)]
    fn header_mut<H: Header>(&mut self, offset: usize) -> Option<&mut H> {
        // SAFETY: as in `header`, and `self` is borrowed exclusively.
        at::<H>(self.ctx.data(), self.ctx.data_end(), offset).map(|header| unsafe { &mut *header })
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        (self.ctx.data_end() - self.ctx.data()) as u32
    }

    #[inline(always)]
    fn segment_payload(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.ctx.ingress_ifindex() as u32
    }
}

impl<'a> SkbPacket<'a> {
    /// The packet of this context, its headers made linear: on paths where the driver left them in
    /// fragments they could not be read otherwise.
    #[inline(always)]
    pub fn new(ctx: &'a TcContext) -> Self {
        let packet = Self { skb: ctx.skb.skb, _ctx: PhantomData };
        let needed = if packet.field_protocol() == EtherType::IPV6.to_wire() { 74 } else { 54 };
        let linear = (packet.data_end() - packet.data()) as u32;
        if linear < needed && linear < packet.len() {
            // A packet that is too short all the same fails at the bounds checks.
            // SAFETY: the program's own context; pointers into the packet don't exist yet.
            unsafe { bpf_skb_pull_data(packet.skb, needed) };
        }
        packet
    }

    #[inline(always)]
    fn data(&self) -> usize {
        // SAFETY: the program's own context.
        unsafe { (*self.skb).data as usize }
    }

    #[inline(always)]
    fn data_end(&self) -> usize {
        // SAFETY: the program's own context.
        unsafe { (*self.skb).data_end as usize }
    }

    #[inline(always)]
    fn field_protocol(&self) -> u16 {
        // SAFETY: the program's own context.
        unsafe { (*self.skb).protocol as u16 }
    }
}

impl Packet for SkbPacket<'_> {
    const COMPLETE: bool = true;

    #[inline(always)]
    fn header<H: Header>(&self, offset: usize) -> Option<&H> {
        // SAFETY: `at` checked the bounds; `Header` has alignment 1 and takes any bytes; the
        // packet's memory stays where it is while `self` is borrowed.
        at::<H>(self.data(), self.data_end(), offset).map(|header| unsafe { &*header })
    }

    #[inline(always)]
    fn header_mut<H: Header>(&mut self, offset: usize) -> Option<&mut H> {
        // SAFETY: as in `header`, and `self` is borrowed exclusively.
        at::<H>(self.data(), self.data_end(), offset).map(|header| unsafe { &mut *header })
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: the program's own context.
        unsafe { (*self.skb).len }
    }

    #[inline(always)]
    fn segment_payload(&self) -> u32 {
        // SAFETY: the program's own context.
        unsafe { (*self.skb).gso_size }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the program's own context.
        unsafe { (*self.skb).ifindex }
    }

    /// The kernel's helper fixes the checksum, because it knows whether there is one yet: packets
    /// of this machine may carry one of the pseudo header only, for the device to finish. It takes
    /// the addresses' change and the ports' apart, since only the first touches the pseudo header.
    #[inline(always)]
    fn change_l4(&mut self, offset: usize, l4: L4, change: L4Change) -> Result<(), DropReason> {
        let (at, flags) = match l4 {
            L4::Tcp => {
                let tcp = self.header_mut::<Tcp>(offset).ok_or(DropReason::Unwritable)?;
                tcp.set_ports(change.source, change.destination);
                (offset + Tcp::CHECKSUM_AT, 0)
            }
            L4::Udp => {
                let udp = self.header_mut::<Udp>(offset).ok_or(DropReason::Unwritable)?;
                udp.set_ports(change.source, change.destination);
                (offset + Udp::CHECKSUM_AT, u64::from(BPF_F_MARK_MANGLED_0))
            }
        };
        let (addresses, ports) = (change.addresses.for_helper(), change.ports.for_helper());
        let pseudo = flags | u64::from(BPF_F_PSEUDO_HDR);
        // SAFETY: the program's own context; references into the packet ended above.
        let failed = unsafe {
            bpf_l4_csum_replace(self.skb, at as u32, 0, addresses, pseudo) != 0
                || bpf_l4_csum_replace(self.skb, at as u32, 0, ports, flags) != 0
        };
        if failed { Err(DropReason::Unwritable) } else { Ok(()) }
    }
}
