//! Sockets of the node itself, where no program sees them connect: their requests are translated as they leave, and
//! replies come in where the requests left.

use lb_common::{
    pipeline::Route,
    verdict::{Answer, DropReason, Event, PassReason, Verdict},
    wire::L4,
};
use lb_tests::{
    lab::cast::{Family, NODE1, NODE2, OUTSIDE},
    packet::{Packet, describe, flags},
};

use crate::{
    traffic::{At, POD_IN, UPLINK_IN, UPLINK_OUT, between, carrying, each, reply, request},
    world::{CLIENT_PORT, Front, LOCAL, REMOTE, SNAT_PORTS, UPLINK, World, device_of},
};

/// From a socket of the node.
const HOST_OUT: At = At { own: true, ..UPLINK_OUT };

/// What the node sends to the cluster address, by its router.
fn question(family: Family, l4: L4) -> Packet {
    request(family, l4, NODE1, Front::Cluster).macs(NODE1.mac, OUTSIDE.mac)
}

#[test]
fn a_socket_of_the_node_reaches_a_backend_of_another_node_with_a_port_of_ours() {
    each(|family, l4| {
        let world = World::new(&[REMOTE]);
        let asked = world.send(HOST_OUT, &question(family, l4));
        let (source, backend) = asked.tuple();
        assert_eq!((source.ip(), backend), (NODE1.ip(family), REMOTE.socket(family, 8080)));
        assert!(SNAT_PORTS.contains(lb_common::addr::Port::from_host(source.port())));
        let becomes = between(question(family, l4), source, backend).ttl(63);
        let becomes = becomes.macs(NODE1.mac, NODE2.mac);
        asked.is(Ok(Verdict::Transmit(UPLINK)), &becomes, &[Event::FlowCreated as u32]);

        // The answer comes in by the same uplink: to the stack, with its link-layer addresses.
        let answer = reply(family, l4, (source, backend));
        let client = NODE1.socket(family, CLIENT_PORT);
        let becomes = between(answer.clone(), Front::Cluster.socket(family), client);
        world.send(UPLINK_IN, &answer).is(Ok(Verdict::Stack), &becomes, &[]);
        let more = carrying(question(family, l4), l4, flags::ACK);
        assert_eq!(world.send(HOST_OUT, &more).tuple(), (source, backend));
    });
}

#[test]
fn a_socket_of_the_node_reaches_a_pod_of_the_node_and_is_answered_over_the_uplink() {
    each(|family, l4| {
        let world = World::new(&[LOCAL]);
        let asked = world.send(HOST_OUT, &question(family, l4));
        let (source, backend) = asked.tuple();
        assert_eq!((source.ip(), backend), (NODE1.ip(family), LOCAL.socket(family, 8080)));
        assert_eq!(asked.outcome, Ok(Verdict::Transmit(device_of(LOCAL))));

        let at = At { ifindex: device_of(LOCAL), ..POD_IN };
        let answer = reply(family, l4, (source, backend));
        let client = NODE1.socket(family, CLIENT_PORT);
        let becomes = between(answer.clone(), Front::Cluster.socket(family), client)
            .macs(OUTSIDE.mac, NODE1.mac);
        world.send(at, &answer).is(Ok(Verdict::Inject(UPLINK)), &becomes, &[]);
        // At the uplink it is nobody's any more.
        let not_ours = Ok(Verdict::Pass(PassReason::NotOurs));
        world.send(UPLINK_IN, &becomes).is(not_ours, &becomes, &[]);
    });
}

