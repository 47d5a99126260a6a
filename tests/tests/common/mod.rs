//! What the suites share: the cluster with `lb` on its first node and an echo service behind it.

#![allow(dead_code, reason = "each suite uses its part")]

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use lb_tests::{
    lab::{
        Cluster, Namespace,
        cast::{self, Family},
    },
    manifests::{Endpoint, Manifests, Service},
    process::LoadBalancer,
    traffic::{EchoServer, Protocol},
};

/// Where backends listen.
pub const BACKEND_PORT: u16 = 8080;
/// The service's port.
pub const PORT: u16 = 80;
/// The service's node port.
pub const NODE_PORT: u16 = 30080;
/// For requests that should be answered.
pub const SOON: Duration = Duration::from_secs(5);
/// For requests that should not be answered.
pub const BRIEFLY: Duration = Duration::from_millis(300);

/// The `lb` binary: `$LB_BINARY`, or the one that cargo built beside this test.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| find_binary().expect("the lb binary"))
}

fn find_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("LB_BINARY") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let beside =
        test.parent().and_then(Path::parent).context("the test has no directory")?.join("lb");
    if !beside.exists() {
        bail!(
            "there is no {}; run: cargo xtask test, or cargo build -p lb-userspace",
            beside.display()
        );
    }
    Ok(beside)
}

/// The echo service.
pub fn echo_service() -> Service {
    Service {
        name: "echo",
        cluster_ips: Family::BOTH.map(|family| cast::service(family, 10)).to_vec(),
        port: PORT,
        node_port: Some(NODE_PORT),
    }
}

/// The echo service's address in the cluster.
pub fn cluster_ip(family: Family) -> SocketAddr {
    SocketAddr::new(cast::service(family, 10), PORT)
}

/// The echo service's address on the first node.
pub fn node_port(family: Family) -> SocketAddr {
    cast::NODE1.socket(family, NODE_PORT)
}

/// A pod's endpoints in both families.
pub fn endpoints(pods: &[(u8, u8)]) -> Vec<Endpoint> {
    let both = pods.iter().flat_map(|(node, pod)| {
        Family::BOTH.map(|family| cast::pod(*node, *pod).socket(family, BACKEND_PORT))
    });
    both.map(Endpoint::ready).collect()
}

/// The name under which a pod answers.
pub fn name(pod: (u8, u8)) -> String {
    format!("pod-{}-{}", pod.0, pod.1)
}

/// A cluster whose first node runs `lb`, with the echo service on some pods.
pub struct Bed {
    // In the order in which they have to go.
    pub lb: LoadBalancer,
    pub servers: Vec<EchoServer>,
    pub manifests: Manifests,
    pub service: Service,
    pub cluster: Cluster,
}

impl Bed {
    /// Brings it up.
    pub fn start(cluster: Cluster, backends: &[(u8, u8)], arguments: &[&str]) -> Result<Self> {
        let mut servers = Vec::new();
        for pod in backends {
            servers.extend(serve(cluster.pod(pod.0, pod.1), *pod)?);
        }
        let manifests = Manifests::new()?;
        let service = echo_service();
        manifests.write_service(&service, &endpoints(backends))?;
        let lb = start_lb(&cluster, &manifests, arguments)?;
        Ok(Self { lb, servers, manifests, service, cluster })
    }

    /// The standard one: three pods a node, backends on two of this node and one of the other.
    pub fn standard() -> Result<Self> {
        Self::start(Cluster::start()?, &BACKENDS, &[])
    }

    /// Changes the endpoints and waits until the kernel has them.
    pub fn set_backends(&self, backends: &[(u8, u8)]) -> Result<()> {
        self.manifests.write_endpoints(&self.service, &endpoints(backends))?;
        self.lb.wait_for("the change of endpoints", |status| {
            let services = status["services"].as_array();
            services.is_some_and(|services| {
                services.iter().all(|service| {
                    service["backends"].as_array().map(Vec::len) == Some(backends.len())
                })
            })
        })?;
        Ok(())
    }
}

/// The pods that serve in the standard bed.
pub const BACKENDS: [(u8, u8); 3] = [(1, 1), (1, 2), (2, 1)];

/// Servers of a pod: both families, both protocols.
pub fn serve(namespace: &Namespace, pod: (u8, u8)) -> Result<Vec<EchoServer>> {
    let mut servers = Vec::new();
    for family in Family::BOTH {
        for protocol in Protocol::BOTH {
            servers.push(EchoServer::start(
                namespace,
                &name(pod),
                cast::pod(pod.0, pod.1).ip(family),
                BACKEND_PORT,
                protocol,
            )?);
        }
    }
    Ok(servers)
}

/// `lb` on the cluster's first node.
pub fn start_lb(
    cluster: &Cluster,
    manifests: &Manifests,
    arguments: &[&str],
) -> Result<LoadBalancer> {
    Ok(LoadBalancer::start(cluster.node(1), binary(), &run_arguments(manifests, arguments))?)
}

/// Arguments of `lb run` for the cluster.
pub fn run_arguments<'a>(manifests: &'a Manifests, more: &[&'a str]) -> Vec<&'a str> {
    let directory = manifests.path().to_str().expect("a path of plain characters");
    let mut arguments = vec!["--manifests", directory, "--uplink", "eth0"];
    arguments.extend(more);
    arguments
}
