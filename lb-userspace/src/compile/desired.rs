//! What the maps should say, in terms of addresses. How it gets there is the data plane's business.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::model::{Family, Protocol, Service, ServiceName, ServicePort};

/// Everything that should be in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Each port of each Service, for each family.
    pub services: BTreeMap<ServiceKey, DesiredService>,
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
    pub frontends: BTreeSet<Frontend>,
    /// The backends whose flows live on. Not all of them get new ones.
    pub backends: BTreeMap<BackendKey, BackendState>,
    /// What new flows from inside of the cluster choose from.
    pub internal: Table,
    /// What new flows from outside choose from.
    pub external: Table,
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

/// A selection table: a slot is drawn, each as likely as any other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Table {
    /// The slots; each is one of the service's backends. None: nothing can answer.
    pub slots: Vec<BackendKey>,
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
