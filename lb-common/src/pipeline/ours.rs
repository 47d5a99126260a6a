//! Whether a packet can be a service's at all, by its ports: ordinary traffic leaves here without
//! one hash lookup. And what is to be done with one that has only a Service's address.

use super::{Family, Fate, ServiceTables, Tables, parse::Parsed};
use crate::{addr::Address, hook::Hook, packet::Packet, tables::AddressOwner, verdict::DropReason};

/// Whether a packet may belong to a flow or a frontend.
///
/// Where clients' packets come in, that is a frontend's port as destination, or a reply to one of
/// the source ports that we choose. Where replies leave, it is a backend's port as source.
#[inline(always)]
pub fn may_be_ours<A: Copy, T: Tables>(tables: &T, hook: Hook, parsed: &Parsed<A>) -> bool {
    let (_, source) = parsed.source();
    let (_, destination) = parsed.destination();
    if hook.faces_clients() {
        tables.has_frontend_port(destination)
            || (tables.reply_ports().contains(destination) && tables.has_backend_port(source))
    } else {
        tables.has_backend_port(source)
    }
}

/// What becomes of a packet that is nobody's where it is seen: one that leaves, and that a socket of this node
/// sent, may be a client's.
#[inline(always)]
pub fn pass<A: Copy, P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    hook: Hook,
    parsed: &Parsed<A>,
) -> Fate {
    let (_, destination) = parsed.destination();
    if hook == Hook::UplinkOut && packet.is_own() && tables.has_frontend_port(destination) {
        return Fate::LATER_HOST;
    }
    Fate::PASS_NOT_OURS
}

/// Whether a client's packet may go to a Service's address, or to one that is kept for Services.
#[inline(always)]
pub fn may_be_owned<A: Address, T: ServiceTables<A>>(
    tables: &T,
    hook: Hook,
    parsed: &Parsed<A>,
) -> bool {
    let (address, _) = parsed.destination();
    hook.faces_clients() && (tables.is_in_service_range(address) || tables.may_be_owned(address))
}

/// What becomes of a packet that belongs to no flow and no frontend. It passes, unless a client sent it
/// to an address that is a Service's and nothing else's, or to one that is kept for Services: nobody
/// would answer there, and with a route that leads back it would go round in circles.
///
/// Ordinary traffic pays for one bit of a set and the comparison with a range.
#[inline(always)]
pub fn leave<A: Address, P: Packet, T: Tables + ServiceTables<A>>(
    packet: &P,
    tables: &T,
    hook: Hook,
    parsed: &Parsed<A>,
) -> Result<Fate, DropReason> {
    let passes = Ok(pass(packet, tables, hook, parsed));
    if !may_be_owned(tables, hook, parsed) {
        return passes;
    }
    let (address, _) = parsed.destination();
    let in_range = tables.is_in_service_range(address);
    let owner = tables.owner(address);
    if is_services(owner) {
        Err(DropReason::UnknownPort)
    } else if owner == 0 && in_range {
        Err(DropReason::UnallocatedAddress)
    } else {
        passes
    }
}

/// What becomes of a fragment whose first was not seen: one to a Service's address can be nobody else's,
/// and would go astray. Where packets come in it waits for the first.
#[inline(always)]
pub fn leave_fragment<A: Family, P: Packet, T: ServiceTables<A>>(
    packet: &P,
    tables: &T,
    hook: Hook,
) -> Result<Fate, DropReason> {
    let Some((_, address)) = A::addresses(packet) else {
        return Ok(Fate::PASS_NOT_IP);
    };
    if hook.faces_clients() && tables.may_be_owned(address) && is_services(tables.owner(address)) {
        if hook.leaves() {
            return Err(DropReason::FragmentAlone);
        }
        return Ok(Fate::LATER_HOLD);
    }
    Ok(Fate::PASS_FRAGMENT)
}

/// Whether this is the number of a Service as an address's owner.
#[inline(always)]
const fn is_services(owner: u32) -> bool {
    owner == AddressOwner::Service as u32 || owner == AddressOwner::Answering as u32
}

/// Whether an address is a Service's that has endpoints.
#[inline(always)]
pub fn answers<A: Address, T: ServiceTables<A>>(tables: &T, address: A) -> bool {
    tables.may_be_owned(address) && tables.owner(address) == AddressOwner::Answering as u32
}
