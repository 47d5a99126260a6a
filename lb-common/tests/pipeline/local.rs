//! Backends that the kernel's stack delivers to: the packet is translated and goes on, the source
//! stays the client's.

use std::net::SocketAddr;

use lb_common::{
    verdict::{Event, Verdict},
    wire::L4,
};
use lb_tests::{
    lab::cast::{Family, Host, NODE1, OUTSIDE},
    packet::{Packet, flags},
};

use crate::{
    traffic::{At, POD_IN, POD_OUT, UPLINK_IN, UPLINK_OUT, XDP, between, carrying, each, request},
    world::{BACKEND_PORT, CLIENT_PORT, Front, LOCAL, POD, REMOTE, World},
};

/// A client, whom it asks, and who answers.
#[derive(Clone, Copy)]
struct Case {
    client: Host,
    front: Front,
    backend: Host,
    /// Where requests and replies are translated.
    hooks: (At, At),
    /// What only some packets have.
    dress: fn(Packet) -> Packet,
}

const POD_TO_CLUSTER: Case = Case {
    client: POD,
    front: Front::Cluster,
    backend: LOCAL,
    hooks: (POD_IN, POD_OUT),
    dress: |packet| packet,
};

const OUTSIDE_TO_NODE: Case =
    Case { client: OUTSIDE, front: Front::Node, hooks: (UPLINK_IN, UPLINK_OUT), ..POD_TO_CLUSTER };

/// Request and reply are translated, each at its hook, and nothing else about them changes.
fn check(case: Case, family: Family, l4: L4) {
    let world = World::new(&[case.backend]);
    let (request_at, reply_at) = case.hooks;
    let (client, front) = (case.client.socket(family, CLIENT_PORT), case.front.socket(family));
    let backend = case.backend.socket(family, BACKEND_PORT);

    let question = (case.dress)(request(family, l4, case.client, case.front));
    world.send(request_at, &question).is(
        Ok(Verdict::Stack),
        &between(question.clone(), client, backend),
        &[Event::FlowCreated as u32],
    );

    let answer = |from: SocketAddr| {
        let packet = between(Packet::new(family), from, client).macs(NODE1.mac, OUTSIDE.mac);
        (case.dress)(carrying(packet, l4, flags::SYN_ACK).payload(b"an answer"))
    };
    world.send(reply_at, &answer(backend)).is(Ok(Verdict::Stack), &answer(front), &[]);

    let counters = world.tables.backend_traffic(world.backend(case.backend, family, l4).id);
    let bytes = question.build().len() + answer(front).build().len();
    assert_eq!((counters.flows, counters.packets, counters.bytes), (1, 2, bytes as u64));
}

#[test]
fn a_pod_reaches_a_backend_of_its_node_by_the_cluster_address() {
    each(|family, l4| check(POD_TO_CLUSTER, family, l4));
}

#[test]
fn a_pod_reaches_a_backend_of_another_node_with_its_own_source_address() {
    let case = Case { backend: REMOTE, ..POD_TO_CLUSTER };
    each(|family, l4| check(case, family, l4));
}

#[test]
fn a_pod_reaches_a_backend_by_the_node_port() {
    let case = Case { front: Front::Node, ..POD_TO_CLUSTER };
    each(|family, l4| check(case, family, l4));
}

#[test]
fn the_outside_reaches_a_local_backend_by_the_node_port() {
    each(|family, l4| check(OUTSIDE_TO_NODE, family, l4));
}

#[test]
fn xdp_translates_what_the_stack_delivers() {
    let case = Case { hooks: (XDP, UPLINK_OUT), ..OUTSIDE_TO_NODE };
    each(|family, l4| check(case, family, l4));
}

#[test]
fn udp_that_has_no_checksum_gets_none() {
    let case = Case { dress: Packet::udp_without_checksum, ..OUTSIDE_TO_NODE };
    for family in Family::BOTH {
        check(case, family, L4::Udp);
    }
}

#[test]
fn options_and_padding_stay_as_they_are() {
    let case = Case {
        dress: |packet| {
            packet
                .ipv4_options(&[1; 8])
                .traffic_class(0xb8)
                .id(0x1234)
                .flow_label(0xabcde)
                .trailer(7)
        },
        ..OUTSIDE_TO_NODE
    };
    each(|family, l4| check(case, family, l4));
    let longest =
        Case { dress: |packet| packet.ipv4_options(&[1; 40]).payload(b""), ..POD_TO_CLUSTER };
    each(|family, l4| check(longest, family, l4));
}

#[test]
fn a_backend_on_the_node_itself_is_reached_through_the_stack() {
    each(|family, l4| {
        let mut world = World::new(&[LOCAL]);
        world.route(family, LOCAL, lb_common::pipeline::Route::Local);
        let question = request(family, l4, OUTSIDE, Front::Node);
        let (client, backend) =
            (OUTSIDE.socket(family, CLIENT_PORT), LOCAL.socket(family, BACKEND_PORT));
        world.send(XDP, &question).is(
            Ok(Verdict::Stack),
            &between(question.clone(), client, backend),
            &[Event::FlowCreated as u32],
        );
    });
}

#[test]
fn what_the_stack_forwards_keeps_its_time_to_live_even_at_the_end() {
    let case = Case { dress: |packet| packet.ttl(1), ..OUTSIDE_TO_NODE };
    each(|family, l4| check(case, family, l4));
}

#[test]
fn a_translated_packet_matches_at_no_other_hook() {
    each(|family, l4| {
        let world = World::new(&[LOCAL]);
        let question = request(family, l4, POD, Front::Cluster);
        let (client, backend) =
            (POD.socket(family, CLIENT_PORT), LOCAL.socket(family, BACKEND_PORT));
        let translated = world.send(POD_IN, &question).frame;
        let answer = crate::traffic::reply(family, l4, (client, backend)).build();
        for frame in [translated, answer] {
            for at in [POD_IN, UPLINK_IN, UPLINK_OUT, XDP] {
                let sent = world.send_frame(at, frame.clone());
                assert_eq!(
                    sent.outcome,
                    Ok(Verdict::Pass(lb_common::verdict::PassReason::NotOurs))
                );
                assert_eq!(sent.frame, frame);
            }
        }
    });
}

/// RFC 768: a sum that comes out as 0 is sent as 0xffff, because 0 says that there is none.
#[test]
fn a_udp_checksum_that_comes_out_as_zero_is_sent_as_its_other_form() {
    for family in Family::BOTH {
        let world = World::new(&[LOCAL]);
        let question = request(family, L4::Udp, OUTSIDE, Front::Node);
        let (client, backend) =
            (OUTSIDE.socket(family, CLIENT_PORT), LOCAL.socket(family, BACKEND_PORT));
        let inner = between(question.clone(), client, backend);
        let checksum_at = if family == Family::V4 { 40 } else { 60 };
        let payload = (0..=u16::MAX)
            .map(u16::to_be_bytes)
            .find(|word| {
                let frame = inner.clone().payload(word).build();
                frame[checksum_at..checksum_at + 2] == [0xff, 0xff]
            })
            .expect("some word makes the sum come out as 0");
        world.send(UPLINK_IN, &question.payload(&payload)).is(
            Ok(Verdict::Stack),
            &inner.payload(&payload),
            &[Event::FlowCreated as u32],
        );
    }
}
