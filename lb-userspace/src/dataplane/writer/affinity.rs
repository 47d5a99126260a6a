//! Session affinity: groups of services, and the endpoints by which a group's clients find each
//! service's backends. Clients are the programs' business.

use std::{collections::BTreeMap, net::IpAddr};

use lb_common::{
    addr::{Address as _, Ipv4, Ipv6},
    tables::{AffinityRule, Endpoint, EndpointKey, SelectionKind},
};

use super::{Writer, live::Live, scope::Scope};
use crate::{
    compile::{Desired, ServiceKey},
    dataplane::{DataplaneError, FoundService, Tables},
    model::{Family, Protocol, ServiceName},
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
    pub fn retain(&mut self, desired: &Desired, scope: &Scope<'_>) {
        if self.taken.is_empty() {
            return;
        }
        for key in scope.services() {
            let group = (key.service.clone(), key.family);
            if self.taken.contains_key(&group) && !has_affinity(desired, key) {
                self.taken.remove(&group);
            }
        }
    }
}

/// Whether any port of a service's Service has affinity in its family.
fn has_affinity(desired: &Desired, key: &ServiceKey) -> bool {
    let first = ServiceKey {
        service: key.service.clone(),
        port: String::new(),
        protocol: Protocol::Tcp,
        family: Family::V4,
    };
    let ports = desired.services.range(first..);
    let mut ports = ports.take_while(|(other, _)| other.service == key.service);
    ports.any(|(other, one)| other.family == key.family && one.affinity != 0)
}

impl Writer {
    /// Stores the endpoints of services with affinity that are new or changed. Their backends are there.
    pub(super) fn store_endpoints(
        &mut self,
        tables: &Tables,
        scope: &Scope<'_>,
    ) -> Result<(), DataplaneError> {
        let wanted = self.wanted_endpoints(scope);
        let differing = wanted.iter().filter(|(key, one)| self.endpoints.get(key) != Some(one));
        let differing: Vec<(EndpointKey, Endpoint)> =
            differing.map(|(key, one)| (*key, *one)).collect();
        tables.endpoints.update(&differing)?;
        self.endpoints.extend(differing);
        Ok(())
    }

    /// Removes those that nobody wants any more.
    pub(super) fn remove_endpoints(
        &mut self,
        tables: &Tables,
        scope: &Scope<'_>,
        numbers: &[u32],
    ) -> Result<(), DataplaneError> {
        let wanted = self.wanted_endpoints(scope);
        let found: Vec<EndpointKey> = if scope.is_whole {
            self.endpoints.keys().copied().collect()
        } else {
            numbers.iter().flat_map(|number| self.endpoints_of(*number)).collect()
        };
        let gone: Vec<EndpointKey> =
            found.into_iter().filter(|key| !wanted.contains_key(key)).collect();
        tables.endpoints.remove(&gone)?;
        for key in gone {
            self.endpoints.remove(&key);
        }
        Ok(())
    }

    fn endpoints_of(&self, service: u32) -> impl Iterator<Item = EndpointKey> + '_ {
        let key = |endpoint| EndpointKey { service, endpoint };
        self.endpoints.range(key(0)..=key(u32::MAX)).map(|(key, _)| *key)
    }

    fn wanted_endpoints(&self, scope: &Scope<'_>) -> BTreeMap<EndpointKey, Endpoint> {
        let live = scope.services().filter_map(|key| self.services.get(key));
        live.filter(|live| live.affinity.seconds != 0).flat_map(endpoints_of).collect()
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
