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
mod asking;
mod bare;
mod bind;
mod connect;
mod counted;
mod family;
mod fib;
mod link;
mod maps;
mod note;
mod packet;
mod services;
mod sockets;
mod stages;
mod tables;
mod translated;
mod xdp;

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
    verdict::{PassReason, Stage, Verdict},
};

use crate::{maps::STAGES_XDP, tables::Kernel, xdp::XdpPacket};

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
    stages::first::<true>(&ctx, Hook::UplinkIn)
}

/// Uplinks, egress.
#[classifier]
#[inline(always)]
fn lb_uplink_out(ctx: TcContext) -> i32 {
    stages::first::<true>(&ctx, Hook::UplinkOut)
}

/// Host's ends of pods' interfaces, ingress.
#[classifier]
#[inline(always)]
fn lb_workload_in(ctx: TcContext) -> i32 {
    stages::first::<true>(&ctx, Hook::WorkloadIn)
}

/// Host's ends of pods' interfaces, egress.
#[classifier]
#[inline(always)]
fn lb_workload_out(ctx: TcContext) -> i32 {
    stages::first::<true>(&ctx, Hook::WorkloadOut)
}

/// The second stage of [`lb_uplink_in`].
#[classifier]
#[inline(always)]
fn lb_uplink_in_all(ctx: TcContext) -> i32 {
    stages::whole::<true>(&ctx, Hook::UplinkIn)
}

/// The second stage of [`lb_uplink_out`].
#[classifier]
#[inline(always)]
fn lb_uplink_out_all(ctx: TcContext) -> i32 {
    stages::whole::<true>(&ctx, Hook::UplinkOut)
}

/// The second stage of [`lb_workload_in`].
#[classifier]
#[inline(always)]
fn lb_pod_in_all(ctx: TcContext) -> i32 {
    stages::whole::<true>(&ctx, Hook::WorkloadIn)
}

/// The second stage of [`lb_workload_out`].
#[classifier]
#[inline(always)]
fn lb_pod_out_all(ctx: TcContext) -> i32 {
    stages::whole::<true>(&ctx, Hook::WorkloadOut)
}

/// The third stage of [`lb_uplink_in`].
#[classifier]
#[inline(always)]
fn lb_uplink_begin(ctx: TcContext) -> i32 {
    stages::begin::<true>(&ctx, Hook::UplinkIn)
}

/// The third stage of [`lb_workload_in`].
#[classifier]
#[inline(always)]
fn lb_pod_begin(ctx: TcContext) -> i32 {
    stages::begin::<true>(&ctx, Hook::WorkloadIn)
}

/// The second stage of [`lb_uplink_out`] for what a socket of this node sends.
#[classifier]
#[inline(always)]
fn lb_host_out_all(ctx: TcContext) -> i32 {
    stages::whole::<true>(&ctx, Hook::HostOut)
}

/// The third stage of the same.
#[classifier]
#[inline(always)]
fn lb_host_begin(ctx: TcContext) -> i32 {
    stages::begin::<true>(&ctx, Hook::HostOut)
}

/// ICMP at TC, for all hooks.
#[classifier]
#[inline(always)]
fn lb_errors(ctx: TcContext) -> i32 {
    stages::errors::<true>(&ctx)
}

/// Holds a fragment that came before its packet's first one, for all hooks.
#[classifier]
#[inline(always)]
fn lb_hold(ctx: TcContext) -> i32 {
    stages::hold::<true>(&ctx)
}

/// Lets those go that waited for this one, for all hooks.
#[classifier]
#[inline(always)]
fn lb_release(ctx: TcContext) -> i32 {
    stages::release::<true>(&ctx)
}

/// The last stage at TC: answers to the senders of what is dropped.
#[classifier]
#[inline(always)]
fn lb_answer(ctx: TcContext) -> i32 {
    stages::answer::<true>(&ctx)
}

/// Amends the checksum of SCTP and carries out what the stage before found.
#[classifier]
#[inline(always)]
fn lb_sctp(ctx: TcContext) -> i32 {
    stages::sctp::<true>(&ctx)
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
