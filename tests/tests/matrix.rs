//! Every client position × every endpoint position × family × protocol, on every kind of pod network that
//! nodes have, with and without checksum offload and the packet filters that come with such networks.
//! Needs root.

mod common;

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use common::{SOON, start_lb};
use lb_tests::{
    lab::{
        Cluster, Namespace, OVERLAY, PodNetwork,
        cast::{self, Family, NODE1, NODE2, OUTSIDE},
    },
    manifests::{Endpoint, Manifests, Service},
    traffic::{EchoServer, Protocol, Session, recorded},
};

/// Where endpoints listen.
const PORT: u16 = 8080;

/// What the cluster is like.
#[derive(Clone, Copy, Debug)]
struct Setting {
    network: PodNetwork,
    checksum_offload: bool,
    netfilter: bool,
    /// `bridge-nf-call-iptables` and its like, where the kernel has them.
    bridge_calls_netfilter: bool,
}

impl Setting {
    /// Whether nobody gets through, because lb has no way from a node to itself, or because of the network: other nodes answer pods through the overlay, where
    /// strict reverse path filtering drops them, unless what pods send out is masqueraded.
    fn forbids(self, way: Way, place: Place) -> bool {
        if let Way::NodeByClusterAddress = way {
            return place == Place::NodeHere;
        }
        self.network == PodNetwork::Vxlan
            && !self.netfilter
            && place == Place::NodeElsewhere
            && !matches!(way, Way::OutsideByNodePort)
    }
}

/// Where an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    PodHere,
    /// The pod that asks.
    Itself,
    PodElsewhere,
    NodeHere,
    NodeElsewhere,
}

impl Place {
    const ALL: [Self; 5] =
        [Self::PodHere, Self::Itself, Self::PodElsewhere, Self::NodeHere, Self::NodeElsewhere];

    fn host(self) -> cast::Host {
        match self {
            Self::PodHere => cast::pod(1, 1),
            Self::Itself => CLIENT,
            Self::PodElsewhere => cast::pod(2, 1),
            Self::NodeHere => NODE1,
            Self::NodeElsewhere => NODE2,
        }
    }

    fn namespace(self, cluster: &Cluster) -> &Namespace {
        match self {
            Self::PodHere => cluster.pod(1, 1),
            Self::Itself => cluster.pod(1, 3),
            Self::PodElsewhere => cluster.pod(2, 1),
            Self::NodeHere => cluster.node(1),
            Self::NodeElsewhere => cluster.node(2),
        }
    }

    /// The Service whose only endpoint it is.
    fn service(self) -> Service {
        let number = 20 + self as u8;
        Service {
            name: ["pod-here", "itself", "pod-elsewhere", "node-here", "node-elsewhere"]
                [self as usize],
            cluster_ips: Family::BOTH.map(|family| cast::service(family, number)).to_vec(),
            port: 80,
            node_port: Some(30_100 + u16::from(number)),
        }
    }
}

/// The pod that asks.
const CLIENT: cast::Host = cast::pod(1, 3);

/// Who asks, and by which address.
#[derive(Clone, Copy, Debug)]
enum Way {
    PodByClusterAddress,
    PodByNodePort,
    OutsideByNodePort,
    /// A process that no program sees connect.
    NodeByClusterAddress,
}

impl Way {
    const ALL: [Self; 4] = [
        Self::PodByClusterAddress,
        Self::PodByNodePort,
        Self::OutsideByNodePort,
        Self::NodeByClusterAddress,
    ];

    fn client(self, cluster: &Cluster) -> &Namespace {
        match self {
            Self::PodByClusterAddress | Self::PodByNodePort => cluster.pod(1, 3),
            Self::OutsideByNodePort => cluster.outside(),
            Self::NodeByClusterAddress => cluster.node(1),
        }
    }

    fn target(self, family: Family, service: &Service) -> Result<SocketAddr> {
        if let Self::PodByClusterAddress | Self::NodeByClusterAddress = self {
            let mut addresses = service.cluster_ips.iter();
            let address = addresses.find(|address| Family::of(**address) == family);
            return Ok(SocketAddr::new(*address.context("an address")?, service.port));
        }
        Ok(NODE1.socket(family, service.node_port.context("a node port")?))
    }
}

/// Short and long requests, each by each, over one connection.
fn talk(client: &Namespace, protocol: Protocol, target: SocketAddr, name: &str) -> Result<()> {
    if protocol == Protocol::Udp {
        return exchange(client, target, name);
    }
    let mut session = Session::open(client, protocol, target, SOON)?;
    for length in [1, 1_400, 100_000, 2] {
        let answer = session.ask_with(&vec![b'x'; length])?;
        ensure!(answer.name == name, "{} answered", answer.name);
    }
    session.finish()?;
    Ok(())
}

