//! ICMP: echo requests to Services are answered, and errors about packets that were translated are
//! translated too, outside and inside, so that whoever sent the packet recognises it. Path MTU discovery
//! depends on it.
//!
//! An error quotes a packet that went the other way. The flow that packets of its own way belong to says
//! what both of its addresses become, outside; and inside, what the quoted packet was before.

use super::{
    Family, FamilyTables, Fate, FlowRef, Interface, Tables, conclude, ether_type,
    family::{Ip, IpChange, L3_AT},
    ours,
    parse::Parsed,
    rewrite, way_out,
};
use crate::{
    addr::{Ipv4, Ipv6, Port},
    checksum::{Delta, Sum},
    hook::Hook,
    packet::Packet,
    tables::FlowKey,
    verdict::{Answer, DropReason, Event, PassReason, Verdict},
    wire::{EtherType, Icmp, L4, Ports, Tcp, U16, Udp},
};

/// The stage of ICMP: answers an echo request to a Service, translates an error if the packet that it is
/// about is a flow's. Counts what became of it.
#[inline(always)]
pub fn errors<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    hook: Hook,
    now: u32,
) -> Result<Verdict, DropReason> {
    let echoed = match ether_type(packet) {
        Some(EtherType::IPV4) => echo::<Ipv4, P, T>(packet, tables, hook),
        Some(EtherType::IPV6) => echo::<Ipv6, P, T>(packet, tables, hook),
        _ => None,
    };
    if echoed.is_some() {
        tables.count(Answer::Echo as u32);
        return Ok(Verdict::Answer(Answer::Echo));
    }
    let mut interface = Interface::none();
    let outcome = match ether_type(packet) {
        Some(EtherType::IPV4) => translate::<Ipv4, P, T>(packet, tables, hook, now, &mut interface),
        Some(EtherType::IPV6) => translate::<Ipv6, P, T>(packet, tables, hook, now, &mut interface),
        _ => Ok(Fate::pass(PassReason::NotIp)),
    };
    conclude::<P, T>(tables, outcome, &interface)
}

/// Makes an echo request to the address of a Service that has endpoints its reply.
#[inline(always)]
fn echo<A: Family, P: Packet, T: FamilyTables<A>>(
    packet: &mut P,
    tables: &T,
    hook: Hook,
) -> Option<()> {
    let ip = A::read_icmp(packet, L3_AT)?;
    let icmp = packet.header::<Icmp>(ip.l4_at)?;
    let (request, reply) = A::ECHO;
    let is_asked = hook.faces_clients() && icmp.kind() == request;
    if !is_asked || !ip.source.is_routable_source() || !ours::answers(tables, ip.destination) {
        return None;
    }
    let macs = packet.macs()?;
    packet.set_macs(macs.swapped())?;
    A::turn(packet, &Parsed::of(ip), ip.l4_len)?;
    let icmp = packet.header_mut::<Icmp>(ip.l4_at)?;
    icmp.set_kind(reply);
    let kinds = (Sum::of_half(request.to_wire()), Sum::of_half(reply.to_wire()));
    icmp.set_checksum(Delta::replace(kinds.0, kinds.1).apply(icmp.checksum()));
    Some(())
}

/// The packet that an error is about, as far as it is quoted.
#[derive(Clone, Copy)]
struct Quoted<A> {
    ip: Ip<A>,
    source: Port,
    destination: Port,
}

#[inline(always)]
fn translate<A: Family, P: Packet, T: Tables + FamilyTables<A>>(
    packet: &mut P,
    tables: &T,
    hook: Hook,
    now: u32,
    interface: &mut Interface,
) -> Result<Fate, DropReason> {
    let Some((outer, quoted)) = read::<A, P>(packet) else {
        return Ok(Fate::pass(PassReason::Protocol));
    };
    // As a packet of the error's own way would have come in.
    let way = Parsed::of(quoted.ip)
        .between((quoted.ip.destination, quoted.destination), (quoted.ip.source, quoted.source));
    if !ours::may_be_ours(tables, hook, &way) {
        return Ok(Fate::pass(PassReason::NotOurs));
    }
    let key = FlowKey::new(hook, way.l4, way.source(), way.destination());
    let Some(flow) = tables.find(&key) else {
        return Ok(Fate::pass(PassReason::NotOurs));
    };
    let whole = Parsed::of(outer);
    let Some(fate) = way_out::way_out(packet, tables, hook, &whole, flow, now, false, interface)?
    else {
        return Ok(Fate::pass(PassReason::Declined));
    };
    tables.count(Event::ErrorTranslated as u32);
    rewrite::link(packet, hook, flow, fate)?;
    write(packet, &outer, &quoted, flow, fate)?;
    Ok(fate)
}

