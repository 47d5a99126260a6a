//! A packet's whole way, the same at every hook and in both families:
//!
//! ```text
//! parse → ours? → flow lookup ─ hit ──────────────────────→ way out → rewrite → verdict
//!                             └ miss → frontend → choose → begin ┘
//! ```
//!
//! It has stages, because hits must be short and everything together is long. [`first`] is the upper
//! line for established flows and ordinary headers. What it can't decide goes to [`whole`], which is
//! the upper line for all, and from there to [`open`], which begins; what a socket of this node sends goes on at
//! [`Hook::HostOut`]; ICMP is for [`errors`]; fragments out of order are for [`hold`] and [`release`]; what is
//! dropped and deserves an answer goes to [`answer`]. In the kernel each is a program, and the next one is
//! reached by a tail call; [`run`] goes through them in one call.
//!
//! The files are named after the steps. Everything here is generic over the [`Packet`] and the
//! [`Tables`]. Nothing here knows what a verdict means to XDP or TC.

pub(crate) mod affinity;
mod answer;
mod begin;
pub(crate) mod choose;
mod errors;
mod family;
mod fate;
mod flow;
mod graduate;
mod hold;
mod ours;
mod parse;
pub(crate) mod pick;
mod rewrite;
mod run;
mod services;
mod tables;
mod told;
mod way_out;

pub use answer::{Bucket, answer};
pub use errors::errors;
pub use family::Family;
pub use flow::{FlowRef, Generation, reverse_hook};
pub use hold::{hold, release};
pub use run::run;
pub use services::ServiceTables;
pub use tables::{Claim, FamilyTables, Route, RouteQuery, Tables};

use crate::{
    addr::{Ipv4, Ipv6},
    hook::Hook,
    packet::Packet,
    tables::{FlowKey, FrontendKey},
    verdict::{DropReason, Event, PassReason, Verdict},
    wire::{EtherType, TcpFlags},
};
use affinity::Client;
use begin::Begun;
use choose::Before;
use family::Part;
use fate::{Fate, Interface};
use flow::Judgement;
use parse::{Parsed, Unparsed};

/// A stage: the same step for both families, and what became of the packet counted, unless that is for
/// a later one to say.
macro_rules! stage {
    ($(#[$doc:meta])* $name:ident: $step:ident) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<P: Packet, T: Tables>(
            packet: &mut P,
            tables: &T,
            hook: Hook,
            now: u32,
        ) -> Result<Verdict, DropReason> {
            let mut interface = Interface::none();
            let outcome = match ether_type(packet) {
                Some(EtherType::IPV4) => {
                    $step::<Ipv4, P, T>(packet, tables, hook, now, &mut interface)
                }
                Some(EtherType::IPV6) => {
                    $step::<Ipv6, P, T>(packet, tables, hook, now, &mut interface)
                }
                _ => Ok(Fate::pass(PassReason::NotIp)),
            };
            conclude::<P, T>(tables, outcome, &interface)
        }
    };
}

stage! {
    /// The first stage: established flows with ordinary headers, and what is none of ours.
    first: hit
}
stage! {
    /// The second stage: all flows, and all headers.
    whole: translate
}
stage! {
    /// The third stage: begins a flow.
    open: begin_flow
}

#[inline(always)]
fn ether_type<P: Packet>(packet: &P) -> Option<EtherType> {
    if packet.is_tagged() {
        // Another network: that of the VLAN's own device, where it is seen too.
        return None;
    }
    packet.ether_type()
}

/// Counts an outcome. Where not every packet can be finished, those that deserve an answer are left
/// to the hook that can give it.
#[inline(always)]
fn conclude<P: Packet, T: Tables>(
    tables: &T,
    outcome: Result<Fate, DropReason>,
    interface: &Interface,
) -> Result<Verdict, DropReason> {
    let outcome = match outcome {
        Err(reason) if !P::COMPLETE && reason.notice().is_some() => {
            Ok(Fate::pass(PassReason::Declined))
        }
        outcome => outcome,
    };
    match outcome {
        Ok(fate) => {
            if let Some(stage) = fate.stage() {
                return Ok(Verdict::Later(stage));
            }
            tables.count(fate.counter());
        }
        Err(reason) => tables.count(reason as u32),
    }
    Ok(outcome?.verdict(interface))
}

