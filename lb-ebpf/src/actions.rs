//! From an outcome to what XDP and TC call it.

use aya_ebpf::{
    bindings::{BPF_F_INGRESS, TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    helpers::generated::{bpf_redirect, bpf_redirect_neigh},
    programs::XdpContext,
};
use lb_common::{
    hook::Hook,
    packet::Packet as _,
    verdict::{DropReason, Verdict},
};

use crate::{counted, packet::SkbPacket};

/// The action for an outcome at XDP.
#[inline(always)]
pub fn xdp(ctx: &XdpContext, outcome: Result<Verdict, DropReason>) -> u32 {
    match outcome {
        Ok(Verdict::Pass(_) | Verdict::Stack | Verdict::Switch) => xdp_action::XDP_PASS,
        // Sending back out of the same interface costs half of what a redirect does.
        Ok(Verdict::Transmit(ifindex)) if ifindex as usize == ctx.ingress_ifindex() => {
            xdp_action::XDP_TX
        }
        // SAFETY: takes numbers only. Answers with the action.
        Ok(Verdict::Transmit(ifindex)) => (unsafe { bpf_redirect(ifindex, 0) }) as u32,
        // The pipeline gives these only to packets that can finish everything, or carries them out before;
        // if one were here, it would show up in the kernel's own exception counters.
        Ok(
            Verdict::Resolve(_)
            | Verdict::Inject(_)
            | Verdict::Answer(_)
            | Verdict::Held
            | Verdict::Again
            | Verdict::Later(_),
        ) => xdp_action::XDP_ABORTED,
        Err(_) => xdp_action::XDP_DROP,
    }
}

/// The action for an outcome at TC. What isn't dropped or sent goes on to the next program.
#[inline(always)]
pub fn classifier<const LINK: bool>(
    packet: &mut SkbPacket<'_, LINK>,
    hook: Hook,
    outcome: Result<Verdict, DropReason>,
) -> i32 {
    if !LINK
        && let Ok(verdict) = outcome
        && verdict.is_sent_on()
        && packet.put_link(verdict).is_err()
    {
        counted::count(DropReason::Unwritable as u32);
        return TC_ACT_SHOT;
    }
    match outcome {
        Ok(Verdict::Pass(_) | Verdict::Stack | Verdict::Switch) => TC_ACT_UNSPEC,
        // SAFETY: takes numbers only. Answers with the action.
        Ok(Verdict::Transmit(ifindex)) => (unsafe { bpf_redirect(ifindex, 0) }) as i32,
        Ok(Verdict::Resolve(ifindex)) => {
            // SAFETY: no parameters are given: the kernel looks the next hop up by itself.
            let action = unsafe { bpf_redirect_neigh(ifindex, core::ptr::null_mut(), 0, 0) };
            action as i32
        }
        Ok(Verdict::Inject(ifindex)) => {
            // SAFETY: takes numbers only. Answers with the action.
            (unsafe { bpf_redirect(ifindex, u64::from(BPF_F_INGRESS)) }) as i32
        }
        Ok(Verdict::Answer(_)) => {
            // Where packets leave, their senders are behind the stack: it gets the answer as if it had
            // come in here.
            let flags = if hook.leaves() { u64::from(BPF_F_INGRESS) } else { 0 };
            // SAFETY: takes numbers only. Answers with the action.
            (unsafe { bpf_redirect(packet.ifindex(), flags) }) as i32
        }
        // What goes on is a copy of it. Where a next stage is meant there was none.
        Ok(Verdict::Held | Verdict::Again | Verdict::Later(_)) | Err(_) => TC_ACT_SHOT,
    }
}