/// Short and long datagrams. What is too long for its way is lost, and the next one is not, because its
/// sender was told: each may be asked again.
fn exchange(client: &Namespace, target: SocketAddr, name: &str) -> Result<()> {
    for length in [1, 1_400, 9_000, 2] {
        let mut answer = Err(anyhow!("not asked"));
        for _ in 0..3 {
            let mut session = Session::open(client, Protocol::Udp, target, Duration::from_secs(1))?;
            answer =
                session.ask_with(&vec![b'x'; length]).with_context(|| format!("{length} bytes"));
            if answer.is_ok() {
                break;
            }
        }
        let answer = answer?;
        ensure!(answer.name == name, "{} answered", answer.name);
    }
    Ok(())
}

fn check(setting: Setting) -> Result<()> {
    let cluster = Cluster::builder()
        .network(setting.network)
        .checksum_offload(setting.checksum_offload)
        .netfilter(setting.netfilter)
        .start()?;
    set_bridge_calls(&cluster, setting.bridge_calls_netfilter)?;
    // As the default route of a node leads to a router.
    cluster.node(1).ip(&format!(
        "route add 10.96.0.0/16 via {}\nroute add fd00:96::/112 via {}\n",
        OUTSIDE.v4, OUTSIDE.v6
    ))?;

    let manifests = Manifests::new()?;
    let mut servers = Vec::new();
    for place in Place::ALL {
        let mut endpoints = Vec::new();
        for family in Family::BOTH {
            let address = place.host().ip(family);
            endpoints.push(Endpoint::ready(SocketAddr::new(address, PORT)));
            for protocol in Protocol::BOTH {
                let (namespace, name) = (place.namespace(&cluster), place.service().name);
                servers.push(EchoServer::start(namespace, name, address, PORT, protocol)?);
            }
        }
        manifests.write_service(&place.service(), &endpoints)?;
    }
    let mut arguments = vec!["--workload", "veth-*"];
    if setting.network == PodNetwork::Vxlan {
        arguments.extend(["--uplink", OVERLAY]);
    }
    let lb = start_lb(&cluster, &manifests, &arguments)?;

    let mut failures = String::new();
    let mut count = 0;
    for way in Way::ALL {
        for place in Place::ALL {
            if setting.forbids(way, place) {
                continue;
            }
            for family in Family::BOTH {
                for protocol in Protocol::BOTH {
                    let target = way.target(family, &place.service())?;
                    let client = way.client(&cluster);
                    count += 1;
                    let ask = || talk(client, protocol, target, place.service().name);
                    if let Err(error) = ask() {
                        let what = format!("{way:?}-{place:?}-{family:?}-{protocol}");
                        let nodes = [cluster.node(1), cluster.node(2)];
                        let (again, files) = recorded(&nodes, &what, ask);
                        let again = if again.is_ok() { "succeeded" } else { "failed" };
                        writeln!(failures, "{what}: {error:#}\ntried again it {again}\n{files}")?;
                    }
                }
            }
        }
    }
    ensure!(
        failures.is_empty(),
        "{setting:?}, of {count}:\n{failures}{:#}\n{}",
        lb.status()?["counters"],
        lb.log()
    );
    println!("{setting:?}: {count} of {count}");
    Ok(())
}

/// Whether what a bridge switches goes through packet filters.
fn set_bridge_calls(cluster: &Cluster, on: bool) -> Result<()> {
    for node in 1..=2 {
        let node = cluster.node(node);
        let _inside = node.enter()?;
        for key in ["iptables", "ip6tables"] {
            let key = format!("net/bridge/bridge-nf-call-{key}");
            if std::path::Path::new("/proc/sys").join(&key).exists() {
                node.sysctl(&[(key, if on { "1" } else { "0" })])?;
            }
        }
    }
    Ok(())
}

const PLAIN: Setting = Setting {
    network: PodNetwork::Routed,
    checksum_offload: true,
    netfilter: false,
    bridge_calls_netfilter: false,
};
const FILTERED: Setting = Setting { netfilter: true, ..PLAIN };

/// All kinds of networks with this setting.
fn on_every_network(setting: Setting) -> Result<()> {
    PodNetwork::ALL.into_iter().try_for_each(|network| check(Setting { network, ..setting }))
}

#[test]
fn everybody_reaches_every_endpoint_on_every_pod_network() -> Result<()> {
    on_every_network(PLAIN)
}

#[test]
fn everybody_does_without_checksum_offload_too() -> Result<()> {
    on_every_network(Setting { checksum_offload: false, ..PLAIN })
}

#[test]
fn everybody_does_beside_connection_tracking_and_masquerading() -> Result<()> {
    on_every_network(FILTERED)?;
    on_every_network(Setting { checksum_offload: false, ..FILTERED })
}

#[test]
fn everybody_does_where_bridges_call_packet_filters() -> Result<()> {
    check(Setting { network: PodNetwork::Bridged, bridge_calls_netfilter: true, ..FILTERED })
}
