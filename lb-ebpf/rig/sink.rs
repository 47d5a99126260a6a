//! The far end: what arrives is counted, by whether it is what ought to arrive, and dropped or turned
//! into an answer.

use aya_ebpf::programs::XdpContext;
use lb_common::wire::{U32, U64};

use crate::{
    CHECKED, SEEN,
    plan::{CHECKS, Seen},
};

/// Counts a frame in one element of `SEEN`.
#[inline(always)]
pub fn count(ctx: &XdpContext, element: u32) {
    let Some(seen) = SEEN.get_ptr_mut(element) else {
        return;
    };
    // SAFETY: this processor's own element.
    let seen: &mut Seen = unsafe { &mut *seen };
    if is_expected(ctx) {
        seen.expected += 1;
    } else {
        seen.others += 1;
    }
}

#[inline(always)]
fn is_expected(ctx: &XdpContext) -> bool {
    let (start, end) = (ctx.data(), ctx.data_end());
    for number in 0..CHECKS as u32 {
        let Some(check) = CHECKED.get(number) else {
            return false;
        };
        let at = start + (check.at & 0x7f) as usize;
        if at + 4 > end {
            return false;
        }
        // SAFETY: within the packet by the comparison above; packed words have alignment 1.
        let word = unsafe { (*(at as *const U32)).get() };
        if word & check.mask != check.value {
            return false;
        }
    }
    true
}

/// Exchanges both ends of a UDP or TCP frame: link-layer addresses, addresses, ports. No checksum
/// changes by that.
#[inline(always)]
pub fn turn(ctx: &XdpContext) -> Option<()> {
    let (start, end) = (ctx.data(), ctx.data_end());
    if start + 14 + 40 + 4 > end {
        return None;
    }
    // SAFETY: the comparison above covers everything that is read and written here.
    unsafe {
        swap_half(start, start + 6);
        swap_word(start + 2, start + 8);
        if (*((start + 12) as *const lb_common::wire::U16)).get() == 0x0800u16.to_be() {
            swap_word(start + 26, start + 30);
            swap_half(start + 34, start + 36);
        } else {
            swap_long(start + 22, start + 38);
            swap_long(start + 30, start + 46);
            swap_half(start + 54, start + 56);
        }
    }
    Some(())
}

macro_rules! swap {
    ($name:ident, $word:ty) => {
        /// # Safety
        ///
        /// Both words lie within the packet.
        #[inline(always)]
        unsafe fn $name(a: usize, b: usize) {
            let (a, b) = (a as *mut $word, b as *mut $word);
            // SAFETY: the caller's promise; packed words have alignment 1.
            let (old_a, old_b) = unsafe { ((*a).get(), (*b).get()) };
            // SAFETY: as above.
            unsafe {
                (*a).set(old_b);
                (*b).set(old_a);
            }
        }
    };
}

swap!(swap_half, lb_common::wire::U16);
swap!(swap_word, U32);
swap!(swap_long, U64);
