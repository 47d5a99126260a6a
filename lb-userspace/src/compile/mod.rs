//! Services and endpoints in, tables out: which address leads to which backends. A pure function;
//! nothing here reads a clock, a file or an interface, and nothing here knows how a map is laid out.

pub mod desired;
mod endpoints;
mod frontends;
mod health;
mod ranges;

use std::{collections::BTreeSet, net::IpAddr};

pub use desired::{
    AddressOwner, BackendKey, BackendState, Desired, DesiredService, Frontend, FrontendKind,
    HealthCheck, Otherwise, ServiceKey, Table,
};

use crate::model::{Family, IpRange, Model, NodePortAddresses, Proxying};
use endpoints::{Place, SlicesByService};
use frontends::Line;
use health::LocalEndpoints;

/// What the tables depend on besides Services: facts of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// The addresses of this node.
    pub node_addresses: BTreeSet<IpAddr>,
    /// On which of them node ports are served.
    pub node_ports_on: NodePortAddresses,
    /// Which are its primary ones, unless its Node says so.
    pub primary: BTreeSet<IpAddr>,
    /// Its name, by which endpoints say where they are.
    pub name: String,
    /// The ranges of cluster IPs, as far as they are known: at most one of each family.
    pub service_ranges: Vec<IpRange>,
}

impl NodeFacts {
    /// The node's addresses that node ports are served on.
    pub fn node_port_addresses(&self, model: &Model) -> BTreeSet<IpAddr> {
        let written = model.nodes.get(&self.name).map(|node| &node.primary);
        let written: BTreeSet<IpAddr> = written.into_iter().flatten().copied().collect();
        let primary = if written.is_empty() { &self.primary } else { &written };
        let all = self.node_addresses.iter().copied();
        all.filter(|address| self.node_ports_on.admit(*address, primary)).collect()
    }
}

/// The tables for all Services of `model` on `node`. The same input gives the same output, whatever
/// order slices came in.
pub fn compile(model: &Model, node: &NodeFacts) -> Desired {
    let (model, mut conflicts) = ranges::without_strangers(model, &node.service_ranges);
    let model = model.as_ref();
    let slices = SlicesByService::of(model);
    let zone = model.nodes.get(&node.name).and_then(|node| node.zone.as_deref());
    let place = Place { node: &node.name, zone };
    let mut local = LocalEndpoints::default();
    let mut lines = Vec::new();
    for service in model.services.values().filter(|service| service.proxying == Proxying::Here) {
        for family in service.families() {
            for (index, port) in service.ports.iter().enumerate() {
                let endpoints = slices.endpoints(service, port, family, place);
                local.note(service, family, &endpoints);
                let mut desired = endpoints.into_service(service);
                desired.source_ranges.retain(|range| Family::of(range.address) == family);
                let key = ServiceKey::of(service, port, family);
                lines.push(Line { service, port, index, family, key, desired });
            }
        }
    }
    conflicts.extend(frontends::deal_out(&mut lines, model, node));
    let mut addresses = frontends::owners(model, node);
    for line in lines.iter().filter(|line| !line.desired.all.slots.is_empty()) {
        for frontend in line.desired.frontends.keys() {
            if let Some(owner @ AddressOwner::Service) = addresses.get_mut(&frontend.address) {
                *owner = AddressOwner::Answering;
            }
        }
    }
    Desired {
        services: lines.into_iter().map(|line| (line.key, line.desired)).collect(),
        addresses,
        health_checks: local.into_checks(),
        conflicts,
    }
}

#[cfg(test)]
mod tests;
