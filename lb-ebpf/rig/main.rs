//! The rig of the benchmarks: programs that make frames, count them, or stand for what is compared
//! with. Never part of `lb`; loaded by `cargo xtask bench` and its tests only.
//!
//! - `generate` makes live frames. `count` is a sink. `reflect` answers. `redirect` is the least that
//!   a program which sends on must do.
//! - `harness_xdp` and `harness_tc` write a fresh frame and go over to the program that is measured, so
//!   that each repetition of a test run sees a packet that nothing has changed yet.
//! - `nothing_…` is what is subtracted; `line_…` reads one line of an array, in the order of the flows.
#![no_std]
#![no_main]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "helpers take and give wider words than what is in them"
)]
#![expect(clippy::needless_pass_by_value, reason = "an entry point owns its context")]

mod frame;
mod plan;
mod sink;

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, TC_ACT_UNSPEC, xdp_action},
    helpers::generated::bpf_redirect,
    macros::{classifier, map, xdp},
    maps::{Array, PerCpuArray, ProgramArray},
    programs::{TcContext, XdpContext},
};

use plan::{CHECKS, Check, Plan, Progress, Seen};

/// The frames to make.
#[map]
pub static PLAN: Array<Plan> = Array::with_max_entries(1, 0);

/// How far that has come.
#[map]
pub static PROGRESS: Array<Progress> = Array::with_max_entries(1, 0);

/// The program that the harness at XDP goes over to.
#[map]
pub static MEASURED_XDP: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// The program that the harness at TC goes over to.
#[map]
pub static MEASURED_TC: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Lines of an array, 64 bytes each; a power of two of them.
#[map]
pub static LINES: Array<[u64; 8]> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What a sink expects.
#[map]
pub static CHECKED: Array<Check> = Array::with_max_entries(CHECKS as u32, 0);

/// What sinks have seen: `count` in the first element, `reflect` in the second.
#[map]
pub static SEEN: PerCpuArray<Seen> = PerCpuArray::with_max_entries(2, 0);

/// Where `redirect` sends to: an interface.
#[map]
pub static TARGET: Array<u32> = Array::with_max_entries(1, 0);

/// What a harness answers when it can't do its part; no program that is measured does.
const REFUSED: u32 = 99;

/// Makes a frame and sends it out of the interface that the test run names.
#[xdp]
fn generate(ctx: XdpContext) -> u32 {
    match frame::write(&ctx) {
        Some(()) => xdp_action::XDP_TX,
        None => xdp_action::XDP_ABORTED,
    }
}

/// Counts what arrives and drops it.
#[xdp]
fn count(ctx: XdpContext) -> u32 {
    sink::count(&ctx, 0);
    xdp_action::XDP_DROP
}

/// Sends what arrives back, as an answer.
#[xdp]
fn reflect(ctx: XdpContext) -> u32 {
    sink::count(&ctx, 1);
    match sink::turn(&ctx) {
        // Not `XDP_TX`: a veth wakes its other end for that only if XDP runs there.
        // SAFETY: takes numbers only. Answers with the action.
        Some(()) => (unsafe { bpf_redirect(ctx.ingress_ifindex() as u32, 0) }) as u32,
        None => xdp_action::XDP_DROP,
    }
}

/// Sends on what arrives, as it is.
#[xdp]
fn redirect(_ctx: XdpContext) -> u32 {
    match TARGET.get(0) {
        // SAFETY: takes numbers only. Answers with the action.
        Some(interface) => (unsafe { bpf_redirect(*interface, 0) }) as u32,
        None => xdp_action::XDP_ABORTED,
    }
}

/// Hands everything to the kernel's stack.
#[xdp]
fn nothing_xdp(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// The same at TC.
#[classifier]
fn nothing_tc(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// A fresh frame for the measured program.
#[xdp]
fn harness_xdp(ctx: XdpContext) -> u32 {
    if frame::write(&ctx).is_some() {
        // Comes back only if there is no program.
        // SAFETY: changes nothing of ours.
        unsafe { MEASURED_XDP.tail_call(&ctx, 0) };
    }
    REFUSED
}

/// The same at TC.
#[classifier]
fn harness_tc(ctx: TcContext) -> i32 {
    if frame::write(&ctx).is_some() {
        // Comes back only if there is no program.
        // SAFETY: changes nothing of ours.
        unsafe { MEASURED_TC.tail_call(&ctx, 0) };
    }
    REFUSED as i32
}

/// Reads the flow's line.
#[xdp]
fn line_xdp(_ctx: XdpContext) -> u32 {
    read_line();
    xdp_action::XDP_PASS
}

/// The same at TC.
#[classifier]
fn line_tc(_ctx: TcContext) -> i32 {
    read_line();
    TC_ACT_UNSPEC
}

#[inline(always)]
fn read_line() {
    let Some(progress) = PROGRESS.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: a pointer into the map's memory, used by one processor at a time.
    let progress = unsafe { &mut *progress };
    if let Some(line) = LINES.get(progress.flow as u32) {
        progress.read = progress.read.wrapping_add(line[0]);
    }
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
