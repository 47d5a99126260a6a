//! Real sockets through the real programs: who gets an answer from whom, and what they see of each
//! other. Needs root.

mod common;

use std::{net::SocketAddr, time::Instant};

use anyhow::{Context as _, Result};
use common::{BACKENDS, BRIEFLY, Bed, SOON};
use lb_tests::{
    echo::{self, cluster_ip, name, node_port},
    lab::{
        Cluster, Namespace,
        cast::{self, Family},
    },
    traffic::{Protocol, Session, assert_fair, many, request},
};

/// All that a family and a protocol must do, from one client.
fn each(mut check: impl FnMut(Family, Protocol) -> Result<()>) -> Result<()> {
    for family in Family::BOTH {
        for protocol in Protocol::BOTH {
            check(family, protocol)?;
        }
    }
    Ok(())
}

fn names() -> Vec<String> {
    BACKENDS.map(name).to_vec()
}

fn assert_balanced(client: &Namespace, protocol: Protocol, target: SocketAddr) {
    let tally = many(client, protocol, target, 300, 8);
    tally.assert_all_answered();
    let names = names();
    assert_fair(&tally, &names.iter().map(String::as_str).collect::<Vec<_>>());
}

/// The same for each family and protocol.
fn assert_balanced_each(client: &Namespace, target: fn(Family) -> SocketAddr) {
    for family in Family::BOTH {
        for protocol in Protocol::BOTH {
            assert_balanced(client, protocol, target(family));
        }
    }
}

#[test]
fn a_pod_reaches_all_endpoints_of_a_cluster_ip() -> Result<()> {
    let bed = Bed::standard()?;
    assert_balanced_each(bed.cluster.pod(1, 3), cluster_ip);
    Ok(())
}

#[test]
fn the_outside_reaches_all_endpoints_of_a_node_port_by_native_xdp() -> Result<()> {
    let bed = Bed::standard()?;
    let status = bed.lb.status()?;
    let attached = status["attached"].as_array().context("what is attached")?;
    let modes: Vec<_> = attached
        .iter()
        .filter(|one| one["point"] == "uplink-xdp")
        .map(|one| one["mode"].clone())
        .collect();
    assert_eq!(modes, ["xdp-native"], "{status:#}");
    assert_balanced_each(bed.cluster.outside(), node_port);
    Ok(())
}

#[test]
fn a_pod_reaches_all_endpoints_of_a_node_port() -> Result<()> {
    let bed = Bed::standard()?;
    assert_balanced_each(bed.cluster.pod(1, 3), node_port);
    Ok(())
}

#[test]
fn an_endpoint_sees_the_address_of_a_pod() -> Result<()> {
    let bed = Bed::standard()?;
    each(|family, protocol| {
        for _ in 0..20 {
            let answer = request(bed.cluster.pod(1, 3), protocol, cluster_ip(family), SOON)?;
            assert_eq!(answer.peer.ip(), cast::pod(1, 3).ip(family));
        }
        Ok(())
    })
}

#[test]
fn a_local_endpoint_sees_the_address_of_an_outside_client_and_a_remote_one_the_nodes() -> Result<()>
{
    let bed = Bed::standard()?;
    each(|family, protocol| {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..60 {
            let answer = request(bed.cluster.outside(), protocol, node_port(family), SOON)?;
            let expected = if answer.name == name((2, 1)) {
                cast::NODE1.ip(family)
            } else {
                cast::OUTSIDE.ip(family)
            };
            assert_eq!(answer.peer.ip(), expected, "{}", answer.name);
            seen.insert(answer.name);
        }
        assert_eq!(seen.len(), BACKENDS.len());
        Ok(())
    })
}

