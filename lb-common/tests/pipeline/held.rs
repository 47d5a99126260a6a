//! Fragments to Services that come before their packet's first one: they wait, within a bound.

use lb_common::{
    hook::Hook,
    host::HostPacket,
    pipeline,
    tables::{AddressOwner, Fragmented, Held},
    verdict::{DropReason, Event, Verdict},
    wire::L4,
};
use lb_tests::{
    lab::cast::{Family, Host, NODE2, OUTSIDE},
    packet::Packet,
};

use crate::{
    race::Raced,
    traffic::{At, POD_IN, UPLINK_IN, between, each_but_sctp, request},
    world::{Front, LOCAL, POD, UPLINK, World},
};

/// A world in which the cluster address is a Service's.
fn world(family: Family) -> World {
    let mut world = World::new(&[LOCAL]);
    world.own(Front::Cluster.socket(family).ip(), AddressOwner::Answering);
    world
}

/// One of a packet's fragments: the first one, or the one in this place behind it.
fn fragment(packet: &Packet, place: u16) -> Packet {
    let content = packet.clone().payload(&[u8::try_from(place).unwrap(); 64]);
    content.fragment(if place == 0 { 0 } else { 1 + 8 * place }, place != 40, 0x7777)
}

/// Both clients of a cluster address, each at its hook.
fn each_client(test: impl Fn(Family, L4, Host, At)) {
    each_but_sctp(|family, l4| {
        for (client, at) in [(OUTSIDE, UPLINK_IN), (POD, POD_IN)] {
            test(family, l4, client, at);
        }
    });
}

#[test]
fn they_come_in_again_behind_it_and_are_translated() {
    each_client(|family, l4, client, at| {
        let world = world(family);
        let packet = request(family, l4, client, Front::Cluster);
        let [first, second, third] = [0, 1, 40].map(|place| fragment(&packet, place));
        world.send(at, &third).is(Ok(Verdict::Held), &third, &[]);
        world.send(at, &second).is(Ok(Verdict::Held), &second, &[]);
        let sent = world.send(at, &first);
        assert_eq!(sent.outcome, Ok(Verdict::Again));
        assert_eq!(sent.counted[&(Event::FragmentReleased as u32)], 2);
        assert_eq!(sent.again, [&first, &third, &second].map(Packet::build));
        for packet in [&first, &third, &second, &first] {
            let backend = LOCAL.socket(family, 8080);
            let becomes = between(packet.clone(), client.socket(family, 40_000), backend);
            let sent = world.send(at, packet);
            sent.is(Ok(Verdict::Stack), &becomes, &[]);
            assert!(sent.again.is_empty());
        }
    });
}

/// The flow is there already, and no other fragment of the packet was seen.
#[test]
fn they_wait_for_packets_of_flows_as_for_the_first_of_one() {
    each_client(|family, l4, client, at| {
        let world = world(family);
        let packet = request(family, l4, client, Front::Cluster);
        world.send(at, &packet);
        let [first, second] = [0, 40].map(|place| fragment(&packet, place));
        world.send(at, &second).is(Ok(Verdict::Held), &second, &[]);
        assert_eq!(world.send(at, &first).again, [first.build(), second.build()]);
    });
}

#[test]
fn what_is_another_packets_goes_on_waiting() {
    each_client(|family, l4, client, at| {
        let world = world(family);
        let packet = request(family, l4, client, Front::Cluster);
        let [first, second] = [0, 1].map(|place| fragment(&packet, place));
        world.send(at, &second);
        let another = first.clone().fragment(0, true, 0x7778);
        let of_another_client = first.clone().from(NODE2, 40_000);
        for packet in [another, of_another_client] {
            let sent = world.send(at, &packet);
            assert_eq!((sent.outcome, sent.again), (Ok(Verdict::Stack), vec![]));
        }
        assert_eq!(world.send(at, &first).again.len(), 2);
    });
}

