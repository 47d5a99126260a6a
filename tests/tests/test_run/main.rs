//! Single packets through the real programs, by `BPF_PROG_TEST_RUN`: the answer, every byte, and every
//! counter. Needs root.
//!
//! - `passes`: what is not ours. `local`: backends that the stack routes to. `remote`: what leaves
//!   without the stack. `xdp`: what XDP finishes and what it leaves to TC.
//! - `odd`: fragments, extension headers, missing stages. `sctp`: the transport that TC alone
//!   knows. `rules`: affinity, source ranges, policies, addresses.
//! - `drops`: every other reason that can be had. `graduation`: how flows move between the two tables.
//! - `features`: what only some kernels have.
//!
//! Traffic over attached programs does not belong here.

#[path = "../bed/mod.rs"]
mod bed;

mod drops;
mod features;
mod graduation;
mod local;
mod odd;
mod passes;
mod reconcile;
mod remote;
mod rules;
mod sctp;
mod xdp;

use std::net::SocketAddr;

use anyhow::Result;
use bed::{
    Backend, Bed, Front, Sent, in_shared_bed,
    world::{CLIENT_PORT, POD, TRANSPORTS},
};
use lb_common::{
    verdict::{Event, PassReason, Verdict},
    wire::L4,
};
use lb_tests::{
    lab::cast::{Family, Host, NODE1, OUTSIDE},
    packet::{Packet, chunk, flags},
};

// Counters, by what they count.
const NOT_OURS: u32 = PassReason::NotOurs as u32;
const DECLINED: u32 = PassReason::Declined as u32;
const STACK: u32 = Verdict::Stack.counter();
const TRANSMIT: u32 = Verdict::Transmit(0).counter();
const RESOLVE: u32 = Verdict::Resolve(0).counter();
const CREATED: u32 = Event::FlowCreated as u32;

/// Runs a test in one bed for each family and transport.
fn each(test: impl Fn(&Bed, Family, L4)) -> Result<()> {
    in_shared_bed(|bed| {
        for family in Family::BOTH {
            for l4 in TRANSPORTS {
                test(bed, family, l4);
            }
        }
        Ok(())
    })
}

/// A request of a client to a service: a SYN if it is TCP.
fn request(family: Family, l4: L4, client: Host, to: SocketAddr) -> Packet {
    let from = client.socket(family, CLIENT_PORT);
    carrying(between(Packet::new(family), from, to), l4, flags::SYN)
        .macs(client.mac, NODE1.mac)
        .payload(b"a question")
}

/// From the pod to a cluster address.
fn from_pod(family: Family, l4: L4, backend: Backend) -> Packet {
    request(family, l4, POD, Front::Cluster.socket(family, backend))
}

/// From the outside to a node port.
fn from_outside(family: Family, l4: L4, backend: Backend) -> Packet {
    request(family, l4, OUTSIDE, Front::Node.socket(family, backend))
}

/// A backend's answer: a SYN-ACK if it is TCP.
fn answer(family: Family, l4: L4, backend: SocketAddr, client: SocketAddr) -> Packet {
    carrying(between(Packet::new(family), backend, client), l4, flags::SYN_ACK)
        .payload(b"an answer, longer")
}

/// The same packet between other addresses and ports.
fn between(packet: Packet, from: SocketAddr, to: SocketAddr) -> Packet {
    packet.addresses(from.ip(), to.ip()).ports(from.port(), to.port())
}

/// The same packet with this transport.
fn carrying(packet: Packet, l4: L4, tcp_flags: u8) -> Packet {
    match l4 {
        L4::Tcp => packet.tcp(tcp_flags),
        L4::Udp => packet.udp(),
        _ if tcp_flags == flags::SYN => packet.sctp(chunk::INIT),
        _ => packet.sctp(chunk::INIT_ACK).tags(1_001, 1_001),
    }
}

/// The source port that SNAT chose, which must be one of its own.
#[track_caller]
fn snat_port(sent: &Sent, family: Family) -> u16 {
    let at = match family {
        Family::V4 => 14 + 20,
        Family::V6 => 14 + 40,
    };
    let port = u16::from_be_bytes([sent.frame[at], sent.frame[at + 1]]);
    let ports = bed::SETTINGS.snat_ports;
    assert!((ports.first..ports.first + ports.count).contains(&port), "source port {port}");
    port
}

/// How many flows there are: in the table that evicts, and in the one that doesn't.
fn flows(bed: &Bed, family: Family) -> (usize, usize) {
    let tables = &bed.tables;
    match family {
        Family::V4 => (count(tables.new_flows_v4.elements()), count(tables.flows_v4.elements())),
        Family::V6 => (count(tables.new_flows_v6.elements()), count(tables.flows_v6.elements())),
    }
}

fn count<T, E: std::fmt::Debug>(elements: Result<Vec<T>, E>) -> usize {
    elements.expect("a readable table").len()
}
