//! The echo service that demo and suites use: pods that answer with their name, and the manifests of a
//! Service in front of them.

use std::net::SocketAddr;

use crate::{
    lab::{
        Cluster,
        cast::{self, Family},
    },
    manifests::{Endpoint, Service},
    traffic::{EchoServer, Protocol, Result},
};

/// A pod: the number of its node, and its own.
pub type Pod = (u8, u8);

/// Where pods listen.
pub const BACKEND_PORT: u16 = 8080;
/// The Service's port.
pub const PORT: u16 = 80;
/// The Service's node port.
pub const NODE_PORT: u16 = 30080;

/// The Service, dual stack.
pub fn service() -> Service {
    Service {
        name: "echo",
        cluster_ips: Family::BOTH.map(|family| cluster_ip(family).ip()).to_vec(),
        port: PORT,
        node_port: Some(NODE_PORT),
    }
}

/// The Service's address in the cluster.
pub fn cluster_ip(family: Family) -> SocketAddr {
    SocketAddr::new(cast::service(family, 10), PORT)
}

/// The Service's address on the first node.
pub fn node_port(family: Family) -> SocketAddr {
    cast::NODE1.socket(family, NODE_PORT)
}

/// Ready endpoints: these pods, in both families.
pub fn endpoints(pods: &[Pod]) -> Vec<Endpoint> {
    let both = pods.iter().flat_map(|(node, pod)| {
        Family::BOTH.map(|family| cast::pod(*node, *pod).socket(family, BACKEND_PORT))
    });
    both.map(Endpoint::ready).collect()
}

/// The name under which a pod answers.
pub fn name(pod: Pod) -> String {
    format!("node{}-pod{}", pod.0, pod.1)
}

/// Servers in a pod: both families, both protocols.
pub fn serve(cluster: &Cluster, pod: Pod) -> Result<Vec<EchoServer>> {
    let mut servers = Vec::new();
    for family in Family::BOTH {
        for protocol in Protocol::BOTH {
            let address = cast::pod(pod.0, pod.1).ip(family);
            let namespace = cluster.pod(pod.0, pod.1);
            servers.push(EchoServer::start(
                namespace,
                &name(pod),
                address,
                BACKEND_PORT,
                protocol,
            )?);
        }
    }
    Ok(servers)
}
