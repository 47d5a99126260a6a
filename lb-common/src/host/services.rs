//! The tables of Services in ordinary memory.

use super::{HostFamily, HostTables};
use crate::{
    addr::{Ipv4, Port},
    pipeline::ServiceTables,
    tables::{
        AddressOwner, AddressSet, AffinityKey, AffinityRule, BackendRef, Endpoint, EndpointKey,
        Frontend, FrontendKey, Load, Remembered, Selection, SelectionKind,
    },
};

impl HostTables {
    /// How busy a backend is.
    pub fn load(&self, backend: u32) -> Load {
        ServiceTables::<Ipv4>::load(self, backend)
    }

    /// Says how busy it is.
    pub fn set_load(&self, backend: u32, load: Load) {
        self.loads.borrow_mut().insert(backend, load);
    }
}

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

    fn load(&self, backend: u32) -> Load {
        self.loads.borrow().get(&backend).copied().unwrap_or_default()
    }

    fn count_open(&self, backend: u32, more: bool) {
        let mut loads = self.loads.borrow_mut();
        let open = &mut loads.entry(backend).or_default().open;
        *open = if more { *open + 1 } else { open.saturating_sub(1) };
    }

    fn turn(&self, service: u32, kind: u32) -> u32 {
        self.turns.borrow().get(&(service, kind)).copied().unwrap_or(0)
    }

    fn set_turn(&self, service: u32, kind: u32, turn: u32) {
        self.turns.borrow_mut().insert((service, kind), turn);
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
