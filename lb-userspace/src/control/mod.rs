//! The control plane of those who have no other: what the API server and its controllers would make of
//! the objects that a source reads. It gives Services what they leave open, and makes slices of pods. Pure
//! functions of what there is and was, but for the store; nothing here knows of BPF.

mod allocate;
mod ledger;
mod pools;
mod range;
mod slices;
mod store;
mod wish;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use allocate::{Before, Services};
use ledger::Changes;
pub use ledger::{Ledger, Record};
pub use pools::{NoPool, Pool};
use store::Store;
pub use store::StoreError;

use crate::model::{
    Conflict, EndpointSlice, Endpoints, Family, FamilyPolicy, IpRange, Model, NODE_PORTS, Node,
    NodePortRange, Pod, PodName, Proxying, Service, ServiceName,
};

/// All objects that are right by themselves.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// Services, as they are written.
    pub services: BTreeMap<ServiceName, Arc<Service>>,
    /// Slices that somebody wrote.
    pub slices: Vec<Arc<EndpointSlice>>,
    /// Endpoints of the older kind; they count for Services without a selector.
    pub endpoints: BTreeMap<ServiceName, Arc<Endpoints>>,
    /// Pods.
    pub pods: BTreeMap<PodName, Arc<Pod>>,
    /// Nodes.
    pub nodes: BTreeMap<String, Arc<Node>>,
}

/// Services that are not among the objects, although they may be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// These: they are named, but wrong.
    Named(BTreeSet<ServiceName>),
    /// Nobody knows: there is something that can't be read.
    Unknown,
}

/// What there is to give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The ranges of cluster IPs, at most one of each family; the first one's family is the default.
    pub ranges: Vec<IpRange>,
    /// The range of node ports.
    pub node_ports: NodePortRange,
    /// The pools of load balancers' addresses.
    pub pools: Vec<Pool>,
}

/// What came of the objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What can be in force.
    pub model: Model,
    /// What was refused, and stays as it was.
    pub refused: Vec<Conflict>,
    /// Whose load balancer has no address, and why.
    pub pending: BTreeMap<ServiceName, String>,
}

/// A control plane, and what it remembers.
#[derive(Debug, Default)]
pub struct ControlPlane {
    config: Config,
    store: Option<Store>,
    ledger: Ledger,
    /// As they were last in force.
    services: Services,
    /// What was last dealt out, and what came of it: endpoints change far more often than Services.
    last: Option<Last>,
}

/// A dealing.
#[derive(Debug)]
struct Last {
    services: Services,
    absent: BTreeSet<ServiceName>,
    refused: Vec<Conflict>,
    pending: BTreeMap<ServiceName, String>,
}

impl Last {
    /// Whether it was this one.
    fn is(&self, services: &Services, absent: &BTreeSet<ServiceName>) -> bool {
        self.services == *services && self.absent == *absent
    }
}

impl Default for Config {
    fn default() -> Self {
        Self { ranges: Vec::new(), node_ports: NODE_PORTS, pools: Vec::new() }
    }
}

impl ControlPlane {
    /// One that remembers nothing of earlier ones, and is not remembered.
    pub fn new(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// One that knows what Services were given by another one, and is not remembered itself.
    pub fn knowing(config: Config, ledger: Ledger) -> Self {
        Self { config, ledger, ..Self::default() }
    }

    /// One that keeps what Services were given in a file.
    pub fn open(config: Config, file: &Path) -> Result<Self, StoreError> {
        let (store, ledger) = Store::open(file)?;
        Ok(Self { config, store: Some(store), ledger, ..Self::default() })
    }

    /// What Services have.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Takes all objects that there are now. What Services are given is written down before anything of it
    /// is told; if that fails, nothing has changed.
    pub fn admit(&mut self, objects: &Objects, missing: &Missing) -> Result<Outcome, StoreError> {
        let absent: BTreeSet<ServiceName> = match missing {
            Missing::Named(names) => names.clone(),
            Missing::Unknown => self.ledger.keys().cloned().collect(),
        };
        let absent = absent.into_iter().filter(|name| !objects.services.contains_key(name));
        let absent = absent.collect();
        if self.last.as_ref().is_none_or(|last| !last.is(&objects.services, &absent)) {
            self.allocate(&objects.services, absent)?;
        }
        let last = self.last.as_ref();

        let made = slices::of(objects, &self.services, |service| self.families(service));
        let selects = |service: &ServiceName| {
            self.services.get(service).is_some_and(|service| !service.pods.selector.is_empty())
        };
        let older = objects.endpoints.values().filter(|one| !selects(&one.service));
        let older = older.flat_map(|one| one.slices.iter().cloned());
        let slices = objects.slices.iter().cloned().chain(made).chain(older);
        let (mut model, conflicts) = Model::assemble(self.services.values().cloned(), slices);
        model.nodes.clone_from(&objects.nodes);
        let mut refused = last.map_or(Vec::new(), |last| last.refused.clone());
        refused.extend(conflicts);
        let pending = last.map_or(BTreeMap::new(), |last| last.pending.clone());
        Ok(Outcome { model, refused, pending })
    }

    fn allocate(
        &mut self,
        services: &Services,
        absent: BTreeSet<ServiceName>,
    ) -> Result<(), StoreError> {
        let before = Before { ledger: &self.ledger, services: &self.services, absent: &absent };
        let dealt = allocate::allocate(services, before, &self.config);
        let changes = Changes::between(&self.ledger, &dealt.ledger);
        if let (Some(store), false) = (&self.store, changes.is_empty()) {
            store.write(&changes)?;
        }
        self.ledger = dealt.ledger;
        self.services = dealt.services;
        let (refused, pending) = (dealt.refused, dealt.pending);
        self.last = Some(Last { services: services.clone(), absent, refused, pending });
        Ok(())
    }

    /// The families of a Service's endpoints.
    fn families(&self, service: &Service) -> Vec<Family> {
        if service.proxying != Proxying::Headless {
            return service.families().collect();
        }
        let wishes = &service.wishes;
        let configured: Vec<Family> =
            self.config.ranges.iter().map(|range| Family::of(range.address)).collect();
        let mut families = wishes.families.clone();
        if families.is_empty() {
            families.push(configured.first().copied().unwrap_or(Family::V4));
        }
        let both = matches!(wishes.policy, Some(FamilyPolicy::Prefer | FamilyPolicy::Require));
        if both && families.len() == 1 {
            families.extend(configured.into_iter().find(|family| *family != families[0]));
        }
        families
    }
}

#[cfg(test)]
mod tests;
