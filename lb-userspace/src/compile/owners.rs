//! Whose addresses are. The node's own are nobody else's, and those of Services that another proxy serves
//! are left to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{NodeFacts, desired::AddressOwner};
use crate::model::{Family, Proxying, Service, ServiceName};

/// What Services say of addresses. Of several that name one, the last by name counts.
#[derive(Debug, Default)]
pub(super) struct Owners(BTreeMap<IpAddr, BTreeMap<ServiceName, AddressOwner>>);

impl Owners {
    /// Notes a Service's addresses, and returns them.
    pub(super) fn add(&mut self, service: &Service) -> BTreeSet<IpAddr> {
        let addresses = addresses(service);
        let here = service.proxying == Proxying::Here;
        let owner = if here { AddressOwner::Service } else { AddressOwner::Other };
        for address in &addresses {
            self.0.entry(*address).or_default().insert(service.name.clone(), owner);
        }
        addresses
    }

    /// Forgets a Service's addresses, and returns them.
    pub(super) fn remove(&mut self, service: &Service) -> BTreeSet<IpAddr> {
        let addresses = addresses(service);
        for address in &addresses {
            let Some(names) = self.0.get_mut(address) else { continue };
            names.remove(&service.name);
            if names.is_empty() {
                self.0.remove(address);
            }
        }
        addresses
    }

    /// Whose an address is, whether anything answers there or not.
    pub(super) fn owner(&self, address: IpAddr, node: &NodeFacts) -> Option<AddressOwner> {
        if node.node_addresses.contains(&address) {
            return Some(AddressOwner::Other);
        }
        self.0.get(&address)?.last_key_value().map(|(_, owner)| *owner)
    }
}

/// The addresses that a Service names: of its own families, and if it is not ours, its cluster IPs only.
fn addresses(service: &Service) -> BTreeSet<IpAddr> {
    let traffic = &service.traffic;
    let further = traffic.load_balancer_ips.iter().chain(&traffic.external_ips).filter(|address| {
        service.proxying == Proxying::Here
            && service.families().any(|family| family == Family::of(**address))
    });
    service.cluster_ips.iter().chain(further).copied().collect()
}
