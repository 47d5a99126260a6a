//! What the suites share: the cluster with `lb` on its first node and an echo service behind it.

#![allow(dead_code, reason = "each suite uses its part")]

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use lb_tests::{
    echo::{self, Pod},
    lab::Cluster,
    manifests::{Manifests, Service},
    process::LoadBalancer,
    traffic::EchoServer,
};

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
    pub fn start(cluster: Cluster, backends: &[Pod], arguments: &[&str]) -> Result<Self> {
        let mut servers = Vec::new();
        for pod in backends {
            servers.extend(echo::serve(&cluster, *pod)?);
        }
        let manifests = Manifests::new()?;
        let service = echo::service();
        manifests.write_service(&service, &echo::endpoints(backends))?;
        let lb = start_lb(&cluster, &manifests, arguments)?;
        Ok(Self { lb, servers, manifests, service, cluster })
    }

    /// The standard one: three pods a node, backends on two of this node and one of the other.
    pub fn standard() -> Result<Self> {
        Self::start(Cluster::start()?, &BACKENDS, &[])
    }

    /// Changes the endpoints and waits until the kernel has them.
    pub fn set_backends(&self, backends: &[Pod]) -> Result<()> {
        self.manifests.write_endpoints(&self.service, &echo::endpoints(backends))?;
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
pub const BACKENDS: [Pod; 3] = [(1, 1), (1, 2), (2, 1)];

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
