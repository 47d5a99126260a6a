//! Backends on other machines that clients from outside reach through this node: the packet gets
//! the node's address and a port of ours as source, and leaves at once, without the stack.

use lb_common::{
    addr::Port,
    pipeline::Route,
    verdict::{Event, Verdict},
    wire::L4,
};
use lb_tests::{
    lab::cast::{Family, NODE1, NODE2, OUTSIDE},
    packet::{Packet, flags},
};

use crate::{
    traffic::{At, UPLINK_IN, XDP, between, carrying, each, each_but_sctp, request},
    world::{BACKEND_PORT, CLIENT_PORT, Front, REMOTE, SNAT_PORTS, UPLINK, World},
};

/// The way there and back at a hook; `dress` is what only some packets have.
fn check(at: At, family: Family, l4: L4, dress: fn(Packet) -> Packet) {
    let world = World::new(&[REMOTE]);
    let (client, front) = (OUTSIDE.socket(family, CLIENT_PORT), Front::Node.socket(family));
    let backend = REMOTE.socket(family, BACKEND_PORT);

    let question = dress(request(family, l4, OUTSIDE, Front::Node).ttl(9));
    let sent = world.send(at, &question);
    let (source, _) = sent.tuple();
    assert_eq!(source.ip(), NODE1.ip(family));
    assert!(SNAT_PORTS.contains(Port::from_host(source.port())));
    sent.is(
        Ok(Verdict::Transmit(UPLINK)),
        &between(question, source, backend).macs(NODE1.mac, NODE2.mac).ttl(8),
        &[Event::FlowCreated as u32],
    );

    let answer = between(Packet::new(family), backend, source).macs(NODE2.mac, NODE1.mac);
    let answer = dress(carrying(answer, l4, flags::SYN_ACK).payload(b"answer").ttl(2));
    world.send(at, &answer).is(
        Ok(Verdict::Transmit(UPLINK)),
        &between(answer.clone(), front, client).macs(NODE1.mac, OUTSIDE.mac).ttl(1),
        &[],
    );
}

#[test]
fn the_outside_reaches_a_remote_backend_by_the_node_port() {
    for at in [UPLINK_IN, XDP] {
        each(|family, l4| check(at, family, l4, |packet| packet));
    }
}

#[test]
fn udp_without_a_checksum_is_sent_on_without_one() {
    for at in [UPLINK_IN, XDP] {
        for family in Family::BOTH {
            check(at, family, L4::Udp, Packet::udp_without_checksum);
        }
    }
}

#[test]
fn options_survive_the_way_out() {
    let dress = |packet: Packet| packet.ipv4_options(&[1; 12]).flow_label(5).traffic_class(1);
    for at in [UPLINK_IN, XDP] {
        each(|family, l4| check(at, family, l4, dress));
    }
}

#[test]
fn while_the_neighbour_is_unknown_the_kernel_resolves_it() {
    each(|family, l4| {
        let mut world = World::new(&[REMOTE]);
        world.route(family, REMOTE, Route::Unresolved);
        let question = request(family, l4, OUTSIDE, Front::Node);
        let sent = world.send(UPLINK_IN, &question);
        let (source, _) = sent.tuple();
        // The link-layer addresses are the kernel's to write.
        let expected = between(question.clone(), source, REMOTE.socket(family, BACKEND_PORT));
        sent.is(
            Ok(Verdict::Resolve(UPLINK)),
            &expected.clone().ttl(63),
            &[Event::FlowCreated as u32],
        );
        world.send(UPLINK_IN, &question).is(
            Ok(Verdict::Resolve(UPLINK)),
            &expected.clone().ttl(63),
            &[],
        );

        // Resolved, which moves the epoch when the address is new to us.
        world.route(family, REMOTE, Route::Via);
        world.tables.config.epoch += 1;
        world.send(UPLINK_IN, &question).is(
            Ok(Verdict::Transmit(UPLINK)),
            &expected.macs(NODE1.mac, NODE2.mac).ttl(63),
            &[],
        );
    });
}

