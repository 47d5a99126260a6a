//! The tables of Services in ordinary memory.

use super::{HostFamily, HostTables};
use crate::{
    addr::Port,
    pipeline::ServiceTables,
    tables::{
        AddressOwner, AddressSet, AffinityKey, AffinityRule, BackendRef, Endpoint, EndpointKey,
        Frontend, FrontendKey, Remembered, Selection, SelectionKind,
    },
};

impl<A: HostFamily> ServiceTables<A> for HostTables {
    fn frontend(&self, key: &FrontendKey<A>) -> Option<Frontend> {
        self.looked_up();
        A::state(self).frontends.get(key).copied()
    }

    fn admits(&self, service: u32, client: A) -> bool {
        self.looked_up();
        let ranges = A::state(self).source_ranges.iter();
        ranges
            .filter(|range| range.service == service)
            .any(|range| client.common_bits(range.address) >= range.bits())
    }

    fn service(&self, service: u32, kind: SelectionKind) -> (Selection, AffinityRule) {
        let Some(service) = self.services.get(&service) else {
            return (Selection::EMPTY, AffinityRule::default());
        };
        let selection = match kind {
            SelectionKind::All => service.all,
            SelectionKind::Internal => service.internal,
            SelectionKind::External => service.external,
        };
        (selection, service.affinity)
    }

    fn slot(&self, index: u32) -> Option<BackendRef> {
        self.slots.get(&index).copied()
    }

    fn backend(&self, backend: BackendRef) -> Option<(A, Port)> {
        let line = self.backends.get(&backend.id)?;
        (line.generation == backend.generation).then(|| (A::of_backend(line.address), line.port))
    }

    fn remembered(&self, key: &AffinityKey<A>) -> Option<Remembered> {
        self.looked_up();
        A::state(self).affinity.borrow().get(key).copied()
    }

    fn remember(&self, key: &AffinityKey<A>, remembered: Remembered) {
        self.looked_up();
        A::state(self).affinity.borrow_mut().insert(*key, remembered);
    }

    fn endpoint(&self, key: EndpointKey) -> Option<Endpoint> {
        self.looked_up();
        self.endpoints.get(&key).copied()
    }

    fn may_be_owned(&self, address: A) -> bool {
        let position = AddressSet::position(address);
        let owners = A::state(self).owners.iter();
        owners
            .filter(|(_, owner)| **owner != AddressOwner::Other as u32)
            .any(|(owned, _)| AddressSet::position(*owned) == position)
    }

    fn is_in_service_range(&self, address: A) -> bool {
        A::service_range(&self.config).contains(address)
    }

    fn owner(&self, address: A) -> u32 {
        self.looked_up();
        A::state(self).owners.get(&address).copied().unwrap_or(0)
    }
}
