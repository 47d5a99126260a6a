//! Which endpoints a port of a Service has, and which of them are used. Traffic policies and
//! topology narrow the choice here.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::desired::{BackendKey, BackendState, DesiredService, Otherwise, Table};
use crate::model::{Endpoint, EndpointSlice, Hints, Service, ServicePort, TrafficPolicy};

/// Where clients of this node are.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The node.
    pub node: &'a str,
    /// Its zone, if that is known.
    pub zone: Option<&'a str>,
}

/// The endpoints of one port in one family, each address and port once.
#[derive(Debug, Default)]
pub(super) struct Endpoints(BTreeMap<BackendKey, Merged>);

/// What all slices together say of an endpoint.
#[derive(Clone, Copy, Debug)]
struct Merged {
    condition: Condition,
    /// It is on this node.
    local: bool,
    /// What its hints say of nodes.
    nodes: Hint,
    /// What its hints say of zones.
    zones: Hint,
    weight: u16,
}

/// What hints say of this node, or of its zone. In the order of preference, least first, as with
/// conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hint {
    /// Nothing.
    None,
    /// The endpoint is meant for others.
    Elsewhere,
    /// It is meant for this one.
    Here,
}

/// The endpoints that count.
#[derive(Clone, Copy)]
enum Among {
    All,
    Local,
}

/// What an endpoint can be used for. In the order of preference, least first: where slices differ
/// (a pod is on its way from one to another), the best counts, so that their order doesn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Condition {
    /// For nothing.
    Unready,
    /// For what is open.
    Terminating,
    /// For what is open, and for new flows if no endpoint is ready (KEP-1669).
    ServingTerminating,
    /// For everything.
    Ready,
}

impl Hint {
    fn of(names: &BTreeSet<String>, here: Option<&str>) -> Self {
        if names.is_empty() {
            Self::None
        } else if here.is_some_and(|here| names.contains(here)) {
            Self::Here
        } else {
            Self::Elsewhere
        }
    }
}

/// The endpoints behind a port, of slices of its family: of those with a port of the same name and protocol, which
/// also carries the number.
pub(super) fn endpoints<'a>(
    slices: impl Iterator<Item = &'a EndpointSlice>,
    port: &ServicePort,
    place: Place<'_>,
) -> Endpoints {
    let mut endpoints = Endpoints::default();
    for slice in slices {
        let same = slice
            .ports
            .iter()
            .filter(|other| other.name == port.name && other.protocol == port.protocol);
        for number in same.map(|port| port.port.get()) {
            for endpoint in &slice.endpoints {
                endpoints.merge(endpoint, number, place);
            }
        }
    }
    endpoints
}

impl Endpoints {
    fn merge(&mut self, endpoint: &Endpoint, port: u16, place: Place<'_>) {
        let key = BackendKey { address: endpoint.address, port };
        let condition = Condition::of(endpoint);
        let local = endpoint.node.as_deref() == Some(place.node);
        let Hints { nodes, zones } = &endpoint.hints;
        let (nodes, zones) = (Hint::of(nodes, Some(place.node)), Hint::of(zones, place.zone));
        self.0
            .entry(key)
            .and_modify(|one| {
                one.condition = condition.max(one.condition);
                one.local |= local;
                one.nodes = nodes.max(one.nodes);
                one.zones = zones.max(one.zones);
                one.weight = endpoint.weight.max(one.weight);
            })
            .or_insert(Merged { condition, local, nodes, zones, weight: endpoint.weight });
    }

    /// The addresses of those on this node that are ready.
    pub(super) fn ready_here(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let here = self.0.iter().filter(|(_, one)| one.local && one.condition == Condition::Ready);
        here.map(|(key, _)| key.address)
    }

    /// The service, but for its frontends.
    pub(super) fn into_service(mut self, service: &Service) -> DesiredService {
        let balancing = &service.traffic.balancing;
        for (key, one) in &mut self.0 {
            one.weight = balancing.weights.get(&key.address).copied().unwrap_or(one.weight);
        }
        let of = |among, otherwise| Table::of(balancing.algorithm, self.usable(among), otherwise);
        let all = of(Among::All, Otherwise::Refuse);
        let table = |policy| match policy {
            TrafficPolicy::Cluster => all.clone(),
            // One that is going counts too: whoever is in front of the nodes sends elsewhere.
            TrafficPolicy::Local if all.slots.is_empty() => of(Among::Local, Otherwise::Refuse),
            TrafficPolicy::Local => of(Among::Local, Otherwise::Drop),
        };
        let traffic = &service.traffic;
        let (internal, external) = (table(traffic.internal_policy), table(traffic.external_policy));
        let weights = self.0.iter().filter(|(_, one)| one.weight != 1);
        let weights = weights.map(|(key, one)| (*key, one.weight)).collect();
        let backends = self.0.into_iter();
        let backends = backends.filter_map(|(key, one)| Some((key, one.condition.state()?)));
        DesiredService {
            frontends: BTreeMap::new(),
            backends: backends.collect(),
            weights,
            all,
            internal,
            external,
            affinity: traffic.affinity.unwrap_or(0),
            source_ranges: traffic.source_ranges.iter().copied().collect(),
            packets_only: traffic.packets_only,
        }
    }

    /// Those that new flows may go to: the ready ones; if there are none, those that still serve. The
    /// rule holds for all and for those of this node by itself.
    fn usable(&self, among: Among) -> Vec<(BackendKey, u16)> {
        let all_that_are = |wanted| {
            let found = self.0.iter().filter(move |(_, one)| {
                one.condition == wanted && (one.local || matches!(among, Among::All))
            });
            found.collect::<Vec<_>>()
        };
        let ready = all_that_are(Condition::Ready);
        let usable = match among {
            _ if ready.is_empty() => all_that_are(Condition::ServingTerminating),
            Among::All => nearest(ready),
            Among::Local => ready,
        };
        usable.into_iter().map(|(key, one)| (*key, one.weight)).collect()
    }
}

/// Those of the ready endpoints that are meant for this node, else those for its zone, else all. Hints
/// count if every one of them has some, and one is for here (kube-proxy, `topologyModeFromHints`).
fn nearest<'a>(ready: Vec<(&'a BackendKey, &'a Merged)>) -> Vec<(&'a BackendKey, &'a Merged)> {
    for hint in [|one: &Merged| one.nodes, |one: &Merged| one.zones] {
        let all_have = ready.iter().all(|(_, one)| hint(one) != Hint::None);
        if all_have && ready.iter().any(|(_, one)| hint(one) == Hint::Here) {
            return ready.into_iter().filter(|(_, one)| hint(one) == Hint::Here).collect();
        }
    }
    ready
}

impl Condition {
    fn of(endpoint: &Endpoint) -> Self {
        match endpoint {
            Endpoint { ready: true, .. } => Self::Ready,
            Endpoint { terminating: true, serving: true, .. } => Self::ServingTerminating,
            Endpoint { terminating: true, .. } => Self::Terminating,
            _ => Self::Unready,
        }
    }

    fn state(self) -> Option<BackendState> {
        match self {
            Self::Ready => Some(BackendState::Ready),
            Self::ServingTerminating | Self::Terminating => Some(BackendState::Terminating),
            Self::Unready => None,
        }
    }
}
