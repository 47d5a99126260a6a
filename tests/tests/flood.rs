//! A flood of first packets with invented senders: established connections don't notice, and new ones are still made.
//! Needs root.

mod common;

use anyhow::{Context as _, Result, ensure};
use common::{Bed, SOON};
use lb_tests::{
    echo::{cluster_ip, node_port},
    lab::{
        Cluster,
        cast::{Family, NODE1, OUTSIDE},
    },
    packet::{Packet, flags},
    patience::connections,
    traffic::{FrameSocket, Protocol, Session, request},
};
/// For so many packets of the flood there is one established connection.
const FOR_EACH: u64 = 1_000;

/// How many packets of the flood for each connection of the tests of many connections.
const TIMES: u64 = 10;

/// Sends SYNs to a node port, each from an address and a port of its own.
fn flood(socket: &FrameSocket, packets: u64) -> Result<()> {
    let target = node_port(Family::V4);
    let mut frame = Packet::ipv4()
        .macs(OUTSIDE.mac, NODE1.mac)
        .addresses(OUTSIDE.v4.into(), target.ip())
        .ports(0, target.port())
        .tcp(flags::SYN)
        .build();
    for number in 0..packets {
        // 198.18.0.0/15 is for benchmarks (RFC 2544). Checksums are wrong; nobody asks for them before
        // the endpoint does, which the flood is not meant for.
        let [_, high, middle, low] = u32::try_from(number % (1 << 17))?.to_be_bytes();
        frame[26..30].copy_from_slice(&[198, 18 + high, middle, low]);
        frame[34..36].copy_from_slice(&u16::try_from(1_024 + number / (1 << 17))?.to_be_bytes());
        socket.send(&frame).context("a packet of the flood")?;
    }
    Ok(())
}

#[test]
fn a_flood_of_syns_breaks_no_connection_and_hinders_no_new_one() -> Result<()> {
    let cluster = Cluster::start()?;
    // So that answers to the flood have somewhere to go, and no neighbour is looked for.
    let way = format!("route add 198.18.0.0/15 via {}", OUTSIDE.v4);
    for node in [1, 2] {
        cluster.node(node).ip(&way)?;
    }
    let bed = Bed::start(cluster, &common::BACKENDS, &[])?;
    let packets = connections() * TIMES;
    let mut sessions = Vec::new();
    for number in 0..packets / FOR_EACH {
        let family = if number % 2 == 0 { Family::V4 } else { Family::V6 };
        let (client, target) = match number % 3 {
            0 => (bed.cluster.pod(1, 3), cluster_ip(family)),
            _ => (bed.cluster.outside(), node_port(family)),
        };
        let mut session = Session::open(client, Protocol::Tcp, target, SOON)?;
        let name = session.ask()?.name;
        sessions.push((session, name));
    }
    let begun = bed.lb.counter("flow_created")?;

    let socket = FrameSocket::open(bed.cluster.outside(), "eth0")?;
    let quarter = packets / 4;
    for _ in 0..4 {
        flood(&socket, quarter)?;
        for family in Family::BOTH {
            request(bed.cluster.outside(), Protocol::Tcp, node_port(family), SOON)?;
            request(bed.cluster.pod(1, 3), Protocol::Tcp, cluster_ip(family), SOON)?;
        }
    }
    // The same senders four times: most are forgotten in between, which is what the flood is for.
    let flooded = bed.lb.counter("flow_created")? - begun;
    ensure!(flooded >= quarter / 2, "the flood was none: {flooded} flows of {packets} packets");
    for (session, name) in &mut sessions {
        let answer = session.ask().context("an established connection")?;
        assert_eq!(answer.name, *name);
    }
    assert_eq!(bed.lb.counter("drop_flow_table_full")?, 0);
    println!("{} connections, {packets} packets, {flooded} flows begun", sessions.len());
    Ok(())
}
