//! Session affinity: a client's flows to all ports of a Service go to the endpoint that it was given,
//! while that is among those that it may be given, until it has been silent for the time-out.
//!
//! Nothing is written before the flow has begun, because XDP may still hand the packet over.

use super::{FamilyTables, ServiceTables, Tables, choose::Choice};
use crate::{
    addr::Address,
    tables::{AffinityKey, AffinityRule, BackendRef, EndpointKey, Remembered, SelectionKind},
};

/// The backend that a client's earlier choice leads to; none (no generation) if there was no such
/// choice, it is too old, or its endpoint is not among those that this service selects from.
#[inline(always)]
pub fn recall<A: Address, T: Tables + ServiceTables<A>>(
    tables: &T,
    now: u32,
    client: A,
    service: u32,
    affinity: AffinityRule,
    kind: SelectionKind,
) -> BackendRef {
    let none = BackendRef::default();
    let Some(earlier) = tables.remembered(&AffinityKey::new(client, affinity.group, kind as u32))
    else {
        return none;
    };
    if now.wrapping_sub(earlier.last_seen) >= affinity.seconds.wrapping_mul(tables.hz()) {
        return none;
    }
    let key = EndpointKey { service, endpoint: earlier.endpoint };
    let Some(endpoint) = ServiceTables::<A>::endpoint(tables, key) else {
        return none;
    };
    let backend = endpoint.backend;
    if endpoint.selections & (1 << kind as u32) == 0
        || tables.backend_generation(backend.id) != backend.generation
    {
        return none;
    }
    backend
}

/// Remembers the choice of a flow that has begun, if its service has affinity.
#[inline(always)]
pub fn remember<A: Address, T: FamilyTables<A>>(
    tables: &T,
    now: u32,
    client: A,
    choice: &Choice<A>,
) {
    if choice.group != 0 {
        let remembered = Remembered { endpoint: choice.address.mix(), last_seen: now };
        tables.remember(&AffinityKey::new(client, choice.group, choice.kind), remembered);
    }
}
