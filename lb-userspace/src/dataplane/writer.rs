//! Makes the maps say what was compiled: desired against actual, writing what differs, in an order
//! in which no packet sees a dangling reference.
//!
//! Forward: ports, backends, tables, services, endpoints and source ranges, frontends, addresses. Backward:
//! frontends, addresses, source ranges and endpoints, services, tables, backends, ports. Numbers and areas that are freed rest before they are given again.

mod addresses;
mod admission;
mod affinity;
mod frontends;
mod live;
mod ports;
mod scope;
mod selections;
mod weights;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::IpAddr,
    time::Instant,
};

use lb_common::{
    addr::{Ipv6, Port},
    tables::{self, Backend, BackendRef, Endpoint, EndpointKey, Load},
};

use super::{
    DataplaneError, FoundService, Tables, areas::Areas, batch, ids::Ids, traffic::Accounts,
};
use crate::compile::{
    BackendKey, Desired, DesiredService, Elements, Frontend, ServiceKey, Touched,
};
use addresses::Addresses;
use admission::SourceRange;
use affinity::Groups;
use frontends::wire;
use live::{Live, live_again};
use ports::PortCounts;
use scope::Scope;
use weights::store_weights;

pub use admission::source_ranges;

/// How much was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Services that are new, changed or gone.
    pub services: usize,
    /// Frontends stored or removed.
    pub frontends: usize,
    /// Backends stored or removed.
    pub backends: usize,
    /// Slots of selection tables stored.
    pub slots: usize,
    /// Calls of `bpf(2)` that all of it took; arrays are memory, and take none.
    pub calls: u64,
}

impl Changes {
    /// Whether anything was written.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

/// The mirror of the maps, and what may be given out.
#[derive(Debug)]
pub struct Writer {
    services: BTreeMap<ServiceKey, Live>,
    frontends: BTreeMap<Frontend, tables::Frontend>,
    addresses: Addresses,
    source_ranges: BTreeSet<SourceRange>,
    groups: Groups,
    endpoints: BTreeMap<EndpointKey, Endpoint>,
    /// Services of an earlier run, until the first call of [`Writer::apply`] has claimed its own.
    found: BTreeMap<u32, FoundService>,
    service_ids: Ids,
    backend_ids: Ids,
    areas: Areas,
    accounts: Accounts,
    generation: u32,
    frontend_ports: PortCounts,
    backend_ports: PortCounts,
    /// Whether the maps say all that was desired last: then what was touched since is all that can differ.
    is_settled: bool,
}

impl Writer {
    /// A writer for maps that hold what was found in them.
    pub fn new(
        tables: &Tables,
        found: BTreeMap<u32, FoundService>,
    ) -> Result<Self, DataplaneError> {
        let backends = || found.values().flat_map(|service| &service.backends);
        let mut areas = Areas::new(tables.slots.len());
        for area in found.values().flat_map(FoundService::areas) {
            // Two that overlap can't come from us; whichever comes second is built anew.
            areas.reserve(area);
        }
        let mut writer = Self {
            services: BTreeMap::new(),
            frontends: BTreeMap::new(),
            addresses: Addresses::found(tables)?,
            source_ranges: source_ranges(tables)?,
            groups: Groups::after(&found),
            endpoints: tables.endpoints.elements()?.into_iter().collect(),
            service_ids: Ids::new(tables.services.len(), &found.keys().copied().collect()),
            backend_ids: Ids::new(
                tables.backends.len(),
                &backends().map(|backend| backend.reference.id).collect(),
            ),
            areas,
            accounts: Accounts::found(tables),
            generation: backends().map(|one| one.reference.generation).max().unwrap_or(0),
            frontend_ports: PortCounts::default(),
            backend_ports: PortCounts::default(),
            found: BTreeMap::new(),
            is_settled: false,
        };
        for service in found.values() {
            for (frontend, leads) in &service.frontends {
                writer.frontends.insert(*frontend, *leads);
                writer.frontend_ports.add(&tables.frontend_ports, frontend.port);
            }
            for backend in &service.backends {
                writer.backend_ports.add(&tables.backend_ports, backend.key.port);
            }
        }
        writer.found = found;
        Ok(writer)
    }

