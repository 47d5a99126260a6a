//! From an outcome to what XDP and TC call it.

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    helpers::generated::{bpf_redirect, bpf_redirect_neigh},
    programs::XdpContext,
};
use lb_common::verdict::{DropReason, Verdict};

/// The action for an outcome at XDP.
#[inline(always)]
pub fn xdp(ctx: &XdpContext, outcome: Result<Verdict, DropReason>) -> u32 {
    match outcome {
        Ok(Verdict::Pass(_) | Verdict::Stack) => xdp_action::XDP_PASS,
        // Sending back out of the same interface costs half of what a redirect does.
        Ok(Verdict::Transmit(ifindex)) if ifindex as usize == ctx.ingress_ifindex() => {
            xdp_action::XDP_TX
        }
        // SAFETY: takes numbers only. Answers with the action.
        Ok(Verdict::Transmit(ifindex)) => (unsafe { bpf_redirect(ifindex, 0) }) as u32,
        // The pipeline gives this only to packets that can finish everything, so that it isn't in
        // the program; if it were, this shows up in the kernel's own exception counters.
        Ok(Verdict::Resolve(_)) => xdp_action::XDP_ABORTED,
        Err(_) => xdp_action::XDP_DROP,
    }
}

/// The action for an outcome at TC. What isn't dropped or sent goes on to the next program.
#[inline(always)]
pub fn classifier(outcome: Result<Verdict, DropReason>) -> i32 {
    match outcome {
        Ok(Verdict::Pass(_) | Verdict::Stack) => TC_ACT_UNSPEC,
        // SAFETY: takes numbers only. Answers with the action.
        Ok(Verdict::Transmit(ifindex)) => (unsafe { bpf_redirect(ifindex, 0) }) as i32,
        Ok(Verdict::Resolve(ifindex)) => {
            // SAFETY: no parameters are given: the kernel looks the next hop up by itself.
            let action = unsafe { bpf_redirect_neigh(ifindex, core::ptr::null_mut(), 0, 0) };
            action as i32
        }
        Err(_) => TC_ACT_SHOT,
    }
}
