//! Services and endpoints in, tables out: which address leads to which backends. A pure function;
//! nothing here reads a clock, a file or an interface, and nothing here knows how a map is laid out.

pub mod desired;
mod endpoints;
mod frontends;
mod layout;
mod maglev;
mod ranges;

use std::{collections::BTreeSet, net::IpAddr};

pub use desired::{
    AddressOwner, BackendKey, BackendState, Desired, DesiredService, Frontend, FrontendKind,
    Otherwise, ServiceKey, Table,
};

use crate::model::{Family, IpRange, Model, Proxying};
use endpoints::{Place, SlicesByService};
use frontends::Line;

/// What the tables depend on besides Services: facts of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// The addresses of this node that node ports are served on.
    pub node_addresses: BTreeSet<IpAddr>,
    /// Its name, by which endpoints say where they are.
    pub name: String,
    /// The ranges of cluster IPs, as far as they are known: at most one of each family.
    pub service_ranges: Vec<IpRange>,
}

/// The tables for all Services of `model` on `node`. The same input gives the same output, whatever
/// order slices came in.
pub fn compile(model: &Model, node: &NodeFacts) -> Desired {
    let (model, mut conflicts) = ranges::without_strangers(model, &node.service_ranges);
    let model = model.as_ref();
    let slices = SlicesByService::of(model);
    let place = Place { node: &node.name, zone: model.zones.get(&node.name).map(String::as_str) };
    let mut lines = Vec::new();
    for service in model.services.values().filter(|service| service.proxying == Proxying::Here) {
        for family in service.families() {
            for (index, port) in service.ports.iter().enumerate() {
                let endpoints = slices.endpoints(service, port, family, place);
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
        conflicts,
    }
}

#[cfg(test)]
mod tests;
