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
mod fib;
mod maps;
mod packet;
mod services;
mod tables;

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::bpf_jiffies64,
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use lb_common::{hook::Hook, pipeline};

use crate::{
    packet::{SkbPacket, XdpPacket},
    tables::Kernel,
};

/// Uplinks, before the kernel has made a socket buffer of the packet.
#[xdp]
#[inline(always)]
fn lb_xdp(ctx: XdpContext) -> u32 {
    let tables = Kernel::at(ctx.as_ptr());
    let mut packet = XdpPacket::new(&ctx);
    let outcome = pipeline::run(&mut packet, &tables, Hook::UplinkIn, now());
    actions::xdp(&ctx, outcome)
}

/// Uplinks, ingress.
#[classifier]
#[inline(always)]
fn lb_uplink_in(ctx: TcContext) -> i32 {
    classify(&ctx, Hook::UplinkIn)
}

/// Uplinks, egress.
#[classifier]
#[inline(always)]
fn lb_uplink_out(ctx: TcContext) -> i32 {
    classify(&ctx, Hook::UplinkOut)
}

/// Host's ends of pods' interfaces, ingress.
#[classifier]
#[inline(always)]
fn lb_workload_in(ctx: TcContext) -> i32 {
    classify(&ctx, Hook::WorkloadIn)
}

/// Host's ends of pods' interfaces, egress.
#[classifier]
#[inline(always)]
fn lb_workload_out(ctx: TcContext) -> i32 {
    classify(&ctx, Hook::WorkloadOut)
}

/// Never attached: returns the kernel's jiffies to the control program, which runs it to learn how
/// long one lasts and what time the flows' ages are told in.
#[classifier]
fn lb_clock(_ctx: TcContext) -> i32 {
    now().cast_signed()
}

#[inline(always)]
fn classify(ctx: &TcContext, hook: Hook) -> i32 {
    let tables = Kernel::at(ctx.as_ptr());
    let mut packet = SkbPacket::new(ctx);
    let outcome = pipeline::run(&mut packet, &tables, hook, now());
    actions::classifier(outcome)
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
