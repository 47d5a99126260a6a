//! What the programs at TC do, whichever hook they are for. `LINK`: packets begin with a link header, as on
//! all devices but bare ones.

use aya_ebpf::{EbpfContext as _, maps::ProgramArray, programs::TcContext};
use lb_common::{
    hook::Hook,
    pipeline::{self, Tables as _},
    verdict::{DropReason, Stage, Verdict},
};

use crate::{
    actions,
    maps::{STAGES, STAGES_BARE},
    note::Note,
    now,
    packet::SkbPacket,
    tables::Kernel,
};

/// The first stage.
#[inline(always)]
pub fn first<const LINK: bool>(ctx: &TcContext, hook: Hook) -> i32 {
    let tables = Kernel::at(ctx.as_ptr());
    let mut packet = SkbPacket::<LINK>::new(ctx);
    let outcome = pipeline::first(&mut packet, &tables, hook, now());
    conclude(ctx, &mut packet, hook, outcome)
}

/// The second.
#[inline(always)]
pub fn whole<const LINK: bool>(ctx: &TcContext, hook: Hook) -> i32 {
    let mut packet = SkbPacket::<LINK>::with_all_headers(ctx);
    packet.note(Note::Mtu, 0);
    let outcome = pipeline::whole(&mut packet, &Kernel::at(ctx.as_ptr()), hook, now());
    conclude_any(ctx, &mut packet, hook, outcome)
}

/// The third.
#[inline(always)]
pub fn begin<const LINK: bool>(ctx: &TcContext, hook: Hook) -> i32 {
    let mut packet = SkbPacket::<LINK>::with_all_headers(ctx);
    packet.note(Note::Mtu, 0);
    let outcome = pipeline::open(&mut packet, &Kernel::at(ctx.as_ptr()), hook, now());
    conclude_any(ctx, &mut packet, hook, outcome)
}

/// The same where the packet may be SCTP, whose checksum is another stage's.
#[inline(always)]
fn conclude_any<const LINK: bool>(
    ctx: &TcContext,
    packet: &mut SkbPacket<'_, LINK>,
    hook: Hook,
    outcome: Result<Verdict, DropReason>,
) -> i32 {
    if let Ok(verdict) = outcome
        && packet.noted(Note::Mtu) != 0
    {
        // With a link header it is like any other.
        let is_linked = !LINK && verdict.is_sent_on();
        if is_linked && let Err(reason) = packet.put_link(verdict) {
            return actions::classifier(packet, hook, Err(reason));
        }
        // First numbers, then stores: else each way has its own pointer to the word, which the verifier refuses
        // ("dereference of modified ctx ptr", 6.18).
        packet.note(Note::Reason, core::hint::black_box(verdict.counter()));
        packet.note(Note::Third, core::hint::black_box(verdict.ifindex()));
        if is_linked {
            return go_on(ctx, packet, &STAGES, hook, Stage::Sctp);
        }
        return go_on(ctx, packet, stages::<LINK>(), hook, Stage::Sctp);
    }
    conclude(ctx, packet, hook, outcome)
}

/// Carries an outcome out, or goes on to the stage that does.
#[inline(always)]
fn conclude<const LINK: bool>(
    ctx: &TcContext,
    packet: &mut SkbPacket<'_, LINK>,
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
    go_on(ctx, packet, stages::<LINK>(), hook, stage)
}

/// Where the later stages are.
#[inline(always)]
fn stages<const LINK: bool>() -> &'static ProgramArray {
    if LINK { &STAGES } else { &STAGES_BARE }
}

/// Goes on to another stage.
#[inline(always)]
fn go_on<const LINK: bool>(
    ctx: &TcContext,
    packet: &mut SkbPacket<'_, LINK>,
    stages: &ProgramArray,
    hook: Hook,
    stage: Stage,
) -> i32 {
    packet.note(Note::Hook, hook as u32);
    // SAFETY: nothing here is to be dropped.
    unsafe { stages.tail_call(ctx, stage.place(hook)) };
    Kernel::at(ctx.as_ptr()).count(DropReason::NoStage as u32);
    actions::classifier(packet, hook, Err(DropReason::NoStage))
}

/// ICMP, for all hooks.
#[inline(always)]
pub fn errors<const LINK: bool>(ctx: &TcContext) -> i32 {
    let mut packet = SkbPacket::<LINK>::with_all_headers(ctx);
    let Some(hook) = Hook::from_role(packet.noted(Note::Hook) as u8) else {
        return actions::classifier(&mut packet, Hook::UplinkIn, Err(DropReason::NoStage));
    };
    let outcome = pipeline::errors(&mut packet, &Kernel::at(ctx.as_ptr()), hook, now());
    actions::classifier(&mut packet, hook, outcome)
}

/// The last stage: answers to the senders of what is dropped.
#[inline(always)]
pub fn answer<const LINK: bool>(ctx: &TcContext) -> i32 {
    let mut packet = SkbPacket::<LINK>::with_all_headers(ctx);
    let hook = Hook::from_role(packet.noted(Note::Hook) as u8);
    let reason = DropReason::told(packet.noted(Note::Reason));
    let (Some(hook), Some(reason)) = (hook, reason) else {
        return actions::classifier(&mut packet, Hook::UplinkIn, Err(DropReason::NoStage));
    };
    let outcome = pipeline::answer(&mut packet, &Kernel::at(ctx.as_ptr()), hook, now(), reason);
    actions::classifier(&mut packet, hook, outcome)
}

/// Amends the checksum of SCTP and carries out what the stage before found.
#[inline(always)]
pub fn sctp<const LINK: bool>(ctx: &TcContext) -> i32 {
    let mut packet = SkbPacket::<LINK>::again(ctx);
    let (counter, ifindex) = (packet.noted(Note::Reason), packet.noted(Note::Third));
    let hook = Hook::from_role(packet.noted(Note::Hook) as u8).unwrap_or(Hook::UplinkIn);
    let outcome = packet
        .amend()
        .and_then(|()| Verdict::translated(counter, ifindex).ok_or(DropReason::NoStage));
    if let Err(reason) = outcome {
        Kernel::at(ctx.as_ptr()).count(reason as u32);
    }
    actions::classifier(&mut packet, hook, outcome)
}

/// Holds a fragment that came before its packet's first one.
#[inline(always)]
pub fn hold<const LINK: bool>(ctx: &TcContext) -> i32 {
    let mut packet = SkbPacket::<LINK>::with_all_headers(ctx);
    let Some(hook) = Hook::from_role(packet.noted(Note::Hook) as u8) else {
        return actions::classifier(&mut packet, Hook::UplinkIn, Err(DropReason::NoStage));
    };
    let outcome = pipeline::hold(&mut packet, &Kernel::at(ctx.as_ptr()), hook, now());
    conclude(ctx, &mut packet, hook, outcome)
}

/// Lets those go that waited for this one.
#[inline(always)]
pub fn release<const LINK: bool>(ctx: &TcContext) -> i32 {
    let mut packet = SkbPacket::<LINK>::with_all_headers(ctx);
    let Some(hook) = Hook::from_role(packet.noted(Note::Hook) as u8) else {
        return actions::classifier(&mut packet, Hook::UplinkIn, Err(DropReason::NoStage));
    };
    let outcome = pipeline::release(&mut packet, &Kernel::at(ctx.as_ptr()), hook, now());
    actions::classifier(&mut packet, hook, outcome)
}
