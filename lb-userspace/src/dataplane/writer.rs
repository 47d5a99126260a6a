//! Makes the maps say what was compiled: desired against actual, writing what differs, in an order
//! in which no packet sees a dangling reference.
//!
//! Forward: ports, backends, tables, services, frontends. Backward: frontends, services, tables,
//! backends, ports. Numbers and areas that are freed rest before they are given again.

mod frontends;
mod live;
mod ports;

use std::{collections::BTreeMap, net::IpAddr, time::Instant};

use lb_common::{
    addr::{Ipv6, Port},
    tables::{Backend, BackendRef, Selection, Service},
};

use super::{
    DataplaneError, FoundService, Tables,
    areas::{Area, Areas},
    batch,
    ids::Ids,
};
use crate::compile::{BackendKey, Desired, DesiredService, Frontend, ServiceKey};
use frontends::wire;
use live::{Live, live_again, selection};
use ports::PortCounts;

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
    frontends: BTreeMap<Frontend, u32>,
    /// Services of an earlier run, until the first call of [`Writer::apply`] has claimed its own.
    found: BTreeMap<u32, FoundService>,
    service_ids: Ids,
    backend_ids: Ids,
    areas: Areas,
    generation: u32,
    frontend_ports: PortCounts,
    backend_ports: PortCounts,
}

impl Writer {
    /// A writer for maps that hold what was found in them.
    pub fn new(tables: &Tables, found: BTreeMap<u32, FoundService>) -> Self {
        let backends = || found.values().flat_map(|service| &service.backends);
        let mut areas = Areas::new(tables.slots.len());
        for area in found.values().flat_map(FoundService::areas) {
            // Two that overlap can't come from us; whichever comes second is built anew.
            areas.reserve(area);
        }
        let mut writer = Self {
            services: BTreeMap::new(),
            frontends: BTreeMap::new(),
            service_ids: Ids::new(tables.services.len(), &found.keys().copied().collect()),
            backend_ids: Ids::new(
                tables.backends.len(),
                &backends().map(|backend| backend.reference.id).collect(),
            ),
            areas,
            generation: backends().map(|one| one.reference.generation).max().unwrap_or(0),
            frontend_ports: PortCounts::default(),
            backend_ports: PortCounts::default(),
            found: BTreeMap::new(),
        };
        for (id, service) in &found {
            for frontend in &service.frontends {
                writer.frontends.insert(*frontend, *id);
                writer.frontend_ports.add(&tables.frontend_ports, frontend.port);
            }
            for backend in &service.backends {
                writer.backend_ports.add(&tables.backend_ports, backend.key.port);
            }
        }
        writer.found = found;
        writer
    }

    /// All services and their numbers.
    pub fn services(&self) -> impl Iterator<Item = (&ServiceKey, u32)> {
        self.services.iter().map(|(key, live)| (key, live.id))
    }

    /// Makes the maps say what is desired. A service that can't be stored, for want of room, stays as
    /// it was and disturbs no other; the first such error is returned, and the next call goes on.
    pub fn apply(
        &mut self,
        tables: &mut Tables,
        desired: &Desired,
    ) -> Result<Changes, DataplaneError> {
        let mut changes = Changes::default();
        let calls = batch::calls();
        let mut failed = None;
        for (key, service) in &desired.services {
            match self.store_service(tables, key, service, &mut changes) {
                Ok(differed) => changes.services += usize::from(differed),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        self.store_frontends(tables, desired, &mut changes)?;
        self.remove_frontends(tables, desired, &mut changes)?;
        let gone: Vec<ServiceKey> = self
            .services
            .keys()
            .filter(|key| !desired.services.contains_key(key))
            .cloned()
            .collect();
        for key in gone {
            self.remove_service(tables, &key, &mut changes);
        }
        for (id, service) in std::mem::take(&mut self.found) {
            self.remove_found(tables, id, &service, &mut changes);
        }
        changes.calls = batch::calls() - calls;
        failed.map_or(Ok(changes), Err)
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
            .iter()
            .filter_map(|frontend| self.frontends.get(frontend))
            .find(|id| self.found.contains_key(id))
            .copied();
        if let Some((id, found)) = earlier.and_then(|id| self.found.remove_entry(&id)) {
            return Ok(live_again(tables, id, &found));
        }
        let id = self.service_ids.take(Instant::now()).ok_or(DataplaneError::Full {
            what: "services",
            wanted: 1,
            capacity: self.service_ids.capacity(),
            option: "--max-services",
        })?;
        tables.reset_service_counters(id)?;
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
                changes.backends += 1;
                differs = true;
            }
        }
        differs |= self.store_tables(tables, desired, live, changes, now)?;
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

    /// Publishes both selections if they differ from what is there.
    fn store_tables(
        &mut self,
        tables: &Tables,
        desired: &DesiredService,
        live: &mut Live,
        changes: &mut Changes,
        now: Instant,
    ) -> Result<bool, DataplaneError> {
        let (internal, external) = (&desired.internal.slots, &desired.external.slots);
        if *internal == live.internal.0 && *external == live.external.0 {
            return Ok(false);
        }
        let inner = self.build(tables, internal, &live.backends, now)?;
        let outer = if internal == external {
            inner
        } else {
            // Nothing refers to the first table yet: without the second, its room is free again.
            self.build(tables, external, &live.backends, now)
                .inspect_err(|_| self.areas.give_back(inner, now))?
        };
        changes.slots += internal.len();
        if internal != external {
            changes.slots += external.len();
        }
        tables
            .services
            .store(live.id, &Service { internal: selection(inner), external: selection(outer) });
        let (old_inner, old_outer) = (live.internal.1, live.external.1);
        self.areas.give_back(old_inner, now);
        if old_outer != old_inner {
            self.areas.give_back(old_outer, now);
        }
        live.internal = (internal.clone(), inner);
        live.external = (external.clone(), outer);
        Ok(true)
    }

    /// Writes a table into a fresh area.
    fn build(
        &mut self,
        tables: &Tables,
        slots: &[BackendKey],
        backends: &BTreeMap<BackendKey, BackendRef>,
        now: Instant,
    ) -> Result<Area, DataplaneError> {
        if slots.is_empty() {
            return Ok(Area::default());
        }
        let full = |capacity| DataplaneError::Full {
            what: "slots of selection tables",
            wanted: u32::try_from(slots.len()).unwrap_or(u32::MAX),
            capacity,
            option: "--max-slots",
        };
        let len = u32::try_from(slots.len())
            .ok()
            .filter(|len| *len <= Selection::MAX_LEN)
            .ok_or(full(Selection::MAX_LEN))?;
        let area = self.areas.take(len, now).ok_or(full(self.areas.capacity()))?;
        for (slot, backend) in (area.base..).zip(slots) {
            // Every slot names one of the service's own backends, which are stored before.
            tables.slots.store(slot, &backends.get(backend).copied().unwrap_or_default());
        }
        Ok(area)
    }

    fn remove_service(&mut self, tables: &Tables, key: &ServiceKey, changes: &mut Changes) {
        let Some(live) = self.services.remove(key) else {
            return;
        };
        let now = Instant::now();
        tables.services.clear(live.id);
        self.areas.give_back(live.internal.1, now);
        if live.external.1 != live.internal.1 {
            self.areas.give_back(live.external.1, now);
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
