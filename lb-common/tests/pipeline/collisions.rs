//! Flows that would look alike to a backend: the source port tells them apart, and replies find
//! their way back.

use std::collections::BTreeMap;

use lb_common::{
    addr::Port,
    tables::Half,
    verdict::{Event, Verdict},
    wire::L4,
};
use lb_tests::{
    lab::cast::OUTSIDE,
    packet::{Packet, flags},
};

use crate::{
    traffic::{POD_IN, POD_OUT, UPLINK_IN, between, carrying, each, reply, request},
    world::{BACKEND_PORT, CLIENT_PORT, Front, LOCAL, POD, REMOTE, SNAT_PORTS, World},
};

#[test]
fn two_services_that_lead_one_client_port_to_one_backend_both_work() {
    each(|family, l4| {
        let world = World::new(&[LOCAL]);
        let backend = LOCAL.socket(family, BACKEND_PORT);
        let asked = [Front::Cluster, Front::OtherCluster, Front::Node].map(|front| {
            let question = request(family, l4, POD, front);
            let sent = world.send(POD_IN, &question);
            let expected = between(question, sent.tuple().0, backend);
            sent.is(Ok(Verdict::Stack), &expected, &[Event::FlowCreated as u32]);
            (front, sent.tuple().0)
        });
        // The first keeps its port; the others get one of ours.
        assert_eq!(asked[0].1, POD.socket(family, CLIENT_PORT));
        for (_, source) in &asked[1..] {
            assert_eq!(source.ip(), POD.ip(family));
            assert!(SNAT_PORTS.contains(Port::from_host(source.port())));
        }
        assert_ne!(asked[1].1, asked[2].1);

        for (front, source) in asked {
            let answer = reply(family, l4, (source, backend));
            let client = POD.socket(family, CLIENT_PORT);
            let expected = between(answer.clone(), front.socket(family), client);
            world.send(POD_OUT, &answer).is(Ok(Verdict::Stack), &expected, &[]);
            let more = carrying(request(family, l4, POD, front), l4, flags::ACK);
            assert_eq!(world.send(POD_IN, &more).tuple(), (source, backend));
        }
    });
}

/// A process may be bound to any port, ours too: replies that were translated would not reach it.
#[test]
fn a_port_that_a_socket_of_this_node_has_is_not_taken() {
    each(|family, l4| {
        let mut world = World::new(&[REMOTE]);
        let question = request(family, l4, OUTSIDE, Front::Node);
        let (would_be, _) = world.send(UPLINK_IN, &question).tuple();
        world = World::new(&[REMOTE]);
        world.bind(l4, would_be);
        let (source, _) = world.send(UPLINK_IN, &question).tuple();
        assert_eq!(source.ip(), would_be.ip());
        assert_ne!(source.port(), would_be.port());
        assert!(SNAT_PORTS.contains(Port::from_host(source.port())));
    });
}

#[test]
fn a_collision_without_ports_of_ours_is_refused_and_harms_nobody() {
    each(|family, l4| {
        let mut world = World::new(&[LOCAL]);
        world.tables.config.snat_ports.count = 0;
        let first = world.send(POD_IN, &request(family, l4, POD, Front::Cluster));
        let before = world.snapshot();
        let second = request(family, l4, POD, Front::OtherCluster);
        let reason = lb_common::verdict::DropReason::SourcePortsExhausted;
        world.send(POD_IN, &second).is(Err(reason), &second, &[]);
        assert_eq!(world.snapshot(), before);
        assert!(world.send(POD_OUT, &reply(family, l4, first.tuple())).outcome.is_ok());
    });
}

#[test]
fn a_long_search_for_a_source_port_is_counted() {
    each(|family, l4| {
        let mut world = World::new(&[REMOTE]);
        world.tables.config.snat_ports.count = 64;
        let mut long = 0;
        for port in 1_024..1_024 + 60 {
            let packet = request(family, l4, OUTSIDE, Front::Node).from(OUTSIDE, port);
            let sent = world.send(UPLINK_IN, &packet);
            long += sent.counted.get(&(Event::PortSearchLong as u32)).unwrap_or(&0);
        }
        assert!(long > 0);
    });
}

#[test]
fn source_ports_are_in_their_range_and_no_two_flows_share_a_reply() {
    each(|family, l4| {
        let world = World::new(&[REMOTE, lb_tests::lab::cast::pod(2, 2), LOCAL, POD]);
        let mut replies = BTreeMap::new();
        for port in 1_024..1_324 {
            for front in [Front::Node, Front::Cluster, Front::OtherCluster] {
                let packet: Packet = request(family, l4, OUTSIDE, front).from(OUTSIDE, port);
                let packet = packet.addresses(OUTSIDE.ip(family), front.socket(family).ip());
                let packet = packet.ports(port, front.socket(family).port());
                let Ok(verdict) = world.send(UPLINK_IN, &packet).outcome else {
                    continue;
                };
                assert!(matches!(verdict, Verdict::Stack | Verdict::Transmit(_)));
            }
        }
        for entry in world.entries(family) {
            if !entry.forward {
                continue;
            }
            let (source, backend) = entry.becomes;
            let kept = source == entry.key.0;
            assert!(kept || SNAT_PORTS.contains(Port::from_host(source.port())));
            let rival = replies.insert((backend, source), entry);
            assert_eq!(rival, None);
        }
        assert!(replies.len() > 800, "{}", replies.len());
        let reverse = world.entries(family).iter().filter(|e| !e.forward).count();
        assert_eq!(reverse, replies.len());
    });
}

/// Only an eviction brings this about: the reply's entry of one flow is lost, and another flow
/// claims the same tuple before the first one's next packet.
#[test]
fn a_flow_whose_replies_another_one_has_taken_over_gets_a_port_of_its_own() {
    each(|family, l4| {
        let world = World::new(&[LOCAL]);
        let ask = |front, tcp_flags| {
            let question = carrying(request(family, l4, POD, front), l4, tcp_flags);
            world.send(POD_IN, &question)
        };
        let first = ask(Front::Cluster, flags::SYN);
        world.evict(family, Half::Reverse);
        let second = ask(Front::OtherCluster, flags::SYN);
        assert_eq!(first.tuple(), second.tuple());

        // The packet that finds it out, and the one that begins anew.
        ask(Front::Cluster, flags::SYN);
        ask(Front::Cluster, flags::SYN);
        for front in [Front::Cluster, Front::OtherCluster] {
            let asked = ask(front, flags::ACK);
            let answer = world.send(POD_OUT, &reply(family, l4, asked.tuple()));
            let client = POD.socket(family, CLIENT_PORT);
            assert_eq!(answer.tuple(), (front.socket(family), client));
        }
        assert_eq!(world.entries(family).len(), 4);
    });
}

#[test]
fn the_end_of_a_flow_does_not_take_along_the_replies_of_another() {
    for family in lb_tests::lab::cast::Family::BOTH {
        let world = World::new(&[LOCAL]);
        let ask = |front, tcp_flags| {
            let question = request(family, L4::Tcp, POD, front).tcp(tcp_flags);
            world.send(POD_IN, &question)
        };
        ask(Front::Cluster, flags::SYN);
        world.evict(family, Half::Reverse);
        let second = ask(Front::OtherCluster, flags::SYN);
        // A repeated SYN finds no reply's entry of its own and begins anew.
        let anew = ask(Front::Cluster, flags::SYN);
        assert_ne!(anew.tuple(), second.tuple());
        let answer = world.send(POD_OUT, &reply(family, L4::Tcp, second.tuple()));
        assert_eq!(answer.tuple().0, Front::OtherCluster.socket(family));
    }
}
