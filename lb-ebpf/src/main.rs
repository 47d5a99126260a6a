//! The programs that run in the kernel: one per hook, each the pipeline of lb-common over this
//! hook's packet and the maps. What a verdict means to XDP or TC is decided here, nothing else.
#![no_std]
#![no_main]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "helpers take and give wider words than what is in them: lengths, indices, actions"
)]
#![expect(clippy::needless_pass_by_value, reason = "an entry point owns its context")]

mod actions;
mod counted;
mod fib;
mod maps;
mod packet;
mod services;
mod sockets;
mod tables;

use aya_ebpf::{
    EbpfContext as _,
    bindings::xdp_action,
    helpers::generated::bpf_jiffies64,
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use lb_common::{
    hook::Hook,
    pipeline::{self, Tables as _},
    verdict::{DropReason, PassReason, Stage, Verdict},
};

use crate::{
    maps::{STAGES, STAGES_XDP},
    packet::{Note, SkbPacket, XdpPacket},
    tables::Kernel,
};

/// Uplinks, before the kernel has made a socket buffer of the packet. `frags`: what is longer than a page
/// lies in several buffers, of which programs see the first; where the kernel doesn't know that (before
/// Linux 5.18), the control program takes the word away.
#[xdp(frags)]
#[inline(always)]
fn lb_xdp(ctx: XdpContext) -> u32 {
    let tables = Kernel::at(ctx.as_ptr());
    let mut packet = XdpPacket::new(&ctx);
    let outcome = pipeline::first(&mut packet, &tables, Hook::UplinkIn, now());
    let Ok(Verdict::Later(stage)) = outcome else {
        return actions::xdp(&ctx, outcome);
    };
    xdp_later(&ctx, &tables, stage)
}

/// The second stage of [`lb_xdp`].
#[xdp(frags)]
#[inline(always)]
fn lb_xdp_all(ctx: XdpContext) -> u32 {
    let tables = Kernel::at(ctx.as_ptr());
    let mut packet = XdpPacket::new(&ctx);
    let outcome = pipeline::whole(&mut packet, &tables, Hook::UplinkIn, now());
    match outcome {
        Ok(Verdict::Later(stage)) => xdp_later(&ctx, &tables, stage),
        outcome => actions::xdp(&ctx, outcome),
    }
}

/// The third stage of [`lb_xdp`].
#[xdp(frags)]
#[inline(always)]
fn lb_xdp_begin(ctx: XdpContext) -> u32 {
    let tables = Kernel::at(ctx.as_ptr());
    let mut packet = XdpPacket::new(&ctx);
    let outcome = pipeline::open(&mut packet, &tables, Hook::UplinkIn, now());
    match outcome {
        Ok(Verdict::Later(stage)) => xdp_later(&ctx, &tables, stage),
        outcome => actions::xdp(&ctx, outcome),
    }
}

/// Goes on to another stage.
#[inline(always)]
fn xdp_later(ctx: &XdpContext, tables: &Kernel, stage: Stage) -> u32 {
    // SAFETY: nothing here is to be dropped.
    unsafe { STAGES_XDP.tail_call(ctx, stage.place(Hook::UplinkIn)) };
    // There is none: TC does the work.
    tables.count(PassReason::Declined as u32);
    xdp_action::XDP_PASS
}

/// Uplinks, ingress.
#[classifier]
#[inline(always)]
fn lb_uplink_in(ctx: TcContext) -> i32 {
    first(&ctx, Hook::UplinkIn)
}

/// Uplinks, egress.
#[classifier]
#[inline(always)]
fn lb_uplink_out(ctx: TcContext) -> i32 {
    first(&ctx, Hook::UplinkOut)
}

/// Host's ends of pods' interfaces, ingress.
#[classifier]
#[inline(always)]
fn lb_workload_in(ctx: TcContext) -> i32 {
    first(&ctx, Hook::WorkloadIn)
}

/// Host's ends of pods' interfaces, egress.
#[classifier]
#[inline(always)]
fn lb_workload_out(ctx: TcContext) -> i32 {
    first(&ctx, Hook::WorkloadOut)
}

/// The second stage of [`lb_uplink_in`].
#[classifier]
#[inline(always)]
fn lb_uplink_in_all(ctx: TcContext) -> i32 {
    whole(&ctx, Hook::UplinkIn)
}

/// The second stage of [`lb_uplink_out`].
#[classifier]
#[inline(always)]
fn lb_uplink_out_all(ctx: TcContext) -> i32 {
    whole(&ctx, Hook::UplinkOut)
}

/// The second stage of [`lb_workload_in`].
#[classifier]
#[inline(always)]
fn lb_pod_in_all(ctx: TcContext) -> i32 {
    whole(&ctx, Hook::WorkloadIn)
}

/// The second stage of [`lb_workload_out`].
#[classifier]
#[inline(always)]
fn lb_pod_out_all(ctx: TcContext) -> i32 {
    whole(&ctx, Hook::WorkloadOut)
}

/// The third stage of [`lb_uplink_in`].
#[classifier]
#[inline(always)]
fn lb_uplink_begin(ctx: TcContext) -> i32 {
    begin(&ctx, Hook::UplinkIn)
}

/// The third stage of [`lb_workload_in`].
#[classifier]
#[inline(always)]
fn lb_pod_begin(ctx: TcContext) -> i32 {
    begin(&ctx, Hook::WorkloadIn)
}

/// The second stage of [`lb_uplink_out`] for what a socket of this node sends.
#[classifier]
#[inline(always)]
fn lb_host_out_all(ctx: TcContext) -> i32 {
    whole(&ctx, Hook::HostOut)
}

/// The third stage of the same.
#[classifier]
#[inline(always)]
fn lb_host_begin(ctx: TcContext) -> i32 {
    begin(&ctx, Hook::HostOut)
}

/// ICMP at TC, for all hooks.
#[classifier]
#[inline(always)]
fn lb_errors(ctx: TcContext) -> i32 {
    let mut packet = SkbPacket::with_all_headers(&ctx);
    let Some(hook) = Hook::from_role(packet.noted(Note::Hook) as u8) else {
        return actions::classifier(&packet, Hook::UplinkIn, Err(DropReason::NoStage));
    };
    let outcome = pipeline::errors(&mut packet, &Kernel::at(ctx.as_ptr()), hook, now());
    actions::classifier(&packet, hook, outcome)
}

/// Holds a fragment that came before its packet's first one, for all hooks.
#[classifier]
#[inline(always)]
fn lb_hold(ctx: TcContext) -> i32 {
    let mut packet = SkbPacket::with_all_headers(&ctx);
    let Some(hook) = Hook::from_role(packet.noted(Note::Hook) as u8) else {
        return actions::classifier(&packet, Hook::UplinkIn, Err(DropReason::NoStage));
    };
    let outcome = pipeline::hold(&mut packet, &Kernel::at(ctx.as_ptr()), hook, now());
    conclude(&ctx, &packet, hook, outcome)
}

/// Lets those go that waited for this one, for all hooks.
#[classifier]
#[inline(always)]
fn lb_release(ctx: TcContext) -> i32 {
    let mut packet = SkbPacket::with_all_headers(&ctx);
    let Some(hook) = Hook::from_role(packet.noted(Note::Hook) as u8) else {
        return actions::classifier(&packet, Hook::UplinkIn, Err(DropReason::NoStage));
    };
    let outcome = pipeline::release(&mut packet, &Kernel::at(ctx.as_ptr()), hook, now());
    actions::classifier(&packet, hook, outcome)
}

/// The last stage at TC: answers to the senders of what is dropped.
#[classifier]
#[inline(always)]
fn lb_answer(ctx: TcContext) -> i32 {
    let mut packet = SkbPacket::with_all_headers(&ctx);
    let hook = Hook::from_role(packet.noted(Note::Hook) as u8);
    let reason = DropReason::told(packet.noted(Note::Reason));
    let (Some(hook), Some(reason)) = (hook, reason) else {
        return actions::classifier(&packet, Hook::UplinkIn, Err(DropReason::NoStage));
    };
    let outcome = pipeline::answer(&mut packet, &Kernel::at(ctx.as_ptr()), hook, now(), reason);
    actions::classifier(&packet, hook, outcome)
}

/// Amends the checksum of SCTP and carries out what the stage before found.
#[classifier]
#[inline(always)]
fn lb_sctp(ctx: TcContext) -> i32 {
    let mut packet = SkbPacket::again(&ctx);
    let (counter, ifindex) = (packet.noted(Note::Reason), packet.noted(Note::Third));
    let hook = Hook::from_role(packet.noted(Note::Hook) as u8).unwrap_or(Hook::UplinkIn);
    let outcome = packet
        .amend()
        .and_then(|()| Verdict::translated(counter, ifindex).ok_or(DropReason::NoStage));
    if let Err(reason) = outcome {
        Kernel::at(ctx.as_ptr()).count(reason as u32);
    }
    actions::classifier(&packet, hook, outcome)
}

#[inline(always)]
fn first(ctx: &TcContext, hook: Hook) -> i32 {
    let tables = Kernel::at(ctx.as_ptr());
    let mut packet = SkbPacket::new(ctx);
    let outcome = pipeline::first(&mut packet, &tables, hook, now());
    conclude(ctx, &packet, hook, outcome)
}

#[inline(always)]
fn whole(ctx: &TcContext, hook: Hook) -> i32 {
    let mut packet = SkbPacket::with_all_headers(ctx);
    packet.note(Note::Mtu, 0);
    let outcome = pipeline::whole(&mut packet, &Kernel::at(ctx.as_ptr()), hook, now());
    conclude_any(ctx, &packet, hook, outcome)
}

#[inline(always)]
fn begin(ctx: &TcContext, hook: Hook) -> i32 {
    let mut packet = SkbPacket::with_all_headers(ctx);
    packet.note(Note::Mtu, 0);
    let outcome = pipeline::open(&mut packet, &Kernel::at(ctx.as_ptr()), hook, now());
    conclude_any(ctx, &packet, hook, outcome)
}

/// The same where the packet may be SCTP, whose checksum is another stage's.
#[inline(always)]
fn conclude_any(
    ctx: &TcContext,
    packet: &SkbPacket<'_>,
    hook: Hook,
    outcome: Result<Verdict, DropReason>,
) -> i32 {
    if let Ok(verdict) = outcome
        && packet.noted(Note::Mtu) != 0
    {
        packet.note(Note::Reason, verdict.counter());
        packet.note(Note::Third, verdict.ifindex());
        return go_on(ctx, packet, hook, Stage::Sctp);
    }
    conclude(ctx, packet, hook, outcome)
}

/// Carries an outcome out, or goes on to the stage that does.
#[inline(always)]
fn conclude(
    ctx: &TcContext,
    packet: &SkbPacket<'_>,
    hook: Hook,
    outcome: Result<Verdict, DropReason>,
) -> i32 {
    let stage = match outcome {
        Ok(Verdict::Later(stage)) => stage,
        Err(reason) if reason.notice().is_some() => {
            packet.note(Note::Reason, reason as u32);
            Stage::Answer
        }
        outcome => return actions::classifier(packet, hook, outcome),
    };
    go_on(ctx, packet, hook, stage)
}

/// Goes on to another stage.
#[inline(always)]
fn go_on(ctx: &TcContext, packet: &SkbPacket<'_>, hook: Hook, stage: Stage) -> i32 {
    packet.note(Note::Hook, hook as u32);
    // SAFETY: nothing here is to be dropped.
    unsafe { STAGES.tail_call(ctx, stage.place(hook)) };
    Kernel::at(ctx.as_ptr()).count(DropReason::NoStage as u32);
    actions::classifier(packet, hook, Err(DropReason::NoStage))
}

/// Never attached: returns the kernel's jiffies to the control program, which runs it to learn how
/// long one lasts and what time the flows' ages are told in.
#[classifier]
fn lb_clock(_ctx: TcContext) -> i32 {
    now().cast_signed()
}

/// The lower half of the kernel's jiffies. The verifier replaces the call by a load.
#[inline(always)]
fn now() -> u32 {
    // SAFETY: takes nothing, touches nothing.
    (unsafe { bpf_jiffies64() }) as u32
}

/// The licence that the kernel asks for: helpers that are for GPL-compatible programs are called.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Loops, so that the verifier refuses a program in which a panic can be reached.
#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
