//! What every Service was given: remembered, so that it keeps it. Where the memory is kept is the store's
//! business.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

use crate::model::{FamilyPolicy, Port, Proxying, Service, ServiceName, ServiceType};

/// What all Services were given.
pub type Ledger = BTreeMap<ServiceName, Record>;

/// What one Service was given, and what it may not change any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "facts that have nothing to do with each other")]
pub struct Record {
    /// It has a name in DNS and nothing else.
    pub external_name: bool,
    /// It would rather have two families, and has what there was.
    pub prefers_two: bool,
    /// It has no cluster IP, on purpose.
    pub headless: bool,
    /// Its cluster IPs.
    pub cluster_ips: Vec<IpAddr>,
    /// Its node ports by the names of its ports; the one without a name is "".
    pub node_ports: BTreeMap<String, u16>,
    /// The port of its health checks, which is of the same range.
    pub health_check_port: Option<u16>,
    /// It is a load balancer.
    pub balancer: bool,
    /// Its load balancer's class.
    pub class: Option<String>,
    /// The addresses that its load balancer was given by us.
    pub balancer_ips: Vec<IpAddr>,
}

impl Record {
    /// The record of a Service that has everything.
    pub fn of(service: &Service, balancer_ips: Vec<IpAddr>) -> Self {
        let named = |port: &crate::model::ServicePort| {
            Some((port.name.clone().unwrap_or_default(), port.node_port?.get()))
        };
        let balancer = service.wishes.balancer.as_ref();
        Self {
            external_name: service.service_type == ServiceType::ExternalName,
            prefers_two: service.wishes.policy == Some(FamilyPolicy::Prefer),
            headless: service.proxying == Proxying::Headless,
            cluster_ips: service.cluster_ips.clone(),
            node_ports: service.ports.iter().filter_map(named).collect(),
            health_check_port: service.traffic.health_check_port.map(Port::get),
            balancer: balancer.is_some(),
            class: balancer.and_then(|balancer| balancer.class.clone()),
            balancer_ips,
        }
    }

    /// All that it has of the range of node ports.
    pub fn all_node_ports(&self) -> impl Iterator<Item = u16> + '_ {
        self.node_ports.values().copied().chain(self.health_check_port)
    }
}

/// Who has what, while it is dealt out. A cluster IP, a node port or a load balancer's address is one
/// Service's, whatever the protocol.
#[derive(Debug, Default)]
pub struct Taken<'a> {
    pub cluster_ips: BTreeMap<IpAddr, &'a ServiceName>,
    pub node_ports: BTreeMap<u16, &'a ServiceName>,
    pub balancer_ips: BTreeMap<IpAddr, &'a ServiceName>,
}

impl<'a> Taken<'a> {
    /// Takes all of a record.
    pub fn take_record(&mut self, name: &'a ServiceName, record: &Record) {
        for address in &record.cluster_ips {
            self.cluster_ips.entry(*address).or_insert(name);
        }
        for port in record.all_node_ports() {
            self.node_ports.entry(port).or_insert(name);
        }
        for address in &record.balancer_ips {
            self.balancer_ips.entry(*address).or_insert(name);
        }
    }
}

/// Takes something for a Service. Fails with the one that has it.
pub fn take<'a, K: Ord>(
    taken: &mut BTreeMap<K, &'a ServiceName>,
    what: K,
    name: &'a ServiceName,
) -> Result<(), &'a ServiceName> {
    let holder = *taken.entry(what).or_insert(name);
    if holder == name { Ok(()) } else { Err(holder) }
}

/// What was written down since: records to keep, and names of those to forget.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes<'a> {
    pub kept: Vec<(&'a ServiceName, &'a Record)>,
    pub forgotten: BTreeSet<&'a ServiceName>,
}

impl<'a> Changes<'a> {
    /// What makes `after` of `before`.
    pub fn between(before: &'a Ledger, after: &'a Ledger) -> Self {
        let differs = |(name, record): &(&ServiceName, &Record)| before.get(*name) != Some(*record);
        Self {
            kept: after.iter().filter(differs).collect(),
            forgotten: before.keys().filter(|name| !after.contains_key(*name)).collect(),
        }
    }

    /// Whether there is nothing to write down.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.forgotten.is_empty()
    }
}
