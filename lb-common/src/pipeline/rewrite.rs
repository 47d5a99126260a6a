//! Writing a packet's new headers, from the outside in: the transport header goes last, because
//! fixing its checksum may move the packet's memory.

use super::{
    Family, Fate, FlowRef,
    family::{IpChange, Part},
    parse::Parsed,
};
use crate::{
    packet::{L4Change, Packet},
    tables::Emit,
    verdict::DropReason,
    wire::Ethernet,
};

/// Writes what the flow says into the packet.
#[inline(always)]
pub fn rewrite<A: Family, P: Packet>(
    packet: &mut P,
    parsed: &Parsed<A>,
    flow: FlowRef<A>,
    fate: Fate,
) -> Result<(), DropReason> {
    link(packet, flow, fate)?;
    let address_delta = flow.address_delta();
    A::write(
        packet,
        IpChange {
            source: flow.source(),
            destination: flow.destination(),
            delta: address_delta,
            forwarded: !matches!(fate, Fate::Stack),
        },
    )?;
    if let Part::Later = parsed.part {
        return Ok(());
    }
    packet.change_l4(
        parsed.l4_at,
        parsed.l4,
        L4Change {
            source: flow.source_port(),
            destination: flow.destination_port(),
            addresses: address_delta,
            ports: flow.port_delta(),
        },
    )
}

/// Writes the link-layer addresses of a packet that is sent on.
#[inline(always)]
pub fn link<A: Family, P: Packet>(
    packet: &mut P,
    flow: FlowRef<A>,
    fate: Fate,
) -> Result<(), DropReason> {
    if let Fate::Transmit = fate {
        let ethernet = packet.header_mut::<Ethernet>(0).ok_or(DropReason::Unwritable)?;
        let macs =
            if flow.emits(Emit::Turn) { ethernet.macs().swapped() } else { flow.egress().macs };
        ethernet.set_macs(macs);
    }
    Ok(())
}
