//! Where a packet's time goes: the programs of `lb` with one step left out of each, to be measured beside
//! the whole. Never part of `lb`; over its pinned maps, loaded by the benchmark `packet` only.
//!
//! The pipeline, maps and packets are those of `lb`; which steps there are is in `without`.
#![no_std]
#![no_main]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "helpers take and give wider words than what is in them: lengths, indices, actions"
)]
#![expect(clippy::needless_pass_by_value, reason = "an entry point owns its context")]

#[path = "../src/actions.rs"]
mod actions;
#[path = "../src/counted.rs"]
mod counted;
#[path = "../src/family.rs"]
mod family;
#[path = "../src/fib.rs"]
mod fib;
#[expect(dead_code, reason = "the steps are of the first stage")]
#[path = "../src/link.rs"]
mod link;
#[path = "../src/maps.rs"]
mod maps;
#[expect(dead_code, reason = "the steps are of the first stage")]
#[path = "../src/note.rs"]
mod note;
#[expect(dead_code, reason = "the steps are of the first stage")]
#[path = "../src/packet.rs"]
mod packet;
#[path = "../src/services.rs"]
mod services;
#[path = "../src/sockets.rs"]
mod sockets;
#[path = "../src/tables.rs"]
mod tables;
#[path = "steps_without.rs"]
mod without;
#[path = "../src/xdp.rs"]
mod xdp_packet;

use aya_ebpf::{
    EbpfContext as _,
    bindings::TC_ACT_REDIRECT,
    helpers::generated::bpf_jiffies64,
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use lb_common::{
    hook::Hook,
    pipeline,
    verdict::{DropReason, Verdict},
};

use crate::{
    packet::SkbPacket,
    tables::Kernel,
    without::{Step, Without},
    xdp_packet::XdpPacket,
};

macro_rules! at_xdp {
    ($($name:ident: $step:ident;)*) => {
        $(
            /// Uplinks, at XDP, without this step.
            #[xdp]
            fn $name(ctx: XdpContext) -> u32 {
                let outcome = process_xdp::<{ Step::$step }>(&ctx);
                actions::xdp(&ctx, outcome)
            }
        )*
    };
}

macro_rules! at_tc {
    ($($name:ident: $step:ident;)*) => {
        $(
            /// Uplinks, ingress at TC, without this step.
            #[classifier]
            fn $name(ctx: TcContext) -> i32 {
                conclude(&ctx, process_tc::<{ Step::$step }>(&ctx))
            }
        )*
    };
}

at_xdp! {
    xdp_whole: NONE;
    xdp_counter: COUNTER;
    xdp_traffic: TRAFFIC;
    xdp_backend: BACKEND;
    xdp_lookup: LOOKUP;
    xdp_l4: L4;
    xdp_rewrite: REWRITE;
    xdp_ports: PORTS;
    xdp_age: AGE;
    xdp_parse: ALL_BUT_PARSING;
}

at_tc! {
    tc_whole: NONE;
    tc_counter: COUNTER;
    tc_traffic: TRAFFIC;
    tc_backend: BACKEND;
    tc_lookup: LOOKUP;
    tc_l4: L4;
    tc_rewrite: REWRITE;
    tc_ports: PORTS;
    tc_age: AGE;
    tc_parse: ALL_BUT_PARSING;
}

/// At TC without the helper that sends a packet on. XDP needs none to send it back out of where it came in.
#[classifier]
fn tc_redirect(ctx: TcContext) -> i32 {
    match process_tc::<{ Step::NONE }>(&ctx) {
        Ok(Verdict::Transmit(_)) => TC_ACT_REDIRECT,
        outcome => conclude(&ctx, outcome),
    }
}

#[inline(always)]
fn conclude(ctx: &TcContext, outcome: Result<Verdict, DropReason>) -> i32 {
    actions::classifier(&mut SkbPacket::<true>::new(ctx), Hook::UplinkIn, outcome)
}

#[inline(always)]
fn process_xdp<const STEP: u32>(ctx: &XdpContext) -> Result<Verdict, DropReason> {
    let tables = Without::<_, STEP>::new(Kernel::at(ctx.as_ptr()));
    let mut packet = Without::<_, STEP>::new(XdpPacket::new(ctx));
    pipeline::first(&mut packet, &tables, Hook::UplinkIn, now::<STEP>())
}

#[inline(always)]
fn process_tc<const STEP: u32>(ctx: &TcContext) -> Result<Verdict, DropReason> {
    let tables = Without::<_, STEP>::new(Kernel::at(ctx.as_ptr()));
    let mut packet = Without::<_, STEP>::new(SkbPacket::<true>::new(ctx));
    pipeline::first(&mut packet, &tables, Hook::UplinkIn, now::<STEP>())
}

#[inline(always)]
fn now<const STEP: u32>() -> u32 {
    if STEP == Step::AGE {
        return 0;
    }
    // SAFETY: takes nothing, touches nothing.
    (unsafe { bpf_jiffies64() }) as u32
}

/// The licence that the kernel asks for.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Loops, so that the verifier refuses a program in which a panic can be reached.
#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
