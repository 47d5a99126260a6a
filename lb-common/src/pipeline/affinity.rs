//! Session affinity: a client's flows to all ports of a Service go to the endpoint that it was given,
//! while that is among those that it may be given, until it has been silent for the time-out.
//!
//! Nothing is written before the flow has begun, because XDP may still hand the packet over.

use super::{FamilyTables, ServiceTables, Tables, choose::Choice};
use crate::{
    addr::Address,
    tables::{AffinityKey, AffinityRule, BackendRef, EndpointKey, Remembered, SelectionKind},
};

/// A client as affinity knows it: by the address of its packets or, if it is seen when it connects, by its
/// network namespace, so that each pod is one.
#[derive(Clone, Copy)]
pub struct Client<A> {
    /// The address, or the first bytes of the namespace's number.
    pub address: A,
    /// What keeps namespaces from being taken for addresses: bits beside the selection's kind.
    space: u32,
}

impl<A> Client<A> {
    /// The one with this address.
    #[inline(always)]
    pub const fn at(address: A) -> Self {
        Self { address, space: 0 }
    }
}

impl<A: Address> Client<A> {
    /// All of a network namespace.
    #[inline(always)]
    pub fn in_namespace(number: u64) -> Self {
        let further = (number >> 32) as u32;
        // The address alone is what is hashed: it is to differ with all of the number.
        let mixed = number ^ u64::from(further.wrapping_mul(0x9e37_79b1));
        Self { address: A::from_number(mixed), space: 1 << 31 | (further & 0x1fff_ffff) << 2 }
    }

    #[inline(always)]
    const fn key(self, group: u32, kind: u32) -> AffinityKey<A> {
        AffinityKey::new(self.address, group, kind | self.space)
    }
}

/// The backend that a client's earlier choice leads to; none (no generation) if there was no such
/// choice, it is too old, or its endpoint is not among those that this service selects from.
#[inline(always)]
pub fn recall<A: Address, T: Tables + ServiceTables<A>>(
    tables: &T,
    now: u32,
    client: Client<A>,
    service: u32,
    affinity: AffinityRule,
    kind: SelectionKind,
) -> BackendRef {
    let none = BackendRef::default();
    let Some(earlier) = tables.remembered(&client.key(affinity.group, kind as u32)) else {
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
    client: Client<A>,
    choice: &Choice<A>,
) {
    if choice.group != 0 {
        let remembered = Remembered { endpoint: choice.address.mix(), last_seen: now };
        tables.remember(&client.key(choice.group, choice.kind), remembered);
    }
}