    /// All services and their numbers.
    pub fn services(&self) -> impl Iterator<Item = (&ServiceKey, u32)> {
        self.services.iter().map(|(key, live)| (key, live.id))
    }

    /// Makes the maps say what is desired, of which the caller knows what may be otherwise than with the last call.
    /// A service that can't be stored, for want of room, stays as it was and disturbs no other; the first such
    /// error is returned, and the next call goes over everything.
    pub fn apply(
        &mut self,
        tables: &mut Tables,
        desired: &Desired,
        touched: &Touched,
    ) -> Result<Changes, DataplaneError> {
        let is_settled = mem::replace(&mut self.is_settled, false);
        let changes = match touched {
            Touched::These(elements) if is_settled => {
                self.write(tables, desired, &Scope::of(elements))
            }
            _ => self.write(tables, desired, &Scope::whole(&self.elements(desired))),
        }?;
        self.is_settled = true;
        Ok(changes)
    }

    /// All that is desired or in force.
    fn elements(&self, desired: &Desired) -> Elements {
        Elements {
            services: desired.services.keys().chain(self.services.keys()).cloned().collect(),
            addresses: desired.addresses.keys().chain(self.addresses.known()).copied().collect(),
        }
    }

    fn write(
        &mut self,
        tables: &mut Tables,
        desired: &Desired,
        scope: &Scope<'_>,
    ) -> Result<Changes, DataplaneError> {
        let mut changes = Changes::default();
        let calls = batch::calls();
        let mut failed = None;
        for (key, service) in scope.wanted(desired) {
            match self.store_service(tables, key, service, &mut changes) {
                Ok(differed) => changes.services += usize::from(differed),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let numbers = self.numbers(scope);
        self.store_endpoints(tables, scope)?;
        let admitted = self.store_source_ranges(tables, desired, scope);
        failed = failed.or(admitted.err());
        self.store_frontends(tables, desired, scope, &mut changes)?;
        self.remove_frontends(tables, desired, scope, &mut changes)?;
        self.write_addresses(tables, desired, scope)?;
        self.remove_source_ranges(tables, desired, scope, &numbers)?;
        for key in scope.unwanted(desired) {
            self.remove_service(tables, key, &mut changes);
        }
        for (id, service) in mem::take(&mut self.found) {
            self.remove_found(tables, id, &service, &mut changes);
        }
        self.remove_endpoints(tables, scope, &numbers)?;
        self.groups.retain(desired, scope);
        changes.calls = batch::calls() - calls;
        failed.map_or(Ok(changes), Err)
    }

    /// The numbers of the services in the scope, whether they stay or go.
    fn numbers(&self, scope: &Scope<'_>) -> Vec<u32> {
        let live = scope.services().filter_map(|key| self.services.get(key));
        live.map(|live| live.id).collect()
    }

    /// Stores backends, tables and the service's line; returns whether anything differed.
    fn store_service(
        &mut self,
        tables: &mut Tables,
        key: &ServiceKey,
        desired: &DesiredService,
        changes: &mut Changes,
    ) -> Result<bool, DataplaneError> {
        let is_new = !self.services.contains_key(key);
        if is_new {
            let live = self.begin_service(tables, desired)?;
            self.services.insert(key.clone(), live);
        }
        let now = Instant::now();
        let mut live = self.services.remove(key).unwrap_or_default();
        let outcome = self.update_service(tables, key, desired, &mut live, changes, now);
        self.services.insert(key.clone(), live);
        Ok(outcome? || is_new)
    }

    /// A number for a new service: the one under which an earlier run served one of its frontends.
    fn begin_service(
        &mut self,
        tables: &mut Tables,
        desired: &DesiredService,
    ) -> Result<Live, DataplaneError> {
        let earlier = desired
            .frontends
            .keys()
            .filter_map(|frontend| self.frontends.get(frontend))
            .map(|leads| leads.service)
            .find(|id| self.found.contains_key(id));
        if let Some((id, found)) = earlier.and_then(|id| self.found.remove_entry(&id)) {
            return Ok(live_again(tables, id, &found));
        }
        let id = self.service_ids.take(Instant::now()).ok_or(DataplaneError::Full {
            what: "services",
            wanted: 1,
            capacity: self.service_ids.capacity(),
            option: "--max-services",
        })?;
        self.accounts.begin_service(tables, id);
        Ok(Live { id, ..Live::default() })
    }

    fn update_service(
        &mut self,
        tables: &Tables,
        key: &ServiceKey,
        desired: &DesiredService,
        live: &mut Live,
        changes: &mut Changes,
        now: Instant,
    ) -> Result<bool, DataplaneError> {
        let mut differs = false;
        for backend in desired.backends.keys() {
            if !live.backends.contains_key(backend) {
                let reference = self.store_backend(tables, key, live.id, *backend, now)?;
                live.backends.insert(*backend, reference);
                live.weights = None;
                changes.backends += 1;
                differs = true;
            }
        }
        differs |= store_weights(tables, desired, live);
        differs |= self.store_tables(tables, desired, live, changes, now)?;
        let affinity = self.groups.rule(key, desired.affinity, live.affinity);
        if affinity != live.affinity {
            live.affinity = affinity;
            tables.services.store(live.id, &live.line());
            differs = true;
        }
        let gone: Vec<BackendKey> = live
            .backends
            .keys()
            .filter(|backend| !desired.backends.contains_key(backend))
            .copied()
            .collect();
        for backend in gone {
            if let Some(reference) = live.backends.remove(&backend) {
                self.remove_backend(tables, backend, reference, now);
                changes.backends += 1;
                differs = true;
            }
        }
        Ok(differs)
    }

    fn store_backend(
        &mut self,
        tables: &Tables,
        key: &ServiceKey,
        service: u32,
        backend: BackendKey,
        now: Instant,
    ) -> Result<BackendRef, DataplaneError> {
        let id = self.backend_ids.take(now).ok_or(DataplaneError::Full {
            what: "backends",
            wanted: 1,
            capacity: self.backend_ids.capacity(),
            option: "--max-backends",
        })?;
        self.generation = self.generation.wrapping_add(1).max(1);
        let reference = BackendRef { id, generation: self.generation };
        self.backend_ports.add(&tables.backend_ports, backend.port);
        self.accounts.begin_backend(tables, id, service)?;
        tables.loads.store(id, &Load::of(0, 1));
        tables.backends.store(
            id,
            &Backend {
                generation: reference.generation,
                service,
                address: match backend.address {
                    IpAddr::V4(address) => Ipv6::mapped(address.into()),
                    IpAddr::V6(address) => address.into(),
                },
                port: Port::from_host(backend.port),
                protocol: wire(key.protocol).0,
                reserved: [0; 5],
            },
        );
        Ok(reference)
    }

    fn remove_backend(
        &mut self,
        tables: &Tables,
        key: BackendKey,
        reference: BackendRef,
        now: Instant,
    ) {
        tables.backends.clear(reference.id);
        self.backend_ids.give_back(reference.id, now);
        self.backend_ports.remove(&tables.backend_ports, key.port);
    }

    fn remove_service(&mut self, tables: &Tables, key: &ServiceKey, changes: &mut Changes) {
        let Some(live) = self.services.remove(key) else {
            return;
        };
        let now = Instant::now();
        tables.services.clear(live.id);
        for area in live::areas(&live.selections) {
            self.areas.give_back(area, now);
        }
        changes.services += 1;
        changes.backends += live.backends.len();
        for (backend, reference) in live.backends {
            self.remove_backend(tables, backend, reference, now);
        }
        self.service_ids.give_back(live.id, now);
    }

    fn remove_found(
        &mut self,
        tables: &Tables,
        id: u32,
        found: &FoundService,
        changes: &mut Changes,
    ) {
        let now = Instant::now();
        tables.services.clear(id);
        for area in found.areas() {
            self.areas.give_back(area, now);
        }
        changes.services += 1;
        changes.backends += found.backends.len();
        for backend in &found.backends {
            self.remove_backend(tables, backend.key, backend.reference, now);
        }
        self.service_ids.give_back(id, now);
    }
}