/// Reads an error and what it quotes; `None` if it is none, or not enough is quoted.
#[inline(always)]
fn read<A: Family, P: Packet>(packet: &P) -> Option<(Ip<A>, Quoted<A>)> {
    let outer = A::read_icmp(packet, L3_AT)?;
    let icmp = packet.header::<Icmp>(outer.l4_at)?;
    if !A::is_error(icmp.kind()) {
        return None;
    }
    let ip = A::read_quoted(packet, outer.l4_at + Icmp::LEN)?;
    let ports = packet.header::<Ports>(ip.l4_at)?;
    Some((outer, Quoted { ip, source: ports.source(), destination: ports.destination() }))
}

/// Writes what the flow says, from the inside out.
#[inline(always)]
fn write<A: Family, P: Packet>(
    packet: &mut P,
    outer: &Ip<A>,
    quoted: &Quoted<A>,
    flow: FlowRef<A>,
    fate: Fate,
) -> Result<(), DropReason> {
    let before = quoted.ip.source.sum() + quoted.ip.destination.sum();
    let after = flow.source().sum() + flow.destination().sum();
    let addresses = Delta::replace(before, after);
    let ports = Delta::replace(
        halves(quoted.source, quoted.destination),
        halves(flow.destination_port(), flow.source_port()),
    );
    let at = quoted.ip.l4_at;
    let header = packet.header_mut::<Ports>(at).ok_or(DropReason::Unwritable)?;
    header.set(flow.destination_port(), flow.source_port());
    // What an error quotes may end before its checksum does.
    let mut inside = ports;
    let both = addresses.and(ports);
    let (checksum_at, may_be_none) = match quoted.ip.l4 {
        L4::Udp => (Udp::CHECKSUM_AT, true),
        _ => (Tcp::CHECKSUM_AT, false),
    };
    // SCTP's is over all of the packet, of which this is a part.
    if quoted.ip.l4 != L4::Sctp
        && let Some(checksum) = packet.header_mut::<U16>(at + checksum_at)
    {
        let old = checksum.get();
        if !(may_be_none && old == 0) {
            let new = both.apply(old);
            let new = if may_be_none && new == 0 { 0xffff } else { new };
            checksum.set(new);
            inside = inside.and(Delta::replace(Sum::of_half(old), Sum::of_half(new)));
        }
    }
    A::set_addresses(
        packet,
        outer.l4_at + Icmp::LEN,
        flow.destination(),
        flow.source(),
        addresses,
    )?;

    // The sender of a reply's error is the service, as that of the reply is; the sender of another one
    // is whoever found it, unless its way back leads over this node.
    let source = if flow.is_forward() && flow.source() == quoted.ip.destination {
        outer.source
    } else {
        flow.source()
    };
    let destination = flow.destination();
    let outside = Delta::replace(
        outer.source.sum() + outer.destination.sum(),
        source.sum() + destination.sum(),
    );
    let forwarded = !matches!(fate, Fate::STACK | Fate::SWITCH | Fate::INJECT);
    A::write(packet, IpChange { source, destination, delta: outside, forwarded })?;
    // IPv4's own checksum makes up for its addresses; IPv6 has none, and counts the outer ones too.
    let all = if A::ICMP_HAS_PSEUDO_HEADER { inside.and(addresses).and(outside) } else { inside };
    packet.change_icmp(outer.l4_at, all)
}

#[inline(always)]
fn halves(one: Port, other: Port) -> Sum {
    Sum::of_half(one.to_wire()) + Sum::of_half(other.to_wire())
}
