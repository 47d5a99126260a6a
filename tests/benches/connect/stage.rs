//! What a case stands on: a cluster of its own, in which a pod of the first node talks to one backend, directly or
//! through a service among others. A fresh one for each case, because rules leave traces in a namespace even when
//! they are removed.

use std::{
    env,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result};
use lb_tests::{
    bench::peers::{Peer, Protocol, Service, Setup},
    lab::{
        Cluster, Namespace,
        cast::{self, NODE1},
    },
    manifests::Manifests,
    process::LoadBalancer,
};

use super::{
    clients::{self, Round, Target},
    server::Server,
};

/// The most clients at once.
pub const MAX_CLIENTS: usize = 32;

const BACKEND_PORT: u16 = 8080;
const SERVICE_PORT: u16 = 80;
/// The pod that the clients are in: its number on the first node.
const CLIENT: u8 = 1;

/// Who is between client and backend.
#[derive(Clone, Copy)]
pub enum Way {
    /// Nobody: the client knows the backend's address.
    Direct,
    /// `lb`, with so many services.
    Lb(u32),
    /// Rules, with so many services.
    Peer(Peer, u32),
}

/// Where the backend is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In another pod of the client's node.
    SameNode,
    /// In a pod of the other node.
    OtherNode,
}

/// A cluster in which connections can be made, to a backend at one place or at each.
pub struct Stage {
    // In the order in which they have to go.
    _lb: Option<(LoadBalancer, Manifests)>,
    _servers: Vec<Server>,
    cluster: Cluster,
    targets: Vec<(Place, Target)>,
}

impl Place {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::SameNode, Self::OtherNode];

    /// In words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::SameNode => "backend on the same node",
            Self::OtherNode => "backend on another node",
        }
    }

    /// The backend's node and its number there, and what it answers.
    const fn backend(self) -> (u8, u8, u8) {
        match self {
            Self::SameNode => (1, 2, b's'),
            Self::OtherNode => (2, 1, b'o'),
        }
    }
}

impl Stage {
    /// Builds one, with a backend at each of these places, behind a service of its own; those are among the ones that
    /// the way has.
    pub fn new(way: Way, places: &[Place]) -> Result<Self> {
        let cluster = Cluster::builder().pods(2).start()?;
        prepare_clients(&cluster)?;
        let (mut servers, mut measured, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        for (number, place) in (0..).zip(places) {
            let (node, pod, name) = place.backend();
            let backend = SocketAddrV4::new(cast::pod(node, pod).v4, BACKEND_PORT);
            servers.push(Server::start(cluster.pod(node, pod), backend, name, MAX_CLIENTS)?);
            let address = match way {
                Way::Direct => backend,
                _ => SocketAddrV4::new(service_address(number), SERVICE_PORT),
            };
            targets.push((*place, Target { address, name }));
            measured.push(service(number, backend));
        }
        let lb = match way {
            Way::Direct => None,
            Way::Lb(services) => Some(start_lb(&cluster, &setup(services, measured))?),
            Way::Peer(peer, services) => {
                peer.load(cluster.node(1), &setup(services, measured))?;
                None
            }
        };
        Ok(Self { _lb: lb, _servers: servers, cluster, targets })
    }

    /// Whether there is a backend at a place.
    pub fn has(&self, place: Place) -> bool {
        self.target(place).is_some()
    }

    /// Lets so many clients of a backend run for a while.
    pub fn round(&self, place: Place, clients: usize, time: Duration) -> Result<Round> {
        let target = self.target(place).with_context(|| format!("there is no {}", place.text()))?;
        let sources: Vec<_> = (0..clients).map(source).collect();
        clients::round(client_pod(&self.cluster), &sources, target, time)
    }

    fn target(&self, place: Place) -> Option<Target> {
        self.targets.iter().find(|(other, _)| *other == place).map(|(_, target)| *target)
    }
}

fn client_pod(cluster: &Cluster) -> &Namespace {
    cluster.pod(1, CLIENT)
}

/// Gives the clients' pod an address for each of them, and many ports.
fn prepare_clients(cluster: &Cluster) -> Result<()> {
    let veth = cast::host_side(1, CLIENT);
    let each = |line: &dyn Fn(Ipv4Addr) -> String| -> String {
        (0..MAX_CLIENTS).map(|client| line(source(client))).collect()
    };
    let addresses = each(&|address| format!("address add {address}/32 dev eth0\n"));
    client_pod(cluster).ip(&addresses)?;
    cluster.node(1).ip(&each(&|address| format!("route add {address}/32 dev {veth}\n")))?;
    client_pod(cluster).sysctl(&[
        ("net/ipv4/ip_local_port_range", "1024 65535"),
        // A service that nobody serves fails in seconds.
        ("net/ipv4/tcp_syn_retries", "2"),
    ])?;
    Ok(())
}

/// The address of a client, in the network of the first node's pods.
fn source(client: usize) -> Ipv4Addr {
    let client = u8::try_from(client).expect("few clients");
    cast::pod(1, 100 + client).v4
}

/// `services` of them. Those that are measured have the lowest numbers, and stand in the middle, where a list that is
/// searched from its beginning finds them half-way.
fn setup(services: u32, measured: Vec<Service>) -> Setup {
    // Pods that there aren't; nobody asks for them.
    let absent = SocketAddrV4::new(cast::pod(9, 1).v4, BACKEND_PORT);
    let numbers = u32::try_from(measured.len()).expect("two at most")..services;
    let mut all: Vec<Service> = numbers.map(|number| service(number, absent)).collect();
    let middle = all.len() / 2;
    all.splice(middle..middle, measured);
    Setup {
        node_addresses: vec![NODE1.v4.into()],
        cluster_cidrs: vec![(IpAddr::V4(Ipv4Addr::new(10, 244, 0, 0)), 16)],
        services: all,
    }
}

fn service(number: u32, endpoint: SocketAddrV4) -> Service {
    Service {
        name: format!("service-{number}"),
        protocol: Protocol::Tcp,
        address: service_address(number).into(),
        port: SERVICE_PORT,
        node_port: None,
        endpoints: vec![SocketAddr::from(endpoint)],
    }
}

fn service_address(number: u32) -> Ipv4Addr {
    let (network, _) = cast::SERVICE_NETWORK_V4;
    Ipv4Addr::from_bits(network.to_bits() + 1 + number)
}

fn start_lb(cluster: &Cluster, setup: &Setup) -> Result<(LoadBalancer, Manifests)> {
    let binary =
        env::var_os("LB_BINARY").context("LB_BINARY names no lb; run: cargo xtask bench")?;
    let manifests = Manifests::new()?;
    manifests.write("services.json", &setup.manifests())?;
    let directory = manifests.path().to_str().context("a path of plain characters")?;
    let arguments = ["--manifests", directory, "--uplink", "eth0"];
    let lb = LoadBalancer::start(cluster.node(1), &PathBuf::from(binary), &arguments)?;
    Ok((lb, manifests))
}
