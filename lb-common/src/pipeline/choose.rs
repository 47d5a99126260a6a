//! Which backend a new flow gets.

use super::{Family, FamilyTables, Tables, parse::Parsed};
use crate::{
    addr::Port,
    hash::Hasher,
    hook::Hook,
    tables::{BackendRef, FrontendKey},
    verdict::DropReason,
};

/// A service's choice for one client.
#[derive(Clone, Copy)]
pub struct Choice<A> {
    /// The service.
    pub service: u32,
    /// The backend.
    pub backend: BackendRef,
    /// Its address.
    pub address: A,
    /// Its port.
    pub port: Port,
    /// The other half of the hash that chose it, for whatever else is to be spread.
    pub spread: u32,
}

/// Chooses a backend, or `None` if the packet's destination is no frontend.
///
/// The hash is keyed by the secret of the boot and over the whole tuple: as long as the table is
/// the same, a choice that was forgotten comes out the same again.
#[inline(always)]
pub fn choose<A: Family, T: Tables + FamilyTables<A>>(
    tables: &T,
    hook: Hook,
    parsed: &Parsed<A>,
) -> Result<Option<Choice<A>>, DropReason> {
    let (address, port) = parsed.destination();
    let Some(service) = tables.frontend(&FrontendKey::new(address, port, parsed.l4.protocol()))
    else {
        return Ok(None);
    };
    let selection = tables.selection(service, hook.scope());
    let len = selection.len();
    if len == 0 {
        return Err(DropReason::NoBackend);
    }
    let hash = tuple_hash(tables, parsed);
    let slot = selection.base().wrapping_add(low(hash) % len);
    let backend = tables.slot(slot).ok_or(DropReason::NoBackend)?;
    let (address, port) =
        FamilyTables::<A>::backend(tables, backend).ok_or(DropReason::BackendGone)?;
    Ok(Some(Choice { service, backend, address, port, spread: high(hash) }))
}

#[inline(always)]
fn tuple_hash<A: Family, T: Tables>(tables: &T, parsed: &Parsed<A>) -> u64 {
    let ((source, source_port), (destination, destination_port)) =
        (parsed.source(), parsed.destination());
    let mut hasher = Hasher::new(tables.hash_key());
    source.hash(&mut hasher);
    destination.hash(&mut hasher);
    hasher.write(
        u64::from(source_port.to_wire())
            | u64::from(destination_port.to_wire()) << 16
            | u64::from(parsed.l4.protocol().0) << 32,
    );
    hasher.finish(1 + 2 * size_of::<A>().div_ceil(8) as u64)
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
#[inline(always)]
const fn low(hash: u64) -> u32 {
    hash as u32
}

#[inline(always)]
const fn high(hash: u64) -> u32 {
    (hash >> 32) as u32
}
