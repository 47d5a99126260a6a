//! Services and endpoints in, tables out: which address leads to which backends. A pure function;
//! nothing here reads a clock, a file or an interface, and nothing here knows how a map is laid out.

pub mod desired;
mod endpoints;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

pub use desired::{BackendKey, BackendState, Desired, DesiredService, Frontend, ServiceKey, Table};

use crate::model::{Family, Model, Proxying, Service, ServicePort};
use endpoints::SlicesByService;

/// What the tables depend on besides Services: facts of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// The addresses of this node that node ports are served on.
    pub node_addresses: BTreeSet<IpAddr>,
}

/// The tables for all Services of `model` on `node`. The same input gives the same output, whatever
/// order slices came in.
pub fn compile(model: &Model, node: &NodeFacts) -> Desired {
    let slices = SlicesByService::of(model);
    let node_addresses = free_for_node_ports(model, node);
    let mut services = BTreeMap::new();
    for service in model.services.values().filter(|service| service.proxying == Proxying::Here) {
        for family in service.families() {
            for port in &service.ports {
                let frontends = frontends(service, port, family, &node_addresses);
                let endpoints = slices.endpoints(service, port, family);
                let key = ServiceKey::of(service, port, family);
                services.insert(key, endpoints.into_service(frontends));
            }
        }
    }
    Desired { services }
}

/// The node's addresses, less those that a Service claims as its cluster IP: one frontend must not
/// lead to two Services.
fn free_for_node_ports(model: &Model, node: &NodeFacts) -> BTreeSet<IpAddr> {
    let mut addresses = node.node_addresses.clone();
    for address in model.services.values().flat_map(|service| &service.cluster_ips) {
        addresses.remove(address);
    }
    addresses
}

/// Where a port of a Service is reached: at its cluster IP, and at the node's addresses.
fn frontends(
    service: &Service,
    port: &ServicePort,
    family: Family,
    node_addresses: &BTreeSet<IpAddr>,
) -> BTreeSet<Frontend> {
    let protocol = port.protocol;
    let of_family = |address: &&IpAddr| Family::of(**address) == family;
    let on_cluster_ip = service.cluster_ips.iter().filter(of_family).map(|address| Frontend {
        address: *address,
        port: port.port.get(),
        protocol,
    });
    let on_node = port.node_port.into_iter().flat_map(|node_port| {
        node_addresses.iter().filter(of_family).map(move |address| Frontend {
            address: *address,
            port: node_port.get(),
            protocol,
        })
    });
    on_cluster_ip.chain(on_node).collect()
}

#[cfg(test)]
mod tests;
