//! A packet's whole way, the same at every hook and in both families:
//!
//! ```text
//! parse → ours? → flow lookup ─ hit ──────────────────────→ way out → rewrite → verdict
//!                             └ miss → frontend → choose → begin ┘
//! ```
//!
//! The files are named after these steps. Everything here is generic over the [`Packet`] and the
//! [`Tables`]; the entry points of lb-ebpf and the tests call [`run`]. Nothing here knows what a
//! verdict means to XDP or TC.

mod affinity;
mod begin;
mod choose;
mod family;
mod fate;
mod flow;
mod graduate;
mod ours;
mod parse;
mod rewrite;
mod services;
mod tables;
mod way_out;

pub use family::Family;
pub use flow::{FlowRef, Generation};
pub use services::ServiceTables;
pub use tables::{Claim, FamilyTables, Route, RouteQuery, Tables};

use crate::{
    addr::{Ipv4, Ipv6},
    hook::Hook,
    packet::Packet,
    tables::FlowKey,
    verdict::{DropReason, PassReason, Verdict},
    wire::{EtherType, Ethernet},
};
use fate::{Fate, Interface};
use flow::Judgement;
use parse::Parsed;

/// Processes a packet and counts what became of it. `now` is in jiffies.
#[inline(always)]
pub fn run<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    hook: Hook,
    now: u32,
) -> Result<Verdict, DropReason> {
    let mut interface = Interface::none();
    let outcome = process(packet, tables, hook, now, &mut interface);
    tables.count(match outcome {
        Ok(fate) => fate.counter(),
        Err(reason) => reason as u32,
    });
    Ok(outcome?.verdict(&interface))
}

/// Processes a packet.
#[inline(always)]
fn process<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    hook: Hook,
    now: u32,
    interface: &mut Interface,
) -> Result<Fate, DropReason> {
    let Some(ethernet) = packet.header::<Ethernet>(0) else {
        return Ok(Fate::Pass(PassReason::NotIp));
    };
    match ethernet.ether_type() {
        EtherType::IPV4 => translate::<Ipv4, P, T>(packet, tables, hook, now, interface),
        EtherType::IPV6 => translate::<Ipv6, P, T>(packet, tables, hook, now, interface),
        _ => Ok(Fate::Pass(PassReason::NotIp)),
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
    let parsed: Parsed<A> = match parse::parse(packet) {
        Ok(parsed) => parsed,
        Err(reason) => return Ok(Fate::Pass(reason)),
    };
    if !ours::may_be_ours(tables, hook, &parsed) {
        return ours::leave(tables, hook, &parsed);
    }
    let key = FlowKey::new(hook, parsed.l4, parsed.source(), parsed.destination());
    let flow = match flow::find(tables, hook, &parsed, &key)? {
        Judgement::Goes(flow) => flow,
        Judgement::Over if !P::COMPLETE => return Ok(Fate::Pass(PassReason::Declined)),
        judgement => {
            let (client, _) = parsed.source();
            if !hook.faces_clients() || !client.is_routable_source() {
                return Ok(Fate::Pass(PassReason::NotOurs));
            }
            let Some(choice) = choose::choose(tables, hook, now, &parsed)? else {
                return ours::leave(tables, hook, &parsed);
            };
            if let Judgement::Over = judgement {
                flow::forget(tables, hook, &key);
            }
            match begin::begin(packet, tables, hook, now, &parsed, &key, &choice)? {
                Some(flow) => {
                    affinity::remember(tables, now, client, &choice);
                    flow
                }
                None => return Ok(Fate::Pass(PassReason::Declined)),
            }
        }
    };
    carry_out(packet, tables, hook, now, &parsed, &key, flow, interface)
}

/// Does to a packet what its flow says.
#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "a step of one function; bundled, they would be memory"
)]
fn carry_out<A: Family, P: Packet, T: Tables + FamilyTables<A>>(
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
    let Some(fate) = way_out::way_out(packet, tables, parsed, flow, now, due, interface)? else {
        return Ok(Fate::Pass(PassReason::Declined));
    };
    if due {
        flow.touch(now);
    }
    tables.count_service(flow.service(), packet.len());
    rewrite::rewrite(packet, parsed, flow, fate)?;
    // Last, because a flow that graduates leaves the entry that the handle points to.
    flow::note(tables, hook, parsed, key, flow);
    Ok(fate)
}
