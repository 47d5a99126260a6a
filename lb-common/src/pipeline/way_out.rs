//! How a translated packet leaves: through the kernel's stack, or straight out of an interface.
//!
//! What leaves without the stack must do what the stack would have done: there is a next hop, the
//! packet fits, and it may still be forwarded.

use super::{
    Family, FamilyTables, Fate, FlowRef, Interface, Route, RouteQuery, Tables,
    begin::complete_egress, family::L3_AT, parse::Parsed,
};
use crate::{
    hook::Hook,
    packet::{BY_FRAGMENTS, Packet},
    tables::{Device, Egress, Emit, Neighbour},
    verdict::DropReason,
};

/// The verdict for a packet of a flow, or `None` if this hook can't send it. Nothing is written
/// but the flow's cached egress, and that only if the packet leaves by it.
///
/// `due`: the flow's age is to be renewed. Then a neighbour that was not asked for lately is: the packet
/// takes the kernel's neighbour table on its way, because nothing else would keep the entry alive.
#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "a step of one function; bundled, they would be memory"
)]
pub fn way_out<A: Family, P: Packet, T: Tables + FamilyTables<A>>(
    packet: &P,
    tables: &T,
    hook: Hook,
    parsed: &Parsed<A>,
    flow: FlowRef<A>,
    now: u32,
    due: bool,
    interface: &mut Interface,
) -> Result<Option<Fate>, DropReason> {
    if flow.emits(Emit::Stack) {
        return Ok(Some(Fate::STACK));
    }
    // Only pods' own packets are switched or turned around; said for the compiler, as elsewhere.
    let of_pod = hook == Hook::WorkloadIn;
    if of_pod && flow.emits(Emit::Switch) {
        return Ok(Some(switched(packet, tables, flow)));
    }
    if hook != Hook::HostOut && flow.emits(Emit::Inject) {
        let ifindex = flow.egress().ifindex;
        if ifindex == packet.ifindex() {
            // It came in there.
            return Ok(Some(Fate::STACK));
        }
        interface.set(ifindex);
        return Ok(P::COMPLETE.then_some(Fate::INJECT));
    }
    check_ttl(parsed)?;
    if of_pod && flow.emits(Emit::Turn) {
        interface.set(packet.ifindex());
        return Ok(Some(Fate::TRANSMIT));
    }
    let mut egress = flow.egress();
    let stale = egress.epoch != tables.epoch() || (due && egress.flags & Egress::NEIGHBOUR == 0);
    if stale {
        egress = refreshed(packet, tables, flow)?;
    }
    check_length(packet, parsed, &egress)?;
    let known = egress.flags & Egress::NEIGHBOUR != 0;
    let neighbour = Neighbour::of(&egress, A::VERSION);
    let asks = due
        && !neighbour.was_asked(tables.neighbour(neighbour.slot()), now, tables.touch_interval());
    interface.set(egress.ifindex);
    if !P::COMPLETE && (asks || !can_send(packet, parsed, &egress)) {
        return Ok(None);
    }
    if stale {
        flow.set_egress(egress);
    }
    if known && !asks {
        return Ok(Some(Fate::TRANSMIT));
    }
    if known {
        tables.set_neighbour(neighbour.slot(), neighbour.asked(now));
    }
    Ok(Some(Fate::RESOLVE))
}

/// The fate of a packet that its bridge is to switch: while the endpoint's link-layer address is not known
/// it takes the stack, which then asks for it.
#[inline(always)]
fn switched<A: Family, P: Packet, T: Tables + FamilyTables<A>>(
    packet: &P,
    tables: &T,
    flow: FlowRef<A>,
) -> Fate {
    let mut egress = flow.egress();
    if egress.epoch != tables.epoch() || egress.flags & Egress::NEIGHBOUR == 0 {
        let bridge = tables.device(packet.ifindex()).map_or(0, |port| port.bridge);
        match refreshed(packet, tables, flow) {
            Ok(found) if found.ifindex == bridge => egress = found,
            // It is no neighbour on this bridge any more.
            _ => return Fate::STACK,
        }
        flow.set_egress(egress);
    }
    if egress.flags & Egress::NEIGHBOUR == 0 { Fate::STACK } else { Fate::SWITCH }
}

/// Fails if the packet may not be forwarded any further.
#[inline(always)]
pub fn check_ttl<A: Family>(parsed: &Parsed<A>) -> Result<(), DropReason> {
    if parsed.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    Ok(())
}

/// Fails if the packet, or a segment that it will be cut into, doesn't fit the egress.
#[inline(always)]
pub fn check_length<A: Family, P: Packet>(
    packet: &P,
    parsed: &Parsed<A>,
    egress: &Egress,
) -> Result<(), DropReason> {
    if egress.mtu != 0 && l3_len(packet, parsed) > u32::from(egress.mtu) {
        packet.note_mtu(u32::from(egress.mtu));
        return Err(DropReason::TooBig);
    }
    Ok(())
}

/// Looks the egress of a flow up again.
#[inline(always)]
fn refreshed<A: Family, P: Packet, T: Tables + FamilyTables<A>>(
    packet: &P,
    tables: &T,
    flow: FlowRef<A>,
) -> Result<Egress, DropReason> {
    let mut egress = Egress::default();
    let query = RouteQuery {
        ifindex: packet.ifindex(),
        source: flow.source(),
        destination: flow.destination(),
    };
    match tables.route(&query, &mut egress) {
        Route::Via | Route::Unresolved => {}
        Route::ForwardingOff => return Err(DropReason::ForwardingOff),
        Route::Local | Route::None => return Err(DropReason::NoRoute),
    }
    let device = match tables.device(egress.ifindex) {
        Some(device) => device,
        // As where flows begin. Replies go wherever their clients are.
        None if flow.is_forward() && flow.emits(Emit::Transmit) => {
            return Err(DropReason::EgressUnmanaged);
        }
        None => Device::default(),
    };
    complete_egress(tables, &device, &mut egress);
    Ok(egress)
}

/// Whether XDP can send the packet out of there, to a neighbour that is known. In several buffers it is
/// sent back to where it came from only: that driver knows such packets, another one may lose them, and
/// nobody is told.
#[inline(always)]
pub fn can_send<A: Family, P: Packet>(packet: &P, parsed: &Parsed<A>, egress: &Egress) -> bool {
    let needed = Egress::NEIGHBOUR | Egress::XDP_TRANSMIT;
    egress.flags & needed == needed
        && (egress.ifindex == packet.ifindex() || !parsed.is_in_parts(packet))
}

/// Length of the packet from its IP header on, or of the longest segment that it will be cut into.
#[inline(always)]
fn l3_len<A: Family, P: Packet>(packet: &P, parsed: &Parsed<A>) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "offsets of headers")]
    let (l3_at, l4_at) = (L3_AT as u32, parsed.l4_at as u32);
    match packet.segment_payload() {
        0 => parsed.frame_len(packet).wrapping_sub(l3_at),
        // How long each is nobody says.
        BY_FRAGMENTS => 0,
        segment => l4_at - l3_at + parsed.l4_header_len + segment,
    }
}
