//! How many endpoints Services have on this node, for those who ask at their health check's port: load
//! balancers, which leave out nodes without one. As kube-proxy counts (`LocalReadyEndpoints`): each address
//! once, whatever its ports; terminating ones don't count, even where they take traffic.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{HealthCheck, endpoints::Endpoints};
use crate::model::{Family, Service, ServiceName};

/// The ready endpoints of this node, of Services with health checks.
#[derive(Debug, Default)]
pub(super) struct LocalEndpoints(BTreeMap<ServiceName, Found>);

#[derive(Debug)]
struct Found {
    port: u16,
    addresses: BTreeMap<Family, BTreeSet<IpAddr>>,
}

impl LocalEndpoints {
    /// Adds those of one port in one family.
    pub(super) fn note(&mut self, service: &Service, family: Family, endpoints: &Endpoints) {
        let Some(port) = service.traffic.health_check_port else { return };
        let found = self.0.entry(service.name.clone());
        let found = found.or_insert(Found { port: port.get(), addresses: BTreeMap::new() });
        found.addresses.entry(family).or_default().extend(endpoints.ready_here());
    }

    /// The checks. A pod with an address of each family is one.
    pub(super) fn into_checks(self) -> BTreeMap<ServiceName, HealthCheck> {
        let check = |Found { port, addresses }| {
            let local_endpoints = addresses.values().map(BTreeSet::len).max().unwrap_or(0);
            HealthCheck { port, local_endpoints }
        };
        self.0.into_iter().map(|(name, found)| (name, check(found))).collect()
    }
}
