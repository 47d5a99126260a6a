//! Where services are reached. One frontend leads to one service: what a cluster IP has, no other address
//! gets, then node ports, then load balancers, then external addresses; among equals the first by
//! name. Who comes second keeps its other frontends, and gets this one when the first has gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use super::desired::{Frontend, FrontendKind, ServiceKey};
use crate::model::{
    Conflict, Family, Invalid, ObjectRef, Port, Protocol, Rule, Service, ServiceName,
};

/// A port of a Service in one family. In the order of precedence.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    service: ServiceName,
    /// The port's place in the manifest.
    pub index: usize,
    pub family: Family,
    /// What the tables call it.
    pub key: ServiceKey,
    /// Whether its load balancer's addresses admit some clients only.
    guarded: bool,
}

/// Kinds of frontends, in the order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    ClusterIp,
    NodePort,
    /// The same wherever on the node, for its sockets.
    AnyNode,
    LoadBalancer,
    External,
}

/// That a line is to be reached somewhere. In the order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    kind: Kind,
    line: Arc<Line>,
    /// The address's place among those of its kind.
    place: usize,
}

/// Who wants a frontend, and who has it.
#[derive(Debug, Default)]
struct Claimed {
    /// Sorted.
    by: Vec<Claim>,
    holder: Option<Arc<Line>>,
}

/// No address in particular.
const ANY_NODE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

/// All claims.
#[derive(Debug, Default)]
pub(super) struct Claims {
    frontends: BTreeMap<Frontend, Claimed>,
    /// Those that more than one line wants.
    contested: BTreeSet<Frontend>,
}

/// That a frontend leads elsewhere now.
pub(super) struct Dealt {
    /// Who had it.
    pub from: Option<Arc<Line>>,
    /// Who has it, and what kind it is of.
    pub to: Option<(Arc<Line>, FrontendKind)>,
}

impl Line {
    pub(super) fn new(
        service: &ServiceName,
        index: usize,
        family: Family,
        key: ServiceKey,
        guarded: bool,
    ) -> Self {
        Self { service: service.clone(), index, family, key, guarded }
    }
}

impl Claims {
    /// Notes what a line wants; returns which frontends these are.
    pub(super) fn add(
        &mut self,
        line: &Arc<Line>,
        service: &Service,
        node_addresses: &[IpAddr],
    ) -> Vec<Frontend> {
        let claims = wanted(line, service, node_addresses);
        let note = |(frontend, claim)| {
            let by = &mut self.frontends.entry(frontend).or_default().by;
            if let Err(at) = by.binary_search(&claim) {
                by.insert(at, claim);
            }
            frontend
        };
        claims.into_iter().map(note).collect()
    }

    /// Forgets what a line wanted; returns which frontends those were.
    pub(super) fn remove(
        &mut self,
        line: &Arc<Line>,
        service: &Service,
        node_addresses: &[IpAddr],
    ) -> Vec<Frontend> {
        let claims = wanted(line, service, node_addresses);
        let forget = |(frontend, claim)| {
            if let Some(claimed) = self.frontends.get_mut(&frontend) {
                claimed.by.retain(|one| *one != claim);
            }
            frontend
        };
        claims.into_iter().map(forget).collect()
    }

    /// Gives a frontend to whom it belongs.
    pub(super) fn deal(&mut self, frontend: Frontend) -> Dealt {
        let Some(claimed) = self.frontends.get_mut(&frontend) else {
            return Dealt { from: None, to: None };
        };
        let first = claimed.by.first().cloned();
        let from = claimed.holder.take();
        claimed.holder = first.as_ref().map(|claim| Arc::clone(&claim.line));
        let contested = claimed.by.iter().any(|claim| Some(&claim.line) != claimed.holder.as_ref());
        if contested {
            self.contested.insert(frontend);
        } else {
            self.contested.remove(&frontend);
        }
        if first.is_none() {
            self.frontends.remove(&frontend);
        }
        Dealt { from, to: first.map(|claim| (Arc::clone(&claim.line), claim.frontend_kind())) }
    }

