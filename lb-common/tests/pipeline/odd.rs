//! Headers that are out of the ordinary, and fragments: translated like the others, by TC.

use lb_common::{
    packet::BY_FRAGMENTS,
    tables::{AddressOwner, Fragmented},
    verdict::{DropReason, Event, PassReason, Verdict},
    wire::L4,
};
use lb_tests::{
    lab::cast::{Family, NODE2, OUTSIDE},
    packet::{Packet, checksums_ok, describe},
};

use crate::{
    traffic::{
        At, POD_IN, POD_OUT, UPLINK_IN, UPLINK_OUT, XDP, between, each, each_but_sctp, reply,
        request, tuple,
    },
    world::{Front, LOCAL, POD, REMOTE, UPLINK, World},
};

const CREATED: &[u32] = &[Event::FlowCreated as u32];
const DECLINED: Verdict = Verdict::Pass(PassReason::Declined);
const FRAGMENT: Verdict = Verdict::Pass(PassReason::Fragment);

/// The packet with hop-by-hop options, a routing header that is done with, and two with destination
/// options, the last of them long.
fn extended(packet: Packet) -> Packet {
    packet
        .extension(0, &[0; 6])
        .extension(43, &[0; 6])
        .extension(60, &[0; 14])
        .extension(60, &[0; 262])
}

#[test]
fn extension_headers_are_walked_there_and_back() {
    for l4 in [L4::Tcp, L4::Udp] {
        let world = World::new(&[LOCAL]);
        let packet = extended(request(Family::V6, l4, OUTSIDE, Front::Node));
        world.send(XDP, &packet).is(Ok(DECLINED), &packet, &[]);
        let client = OUTSIDE.socket(Family::V6, 40_000);
        let backend = LOCAL.socket(Family::V6, 8080);
        let there = between(packet.clone(), client, backend);
        world.send(UPLINK_IN, &packet).is(Ok(Verdict::Stack), &there, CREATED);

        let answer = extended(reply(Family::V6, l4, (client, backend)));
        let back = between(answer.clone(), Front::Node.socket(Family::V6), client);
        world.send(UPLINK_OUT, &answer).is(Ok(Verdict::Stack), &back, &[]);
    }
}

#[test]
fn what_has_more_extension_headers_than_are_walked_or_another_stop_to_make_passes() {
    let world = World::new(&[LOCAL]);
    let packet = request(Family::V6, L4::Udp, OUTSIDE, Front::Node);
    let walked = (0..5).fold(packet.clone(), |packet, _| packet.extension(60, &[0; 6]));
    assert_eq!(world.send(UPLINK_IN, &walked).outcome, Ok(Verdict::Stack));
    let too_many = (0..7).fold(packet.clone(), |packet, _| packet.extension(60, &[0; 6]));
    // Two segments are left.
    let on_its_way = packet.extension(43, &[0, 2, 0, 0, 0, 0]);
    for packet in [too_many, on_its_way] {
        let passes = Ok(Verdict::Pass(PassReason::Protocol));
        world.send(UPLINK_IN, &packet).is(passes, &packet, &[]);
    }
}

#[test]
fn extension_headers_that_reach_over_the_end_pass() {
    let world = World::new(&[LOCAL]);
    let packet = request(Family::V6, L4::Udp, OUTSIDE, Front::Node).extension(60, &[0; 6]);
    let mut frame = packet.build();
    frame[55] = 200;
    let sent = world.send_frame(UPLINK_IN, frame.clone());
    assert_eq!((sent.outcome, sent.frame), (Ok(Verdict::Pass(PassReason::NotIp)), frame));
}

/// The first fragment of a packet, and the other two.
fn fragments(packet: &Packet) -> [Packet; 3] {
    let content = |byte| packet.clone().payload(&[byte; 64]);
    [
        content(1).fragment(0, true, 0x7777),
        content(2).fragment(9, true, 0x7777),
        content(3).fragment(17, false, 0x7777),
    ]
}