#[test]
fn a_pod_that_is_its_services_only_endpoint_reaches_itself() -> Result<()> {
    let bed = Bed::start(Cluster::start()?, &[(1, 1)], &[])?;
    each(|family, protocol| {
        let answer = request(bed.cluster.pod(1, 1), protocol, cluster_ip(family), SOON)?;
        assert_eq!(answer.name, name((1, 1)));
        assert_eq!(answer.peer.ip(), cast::service(family, 10), "its peer is the service");
        Ok(())
    })
}

#[test]
fn traffic_that_is_no_services_is_left_alone() -> Result<()> {
    let bed = Bed::standard()?;
    each(|family, protocol| {
        for (client, backend) in [((1, 3), (1, 1)), ((1, 3), (2, 1)), ((2, 3), (1, 2))] {
            let target = cast::pod(backend.0, backend.1).socket(family, echo::BACKEND_PORT);
            let answer = request(bed.cluster.pod(client.0, client.1), protocol, target, SOON)?;
            assert_eq!(answer.name, name(backend));
            assert_eq!(answer.peer.ip(), cast::pod(client.0, client.1).ip(family));
        }
        Ok(())
    })
}

#[test]
fn without_checksum_offload_everything_is_answered_too() -> Result<()> {
    let cluster = Cluster::builder().checksum_offload(false).start()?;
    let bed = Bed::start(cluster, &BACKENDS, &[])?;
    assert_balanced_each(bed.cluster.pod(1, 3), cluster_ip);
    assert_balanced_each(bed.cluster.outside(), node_port);
    Ok(())
}

#[test]
fn without_xdp_everything_is_answered_too() -> Result<()> {
    let bed = Bed::start(Cluster::start()?, &BACKENDS, &["--xdp", "off"])?;
    assert_balanced_each(bed.cluster.outside(), node_port);
    Ok(())
}

#[test]
fn with_netlink_filters_everything_is_answered_too() -> Result<()> {
    let bed = Bed::start(Cluster::start()?, &BACKENDS, &["--tc", "filter"])?;
    let status = bed.lb.status()?;
    let attached = status["attached"].as_array().expect("a list");
    assert!(attached.iter().any(|one| one["mode"] == "filter"), "{status:#}");
    assert_balanced_each(bed.cluster.pod(1, 3), cluster_ip);
    assert_balanced_each(bed.cluster.outside(), node_port);
    Ok(())
}

#[test]
fn a_connection_lives_on_while_other_endpoints_come_and_go() -> Result<()> {
    let bed = Bed::standard()?;
    let mut sessions = Vec::new();
    each(|family, protocol| {
        for (client, target) in [
            (bed.cluster.pod(1, 3), cluster_ip(family)),
            (bed.cluster.outside(), node_port(family)),
        ] {
            for _ in 0..8 {
                let mut session = Session::open(client, protocol, target, SOON)?;
                let answer = session.ask()?;
                sessions.push((session, answer));
            }
        }
        Ok(())
    })?;
    let steady = name(BACKENDS[1]);
    assert!(sessions.iter().any(|(_, first)| first.name == steady));
    for backends in [&BACKENDS[..2], &BACKENDS[..], &BACKENDS[1..], &BACKENDS[..]] {
        bed.set_backends(backends)?;
        for (session, first) in sessions.iter_mut().filter(|(_, first)| first.name == steady) {
            assert_eq!(session.ask()?, *first);
        }
    }
    Ok(())
}

