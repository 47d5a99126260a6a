//! Packet memory at XDP.

use aya_ebpf::programs::XdpContext;
use lb_common::{packet::Packet, wire::Header};

use crate::packet::at;

/// A packet at XDP.
pub struct XdpPacket<'a> {
    ctx: &'a XdpContext,
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
        // Reads of its own, and subtracted here and now: else the compiler keeps the ends of the packet
        // as numbers of 32 bits on the stack, and the verifier takes no half of a pointer.
        // SAFETY: the program's own context.
        let (data, data_end) = unsafe {
            let ctx = self.ctx.ctx;
            ((&raw const (*ctx).data).read_volatile(), (&raw const (*ctx).data_end).read_volatile())
        };
        core::hint::black_box(data_end.wrapping_sub(data))
    }

    #[inline(always)]
    fn segment_payload(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.ctx.ingress_ifindex() as u32
    }

    /// A tag that the driver took out is not to be seen here (ARCHITECTURE, "What a packet deserves").
    #[inline(always)]
    fn is_tagged(&self) -> bool {
        false
    }

    #[inline(always)]
    fn is_own(&self) -> bool {
        false
    }

    #[inline(always)]
    fn cut(&mut self, _: u32) -> bool {
        false
    }

    #[inline(always)]
    fn grow(&mut self, _: u32) -> bool {
        false
    }

    #[inline(always)]
    fn note_mtu(&self, _: u32) {}

    #[inline(always)]
    fn mtu(&self) -> u32 {
        0
    }
}
