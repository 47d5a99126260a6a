//! Writing a packet's new headers, from the outside in: the transport header goes last, because
//! fixing its checksum may move the packet's memory.

use super::{
    Family, Fate, FlowRef,
    family::{IpChange, Part},
    parse::Parsed,
};
use crate::{
    hook::Hook,
    packet::{L4Change, Packet},
    tables::Emit,
    verdict::DropReason,
};

/// Writes what the flow says into the packet.
#[inline(always)]
pub fn rewrite<A: Family, P: Packet>(
    packet: &mut P,
    hook: Hook,
    parsed: &Parsed<A>,
    flow: FlowRef<A>,
    fate: Fate,
) -> Result<(), DropReason> {
    link(packet, hook, flow, fate)?;
    let address_delta = flow.address_delta();
    A::write(
        packet,
        IpChange {
            source: flow.source(),
            destination: flow.destination(),
            delta: address_delta,
            forwarded: !matches!(fate, Fate::STACK | Fate::SWITCH | Fate::INJECT),
        },
    )?;
    if parsed.part == Part::LATER {
        return Ok(());
    }
    packet.change_l4(
        parsed.l4_at,
        parsed.l4,
        L4Change {
            source: flow.source_port(),
            destination: flow.destination_port(),
            addresses: address_delta,
            is_ipv6: A::VERSION == 6,
            ports: flow.port_delta(),
            length: if parsed.part == Part::WHOLE { parsed.l4_len } else { 0 },
        },
    )
}

/// Writes the link-layer addresses of a packet that is sent on.
#[inline(always)]
pub fn link<A: Family, P: Packet>(
    packet: &mut P,
    hook: Hook,
    flow: FlowRef<A>,
    fate: Fate,
) -> Result<(), DropReason> {
    if !matches!(fate, Fate::TRANSMIT | Fate::SWITCH | Fate::INJECT) {
        return Ok(());
    }
    let old = packet.macs().ok_or(DropReason::Unwritable)?;
    let new = flow.egress().macs;
    let macs = match fate {
        // Who sent it, a bridge knows by its port.
        Fate::SWITCH => old.with_destination_of(new),
        _ if hook == Hook::WorkloadIn && flow.emits(Emit::Turn) => old.swapped(),
        _ => new,
    };
    packet.set_macs(macs).ok_or(DropReason::Unwritable)
}
