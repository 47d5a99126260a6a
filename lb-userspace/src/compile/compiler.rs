//! The tables of all Services, kept up with the objects. What a change costs is what changed, and a look at
//! each object's place in memory. Where it ends does not depend on how it got there: a compiler that
//! followed any changes has the same tables as a new one.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::IpAddr,
    sync::Arc,
};

use super::{
    NodeFacts,
    claims::{Claims, Dealt, Line},
    desired::{AddressOwner, Desired, DesiredService, Frontend, HealthCheck, ServiceKey},
    endpoints::{Endpoints, Place, endpoints},
    health::LocalEndpoints,
    news::News,
    owners::Owners,
    ranges::strange,
};
use crate::model::{
    Conflict, EndpointSlice, Family, Model, Proxying, Service, ServiceName, SliceName,
};

/// The tables, and what they were made of.
#[derive(Debug, Default)]
pub struct Compiler {
    model: Arc<Model>,
    node: NodeFacts,
    /// The node's addresses that no Service has as its cluster IP: where node ports are served.
    for_node_ports: Vec<IpAddr>,
    /// The slices of each Service.
    slices: BTreeMap<ServiceName, BTreeSet<SliceName>>,
    /// The lines of each Service that we proxy.
    lines: BTreeMap<ServiceName, Vec<Arc<Line>>>,
    claims: Claims,
    owners: Owners,
    /// Why Services are refused.
    refused: BTreeMap<ServiceName, Vec<Conflict>>,
    desired: Desired,
}

/// What of the tables may be otherwise than it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// Anything.
    Everything,
    /// This.
    These(Elements),
}

/// Some of the tables' elements, which may be there or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elements {
    /// Services.
    pub services: BTreeSet<ServiceKey>,
    /// Addresses.
    pub addresses: BTreeSet<IpAddr>,
}

/// What was touched so far.
#[derive(Default)]
struct Work {
    elements: Elements,
    frontends: BTreeSet<Frontend>,
}

impl Compiler {
    /// The tables.
    pub const fn desired(&self) -> &Desired {
        &self.desired
    }

    /// The tables, of which there will be no more.
    pub fn into_desired(self) -> Desired {
        self.desired
    }

    /// Makes the tables those for all Services of `model` on `node`.
    pub fn follow(&mut self, model: &Arc<Model>, node: &NodeFacts) -> Touched {
        let before = mem::replace(&mut self.model, Arc::clone(model));
        let news = News::between(&before, model);
        let is_the_same = before.nodes.get(&node.name) == model.nodes.get(&node.name);
        if *node == self.node && is_the_same && !self.moves_node_ports(&news) {
            return Touched::These(self.take_in(&news, BTreeSet::new()));
        }
        *self = Self {
            model: Arc::clone(model),
            node: node.clone(),
            for_node_ports: for_node_ports(model, node),
            ..Self::default()
        };
        self.take_in(&News::between(&Model::default(), model), node.node_addresses.clone());
        Touched::Everything
    }

    /// Whether a Service gets, has or had one of the node's addresses as its cluster IP: then other Services'
    /// node ports are served elsewhere.
    fn moves_node_ports(&self, news: &News<'_>) -> bool {
        let services = news.services.values().flat_map(|(before, after)| [*before, *after]);
        let mut addresses = services.flatten().flat_map(|service| &service.cluster_ips);
        addresses.any(|address| self.node.node_addresses.contains(address))
    }

    fn take_in(&mut self, news: &News<'_>, addresses: BTreeSet<IpAddr>) -> Elements {
        for (slice, before, after) in &news.slices {
            if let Some((service, slices)) =
                before.and_then(|service| Some((service, self.slices.get_mut(service)?)))
            {
                slices.remove(slice);
                if slices.is_empty() {
                    self.slices.remove(service);
                }
            }
            if let Some(service) = after {
                let slices = self.slices.entry(ServiceName::clone(service)).or_default();
                slices.insert(SliceName::clone(slice));
            }
        }
        let elements = Elements { addresses, ..Elements::default() };
        let mut work = Work { elements, ..Work::default() };
        for service in news.services.values().filter_map(|(before, _)| *before) {
            self.take_out(service, &mut work);
        }
        for service in news.services.values().filter_map(|(_, after)| *after) {
            self.put_in(service, &mut work);
        }
        for name in news.endpoints.iter().filter(|name| !news.services.contains_key(*name)) {
            self.renew(name, &mut work);
        }
        for frontend in mem::take(&mut work.frontends) {
            self.deal(frontend, &mut work);
        }
        work.elements.addresses.retain(|address| self.settle(*address));
        let refused = self.refused.values().flatten().cloned();
        self.desired.conflicts = refused.chain(self.claims.conflicts()).collect();
        work.elements
    }

    /// Forgets a Service as it was.
    fn take_out(&mut self, service: &Service, work: &mut Work) {
        if self.refused.remove(&service.name).is_some() {
            return;
        }
        work.elements.addresses.extend(self.owners.remove(service));
        self.desired.health_checks.remove(&service.name);
        for line in self.lines.remove(&service.name).unwrap_or_default() {
            work.frontends.extend(self.claims.remove(&line, service, &self.for_node_ports));
            self.desired.services.remove(&line.key);
            work.elements.services.insert(line.key.clone());
        }
    }

