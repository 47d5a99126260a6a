//! What the maps should say, in terms of addresses. How it gets there is the data plane's business.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::model::{
    Algorithm, Conflict, Family, IpRange, Protocol, Service, ServiceName, ServicePort,
};

/// Everything that should be in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Each port of each Service, for each family.
    pub services: BTreeMap<ServiceKey, DesiredService>,
    /// Whose addresses are, as far as a packet that belongs to no service is judged by it.
    pub addresses: BTreeMap<IpAddr, AddressOwner>,
    /// What load balancers that ask for this node's endpoints are told.
    pub health_checks: BTreeMap<ServiceName, HealthCheck>,
    /// Frontends that two services want: the second is not served there.
    pub conflicts: Vec<Conflict>,
}

/// A port at which is told how many endpoints a Service has on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The port, in the machine's byte order.
    pub port: u16,
    /// How many pods of this node are ready.
    pub local_endpoints: usize,
}

/// Whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressOwner {
    /// A Service's, and nothing else's.
    Service,
    /// A Service's that has endpoints: echo requests are answered there.
    Answering,
    /// The node's own, or that of a Service which another proxy serves.
    Other,
}

/// What is one service to the kernel: one port of a Service in one family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The Service.
    pub service: ServiceName,
    /// The port's name, or its number where it has none.
    pub port: String,
    /// The port's protocol.
    pub protocol: Protocol,
    /// The family.
    pub family: Family,
}

/// Where a service is reached, and what answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredService {
    /// The addresses that lead to it. No other service has any of them.
    pub frontends: BTreeMap<Frontend, FrontendKind>,
    /// The backends whose flows live on. Not all of them get new ones.
    pub backends: BTreeMap<BackendKey, BackendState>,
    /// The weights of those that have another one than 1.
    pub weights: BTreeMap<BackendKey, u16>,
    /// What new flows choose from: all usable endpoints.
    pub all: Table,
    /// What the internal traffic policy leaves of them.
    pub internal: Table,
    /// What the external traffic policy leaves of them.
    pub external: Table,
    /// Seconds for which a client stays with its endpoint; 0: it doesn't.
    pub affinity: u32,
    /// From where guarded frontends admit clients.
    pub source_ranges: BTreeSet<IpRange>,
    /// Sockets are left alone, packets translated.
    pub packets_only: bool,
}

/// What kind of address a frontend has. In the order of precedence, first first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrontendKind {
    /// A cluster IP.
    ClusterIp,
    /// An address of the node; none in particular (unspecified) stands for loopback addresses, which only
    /// sockets know.
    NodePort,
    /// An address of a load balancer.
    LoadBalancer {
        /// Only the service's source ranges are admitted.
        guarded: bool,
    },
    /// One of `externalIPs`.
    External,
}

/// An address that a service is reached at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontend {
    /// The address.
    pub address: IpAddr,
    /// The port, in the machine's byte order.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// A backend of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendKey {
    /// The address.
    pub address: IpAddr,
    /// The port, in the machine's byte order.
    pub port: u16,
}

/// Why a backend's flows live on. In the order of preference, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BackendState {
    /// It is going; what is open may finish.
    Terminating,
    /// It takes traffic.
    Ready,
}

/// A selection table: what an algorithm chooses from. How it lies in memory is made of it when it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Table {
    /// The backends of the service that are chosen from, each once. None: nothing can answer.
    pub slots: Vec<BackendKey>,
    /// The weight of each, without a common divisor; none: all weigh the same.
    pub weights: Vec<u16>,
    /// By which algorithm.
    pub algorithm: Algorithm,
    /// What becomes of clients when there are no slots.
    pub otherwise: Otherwise,
}

/// What becomes of clients for whom there is no endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Otherwise {
    /// They are refused: there is no endpoint anywhere.
    #[default]
    Refuse,
    /// They are dropped: there is one, but a policy leaves none here.
    Drop,
}

impl ServiceKey {
    /// The key of a Service's port in one family.
    pub fn of(service: &Service, port: &ServicePort, family: Family) -> Self {
        let number = || port.port.to_string();
        Self {
            service: service.name.clone(),
            port: port.name.clone().unwrap_or_else(number),
            protocol: port.protocol,
            family,
        }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{} {}", self.service, self.port, self.protocol, self.family)
    }
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", SocketAddr::new(self.address, self.port), self.protocol)
    }
}

impl fmt::Display for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address, self.port).fmt(f)
    }
}
