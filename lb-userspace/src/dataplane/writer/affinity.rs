//! Session affinity: groups of services, and the endpoints by which a group's clients find each
//! service's backends. Clients are the programs' business.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use lb_common::{
    addr::{Address as _, Ipv4, Ipv6},
    tables::{AffinityRule, Endpoint, EndpointKey, SelectionKind},
};

use super::{Writer, live::Live};
use crate::{
    compile::{Desired, ServiceKey},
    dataplane::{DataplaneError, FoundService, Tables},
    model::{Family, ServiceName},
};

/// Numbers of groups: one for all ports of a Service in a family. None is given twice, because clients
/// are remembered by it for a day.
#[derive(Debug, Default)]
pub struct Groups {
    last: u32,
    taken: BTreeMap<(ServiceName, Family), u32>,
}

impl Groups {
    /// Numbers that an earlier run has not given.
    pub fn after(found: &BTreeMap<u32, FoundService>) -> Self {
        let last = found.values().map(|service| service.line.affinity.group).max().unwrap_or(0);
        Self { last, taken: BTreeMap::new() }
    }

    /// The affinity of a service; `before` is what it had so far.
    pub fn rule(&mut self, key: &ServiceKey, seconds: u32, before: AffinityRule) -> AffinityRule {
        if seconds == 0 {
            return AffinityRule::default();
        }
        let group = *self.taken.entry((key.service.clone(), key.family)).or_insert_with(|| {
            if before.group != 0 {
                return before.group;
            }
            self.last = self.last.wrapping_add(1).max(1);
            self.last
        });
        AffinityRule { group, seconds }
    }

    /// Forgets the groups of Services that are gone, or have no affinity any more.
    pub fn retain(&mut self, desired: &Desired) {
        if self.taken.is_empty() {
            return;
        }
        let wanted = desired.services.iter().filter(|(_, service)| service.affinity != 0);
        let wanted: BTreeSet<(&ServiceName, Family)> =
            wanted.map(|(key, _)| (&key.service, key.family)).collect();
        self.taken.retain(|(service, family), _| wanted.contains(&(service, *family)));
    }
}

impl Writer {
    /// Stores the endpoints of services with affinity that are new or changed. Their backends are there.
    pub(super) fn store_endpoints(&mut self, tables: &Tables) -> Result<(), DataplaneError> {
        let wanted = self.wanted_endpoints();
        let differing = wanted.iter().filter(|(key, one)| self.endpoints.get(key) != Some(one));
        let differing: Vec<(EndpointKey, Endpoint)> =
            differing.map(|(key, one)| (*key, *one)).collect();
        tables.endpoints.update(&differing)?;
        self.endpoints.extend(differing);
        Ok(())
    }

    /// Removes those that nobody wants any more.
    pub(super) fn remove_endpoints(&mut self, tables: &Tables) -> Result<(), DataplaneError> {
        let wanted = self.wanted_endpoints();
        let gone = self.endpoints.keys().filter(|key| !wanted.contains_key(key));
        let gone: Vec<EndpointKey> = gone.copied().collect();
        tables.endpoints.remove(&gone)?;
        self.endpoints.retain(|key, _| wanted.contains_key(key));
        Ok(())
    }

    fn wanted_endpoints(&self) -> BTreeMap<EndpointKey, Endpoint> {
        let with_affinity = self.services.values().filter(|live| live.affinity.seconds != 0);
        with_affinity.flat_map(endpoints_of).collect()
    }
}

/// The endpoints that a service's selections have.
fn endpoints_of(live: &Live) -> BTreeMap<EndpointKey, Endpoint> {
    let mut endpoints: BTreeMap<EndpointKey, Endpoint> = BTreeMap::new();
    for kind in SelectionKind::ALL {
        let bit = 1_u32 << kind as u32;
        for slot in &live.selections[kind as usize].table.slots {
            let Some(backend) = live.backends.get(slot) else { continue };
            let key = EndpointKey { service: live.id, endpoint: endpoint(slot.address) };
            let new = Endpoint { backend: *backend, ..Endpoint::default() };
            let known = endpoints.entry(key).or_insert(new);
            // Of several backends at one address the first stands for all.
            if known.backend == *backend {
                known.selections |= bit;
            }
        }
    }
    endpoints
}

fn endpoint(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => Ipv4::from(address).mix(),
        IpAddr::V6(address) => Ipv6::from(address).mix(),
    }
}
