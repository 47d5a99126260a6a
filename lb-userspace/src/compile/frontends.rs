//! Where services are reached. One frontend leads to one service: what a cluster IP has, no other address
//! gets, then node ports, then load balancers, then external addresses; among equals the first by
//! name. Who comes second keeps its other frontends.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{
    NodeFacts,
    desired::{AddressOwner, DesiredService, Frontend, FrontendKind, ServiceKey},
};
use crate::model::{
    Conflict, Family, Invalid, Model, ObjectRef, Proxying, Rule, Service, ServicePort,
};

/// A port of a Service in one family, on its way to becoming a service of the kernel.
pub(super) struct Line<'a> {
    pub service: &'a Service,
    pub port: &'a ServicePort,
    /// The port's place in the manifest.
    pub index: usize,
    pub family: Family,
    pub key: ServiceKey,
    pub desired: DesiredService,
}

/// Kinds of frontends, in the order in which they are dealt out.
#[derive(Clone, Copy)]
enum Kind {
    ClusterIp,
    NodePort,
    /// The same wherever on the node, for its sockets.
    AnyNode,
    LoadBalancer,
    External,
}

/// No address in particular.
const ANY_NODE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

/// Deals the frontends out, and tells what was wanted twice.
pub(super) fn deal_out(lines: &mut [Line<'_>], model: &Model, node: &NodeFacts) -> Vec<Conflict> {
    let free = free_for_node_ports(model, node);
    let mut holders: BTreeMap<Frontend, usize> = BTreeMap::new();
    let mut conflicts = Vec::new();
    let kinds =
        [Kind::ClusterIp, Kind::NodePort, Kind::AnyNode, Kind::LoadBalancer, Kind::External];
    for kind in kinds {
        for at in 0..lines.len() {
            for (index, frontend) in lines[at].wanted(kind, &free) {
                match holders.entry(frontend) {
                    Entry::Vacant(entry) => {
                        entry.insert(at);
                        let frontend_kind = lines[at].kind(kind);
                        lines[at].desired.frontends.insert(frontend, frontend_kind);
                    }
                    // An address may be the load balancer's and an external one.
                    Entry::Occupied(entry) if *entry.get() == at => {}
                    // It was told of the node's addresses.
                    Entry::Occupied(_) if matches!(kind, Kind::AnyNode) => {}
                    Entry::Occupied(entry) => {
                        let holder = &lines[*entry.get()];
                        conflicts.push(lines[at].conflict(kind, index, frontend, holder));
                    }
                }
            }
        }
    }
    conflicts
}

/// Whose addresses are. The node's own are nobody else's, and those of Services that another proxy serves
/// are left to it.
pub(super) fn owners(model: &Model, node: &NodeFacts) -> BTreeMap<IpAddr, AddressOwner> {
    let mut owners = BTreeMap::new();
    for service in model.services.values() {
        let here = service.proxying == Proxying::Here;
        let owner = if here { AddressOwner::Service } else { AddressOwner::Other };
        owners.extend(service.cluster_ips.iter().map(|address| (*address, owner)));
        if here {
            let traffic = &service.traffic;
            let further = traffic.load_balancer_ips.iter().chain(&traffic.external_ips);
            let further = further
                .filter(|address| service.families().any(|family| family == Family::of(**address)));
            owners.extend(further.map(|address| (*address, owner)));
        }
    }
    owners.extend(node.node_addresses.iter().map(|address| (*address, AddressOwner::Other)));
    owners
}

/// The node's addresses, less those that a Service claims as its cluster IP.
fn free_for_node_ports(model: &Model, node: &NodeFacts) -> Vec<IpAddr> {
    let mut addresses = node.node_addresses.clone();
    for address in model.services.values().flat_map(|service| &service.cluster_ips) {
        addresses.remove(address);
    }
    addresses.into_iter().collect()
}

impl Line<'_> {
    /// The frontends of a kind, each with its address's place among those of its kind.
    fn wanted(&self, kind: Kind, node_addresses: &[IpAddr]) -> Vec<(usize, Frontend)> {
        let traffic = &self.service.traffic;
        let (addresses, port) = match kind {
            Kind::ClusterIp => (&self.service.cluster_ips[..], Some(self.port.port)),
            Kind::NodePort => (node_addresses, self.port.node_port),
            Kind::AnyNode => (&ANY_NODE[..], self.port.node_port),
            Kind::LoadBalancer => (&traffic.load_balancer_ips[..], Some(self.port.port)),
            Kind::External => (&traffic.external_ips[..], Some(self.port.port)),
        };
        let Some(port) = port else { return Vec::new() };
        let frontend =
            |address| Frontend { address, port: port.get(), protocol: self.port.protocol };
        let all = addresses.iter().enumerate();
        let of_family = all.filter(|(_, address)| Family::of(**address) == self.family);
        of_family.map(|(index, address)| (index, frontend(*address))).collect()
    }

    fn kind(&self, kind: Kind) -> FrontendKind {
        match kind {
            Kind::ClusterIp => FrontendKind::ClusterIp,
            Kind::NodePort | Kind::AnyNode => FrontendKind::NodePort,
            // Ranges of one family guard nothing in the other, as kube-proxy has it.
            Kind::LoadBalancer => {
                FrontendKind::LoadBalancer { guarded: !self.desired.source_ranges.is_empty() }
            }
            Kind::External => FrontendKind::External,
        }
    }

    fn conflict(&self, kind: Kind, index: usize, frontend: Frontend, holder: &Self) -> Conflict {
        let field = match kind {
            Kind::ClusterIp => format!("spec.clusterIPs[{index}]"),
            Kind::NodePort | Kind::AnyNode => format!("spec.ports[{}].nodePort", self.index),
            Kind::LoadBalancer => format!("status.loadBalancer.ingress[{index}].ip"),
            Kind::External => format!("spec.externalIPs[{index}]"),
        };
        let rule = Rule::FrontendTaken {
            address: frontend.address,
            frontend: frontend.to_string(),
            holder: holder.service.name.clone(),
        };
        let object = ObjectRef::from(&self.service.name);
        Conflict { object, invalid: Invalid::new(field, rule) }
    }
}