#[test]
fn later_fragments_of_the_nodes_own_follow_their_first() {
    for family in Family::BOTH {
        let world = World::new(&[REMOTE]);
        let fragment = |at, more| {
            let packet = question(family, L4::Udp).payload(&[at; 64]);
            packet.fragment(u16::from(at) * 9, more, 0x7777)
        };
        let (source, backend) = world.send(HOST_OUT, &fragment(0, true)).tuple();
        let becomes = between(fragment(1, false), source, backend).ttl(63);
        let becomes = becomes.macs(NODE1.mac, NODE2.mac);
        let sent = world.send(HOST_OUT, &fragment(1, false));
        sent.is(Ok(Verdict::Transmit(UPLINK)), &becomes, &[]);
        // What the node forwards is none of these.
        let passed = Ok(Verdict::Pass(PassReason::Fragment));
        world.send(UPLINK_OUT, &fragment(1, false)).is(passed, &fragment(1, false), &[]);
    }
}

/// Not by the node, whose stack takes nothing from its own addresses.
#[test]
fn what_is_too_big_for_the_way_out_is_told_by_the_service() {
    for family in Family::BOTH {
        let world = World::new(&[REMOTE]);
        let sent = world.send(HOST_OUT, &question(family, L4::Udp).payload(&[1; 1_600]));
        assert_eq!(sent.outcome, Ok(Verdict::Answer(Answer::TooBig)));
        let (from, to) = (Front::Cluster.socket(family).ip(), NODE1.ip(family));
        let told = describe(&sent.frame);
        assert!(told.contains(&format!("{from} > {to} ICMP")), "{told}");
    }
}

#[test]
fn flows_of_the_nodes_sockets_graduate_and_end_like_others() {
    for family in Family::BOTH {
        let world = World::new(&[REMOTE]);
        let asked = world.send(HOST_OUT, &question(family, L4::Tcp));
        let answer = reply(family, L4::Tcp, asked.tuple()).sequence(8_000, 0);
        assert!(world.send(UPLINK_IN, &answer).outcome.is_ok());
        let ack = question(family, L4::Tcp).tcp(flags::ACK).sequence(1_001, 8_001);
        let sent = world.send(HOST_OUT, &ack);
        assert_eq!(sent.counted.get(&(Event::FlowGraduated as u32)), Some(&1));
    }
}

#[test]
fn what_the_node_forwards_is_left_alone_where_it_leaves() {
    each(|family, l4| {
        let world = World::new(&[REMOTE]);
        let packet = question(family, l4);
        let not_ours = Ok(Verdict::Pass(PassReason::NotOurs));
        world.send(UPLINK_OUT, &packet).is(not_ours, &packet, &[]);
    });
}

#[test]
fn a_socket_of_the_node_that_is_led_to_the_node_itself_is_dropped() {
    each(|family, l4| {
        let mut world = World::new(&[LOCAL]);
        world.route(family, LOCAL, Route::Local);
        let packet = question(family, l4);
        let sent = world.send(HOST_OUT, &packet);
        sent.is(Err(DropReason::EgressUnmanaged), &packet, &[]);
    });
}

#[test]
fn a_service_without_endpoints_refuses_a_socket_of_the_node() {
    each(|family, l4| {
        let world = World::new(&[]);
        let packet = question(family, l4);
        world.send(HOST_OUT, &packet).is_dropped(HOST_OUT, DropReason::NoBackend, &packet, &[]);
    });
}

/// Without its reverse half nobody knows where replies are to come in: the next packet begins the flow anew.
#[test]
fn a_reverse_half_that_was_lost_begins_the_flow_anew() {
    each(|family, l4| {
        let world = World::new(&[LOCAL]);
        let asked = world.send(HOST_OUT, &question(family, l4));
        world.evict(family, lb_common::tables::Half::Reverse);
        let more = carrying(question(family, l4), l4, flags::ACK);
        for _ in 0..2 {
            assert_eq!(world.send(HOST_OUT, &more).tuple(), asked.tuple());
        }
        let at = At { ifindex: device_of(LOCAL), ..POD_IN };
        let answered = world.send(at, &reply(family, l4, asked.tuple()));
        assert_eq!(answered.outcome, Ok(Verdict::Inject(UPLINK)));
    });
}
