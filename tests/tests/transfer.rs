//! A hundred megabytes over TCP, there and back, through a Service to an endpoint on another node: from the
//! outside with the node's address, from a pod with its own. What came is what was sent, whatever the links
//! on the way carry, with checksum offload and without. Needs root.
//!
//! ```text
//! client ── router ── outside ── fabric ── node1
//!        a         b     │                         a: the client's link; b: one that only routers see
//!                        └──── c ────────  node2    c: the only way from node1 to node2 and back
//! ```

mod common;

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use common::start_lb;
use lb_tests::{
    echo::{self, BACKEND_PORT, cluster_ip, node_port},
    lab::{
        Cluster, End, Namespace, OVERLAY, PodNetwork, Veth,
        cast::{self, Family, NODE1, NODE2, OUTSIDE},
    },
    manifests::Manifests,
    patience::transfer_bytes,
    traffic::{TransferServer, recorded, transfer},
};
use lb_userspace::dataplane::Features;

/// How long a direction may take. In the lab it is under a second; with what is sent anew after
/// a time-out for each packet that is too big it would be minutes.
const LIMIT: Duration = Duration::from_secs(15);

/// How many bytes packets may have on each link.
#[derive(Clone, Copy, Debug)]
struct Links {
    /// The client's.
    client: u16,
    /// Between two routers before the first node.
    before: u16,
    /// The nodes' uplinks; their pods' as well, less what an overlay takes.
    cluster: u16,
    /// Between the nodes.
    behind: u16,
}

const SAME: Links = Links { client: 1500, before: 1500, cluster: 1500, behind: 1500 };

/// What is worth trying.
const LINKS: [(&str, Links); 6] = [
    ("narrow before the node", Links { before: 1400, ..SAME }),
    ("the same everywhere", SAME),
    ("narrow between the nodes", Links { behind: 1400, ..SAME }),
    ("narrow at the client, long elsewhere", Links { client: 1400, ..LONG }),
    ("long packets, narrow before the node", Links { before: 1400, ..LONG }),
    ("long packets, narrow between the nodes", Links { behind: 1400, ..LONG }),
];

const LONG: Links = Links { client: 9000, before: 9000, cluster: 9000, behind: 9000 };

/// The networks of the links beyond the standard cluster, by number: one host in each ends in 1, one in 2.
fn address(network: u8, host: u8) -> (String, String) {
    (format!("198.51.100.{}", 16 * network + host), format!("2001:db8:10{network}::{host}"))
}

const CLIENT_LINK: u8 = 1;
const BEFORE: u8 = 2;
const BEHIND: u8 = 3;

/// The cluster with the links above beside it.
fn wire(links: Links, network: PodNetwork, offload: bool) -> Result<Cluster> {
    let builder = Cluster::builder().pods(1).mtu(links.cluster).network(network);
    let mut cluster = builder.checksum_offload(offload).start()?;
    let lab = cluster.lab();
    lab.add(&["client", "router"])?;
    let cables = [
        ("client", "eth0", "router", "to-client", links.client),
        ("router", "eth0", "outside", "to-router", links.before),
        ("outside", "to-node2", "node2", "to-outside", links.behind),
    ];
    lab.connect(&cables.map(|(a, to_b, b, to_a, mtu)| Veth {
        a: End::anonymous(a, to_b),
        b: End::anonymous(b, to_a),
        mtu,
    }))?;
    if !offload {
        for (a, to_b, b, to_a, _) in cables {
            lab.set_checksum_offload(a, to_b, false)?;
            lab.set_checksum_offload(b, to_a, false)?;
        }
    }
    for router in ["router", "outside"] {
        let on = [("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")];
        lab.namespace(router)?.sysctl(&on)?;
    }
    let everywhere = [
        ("client", "eth0", CLIENT_LINK, 1),
        ("router", "to-client", CLIENT_LINK, 2),
        ("router", "eth0", BEFORE, 1),
        ("outside", "to-router", BEFORE, 2),
        ("outside", "to-node2", BEHIND, 1),
        ("node2", "to-outside", BEHIND, 2),
    ];
    for (namespace, interface, network, host) in everywhere {
        let (v4, v6) = address(network, host);
        lab.namespace(namespace)?.ip(&format!(
            "link set {interface} up\n\
             address add {v4}/28 dev {interface}\naddress add {v6}/64 dev {interface} nodad\n"
        ))?;
    }
    route(&cluster, network)?;
    cluster.lab().wait_until_running()?;
    Ok(cluster)
}

/// Who sends what where: everything between the client and the nodes through both routers, everything
/// between the nodes through `outside`.
fn route(cluster: &Cluster, network: PodNetwork) -> Result<()> {
    let towards = |namespace: &Namespace, to: [&str; 2], via: (String, String)| {
        let [v4, v6] = to;
        namespace
            .ip(&format!("route replace {v4} via {}\nroute replace {v6} via {}\n", via.0, via.1))
    };
    let outside = (OUTSIDE.v4.to_string(), OUTSIDE.v6.to_string());
    let client_link = ["198.51.100.16/28", "2001:db8:101::/64"];
    let node1 = [&format!("{}/32", NODE1.v4)[..], &format!("{}/128", NODE1.v6)];
    let node2 = [&format!("{}/32", NODE2.v4)[..], &format!("{}/128", NODE2.v6)];
    let pods1 = ["10.244.1.0/24", "fd00:244:1::/64"];
    let pods2 = ["10.244.2.0/24", "fd00:244:2::/64"];
    for (name, via) in [("client", address(CLIENT_LINK, 2)), ("router", address(BEFORE, 2))] {
        towards(cluster.host(name), node1, via)?;
    }
    towards(cluster.outside(), client_link, address(BEFORE, 1))?;
    towards(cluster.outside(), node2, address(BEHIND, 2))?;
    towards(cluster.node(1), client_link, outside.clone())?;
    towards(cluster.node(1), node2, outside.clone())?;
    towards(cluster.node(2), node1, address(BEHIND, 1))?;
    if network == PodNetwork::Routed {
        towards(cluster.outside(), pods1, (NODE1.v4.to_string(), NODE1.v6.to_string()))?;
        towards(cluster.outside(), pods2, address(BEHIND, 2))?;
        towards(cluster.node(1), pods2, outside)?;
        towards(cluster.node(2), pods1, address(BEHIND, 1))?;
    }
    Ok(())
}