#[test]
fn a_removed_endpoint_gets_no_new_connections_and_a_terminating_one_keeps_its_old_ones()
-> Result<()> {
    let bed = Bed::start(Cluster::start()?, &[(1, 1)], &[])?;
    let client = bed.cluster.pod(1, 3);
    let mut old = Session::open(client, Protocol::Tcp, cluster_ip(Family::V4), SOON)?;
    assert_eq!(old.ask()?.name, name((1, 1)));
    let _server = echo::serve(&bed.cluster, (1, 2))?;
    let mut endpoints = echo::endpoints(&[(1, 2)]);
    endpoints.extend(
        echo::endpoints(&[(1, 1)])
            .into_iter()
            .map(|one| lb_tests::manifests::Endpoint::terminating(one.address)),
    );
    bed.manifests.write_endpoints(&bed.service, &endpoints)?;
    bed.lb.wait_for("the second endpoint", |status| {
        status["services"].as_array().is_some_and(|services| {
            services.iter().all(|one| one["backends"].as_array().map(Vec::len) == Some(2))
        })
    })?;
    for _ in 0..50 {
        let answer = request(client, Protocol::Tcp, cluster_ip(Family::V4), SOON)?;
        assert_eq!(answer.name, name((1, 2)));
    }
    assert_eq!(old.ask()?.name, name((1, 1)), "terminating, but serving what it has");
    Ok(())
}

#[test]
fn udp_of_a_removed_endpoint_moves_with_the_next_packet() -> Result<()> {
    let bed = Bed::start(Cluster::start()?, &[(1, 1)], &[])?;
    let _server = echo::serve(&bed.cluster, (1, 2))?;
    let mut session =
        Session::open(bed.cluster.pod(1, 3), Protocol::Udp, cluster_ip(Family::V4), SOON)?;
    assert_eq!(session.ask()?.name, name((1, 1)));
    bed.manifests.write_endpoints(&bed.service, &echo::endpoints(&[(1, 2)]))?;
    bed.lb.wait_for("the other endpoint", |status| {
        status.to_string().contains(&format!("{}:8080", cast::pod(1, 2).v4))
            && !status.to_string().contains(&format!("{}:8080", cast::pod(1, 1).v4))
    })?;
    assert_eq!(session.ask()?.name, name((1, 2)));
    Ok(())
}

#[test]
fn a_pod_that_appears_is_served_without_a_restart() -> Result<()> {
    let bed = Bed::start(Cluster::start()?, &BACKENDS, &["--workload", "veth-late*"])?;
    let client = bed.cluster.pod(1, 3);
    let target = cluster_ip(Family::V4);
    assert!(request(client, Protocol::Tcp, target, BRIEFLY).is_err(), "not a workload yet");
    let interface = cast::host_side(1, 3);
    bed.cluster.node(1).ip(&format!("link set dev {interface} down\nlink set dev {interface} name veth-late\nlink set dev veth-late up\nroute replace {} dev veth-late", cast::pod(1, 3).v4))?;
    bed.lb.wait_for("the new workload", |status| status.to_string().contains("veth-late"))?;
    request(client, Protocol::Tcp, target, SOON)?;
    Ok(())
}

#[test]
fn a_connection_follows_a_node_that_changes_its_link_layer_address() -> Result<()> {
    let bed = Bed::start(Cluster::start()?, &[(2, 1)], &[])?;
    let node = bed.cluster.node(2);
    // The node tells its neighbours, as one does whose address was taken over.
    node.sysctl(&[
        ("net/ipv4/conf/eth0/arp_notify", "1"),
        ("net/ipv6/conf/eth0/ndisc_notify", "1"),
    ])?;
    let mut sessions = Vec::new();
    each(|family, protocol| {
        let target = node_port(family);
        let mut session = Session::open(bed.cluster.outside(), protocol, target, BRIEFLY)?;
        let first = session.ask()?;
        sessions.push((session, first));
        Ok(())
    })?;
    node.ip("link set dev eth0 address 02:00:00:00:77:77")?;
    // What is sent before the news has come is lost, as it is on any network.
    let deadline = Instant::now() + SOON;
    for (session, first) in &mut sessions {
        let answer = loop {
            match session.ask() {
                Err(_) if Instant::now() < deadline => {}
                answer => break answer?,
            }
        };
        assert_eq!(answer, *first);
        // One packet a second finds its way by the kernel's table anyhow; all have to.
        for _ in 0..5 {
            assert_eq!(session.ask()?, *first);
        }
    }
    Ok(())
}
