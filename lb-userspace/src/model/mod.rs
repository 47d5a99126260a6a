//! Services and their endpoints as validated types: what Kubernetes' rules allow, and nothing else.
//!
//! Whatever a source hands in as `k8s-openapi` objects becomes these types or is refused with the
//! field that is wrong, in the API server's words. Rules about one object live with its type; rules
//! between objects (an address that two Services want) live in [`Model::assemble`]. Nothing here
//! knows of files, of the network, or of BPF.

mod address;
mod assemble;
mod endpoints;
mod invalid;
mod legacy;
mod name;
mod node;
mod node_port_addresses;
mod pod;
mod problem;
mod service;

pub use address::{Family, IpRange, NoRange};
pub use assemble::{Conflict, Model};
pub use endpoints::{AppProtocol, Endpoint, EndpointPort, EndpointSlice, Hints};
pub use invalid::{Invalid, Refused, Rule};
pub use legacy::Endpoints;
pub use name::{Kind, ObjectRef, PodName, ServiceName, SliceName};
pub use node::Node;
pub use node_port_addresses::{NoAddresses, NodePortAddresses};
pub use pod::{ContainerPort, Pod};
pub use problem::{Position, Problem};
pub use service::{
    Algorithm, BalancerWish, Balancing, Distribution, FamilyPolicy, NODE_PORTS, NoNodePorts,
    NodePortRange, Pods, Port, Protocol, Proxying, Service, ServicePort, ServiceType, TargetPort,
    Traffic, TrafficPolicy, Wishes,
};