/// Translates a packet of an established flow.
#[inline(always)]
fn hit<A: Family, P: Packet, T: Tables + FamilyTables<A>>(
    packet: &mut P,
    tables: &T,
    hook: Hook,
    now: u32,
    interface: &mut Interface,
) -> Result<Fate, DropReason> {
    let parsed: Parsed<A> = match parse::ordinary(packet) {
        Ok(parsed) => parsed,
        Err(Unparsed::Pass(reason)) => return Ok(Fate::pass(reason)),
        Err(Unparsed::Odd) if P::COMPLETE => return Ok(Fate::LATER_WHOLE),
        Err(Unparsed::Icmp) if P::COMPLETE => return Ok(Fate::LATER_ERRORS),
        Err(Unparsed::Odd | Unparsed::Icmp | Unparsed::Alone) => {
            return Ok(Fate::pass(PassReason::Declined));
        }
    };
    if !ours::may_be_ours(tables, hook, &parsed) {
        let owned = ours::may_be_owned(tables, hook, &parsed);
        let otherwise = ours::pass(packet, tables, hook, &parsed);
        return Ok(if owned { Fate::LATER_WHOLE } else { otherwise });
    }
    let key = FlowKey::new(hook, parsed.l4, parsed.source(), parsed.destination());
    match tables.find_established(&key) {
        Some(flow) if flow::simply_goes(tables, &parsed, flow) => {
            match carry_out::<false, A, P, T>(
                packet, tables, hook, now, &parsed, &key, flow, interface,
            ) {
                // Perhaps half of it is written.
                Err(DropReason::Unwritable) => Err(DropReason::Unwritable),
                // The next stage finds the same, and has the room to tell it.
                Err(_) => Ok(Fate::LATER_WHOLE),
                fate => fate,
            }
        }
        _ => Ok(Fate::LATER_WHOLE),
    }
}

/// Translates a packet of one family, if it is a service's.
#[inline(always)]
fn translate<A: Family, P: Packet, T: Tables + FamilyTables<A>>(
    packet: &mut P,
    tables: &T,
    hook: Hook,
    now: u32,
    interface: &mut Interface,
) -> Result<Fate, DropReason> {
    let parsed: Parsed<A> = match parse(packet, tables, hook, now) {
        Ok(parsed) => parsed,
        Err(Unparsed::Pass(reason)) => return Ok(Fate::pass(reason)),
        // Of a packet of this node's own the first fragment was seen as a client's.
        Err(Unparsed::Alone) if hook == Hook::UplinkOut && packet.is_own() => {
            return Ok(Fate::LATER_HOST);
        }
        Err(Unparsed::Alone) => return ours::leave_fragment::<A, P, T>(packet, tables, hook),
        Err(Unparsed::Odd | Unparsed::Icmp) => {
            return Ok(Fate::pass(PassReason::Protocol));
        }
    };
    let key = FlowKey::new(hook, parsed.l4, parsed.source(), parsed.destination());
    let fate = follow(packet, tables, hook, now, &parsed, &key, interface);
    told::outcome(packet, tables, &key, fate, false);
    fate
}

/// Translates a packet whose headers are read, if it is a flow's.
#[inline(always)]
fn follow<A: Family, P: Packet, T: Tables + FamilyTables<A>>(
    packet: &mut P,
    tables: &T,
    hook: Hook,
    now: u32,
    parsed: &Parsed<A>,
    key: &FlowKey<A>,
    interface: &mut Interface,
) -> Result<Fate, DropReason> {
    if !ours::may_be_ours(tables, hook, parsed) {
        return ours::leave(packet, tables, hook, parsed);
    }
    let mut found = None;
    let judgement = flow::find(tables, hook, parsed, now, key, &mut found)?;
    let farewell = judgement == Judgement::Farewell;
    if judgement != Judgement::Goes && !(farewell && P::COMPLETE) {
        if !P::COMPLETE && judgement != Judgement::None {
            return Ok(Fate::pass(PassReason::Declined));
        }
        let ((client, _), (address, port)) = (parsed.source(), parsed.destination());
        if !hook.faces_clients() || !client.is_routable_source() {
            return Ok(ours::pass(packet, tables, hook, parsed));
        }
        let frontend = FrontendKey::new(address, port, parsed.l4.protocol());
        if tables.frontend(&frontend).is_none() {
            return ours::leave(packet, tables, hook, parsed);
        }
        return Ok(Fate::LATER_BEGIN);
    }
    let Some(flow) = found else {
        return Ok(Fate::pass(PassReason::Declined));
    };
    if others_wait::<A, P, T>(tables, hook, now, parsed) {
        return Ok(Fate::LATER_RELEASE);
    }
    let fate = carry_out::<true, A, P, T>(packet, tables, hook, now, parsed, key, flow, interface)?;
    if P::COMPLETE && farewell {
        flow.note_told();
        packet.change_tcp_flags(parsed.l4_at, TcpFlags(TcpFlags::RST | TcpFlags::ACK))?;
        tables.count(Event::ClientTold as u32);
    }
    Ok(fate)
}

/// Begins a flow for a packet that is a service's and has none, or none that goes on.
#[inline(always)]
fn begin_flow<A: Family, P: Packet, T: Tables + FamilyTables<A>>(
    packet: &mut P,
    tables: &T,
    hook: Hook,
    now: u32,
    interface: &mut Interface,
) -> Result<Fate, DropReason> {
    // That it is parsed is known: the stage before did.
    let Ok(parsed) = parse::<A, P, T>(packet, tables, hook, now) else {
        return Ok(Fate::pass(PassReason::Declined));
    };
    let key = FlowKey::new(hook, parsed.l4, parsed.source(), parsed.destination());
    let mut has_begun = false;
    let fate = begin_parsed(packet, tables, hook, now, &parsed, &key, interface, &mut has_begun);
    told::outcome(packet, tables, &key, fate, has_begun);
    fate
}