/// Of packets that a socket sent as one only the common header is to be seen.
#[test]
fn packets_of_sctp_that_go_together_follow_their_flow_whatever_their_length() {
    for family in Family::BOTH {
        for backend in [LOCAL, REMOTE] {
            let world = World::new(&[backend]);
            let first = request(family, L4::Sctp, OUTSIDE, Front::Node);
            let (source, destination) = world.send(UPLINK_IN, &first).tuple();
            let data = first.sctp(0).tags(7, 0).payload(&[9; 4_000]).sctp_without_checksum();
            let header = 14 + if family == Family::V4 { 20 } else { 40 } + 12;
            let at = At { segment_payload: BY_FRAGMENTS, ..UPLINK_IN };
            let sent = world.send_frame(at, data.build()[..header].to_vec());
            assert!(matches!(sent.outcome, Ok(Verdict::Stack | Verdict::Transmit(_))), "{sent:?}");
            assert_eq!(sent.tuple(), (source, destination));
            // Also where all of it lies there.
            assert_eq!(world.send(at, &data).tuple(), (source, destination));
        }
    }
}

#[test]
fn a_first_fragment_of_sctp_keeps_its_ports_or_is_dropped() {
    for family in Family::BOTH {
        let world = World::new(&[LOCAL]);
        let [first, ..] = fragments(&request(family, L4::Sctp, OUTSIDE, Front::Node));
        let sent = world.send(UPLINK_IN, &first);
        assert_eq!(sent.outcome, Err(DropReason::Unwritable));
        let unfinished = first.sctp_without_checksum();
        assert_eq!(world.send(UPLINK_IN, &unfinished).outcome, Ok(Verdict::Stack));
    }
}

#[test]
fn later_fragments_follow_the_first_through_the_stack_there_and_back() {
    each_but_sctp(|family, l4| {
        for (client, front, there, here) in
            [(OUTSIDE, Front::Node, UPLINK_IN, UPLINK_OUT), (POD, Front::Cluster, POD_IN, POD_OUT)]
        {
            let world = World::new(&[LOCAL]);
            let (from, backend) = (client.socket(family, 40_000), LOCAL.socket(family, 8080));
            for (at, packet) in
                fragments(&request(family, l4, client, front)).into_iter().enumerate()
            {
                let becomes = between(packet.clone(), from, backend);
                let events = if at == 0 { CREATED } else { &[] };
                world.send(there, &packet).is(Ok(Verdict::Stack), &becomes, events);
            }
            for packet in fragments(&reply(family, l4, (from, backend))) {
                let becomes = between(packet.clone(), front.socket(family), from);
                world.send(here, &packet).is(Ok(Verdict::Stack), &becomes, &[]);
            }
        }
    });
}

#[test]
fn later_fragments_are_sent_on_and_turned_around_like_the_first() {
    each_but_sctp(|family, l4| {
        for (client, front, backend, at) in
            [(OUTSIDE, Front::Node, REMOTE, UPLINK_IN), (POD, Front::Cluster, POD, POD_IN)]
        {
            let world = World::new(&[backend]);
            let [first, second, third] = fragments(&request(family, l4, client, front));
            let sent = world.send(at, &first);
            let (source, destination) = sent.tuple();
            assert_eq!(destination.ip(), backend.ip(family));
            for packet in [second, third] {
                let sent = world.send(at, &packet);
                let out = if backend == REMOTE { UPLINK } else { at.ifindex };
                assert_eq!(sent.outcome, Ok(Verdict::Transmit(out)));
                let becomes = between(packet, source, destination).ttl(63);
                let becomes = if backend == REMOTE {
                    becomes.macs(lb_tests::lab::cast::NODE1.mac, NODE2.mac)
                } else {
                    let frame = becomes.clone().build();
                    let mac = |at: usize| {
                        lb_tests::lab::cast::Mac(<[u8; 6]>::try_from(&frame[at..at + 6]).unwrap())
                    };
                    becomes.macs(mac(0), mac(6))
                };
                assert_eq!(describe(&sent.frame), describe(&becomes.clone().build()));
                assert_eq!(sent.frame, becomes.build());
                assert!(checksums_ok(&sent.frame));
            }
        }
    });
}

#[test]
fn xdp_leaves_fragments_to_tc() {
    each_but_sctp(|family, l4| {
        let world = World::new(&[LOCAL]);
        let before = world.snapshot();
        for packet in fragments(&request(family, l4, OUTSIDE, Front::Node)) {
            world.send(XDP, &packet).is(Ok(DECLINED), &packet, &[]);
        }
        assert_eq!(world.snapshot(), before);
    });
}

