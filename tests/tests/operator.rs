//! What an operator does beside writing manifests: leaves the uplinks to be found, and writes a configuration
//! file. Needs root.

mod common;

use std::fs;

use anyhow::{Result, ensure};
use common::{BACKENDS, SOON, binary};
use lb_tests::{
    echo::{self, node_port},
    lab::{
        Cluster,
        cast::{self, Family},
    },
    manifests::Manifests,
    process::LoadBalancer,
    traffic::{EchoServer, Protocol, request},
};
use serde_json::Value;

/// A cluster with the echo service on some pods, and its manifests.
fn cluster() -> Result<(Cluster, Vec<EchoServer>, Manifests)> {
    let cluster = Cluster::start()?;
    let mut servers = Vec::new();
    for pod in BACKENDS {
        servers.extend(echo::serve(&cluster, pod)?);
    }
    let manifests = Manifests::new()?;
    manifests.write_service(&echo::service(), &echo::endpoints(&BACKENDS))?;
    Ok((cluster, servers, manifests))
}

/// The uplinks and why they are, as `eth0: IPv4 default route`.
fn uplinks(status: &Value) -> Vec<String> {
    let all = status["uplinks"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all.map(|one| format!("{}: {}", text(&one["interface"]), text(&one["why"]))).collect()
}

#[test]
fn uplinks_are_found_and_come_and_go_with_addresses_and_default_routes() -> Result<()> {
    let (cluster, _servers, manifests) = cluster()?;
    let node = cluster.node(1);
    let directory = manifests.path().to_str().expect("a path of plain characters");
    let lb = LoadBalancer::start(node, binary(), &["--manifests", directory])?;
    let address = format!("eth0: address {}", cast::NODE1.ip(Family::V4));
    assert_eq!(uplinks(&lb.status()?), [address.as_str()], "pods' interfaces are veths, too");
    for family in Family::BOTH {
        for protocol in Protocol::BOTH {
            for _ in 0..10 {
                request(cluster.outside(), protocol, node_port(family), SOON)?;
            }
        }
    }

    let over = |family| format!("default via {}", cast::OUTSIDE.ip(family));
    node.ip(&format!("route add {}\n", over(Family::V4)))?;
    lb.wait_for("a route", |status| uplinks(status) == ["eth0: IPv4 default route"])?;
    node.ip(&format!("route add {}\n", over(Family::V6)))?;
    lb.wait_for("both families", |status| uplinks(status) == ["eth0: default routes"])?;
    // Of two that go one goes: what is left is known.
    node.ip(&format!("route add {} metric 77\n", over(Family::V4)))?;
    node.ip(&format!(
        "route del {} metric 77\nroute del {}\n",
        over(Family::V4),
        over(Family::V6)
    ))?;
    lb.wait_for("one family", |status| uplinks(status) == ["eth0: IPv4 default route"])?;

    node.ip("link add over1 type vxlan id 8 dstport 4790 dev eth0\nlink set over1 up\n")?;
    node.ip("route add default dev over1 metric 99\n")?;
    let both = ["eth0: IPv4 default route", "over1: IPv4 default route"];
    lb.wait_for("another uplink", |status| uplinks(status) == both)?;
    lb.wait_for("its programs", |status| attached(status, "over1") > 0)?;
    node.ip("route del default dev over1 metric 99\n")?;
    let status = lb.wait_for("its end", |status| uplinks(status) == both[..1])?;
    assert_eq!(attached(&status, "over1"), 0, "{status:#}");
    request(cluster.outside(), Protocol::Tcp, node_port(Family::V4), SOON)?;

    // The kernel takes the route along without a word.
    node.ip("address flush dev eth0 scope global\n")?;
    let status = lb.wait_for("no uplink", |status| uplinks(status).is_empty())?;
    let mut notes = status["notes"].as_array().into_iter().flatten();
    ensure!(notes.any(|note| note.to_string().contains("no uplink")), "{status:#}");
    Ok(())
}

/// How many programs are attached to an interface.
fn attached(status: &Value, interface: &str) -> usize {
    let all = status["attached"].as_array().into_iter().flatten();
    all.filter(|one| one["interface"] == interface).count()
}

#[test]
fn an_overlay_with_an_address_is_an_uplink_and_a_pods_gateway_is_none() -> Result<()> {
    let (cluster, _servers, manifests) = cluster()?;
    let node = cluster.node(1);
    let directory = manifests.path().to_str().expect("a path of plain characters");
    node.ip(&format!(
        "route add default via {}\n\
         link add cni0 type bridge\nlink set cni0 up\naddress add 10.77.0.1/24 dev cni0\n\
         link add over0 type vxlan id 7 dstport 4789 dev eth0\nlink set over0 up\n\
         address add 10.78.0.1/32 dev over0\n",
        cast::OUTSIDE.ip(Family::V4)
    ))?;
    let lb = LoadBalancer::start(node, binary(), &["--manifests", directory])?;
    let found = ["eth0: IPv4 default route", "over0: address 10.78.0.1"];
    assert_eq!(uplinks(&lb.status()?), found);
    node.ip("address del 10.78.0.1/32 dev over0\n")?;
    lb.wait_for("one uplink", |status| uplinks(status) == found[..1])?;
    Ok(())
}

#[test]
fn a_configuration_file_is_enough() -> Result<()> {
    let (cluster, _servers, manifests) = cluster()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("lb.yaml");
    let text = format!(
        "manifests: {}\nuplinks: [eth0]\nxdp: \"off\"\nsampleEvents: 3\n",
        manifests.path().display()
    );
    fs::write(&file, text)?;
    let file = file.to_str().expect("a path of plain characters");
    let lb = LoadBalancer::start(cluster.node(1), binary(), &["--config", file])?;
    let status = lb.status()?;
    assert_eq!(uplinks(&status), ["eth0: named"]);
    let attached = status["attached"].as_array().into_iter().flatten();
    let xdp = attached.filter(|one| one["point"] == "uplink-xdp").count();
    assert_eq!(xdp, 0, "{status:#}");
    request(cluster.outside(), Protocol::Udp, node_port(Family::V4), SOON)?;
    Ok(())
}
