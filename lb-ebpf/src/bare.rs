//! The programs for bare devices: uplinks without link layer (tun, wireguard, ipip), on which packets begin with
//! their IP header. The same stages; loaded only where there is such a device.

use aya_ebpf::{macros::classifier, programs::TcContext};
use lb_common::hook::Hook;

use crate::stages;

/// Ingress.
#[classifier]
#[inline(always)]
fn lb_bare_in(ctx: TcContext) -> i32 {
    stages::first::<false>(&ctx, Hook::UplinkIn)
}

/// Egress.
#[classifier]
#[inline(always)]
fn lb_bare_out(ctx: TcContext) -> i32 {
    stages::first::<false>(&ctx, Hook::UplinkOut)
}

/// The second stage of [`lb_bare_in`].
#[classifier]
#[inline(always)]
fn lb_bare_in_all(ctx: TcContext) -> i32 {
    stages::whole::<false>(&ctx, Hook::UplinkIn)
}

/// The second stage of [`lb_bare_out`].
#[classifier]
#[inline(always)]
fn lb_bare_out_all(ctx: TcContext) -> i32 {
    stages::whole::<false>(&ctx, Hook::UplinkOut)
}

/// The third stage of [`lb_bare_in`].
#[classifier]
#[inline(always)]
fn lb_bare_begin(ctx: TcContext) -> i32 {
    stages::begin::<false>(&ctx, Hook::UplinkIn)
}

/// The second stage of [`lb_bare_out`] for what a socket of this node sends.
#[classifier]
#[inline(always)]
fn lb_bare_own_all(ctx: TcContext) -> i32 {
    stages::whole::<false>(&ctx, Hook::HostOut)
}

/// The third stage of the same.
#[classifier]
#[inline(always)]
fn lb_bare_own_beg(ctx: TcContext) -> i32 {
    stages::begin::<false>(&ctx, Hook::HostOut)
}

/// ICMP, for both hooks.
#[classifier]
#[inline(always)]
fn lb_bare_errors(ctx: TcContext) -> i32 {
    stages::errors::<false>(&ctx)
}

/// Answers to the senders of what is dropped.
#[classifier]
#[inline(always)]
fn lb_bare_answer(ctx: TcContext) -> i32 {
    stages::answer::<false>(&ctx)
}

/// Amends the checksum of SCTP of packets that take the stack; others have a link header by then.
#[classifier]
#[inline(always)]
fn lb_bare_sctp(ctx: TcContext) -> i32 {
    stages::sctp::<false>(&ctx)
}

/// Holds a fragment that came before its packet's first one.
#[classifier]
#[inline(always)]
fn lb_bare_hold(ctx: TcContext) -> i32 {
    stages::hold::<false>(&ctx)
}

/// Lets those go that waited for this one.
#[classifier]
#[inline(always)]
fn lb_bare_release(ctx: TcContext) -> i32 {
    stages::release::<false>(&ctx)
}
