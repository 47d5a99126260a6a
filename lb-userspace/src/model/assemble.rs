//! All objects together, and the rules between them: who has which address and node port, and that
//! no endpoint is a Service. Rules of single objects are older than this: what comes in is valid by
//! itself.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use super::{EndpointSlice, Invalid, Node, ObjectRef, Port, Rule, Service, ServiceName, SliceName};

/// Services and slices that can all be in force at the same time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// The Services.
    pub services: BTreeMap<ServiceName, Arc<Service>>,
    /// The slices, including those of Services that aren't there.
    pub slices: BTreeMap<SliceName, Arc<EndpointSlice>>,
    /// Nodes, as far as they are known.
    pub nodes: BTreeMap<String, Arc<Node>>,
}

/// An object that can't be in force beside another, and is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The object.
    pub object: ObjectRef,
    /// What it can't have, and who has it.
    pub invalid: Invalid,
}

/// What Services have taken so far. As with the API server's allocators, a cluster IP or a node port
/// belongs to one Service, whatever the protocol.
#[derive(Debug, Default)]
struct Taken {
    cluster_ips: BTreeMap<IpAddr, ServiceName>,
    node_ports: BTreeMap<Port, ServiceName>,
}

impl Model {
    /// Puts objects together. Where two want the same, the first by name has it, so that the outcome
    /// doesn't depend on the order of arrival; the others are left out whole, and listed.
    pub fn assemble(
        services: impl IntoIterator<Item = Arc<Service>>,
        slices: impl IntoIterator<Item = Arc<EndpointSlice>>,
    ) -> (Self, Vec<Conflict>) {
        let by_name: BTreeMap<_, _> =
            services.into_iter().map(|service| (service.name.clone(), service)).collect();
        let mut model = Self::default();
        let mut conflicts = Vec::new();
        let mut taken = Taken::default();

        for (name, service) in by_name {
            let found = taken.conflicts(&service);
            if found.is_empty() {
                taken.take(&service);
                model.services.insert(name, service);
            } else {
                let object = ObjectRef::from(&name);
                let conflict = |invalid| Conflict { object: object.clone(), invalid };
                conflicts.extend(found.into_iter().map(conflict));
            }
        }
        for slice in slices {
            match taken.endpoint_conflict(&slice) {
                None => drop(model.slices.insert(slice.name.clone(), slice)),
                Some(invalid) => {
                    conflicts.push(Conflict { object: ObjectRef::from(&slice.name), invalid });
                }
            }
        }
        (model, conflicts)
    }
}

impl Taken {
    fn conflicts(&self, service: &Service) -> Vec<Invalid> {
        let cluster_ips = service.cluster_ips.iter().enumerate().filter_map(|(index, address)| {
            let holder = self.cluster_ips.get(address)?.clone();
            let rule = Rule::ClusterIpTaken { address: *address, holder };
            Some(Invalid::new(format!("spec.clusterIPs[{index}]"), rule))
        });
        let node_ports = service.ports.iter().enumerate().filter_map(|(index, port)| {
            let port = port.node_port?;
            let holder = self.node_ports.get(&port)?.clone();
            let rule = Rule::NodePortTaken { port: port.get(), holder };
            Some(Invalid::new(format!("spec.ports[{index}].nodePort"), rule))
        });
        let health_check_port = service.traffic.health_check_port.and_then(|port| {
            let holder = self.node_ports.get(&port)?.clone();
            let rule = Rule::NodePortTaken { port: port.get(), holder };
            Some(Invalid::new("spec.healthCheckNodePort", rule))
        });
        cluster_ips.chain(node_ports).chain(health_check_port).collect()
    }

    fn take(&mut self, service: &Service) {
        for address in &service.cluster_ips {
            self.cluster_ips.insert(*address, service.name.clone());
        }
        let node_ports = service.ports.iter().filter_map(|port| port.node_port);
        for node_port in node_ports.chain(service.traffic.health_check_port) {
            // One Service may use the number for each protocol.
            if let Entry::Vacant(free) = self.node_ports.entry(node_port) {
                free.insert(service.name.clone());
            }
        }
    }

    fn endpoint_conflict(&self, slice: &EndpointSlice) -> Option<Invalid> {
        slice.endpoints.iter().enumerate().find_map(|(index, endpoint)| {
            let address = endpoint.address;
            let holder = self.cluster_ips.get(&address)?.clone();
            let rule = Rule::EndpointIsClusterIp { address, holder };
            Some(Invalid::new(format!("endpoints[{index}].addresses[0]"), rule))
        })
    }
}

#[cfg(test)]
mod tests;