    /// Takes a Service as it is, as yet without frontends.
    fn put_in(&mut self, service: &Service, work: &mut Work) {
        let strange = strange(service, &self.node.service_ranges);
        if !strange.is_empty() {
            self.refused.insert(service.name.clone(), strange);
            return;
        }
        work.elements.addresses.extend(self.owners.add(service));
        if service.proxying != Proxying::Here {
            return;
        }
        let mut lines = Vec::new();
        for family in service.families() {
            for (index, port) in service.ports.iter().enumerate() {
                let key = ServiceKey::of(service, port, family);
                let desired = self.tables(service, index, family);
                let guarded = !desired.source_ranges.is_empty();
                let line = Arc::new(Line::new(&service.name, index, family, key, guarded));
                work.frontends.extend(self.claims.add(&line, service, &self.for_node_ports));
                work.elements.services.insert(line.key.clone());
                self.desired.services.insert(line.key.clone(), desired);
                lines.push(line);
            }
        }
        self.lines.insert(service.name.clone(), lines);
        self.check(service);
    }

    /// Looks at the endpoints of a Service anew, which is as it was.
    fn renew(&mut self, name: &ServiceName, work: &mut Work) {
        let model = Arc::clone(&self.model);
        let (Some(service), Some(lines)) = (model.services.get(name), self.lines.get(name)) else {
            return;
        };
        for line in lines {
            let mut new = self.tables(service, line.index, line.family);
            let Some(old) = self.desired.services.get_mut(&line.key) else { continue };
            new.frontends.clone_from(&old.frontends);
            if *old == new {
                continue;
            }
            if old.all.slots.is_empty() != new.all.slots.is_empty() {
                work.elements.addresses.extend(new.frontends.keys().map(|one| one.address));
            }
            *old = new;
            work.elements.services.insert(line.key.clone());
        }
        self.check(service);
    }

    /// What a port of a Service leads to in one family.
    fn tables(&self, service: &Service, index: usize, family: Family) -> DesiredService {
        let mut desired = self.endpoints(service, index, family).into_service(service);
        desired.source_ranges.retain(|range| Family::of(range.address) == family);
        desired
    }

    /// What a Service's health check tells, if it has one.
    fn check(&mut self, service: &Service) {
        let Some(port) = service.traffic.health_check_port else { return };
        let mut local = LocalEndpoints::default();
        for family in service.families() {
            for index in 0..service.ports.len() {
                local.note(family, &self.endpoints(service, index, family));
            }
        }
        let check = HealthCheck { port: port.get(), local_endpoints: local.count() };
        self.desired.health_checks.insert(service.name.clone(), check);
    }

    fn endpoints(&self, service: &Service, index: usize, family: Family) -> Endpoints {
        let Some(port) = service.ports.get(index) else { return Endpoints::default() };
        let zone = self.model.nodes.get(&self.node.name).and_then(|node| node.zone.as_deref());
        let place = Place { node: &self.node.name, zone };
        let slices = self.slices.get(&service.name).into_iter().flatten();
        let slices = slices.filter_map(|name| self.model.slices.get(name).map(Arc::as_ref));
        let slices = slices.filter(|slice: &&EndpointSlice| slice.family == family);
        endpoints(slices, port, place)
    }

    /// Gives a frontend to whom it belongs.
    fn deal(&mut self, frontend: Frontend, work: &mut Work) {
        let Dealt { from, to } = self.claims.deal(frontend);
        work.elements.addresses.insert(frontend.address);
        if let Some(line) = from
            && let Some(service) = self.desired.services.get_mut(&line.key)
        {
            service.frontends.remove(&frontend);
            work.elements.services.insert(line.key.clone());
        }
        if let Some((line, kind)) = to
            && let Some(service) = self.desired.services.get_mut(&line.key)
        {
            service.frontends.insert(frontend, kind);
            work.elements.services.insert(line.key.clone());
        }
    }

    /// Finds out whose an address is; returns whether it was another's.
    fn settle(&mut self, address: IpAddr) -> bool {
        let addresses = &mut self.desired.addresses;
        let Some(mut owner) = self.owners.owner(address, &self.node) else {
            return addresses.remove(&address).is_some();
        };
        let services = &self.desired.services;
        let answers =
            |line: &Line| services.get(&line.key).is_some_and(|one| !one.all.slots.is_empty());
        if owner == AddressOwner::Service && self.claims.holders(address).any(answers) {
            owner = AddressOwner::Answering;
        }
        addresses.insert(address, owner) != Some(owner)
    }
}

/// The node's addresses for node ports, less those that a Service claims as its cluster IP.
fn for_node_ports(model: &Model, node: &NodeFacts) -> Vec<IpAddr> {
    let mut addresses = node.node_port_addresses(model);
    let here = model.services.values().filter(|one| strange(one, &node.service_ranges).is_empty());
    for address in here.flat_map(|service| &service.cluster_ips) {
        addresses.remove(address);
    }
    addresses.into_iter().collect()
}