/// Begins a flow for a packet whose headers are read.
#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "a step of one function; bundled, they would be memory"
)]
fn begin_parsed<A: Family, P: Packet, T: Tables + FamilyTables<A>>(
    packet: &mut P,
    tables: &T,
    hook: Hook,
    now: u32,
    parsed: &Parsed<A>,
    key: &FlowKey<A>,
    interface: &mut Interface,
    has_begun: &mut bool,
) -> Result<Fate, DropReason> {
    let mut found = None;
    let judgement = flow::find(tables, hook, parsed, now, key, &mut found)?;
    let before = match (judgement, found) {
        // Another CPU has begun it meanwhile.
        (Judgement::Goes | Judgement::Farewell, _) => return Ok(Fate::LATER_WHOLE),
        (Judgement::Unanswered, Some(flow)) => {
            Before { backend: flow.backend(), attempt: flow.packets() + 1 }
        }
        _ => Before::none(),
    };
    let Some(mut choice) = choose::choose(tables, hook, now, parsed, before)? else {
        return ours::leave(packet, tables, hook, parsed);
    };
    if before.attempt != 0 {
        if choice.backend == before.backend {
            // There is no other: it is asked again, and nobody looks for one any more.
            if let Some(flow) = found {
                flow.give_up_trying();
            }
            return Ok(Fate::LATER_WHOLE);
        }
        tables.count_unanswered(before.backend.id);
        tables.count(Event::AnotherTried as u32);
        told::unanswered(packet, tables, key, choice.service, before.backend);
    }
    if judgement != Judgement::None {
        flow::forget(tables, hook, key);
    }
    let mut begun = None;
    let outcome = begin::begin(packet, tables, hook, now, parsed, key, &mut choice, &mut begun);
    pick::pass_turn::<A, P, T>(tables, &choice, outcome, begun.is_some());
    outcome?;
    let (client, _) = parsed.source();
    match begun {
        Some(Begun::Fresh(flow)) => {
            affinity::remember(tables, now, Client::at(client), &choice);
            *has_begun = true;
            if others_wait::<A, P, T>(tables, hook, now, parsed) {
                return Ok(Fate::LATER_RELEASE);
            }
            carry_out::<true, A, P, T>(packet, tables, hook, now, parsed, key, flow, interface)
        }
        Some(Begun::Elsewhere) => Ok(Fate::LATER_WHOLE),
        None => Ok(Fate::pass(PassReason::Declined)),
    }
}

/// Remembers the ports of a first fragment, and says whether others came before it and wait. They do where
/// packets come in.
#[inline(always)]
fn others_wait<A: Family, P: Packet, T: Tables + FamilyTables<A>>(
    tables: &T,
    hook: Hook,
    now: u32,
    parsed: &Parsed<A>,
) -> bool {
    parse::remember_first(tables, hook, now, parsed) && P::COMPLETE && !hook.leaves()
}

/// Reads the headers as far as this hook goes.
#[inline(always)]
fn parse<A: Family, P: Packet, T: Tables + FamilyTables<A>>(
    packet: &P,
    tables: &T,
    hook: Hook,
    now: u32,
) -> Result<Parsed<A>, Unparsed> {
    if P::COMPLETE { parse::whole(packet, tables, hook, now) } else { parse::ordinary(packet) }
}

/// Does to a packet what its flow says. `LATER`: in a later stage than the first, where there is time to
/// spare the verifier work.
#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "a step of one function; bundled, they would be memory"
)]
fn carry_out<const LATER: bool, A: Family, P: Packet, T: Tables + FamilyTables<A>>(
    packet: &mut P,
    tables: &T,
    hook: Hook,
    now: u32,
    parsed: &Parsed<A>,
    key: &FlowKey<A>,
    flow: FlowRef<A>,
    interface: &mut Interface,
) -> Result<Fate, DropReason> {
    let due = now.wrapping_sub(flow.last_seen()) >= tables.touch_interval();
    let Some(fate) = way_out::way_out(packet, tables, hook, parsed, flow, now, due, interface)?
    else {
        return Ok(Fate::pass(PassReason::Declined));
    };
    if due {
        flow.touch(now);
    }
    let fate = if LATER { fate.settled(packet, interface) } else { fate };
    tables.count_packet(flow.backend().id, parsed.frame_len(packet));
    rewrite::rewrite(packet, hook, parsed, flow, fate)?;
    // Last, because a flow that graduates leaves the entry that the handle points to. What was said is
    // said by first fragments. In the first stage nothing is to be noted.
    if LATER && parsed.part != Part::LATER {
        flow::note(tables, hook, parsed, key, flow);
    }
    Ok(fate)
}