/// Everybody's transfers in one such cluster.
fn check(name: &str, links: Links, network: PodNetwork, offload: bool) -> Result<()> {
    let cluster = wire(links, network, offload)?;
    let mut servers = Vec::new();
    for family in Family::BOTH {
        let address = cast::pod(2, 1).ip(family);
        servers.push(TransferServer::start(cluster.pod(2, 1), address, BACKEND_PORT)?);
    }
    let manifests = Manifests::new()?;
    manifests.write_service(&echo::service(), &echo::endpoints(&[(2, 1)]))?;
    let mut arguments = vec!["--workload", "veth-*"];
    if network == PodNetwork::Vxlan {
        arguments.extend(["--uplink", OVERLAY]);
    }
    let lb = start_lb(&cluster, &manifests, &arguments)?;
    let setting = format!("{network:?}, {name}, offload {offload}");
    let mut failures = String::new();
    for family in Family::BOTH {
        for (who, client, target) in [
            ("outside", cluster.host("client"), node_port(family)),
            ("pod", cluster.pod(1, 1), cluster_ip(family)),
        ] {
            let send = || transfer(client, target, transfer_bytes(), LIMIT);
            match send() {
                Ok(took) => println!("{setting}, {who}, {family:?}: {took:?}"),
                Err(error) => {
                    let nodes = [cluster.node(1), cluster.node(2)];
                    let (again, files) =
                        recorded(&nodes, &format!("{setting}-{who}-{family:?}"), send);
                    writeln!(failures, "{who}, {family:?}: {error}; again: {again:?}\n{files}")?;
                }
            }
        }
    }
    ensure!(
        failures.is_empty(),
        "{setting}:\n{failures}{:#}\n{}",
        lb.status()?["counters"],
        lb.log()
    );
    Ok(())
}

/// All links; without offload, where each packet is one of its own, every other.
fn on_all_links(network: PodNetwork, offload: bool) -> Result<()> {
    let mut links = LINKS.into_iter().step_by(if offload { 1 } else { 2 });
    links.try_for_each(|(name, links)| check(name, links, network, offload))
}

/// Bytes that a buffer at XDP has room for at most.
const PAGE: u64 = 4096;

/// From the outside to an endpoint on the node, whose uplink carries packets of several pages. Where XDP knows
/// none of these, TC does the work.
fn check_jumbo_at_xdp(offload: bool) -> Result<()> {
    let builder = Cluster::builder().pods(1).mtu(LONG.cluster);
    let cluster = builder.checksum_offload(offload).start()?;
    let manifests = Manifests::new()?;
    manifests.write_service(&echo::service(), &echo::endpoints(&[(1, 1)]))?;
    let lb = start_lb(&cluster, &manifests, &["--xdp", "native"])?;
    let status = lb.status()?;
    let attached = status["attached"].as_array().context("what is attached")?;
    let modes: Vec<_> = attached.iter().filter(|one| one["point"] == "uplink-xdp").collect();
    let is_at_xdp = modes.len() == 1 && modes[0]["mode"] == "xdp-native";
    let knows_them = Features::tried()?.frags;
    ensure!(is_at_xdp == knows_them, "{status:#}\n{}", lb.log());
    let mut bytes = 0;
    for family in Family::BOTH {
        let address = cast::pod(1, 1).ip(family);
        let _server = TransferServer::start(cluster.pod(1, 1), address, BACKEND_PORT)?;
        let took = transfer(cluster.outside(), node_port(family), transfer_bytes(), LIMIT)?;
        println!("jumbo at XDP, offload {offload}, {family:?}: {took:?}");
        bytes += 2 * transfer_bytes();
    }
    let counters = &lb.status()?["counters"];
    let count = |name: &str| counters[name].as_u64().context("a counter");
    // There and back, acknowledgments too.
    let (translated, declined) = (count("translated_stack")?, count("pass_declined")?);
    ensure!(translated < bytes / PAGE, "packets are no longer than a page: {counters:#}");
    ensure!(!knows_them || declined < translated / 100, "XDP did not do it: {counters:#}");
    Ok(())
}

#[test]
fn packets_of_several_pages_are_translated_by_native_xdp_where_it_knows_them() -> Result<()> {
    check_jumbo_at_xdp(true)?;
    check_jumbo_at_xdp(false)
}

#[test]
fn a_hundred_megabytes_arrive_as_they_were_sent_on_a_routed_network() -> Result<()> {
    on_all_links(PodNetwork::Routed, true)
}

#[test]
fn they_do_without_checksum_offload() -> Result<()> {
    on_all_links(PodNetwork::Routed, false)
}

#[test]
fn they_do_through_an_overlay_whose_packets_are_shorter_than_those_of_clients() -> Result<()> {
    on_all_links(PodNetwork::Vxlan, true)
}

#[test]
fn they_do_through_an_overlay_without_checksum_offload() -> Result<()> {
    on_all_links(PodNetwork::Vxlan, false)
}
