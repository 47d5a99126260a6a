//! A Service as the data plane's side sees it. How one is read from an API object stands in the
//! modules below, by field.

mod annotations;
mod balancing;
mod cluster_ips;
mod labels;
mod pods;
mod ports;
mod read;
mod traffic;
mod wishes;

use std::{fmt, net::IpAddr, num::NonZeroU16, ops::RangeInclusive, str::FromStr};

use super::{AppProtocol, Family, ServiceName};

pub(super) use balancing::weight;
pub use balancing::{Algorithm, Balancing};
pub(super) use labels::left_alone;
pub use pods::{Distribution, Pods};
pub(super) use ports::{number, protocol};
pub use traffic::{Traffic, TrafficPolicy};
pub use wishes::{BalancerWish, FamilyPolicy, Wishes};

/// The range that Kubernetes keeps for node ports by default.
pub const NODE_PORTS: NodePortRange = NodePortRange { first: 30000, last: 32767 };

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Its type.
    pub service_type: ServiceType,
    /// Whether it is proxied by us.
    pub proxying: Proxying,
    /// Its cluster IPs, at most one of each family; empty for headless and `ExternalName` ones. As long as
    /// the control plane has not seen it: those that are written.
    pub cluster_ips: Vec<IpAddr>,
    /// Its ports, in the manifest's order. Each (number, protocol) and each name occurs once.
    pub ports: Vec<ServicePort>,
    /// Its further addresses, and the rules for its traffic.
    pub traffic: Traffic,
    /// Which pods are its endpoints.
    pub pods: Pods,
    /// What it leaves to the control plane to choose.
    pub wishes: Wishes,
}

/// `spec.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceType {
    /// An address inside of the cluster.
    ClusterIp,
    /// The same, and a port on every node.
    NodePort,
    /// The same, and an address from a load balancer.
    LoadBalancer,
    /// A name in DNS for something elsewhere.
    ExternalName,
}

/// Whether a Service's addresses are proxied by us, and if not, why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proxying {
    /// By us.
    Here,
    /// It has no cluster IP (`clusterIP: None`); DNS gives out the endpoints.
    Headless,
    /// DNS gives out another name.
    ExternalName,
    /// A label (`service.kubernetes.io/service-proxy-name` or `…/headless`) says that it is another
    /// proxy's.
    LeftAlone,
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// The name; `None` only if it is the Service's one port.
    pub name: Option<String>,
    /// The protocol.
    pub protocol: Protocol,
    /// The port on the cluster IP.
    pub port: Port,
    /// The port on the pods. With `EndpointSlices` it decides nothing: the slice's port of the same
    /// name carries the number.
    pub target: TargetPort,
    /// The port on every node.
    pub node_port: Option<Port>,
    /// What is spoken above the protocol, for display.
    pub app_protocol: Option<AppProtocol>,
}

/// `spec.ports[].targetPort`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// The same number on every pod.
    Number(Port),
    /// A name that each pod gives its own number to.
    Name(String),
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port number, 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(NonZeroU16);

/// A range of node ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePortRange {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

impl Service {
    /// The families that it is served in: those of its cluster IPs.
    pub fn families(&self) -> impl Iterator<Item = Family> + '_ {
        self.cluster_ips.iter().copied().map(Family::of)
    }

    /// Whether it has a port for health checks: a load balancer has to know which nodes have endpoints.
    pub fn needs_health_check(&self) -> bool {
        traffic::needs_health_check(self.service_type, self.traffic.external_policy)
    }
}

impl Port {
    /// The number, if it is one that a port can have.
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number, in the machine's byte order.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl FromStr for NodePortRange {
    type Err = NoNodePorts;

    fn from_str(text: &str) -> Result<Self, NoNodePorts> {
        let (first, last) = text.split_once('-').ok_or(NoNodePorts)?;
        let number = |text: &str| text.trim().parse().map_err(|_| NoNodePorts);
        let range = Self { first: number(first)?, last: number(last)? };
        if range.first == 0 || range.first > range.last { Err(NoNodePorts) } else { Ok(range) }
    }
}

/// The text is no range of node ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a range of ports, lowest first, such as 30000-32767")]
pub struct NoNodePorts;

impl NodePortRange {
    /// The range as the standard library has it.
    pub const fn ports(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for NodePortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

impl fmt::Display for ServiceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
            Self::ExternalName => "ExternalName",
        })
    }
}
