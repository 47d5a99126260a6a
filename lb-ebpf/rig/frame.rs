//! Writing the frame of the next flow over whatever the packet is now: all of it, because the path that
//! is measured has changed any of it.

use aya_ebpf::programs::{TcContext, XdpContext};
use lb_common::wire::{U16, U32, U64};

use crate::{
    PLAN, PROGRESS,
    plan::{FRAME_WORDS, Field, Plan},
};

/// The shortest that a frame may be: UDP in IPv4 or IPv6.
const SHORTEST: usize = 64;

/// Where a packet's memory begins and ends.
pub trait Bounds {
    /// Its first byte.
    fn start(&self) -> usize;
    /// The byte after its last.
    fn end(&self) -> usize;
}

impl Bounds for XdpContext {
    #[inline(always)]
    fn start(&self) -> usize {
        self.data()
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.data_end()
    }
}

impl Bounds for TcContext {
    #[inline(always)]
    fn start(&self) -> usize {
        self.data()
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.data_end()
    }
}

/// Writes the next flow's frame. `None`: there is no plan, or the packet is shorter than the frame.
#[inline(always)]
pub fn write<P: Bounds>(packet: &P) -> Option<()> {
    let (plan, progress) = (PLAN.get_ptr(0)?, PROGRESS.get_ptr_mut(0)?);
    // SAFETY: pointers into the maps' memory. One processor at a time carries a plan out.
    let (plan, progress) = unsafe { (&*plan, &mut *progress) };
    let flow = if plan.scattered == 0 { progress.made as u32 } else { mixed(progress.made) };
    let flow = flow & plan.mask;
    progress.made += 1;
    progress.flow = u64::from(flow);

    let (start, end) = (packet.start(), packet.end());
    if start + SHORTEST > end {
        return None;
    }
    for word in 0..SHORTEST / 8 {
        set_word(start + word * 8, plan.frame[word]);
    }
    if start + FRAME_WORDS * 8 <= end {
        for word in SHORTEST / 8..FRAME_WORDS {
            set_word(start + word * 8, plan.frame[word]);
        }
    }
    let mut addresses = 0;
    for field in &plan.words {
        let value = value(field, flow).to_be();
        at::<U32>(start, end, field.at)?.set(value);
        addresses += (value & 0xffff) + (value >> 16);
    }
    let port = (value(&plan.half, flow) as u16).to_be();
    at::<U16>(start, end, plan.half.at)?.set(port);
    write_checksums(plan, start, end, addresses, u32::from(port))
}

#[inline(always)]
fn write_checksums(plan: &Plan, start: usize, end: usize, words: u32, port: u32) -> Option<()> {
    if plan.ip_checksum_at != 0 {
        at::<U16>(start, end, plan.ip_checksum_at)?.set(finished(plan.ip_sum + words));
    }
    if plan.l4_checksum_at != 0 {
        at::<U16>(start, end, plan.l4_checksum_at)?.set(finished(plan.l4_sum + words + port));
    }
    Some(())
}

/// The checksum of a sum (RFC 1071).
#[inline(always)]
fn finished(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum + (sum >> 16)) as u16)
}

#[inline(always)]
fn value(field: &Field, flow: u32) -> u32 {
    field.base.wrapping_add((flow >> (field.shift & 31)) & field.mask)
}

/// Numbers in no order, by a counter: the finalizer of `MurmurHash3`.
#[inline(always)]
fn mixed(counter: u64) -> u32 {
    let mut mixed = counter as u32;
    mixed ^= mixed >> 16;
    mixed = mixed.wrapping_mul(0x85eb_ca6b);
    mixed ^= mixed >> 13;
    mixed = mixed.wrapping_mul(0xc2b2_ae35);
    mixed ^ (mixed >> 16)
}

#[inline(always)]
fn set_word(at: usize, value: u64) {
    // SAFETY: `write` has compared the packet's end with the end of this word; alignment is 1.
    unsafe { (*(at as *mut U64)).set(value) }
}

/// What lies `offset` bytes into the packet, if it ends within it.
#[inline(always)]
fn at<'a, W>(start: usize, end: usize, offset: u32) -> Option<&'a mut W> {
    let at = start + (offset & 0x7f) as usize;
    if at + size_of::<W>() > end {
        return None;
    }
    // SAFETY: within the packet by the comparison above; packed words have alignment 1.
    Some(unsafe { &mut *(at as *mut W) })
}
