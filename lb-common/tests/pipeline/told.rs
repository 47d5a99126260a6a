//! What is told of single packets, and of which none is.

use std::net::{IpAddr, SocketAddr};

use lb_common::{
    addr::{Ipv6, Port},
    pipeline::Generation,
    tables::{BackendRef, Half, Sample, SnatPorts},
    verdict::{DropReason, Event},
    wire::L4,
};
use lb_tests::lab::cast::{Family, OUTSIDE};

use crate::{
    traffic::{
        At, POD_IN, UPLINK_IN, UPLINK_OUT, XDP, carrying, each, each_but_sctp, reply, request,
        tuple,
    },
    world::{Front, LOCAL, POD, REMOTE, UPLINK, World},
};

/// A world in which everything is told.
fn telling(backends: &[lb_tests::lab::cast::Host]) -> World {
    let mut world = World::new(backends);
    world.tables.config.sample_events = 1;
    world
}

fn socket(sample: &Sample, address: Ipv6, port: Port) -> SocketAddr {
    let ip = match sample.version {
        4 => IpAddr::V4(address.unmapped().into()),
        _ => IpAddr::V6(address.into()),
    };
    SocketAddr::new(ip, port.to_host())
}

/// Source and destination.
fn ends(sample: &Sample) -> (SocketAddr, SocketAddr) {
    (
        socket(sample, sample.source, sample.source_port),
        socket(sample, sample.destination, sample.destination_port),
    )
}

#[test]
fn a_flow_that_begins_is_told_with_its_endpoint_and_its_packets_are_not() {
    each(|family, l4| {
        let world = telling(&[LOCAL]);
        let question = request(family, l4, OUTSIDE, Front::Node);
        let sent = world.send(UPLINK_IN, &question);
        let told = world.tables.take_told();
        let [sample] = told[..] else { panic!("{told:?}") };
        let backend = world.half(family, Half::Forward).backend;
        assert_eq!(sample.what, Event::FlowCreated as u32);
        assert_eq!(ends(&sample), tuple(&question.build()));
        assert_eq!(sample.service, Front::Node.service(family, l4));
        assert_eq!(sample.backend, backend);
        assert_eq!((sample.ifindex, sample.hook), (UPLINK, UPLINK_IN.hook as u8));
        assert_eq!(sample.protocol, l4.protocol().0);

        world.send(UPLINK_OUT, &reply(family, l4, sent.tuple()));
        world.send(UPLINK_IN, &carrying(question, l4, lb_tests::packet::flags::ACK));
        assert_eq!(world.tables.take_told(), []);
    });
}

#[test]
fn nothing_is_told_unless_somebody_asked_for_it() {
    each(|family, l4| {
        let mut world = World::new(&[LOCAL]);
        world.send(UPLINK_IN, &request(family, l4, OUTSIDE, Front::Node));
        world.choose_from(Front::Cluster, family, l4, &[]);
        world.send(POD_IN, &request(family, l4, POD, Front::Cluster));
        assert_eq!(world.tables.take_told(), []);
    });
}

/// A packet that is dropped is told of, with its reason, once.
#[track_caller]
fn check_drop(at: At, reason: DropReason, spoil: fn(&mut World, Family, L4)) {
    each(|family, l4| {
        let mut world = telling(&[REMOTE]);
        spoil(&mut world, family, l4);
        let question = request(family, l4, OUTSIDE, Front::Node);
        world.send(at, &question);
        let told = world.tables.take_told();
        let [sample] = told[..] else { panic!("{told:?}") };
        assert_eq!(sample.what, reason as u32);
        assert_eq!(ends(&sample), tuple(&question.build()));
        assert_eq!(sample.backend, BackendRef::default());
    });
}

#[test]
fn a_packet_that_is_dropped_is_told_with_its_reason() {
    check_drop(UPLINK_IN, DropReason::NoBackend, |world, family, l4| {
        world.choose_from(Front::Node, family, l4, &[]);
    });
    for at in [UPLINK_IN, XDP] {
        check_drop(at, DropReason::SourcePortsExhausted, |world, _, _| {
            world.tables.config.snat_ports = SnatPorts::default();
        });
    }
}

#[test]
fn what_xdp_leaves_to_tc_is_told_there() {
    each_but_sctp(|family, l4| {
        let mut world = telling(&[REMOTE]);
        world.choose_from(Front::Node, family, l4, &[]);
        world.send(XDP, &request(family, l4, OUTSIDE, Front::Node));
        assert_eq!(world.tables.take_told(), []);
    });
}

#[test]
fn a_packet_of_an_established_flow_that_can_go_no_further_is_told() {
    for family in Family::BOTH {
        let world = telling(&[REMOTE]);
        let question = request(family, L4::Udp, OUTSIDE, Front::Node);
        let sent = world.send(UPLINK_IN, &question);
        world.send(UPLINK_IN, &reply(family, L4::Udp, sent.tuple()));
        for _ in 0..6 {
            world.send(UPLINK_IN, &question);
        }
        assert_eq!(world.half(family, Half::Forward).generation, Generation::Established);
        world.tables.take_told();
        world.send(UPLINK_IN, &question.ttl(1));
        let told = world.tables.take_told();
        let [sample] = told[..] else { panic!("{told:?}") };
        assert_eq!(sample.what, DropReason::TtlExpired as u32);
    }
}

#[test]
fn another_try_is_told_with_the_endpoint_that_was_silent() {
    for family in Family::BOTH {
        let mut world = telling(&[LOCAL, REMOTE]);
        let syn = request(family, L4::Tcp, OUTSIDE, Front::Node);
        world.send(UPLINK_IN, &syn);
        let silent = world.half(family, Half::Forward).backend;
        world.tables.take_told();
        world.now += world.tables.config.touch_interval;
        world.send(UPLINK_IN, &syn);
        let told = world.tables.take_told();
        let [tried, begun] = told[..] else { panic!("{told:?}") };
        assert_eq!((tried.what, tried.backend), (Event::AnotherTried as u32, silent));
        let chosen = world.half(family, Half::Forward).backend;
        assert_eq!((begun.what, begun.backend), (Event::FlowCreated as u32, chosen));
        assert_eq!(ends(&tried), ends(&begun));
    }
}