/// Each packet by itself, at each hook by itself: what is one packet's says nothing of another's.
#[test]
fn fragments_of_which_no_first_was_seen_here_pass() {
    each(|family, l4| {
        let world = World::new(&[LOCAL]);
        let packet = request(family, l4, OUTSIDE, Front::Node);
        let [first, second, _] = fragments(&packet);
        world.send(UPLINK_IN, &second).is(Ok(FRAGMENT), &second, &[]);
        world.send(UPLINK_IN, &first);
        let another = packet.clone().payload(&[2; 64]).fragment(9, true, 0x7778);
        world.send(UPLINK_IN, &another).is(Ok(FRAGMENT), &another, &[]);
        let of_another = second.clone().from(NODE2, 40_000);
        world.send(UPLINK_IN, &of_another).is(Ok(FRAGMENT), &of_another, &[]);
        world.send(POD_IN, &second).is(Ok(FRAGMENT), &second, &[]);
        assert_eq!(world.send(UPLINK_IN, &second).outcome, Ok(Verdict::Stack));
    });
}

#[test]
fn what_a_first_fragment_said_is_forgotten_after_half_a_minute() {
    each(|family, l4| {
        let mut world = World::new(&[LOCAL]);
        let [first, second, third] = fragments(&request(family, l4, OUTSIDE, Front::Node));
        world.send(UPLINK_IN, &first);
        world.now += Fragmented::SECONDS * world.tables.config.touch_interval - 1;
        assert_eq!(world.send(UPLINK_IN, &second).outcome, Ok(Verdict::Stack));
        world.now += 1;
        assert_eq!(world.send(UPLINK_IN, &third).outcome, Ok(FRAGMENT));
    });
}

/// A first fragment that goes nowhere leaves nothing behind.
#[test]
fn fragments_of_what_is_none_of_ours_pass() {
    each(|family, l4| {
        let world = World::new(&[LOCAL]);
        let packet = request(family, l4, OUTSIDE, Front::Node).ports(40_000, 22);
        let [first, second, _] = fragments(&packet);
        let not_ours = Ok(Verdict::Pass(PassReason::NotOurs));
        world.send(UPLINK_IN, &first).is(not_ours, &first, &[]);
        world.send(UPLINK_IN, &second).is(Ok(FRAGMENT), &second, &[]);
    });
}

#[test]
fn a_packet_that_is_all_in_its_first_fragment_is_whole() {
    for l4 in [L4::Tcp, L4::Udp] {
        let world = World::new(&[LOCAL]);
        let packet = request(Family::V6, l4, OUTSIDE, Front::Node).fragment(0, false, 5);
        let sent = world.send(UPLINK_IN, &packet);
        assert_eq!(sent.outcome, Ok(Verdict::Stack));
        assert_eq!(tuple(&sent.frame).1.ip(), LOCAL.ip(Family::V6));
    }
    // IPv4 has a bit that says nothing.
    let world = World::new(&[LOCAL]);
    let mut frame = request(Family::V4, L4::Tcp, OUTSIDE, Front::Node).build();
    frame[20] |= 0x80;
    assert_eq!(world.send_frame(UPLINK_IN, frame).outcome, Ok(Verdict::Stack));
}

/// At a Service's address it can be nobody else's. Where packets leave, the first would have been seen.
#[test]
fn a_fragment_to_a_service_whose_first_was_not_seen_waits_where_packets_come_in() {
    each(|family, l4| {
        let mut world = World::new(&[LOCAL]);
        let packet = request(family, l4, OUTSIDE, Front::Cluster);
        let [_, second, _] = fragments(&packet);
        world.send(UPLINK_IN, &second).is(Ok(FRAGMENT), &second, &[]);
        for owner in [AddressOwner::Service, AddressOwner::Answering] {
            world.own(Front::Cluster.socket(family).ip(), owner);
            for at in [UPLINK_IN, POD_IN] {
                world.send(at, &second).is(Ok(Verdict::Held), &second, &[]);
            }
            world.send(UPLINK_OUT, &second).is(Ok(FRAGMENT), &second, &[]);
            let own = At { own: true, ..UPLINK_OUT };
            world.send(own, &second).is(Err(DropReason::FragmentAlone), &second, &[]);
        }
        world.own(Front::Cluster.socket(family).ip(), AddressOwner::Other);
        world.send(UPLINK_IN, &second).is(Ok(FRAGMENT), &second, &[]);
    });
}