#[test]
fn when_the_epoch_moves_the_way_out_is_looked_up_again() {
    each(|family, l4| {
        let mut world = World::new(&[REMOTE]);
        let question = request(family, l4, OUTSIDE, Front::Node);
        let before = world.send(UPLINK_IN, &question);

        // Node 2 is replaced by a machine with another link-layer address.
        let macs = (NODE1.mac, OUTSIDE.mac);
        world.route_by(family, REMOTE, Route::Via, UPLINK, macs);
        let unmoved = world.send(UPLINK_IN, &question);
        assert_eq!(unmoved.frame, before.frame);

        world.tables.config.epoch += 1;
        for at in [XDP, UPLINK_IN] {
            world.send(at, &question).is(
                Ok(Verdict::Transmit(UPLINK)),
                &between(question.clone(), before.tuple().0, before.tuple().1)
                    .macs(macs.0, macs.1)
                    .ttl(63),
                &[],
            );
        }
    });
}

/// Nothing else keeps the kernel's entry of the neighbour alive.
#[test]
fn once_in_a_touch_interval_a_packet_takes_the_kernels_neighbour_table() {
    each(|family, l4| {
        let mut world = World::new(&[REMOTE]);
        let question = request(family, l4, OUTSIDE, Front::Node);
        world.send(UPLINK_IN, &question);

        world.now += world.tables.config.touch_interval - 1;
        let early = world.send(UPLINK_IN, &question);
        assert_eq!(early.outcome, Ok(Verdict::Transmit(UPLINK)));
        world.now += 1;
        let due = world.send(UPLINK_IN, &question);
        assert_eq!(due.outcome, Ok(Verdict::Resolve(UPLINK)));
        let after = world.send(UPLINK_IN, &question);
        assert_eq!(after.outcome, Ok(Verdict::Transmit(UPLINK)));
    });
}

/// What is a neighbour's, not a flow's: many flows to one neighbour ask for it once.
#[test]
fn one_packet_of_all_flows_asks_for_a_neighbour() {
    each(|family, l4| {
        for at in [UPLINK_IN, XDP] {
            let mut world = World::new(&[REMOTE]);
            let questions: Vec<_> = (0..5)
                .map(|port| {
                    let to = Front::Node.socket(family).ip();
                    let question = request(family, l4, OUTSIDE, Front::Node);
                    question.from(OUTSIDE, 50_000 + port).addresses(OUTSIDE.ip(family), to)
                })
                .collect();
            for question in &questions {
                world.send(UPLINK_IN, question);
            }
            world.now += world.tables.config.touch_interval;
            let asks = world.send(UPLINK_IN, &questions[0]);
            assert_eq!(asks.outcome, Ok(Verdict::Resolve(UPLINK)));
            world.now += world.tables.config.touch_interval - 1;
            for question in &questions[1..] {
                let next = carrying(question.clone(), l4, flags::ACK);
                assert_eq!(world.send(at, &next).outcome, Ok(Verdict::Transmit(UPLINK)));
            }
        }
    });
}

/// The packet that lets the kernel resolve is also the one after which its answer is looked up.
#[test]
fn a_neighbour_that_became_known_without_a_new_epoch_is_found_at_the_next_touch() {
    each(|family, l4| {
        let mut world = World::new(&[REMOTE]);
        world.route(family, REMOTE, Route::Unresolved);
        let question = request(family, l4, OUTSIDE, Front::Node);
        world.send(UPLINK_IN, &question);
        world.route(family, REMOTE, Route::Via);
        world.now += world.tables.config.touch_interval;
        let due = world.send(UPLINK_IN, &question);
        assert_eq!(due.outcome, Ok(Verdict::Resolve(UPLINK)));
        let after = world.send(UPLINK_IN, &question);
        assert_eq!(after.outcome, Ok(Verdict::Transmit(UPLINK)));
    });
}

/// What a CPU works in still holds the flow that it began before.
#[test]
fn a_neighbour_that_is_unknown_does_not_get_the_one_before() {
    each_but_sctp(|family, l4| {
        let mut world = World::new(&[REMOTE]);
        let question = request(family, l4, OUTSIDE, Front::Node);
        let known = world.send(UPLINK_IN, &question);
        assert_eq!(known.outcome, Ok(Verdict::Transmit(UPLINK)));

        world.route(family, REMOTE, Route::Unresolved);
        let another = question.from(OUTSIDE, 40_001);
        let another = another.addresses(OUTSIDE.ip(family), Front::Node.socket(family).ip());
        let declined = Ok(Verdict::Pass(lb_common::verdict::PassReason::Declined));
        world.send(XDP, &another).is(declined, &another, &[]);
        assert_eq!(world.send(UPLINK_IN, &another).outcome, Ok(Verdict::Resolve(UPLINK)));
    });
}