    /// Who has frontends at an address.
    pub(super) fn holders(&self, address: IpAddr) -> impl Iterator<Item = &Line> {
        let from = Frontend { address, port: 0, protocol: Protocol::Tcp };
        let these = self.frontends.range(from..).take_while(move |(one, _)| one.address == address);
        these.filter_map(|(_, claimed)| claimed.holder.as_deref())
    }

    /// What was wanted twice: who doesn't have it.
    pub(super) fn conflicts(&self) -> Vec<Conflict> {
        let mut second = Vec::new();
        for frontend in &self.contested {
            let Some(Claimed { by, holder: Some(holder) }) = self.frontends.get(frontend) else {
                continue;
            };
            // Of a node port it was told of the node's addresses.
            let others =
                by.iter().filter(|claim| claim.line != *holder && claim.kind != Kind::AnyNode);
            second.extend(others.map(|claim| (claim, frontend, holder)));
        }
        second.sort_by_key(|(claim, ..)| *claim);
        second.iter().map(|(claim, frontend, holder)| claim.conflict(frontend, holder)).collect()
    }
}

/// What a line wants, and as what.
fn wanted(
    line: &Arc<Line>,
    service: &Service,
    node_addresses: &[IpAddr],
) -> Vec<(Frontend, Claim)> {
    let traffic = &service.traffic;
    let Some(port) = service.ports.get(line.index) else { return Vec::new() };
    let of_kind = |kind| {
        let (addresses, number) = match kind {
            Kind::ClusterIp => (&service.cluster_ips[..], Some(port.port)),
            Kind::NodePort => (node_addresses, port.node_port),
            Kind::AnyNode => (&ANY_NODE[..], port.node_port),
            Kind::LoadBalancer => (&traffic.load_balancer_ips[..], Some(port.port)),
            Kind::External => (&traffic.external_ips[..], Some(port.port)),
        };
        let all = number.into_iter().flat_map(|number| {
            addresses.iter().enumerate().map(move |(place, address)| (place, *address, number))
        });
        let of_family = all.filter(|(_, address, _)| Family::of(*address) == line.family);
        let claim = |(place, address, number): (usize, IpAddr, Port)| {
            let frontend = Frontend { address, port: number.get(), protocol: port.protocol };
            (frontend, Claim { kind, line: Arc::clone(line), place })
        };
        of_family.map(claim).collect::<Vec<_>>()
    };
    [Kind::ClusterIp, Kind::NodePort, Kind::AnyNode, Kind::LoadBalancer, Kind::External]
        .map(of_kind)
        .concat()
}

impl Claim {
    fn frontend_kind(&self) -> FrontendKind {
        match self.kind {
            Kind::ClusterIp => FrontendKind::ClusterIp,
            Kind::NodePort | Kind::AnyNode => FrontendKind::NodePort,
            Kind::LoadBalancer => FrontendKind::LoadBalancer { guarded: self.line.guarded },
            Kind::External => FrontendKind::External,
        }
    }

    fn conflict(&self, frontend: &Frontend, holder: &Line) -> Conflict {
        let place = self.place;
        let field = match self.kind {
            Kind::ClusterIp => format!("spec.clusterIPs[{place}]"),
            Kind::NodePort | Kind::AnyNode => format!("spec.ports[{}].nodePort", self.line.index),
            Kind::LoadBalancer => format!("status.loadBalancer.ingress[{place}].ip"),
            Kind::External => format!("spec.externalIPs[{place}]"),
        };
        let rule = Rule::FrontendTaken {
            address: frontend.address,
            frontend: frontend.to_string(),
            holder: holder.service.clone(),
        };
        let object = ObjectRef::from(&self.line.service);
        Conflict { object, invalid: Invalid::new(field, rule) }
    }
}