#[test]
fn only_so_many_of_a_packet_wait_and_none_that_is_too_long() {
    each_client(|family, l4, client, at| {
        let world = world(family);
        let packet = request(family, l4, client, Front::Cluster);
        let room =
            Held::LONGEST as usize - fragment(&packet.clone().payload(&[]), 1).build().len() + 64;
        let long = packet.clone().payload(&vec![7; room + 1]).fragment(9, true, 0x7777);
        world.send(at, &long).is(Err(DropReason::FragmentAlone), &long, &[]);
        let longest = packet.clone().payload(&vec![7; room]).fragment(9, true, 0x7777);
        assert_eq!(longest.build().len(), 2047);
        world.send(at, &longest).is(Ok(Verdict::Held), &longest, &[]);
        for place in 1..8 {
            assert_eq!(world.send(at, &fragment(&packet, place)).outcome, Ok(Verdict::Held));
        }
        let ninth = fragment(&packet, 8);
        world.send(at, &ninth).is(Err(DropReason::FragmentAlone), &ninth, &[]);
        let again = world.send(at, &fragment(&packet, 0)).again;
        assert_eq!((again.len(), &again[1]), (9, &longest.build()));
        // There is room for the next packet's.
        let next = fragment(&packet, 1).fragment(9, true, 0x7778);
        world.send(at, &next).is(Ok(Verdict::Held), &next, &[]);
    });
}

/// Its identification is another packet's by then.
#[test]
fn what_has_waited_for_a_second_is_left_behind_and_takes_no_place() {
    each_client(|family, l4, client, at| {
        let mut world = world(family);
        let packet = request(family, l4, client, Front::Cluster);
        for place in 1..=8 {
            world.send(at, &fragment(&packet, place));
        }
        world.now += world.tables.config.touch_interval;
        let late = fragment(&packet, 9);
        world.send(at, &late).is(Ok(Verdict::Held), &late, &[]);
        let first = fragment(&packet, 0);
        assert_eq!(world.send(at, &first).again, [first.build(), late.build()]);
        assert_eq!(world.send(at, &first).outcome, Ok(Verdict::Stack));
    });
}

/// What was noted of a packet half a minute ago is no reason not to wait for this one's first.
#[test]
fn they_wait_where_an_old_packet_had_the_same_identification() {
    each_client(|family, l4, client, at| {
        let mut world = world(family);
        let packet = request(family, l4, client, Front::Cluster);
        let [first, second] = [0, 1].map(|place| fragment(&packet, place));
        world.send(at, &first);
        world.now += Fragmented::SECONDS * world.tables.config.touch_interval;
        world.send(at, &second).is(Ok(Verdict::Held), &second, &[]);
        assert_eq!(world.send(at, &first).again, [first.build(), second.build()]);
    });
}

/// Before the mark, between the mark and the fragment, and behind both.
#[test]
fn whenever_a_first_fragment_comes_while_another_is_held_both_go_on() {
    each_but_sctp(|family, l4| {
        for meets_at in 0..3 {
            let world = world(family);
            let packet = request(family, l4, OUTSIDE, Front::Cluster);
            let [first, later] =
                [packet.clone().fragment(0, true, 7), packet.fragment(9, false, 7)];
            let raced = Raced::new(&world, &first, meets_at);
            let mut one = HostPacket::<true>::new(later.build(), UPLINK);
            let outcome = pipeline::run(&mut one, &raced, Hook::UplinkIn, world.now);
            assert!(raced.meets_at.get() > 3, "they met");
            let again = raced.came_again.take();
            match outcome {
                Ok(Verdict::Stack) => assert!(!again.contains(&later.build()), "twice"),
                Ok(Verdict::Held) => assert_eq!(again, [first.build(), later.build()]),
                other => panic!("{other:?} at {meets_at}"),
            }
            for frame in again {
                assert_eq!(world.send_frame(UPLINK_IN, frame).outcome, Ok(Verdict::Stack));
            }
        }
    });
}

/// The other way round: while the flow is begun, and before and behind the note of its ports.
#[test]
fn whatever_is_held_while_its_first_fragment_is_on_its_way_comes_in_again() {
    each_but_sctp(|family, l4| {
        for meets_at in 0..4 {
            let world = world(family);
            let packet = request(family, l4, OUTSIDE, Front::Cluster);
            let [first, later] =
                [packet.clone().fragment(0, true, 7), packet.fragment(9, false, 7)];
            let raced = Raced::new(&world, &later, meets_at);
            let mut one = HostPacket::<true>::new(first.build(), UPLINK);
            let outcome = pipeline::run(&mut one, &raced, Hook::UplinkIn, world.now);
            let expected =
                if raced.held_rival.get() { vec![first.build(), later.build()] } else { vec![] };
            assert_eq!(one.again, expected, "{outcome:?}, met at {meets_at}");
            assert!(raced.held_rival.get() || meets_at == 3, "they met");
        }
    });
}
