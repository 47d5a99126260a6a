//! What senders are told whose packets are not taken on, byte by byte.

use std::net::IpAddr;

use lb_common::{
    addr::{Ipv4, Ipv6},
    verdict::{Answer, DropReason, Event, Verdict},
    wire::L4,
};
use lb_tests::{
    lab::cast::{Family, NODE1, OUTSIDE},
    packet::{Packet, describe, flags, transport_checksum},
};

use crate::{
    traffic::{
        At, POD_IN, POD_OUT, UPLINK_IN, UPLINK_OUT, between, carrying, each, reply, request,
    },
    world::{Front, LOCAL, MTU, POD, REMOTE, UPLINK, World},
};

/// The answer to a packet: back over the same cable.
fn back(packet: &Packet, family: Family, front: Front) -> Packet {
    let (client, service) = (OUTSIDE.socket(family, 40_000), front.socket(family));
    crate::traffic::between(packet.clone(), service, client).macs(NODE1.mac, OUTSIDE.mac)
}

/// A TCP segment and the reset that RFC 9293, section 3.10.7.1, answers it with.
struct Segment {
    flags: u8,
    numbers: (u32, u32),
    payload: usize,
    /// Flags and numbers.
    answer: (u8, u32, u32),
}

const REFUSED: [Segment; 5] = [
    Segment {
        flags: flags::SYN,
        numbers: (1_000, 0),
        payload: 0,
        answer: (flags::RST | flags::ACK, 0, 1_001),
    },
    // With data, as TCP Fast Open has it; the number wraps.
    Segment {
        flags: flags::SYN,
        numbers: (u32::MAX, 7),
        payload: 10,
        answer: (flags::RST | flags::ACK, 0, 10),
    },
    Segment {
        flags: flags::FIN,
        numbers: (50, 0),
        payload: 3,
        answer: (flags::RST | flags::ACK, 0, 54),
    },
    Segment { flags: flags::ACK, numbers: (50, 77), payload: 3, answer: (flags::RST, 77, 0) },
    Segment {
        flags: flags::FIN | flags::ACK | flags::PSH,
        numbers: (50, 78),
        payload: 3,
        answer: (flags::RST, 78, 0),
    },
];

#[test]
fn a_segment_for_a_service_without_endpoints_is_answered_with_a_reset() {
    for family in Family::BOTH {
        for Segment { flags: sent, numbers, payload, answer } in REFUSED {
            let world = World::new(&[]);
            let packet = request(family, L4::Tcp, OUTSIDE, Front::Node)
                .tcp(sent)
                .sequence(numbers.0, numbers.1)
                .ttl(9)
                .id(77)
                .payload(&vec![5; payload]);
            let packet = packet.trailer(if payload == 0 { 6 } else { 0 });
            let expected = back(&packet, family, Front::Node)
                .tcp(answer.0)
                .sequence(answer.1, answer.2)
                .window(0)
                .ttl(64)
                .id(0)
                .payload(&[])
                .trailer(0);
            let sent = world.send(UPLINK_IN, &packet);
            assert_eq!(describe(&sent.frame), describe(&expected.build()));
            sent.is(Ok(Verdict::Answer(Answer::Reset)), &expected, &[DropReason::NoBackend as u32]);
        }
    }
}

#[test]
fn options_of_ip_stay_where_they_are_and_those_of_tcp_go() {
    let world = World::new(&[]);
    let packet = request(Family::V4, L4::Tcp, OUTSIDE, Front::Node)
        .ipv4_options(&[1; 8])
        .tcp_options(&[1; 12]);
    let expected = back(&packet, Family::V4, Front::Node)
        .tcp(flags::RST | flags::ACK)
        .sequence(0, 1_011)
        .window(0)
        .payload(&[]);
    let sent = world.send(UPLINK_IN, &packet);
    let verdict = Ok(Verdict::Answer(Answer::Reset));
    sent.is(verdict, &expected, &[DropReason::NoBackend as u32]);
}

/// A device finishes such a sum when the packet leaves this machine, and nobody looks at it if it
/// doesn't; what was said of the packet stays true of its answer.
#[test]
fn a_segment_with_the_sum_of_the_pseudo_header_only_is_answered_with_such_a_one() {
    for family in Family::BOTH {
        let world = World::new(&[]);
        let l4 = if family == Family::V4 { 34 } else { 54 };
        let pseudo = |frame: &[u8], source: IpAddr, destination: IpAddr| {
            // The sum over the pseudo header and as many zeros, not inverted.
            let zeros = vec![0; frame.len() - l4];
            !transport_checksum(source, destination, 6, &zeros)
        };
        let (client, front) = (OUTSIDE.ip(family), Front::Node.socket(family).ip());
        let mut frame = request(family, L4::Tcp, OUTSIDE, Front::Node).build();
        let sum = pseudo(&frame, client, front);
        frame[l4 + 16..l4 + 18].copy_from_slice(&sum.to_be_bytes());
        let sent = world.send_frame(UPLINK_IN, frame);
        assert_eq!(sent.outcome, Ok(Verdict::Answer(Answer::Reset)));
        let expected = pseudo(&sent.frame, front, client);
        assert_eq!(sent.frame[l4 + 16..l4 + 18], expected.to_be_bytes());
    }
}

#[test]
fn resets_are_not_answered() {
    for family in Family::BOTH {
        for reset in [flags::RST, flags::RST | flags::ACK] {
            let world = World::new(&[]);
            let packet = request(family, L4::Tcp, OUTSIDE, Front::Node).tcp(reset);
            world.send(UPLINK_IN, &packet).is(Err(DropReason::NoBackend), &packet, &[]);
        }
    }
}

/// What an ICMP message is to be: its type and code, the length that it tells, who sends it, and how
/// much it quotes.
struct Message {
    kind: [u8; 2],
    mtu: u16,
    from: IpAddr,
    quoted: usize,
}

/// The frame with an ICMP message about a packet, built from scratch.
fn message(family: Family, packet: &Packet, message: &Message) -> Vec<u8> {
    let about = packet.build();
    let [to, from] = [&about[0..6], &about[6..12]]
        .map(|mac| lb_tests::lab::cast::Mac(<[u8; 6]>::try_from(mac).unwrap()));
    let mtu = message.mtu.to_be_bytes();
    Packet::new(family)
        .macs(to, from)
        .addresses(message.from, OUTSIDE.ip(family))
        .icmp(message.kind, [0, 0, mtu[0], mtu[1]], &about[14..14 + message.quoted])
        .build()
}

const UNREACHABLE: fn(Family) -> [u8; 2] = |family| match family {
    Family::V4 => [3, 3],
    Family::V6 => [1, 4],
};
const EXCEEDED: fn(Family) -> [u8; 2] = |family| match family {
    Family::V4 => [11, 0],
    Family::V6 => [3, 0],
};
const TOO_BIG: fn(Family) -> [u8; 2] = |family| match family {
    Family::V4 => [3, 4],
    Family::V6 => [2, 0],
};

#[test]
fn a_datagram_for_a_service_without_endpoints_is_answered_port_unreachable() {
    for family in Family::BOTH {
        let headers = if family == Family::V4 { 28 } else { 48 };
        // A quote ends with a whole word, and is not longer than it need be.
        for (payload, quoted) in [(0, headers), (3, headers), (4, headers + 4), (900, 128)] {
            let world = World::new(&[]);
            let packet = request(family, L4::Udp, OUTSIDE, Front::Node).payload(&vec![9; payload]);
            let sent = world.send(UPLINK_IN, &packet);
            let from = Front::Node.socket(family).ip();
            let kind = UNREACHABLE(family);
            let expected = message(family, &packet, &Message { kind, mtu: 0, from, quoted });
            assert_eq!(describe(&sent.frame), describe(&expected));
            assert_eq!(sent.frame, expected);
            assert_eq!(sent.outcome, Ok(Verdict::Answer(Answer::Unreachable)));
        }
    }
}

#[test]
fn what_may_not_be_forwarded_any_further_is_answered_by_the_node() {
    each(|family, l4| {
        let world = World::new(&[REMOTE]);
        let packet = request(family, l4, OUTSIDE, Front::Node).ttl(1).payload(&[1; 100]);
        let sent = world.send(UPLINK_IN, &packet);
        let (kind, from) = (EXCEEDED(family), NODE1.ip(family));
        let expected = message(family, &packet, &Message { kind, mtu: 0, from, quoted: 128 });
        assert_eq!(describe(&sent.frame), describe(&expected));
        assert_eq!(sent.frame, expected);
        assert_eq!(sent.outcome, Ok(Verdict::Answer(Answer::TimeExceeded)));
    });
}

#[test]
fn what_is_too_big_for_its_way_out_is_told_how_long_it_may_be() {
    each(|family, l4| {
        let mut world = World::new(&[REMOTE]);
        world.tables.devices.get_mut(&UPLINK).unwrap().mtu = 1_400;
        for fits in [false, true] {
            // Whether its flow is there already or not.
            if fits {
                world.send(UPLINK_IN, &request(family, l4, OUTSIDE, Front::Node));
            }
            let packet = carrying(request(family, l4, OUTSIDE, Front::Node), l4, flags::ACK);
            let packet = packet.payload(&[1; MTU as usize - 60]);
            let sent = world.send(UPLINK_IN, &packet);
            let (kind, from) = (TOO_BIG(family), NODE1.ip(family));
            let expected =
                message(family, &packet, &Message { kind, mtu: 1_400, from, quoted: 128 });
            assert_eq!(describe(&sent.frame), describe(&expected));
            assert_eq!(sent.frame, expected);
            assert_eq!(sent.outcome, Ok(Verdict::Answer(Answer::TooBig)));
        }
    });
}

/// Who gives no address to answer from answers from the one that was asked.
#[test]
fn a_pod_that_is_turned_around_too_often_is_told_by_the_service() {
    each(|family, l4| {
        let world = World::new(&[POD]);
        let packet = request(family, l4, POD, Front::Cluster).ttl(1).payload(&[1; 100]);
        let sent = world.send(POD_IN, &packet);
        assert_eq!(sent.outcome, Ok(Verdict::Answer(Answer::TimeExceeded)));
        let from = Front::Cluster.socket(family).ip().to_string();
        let to = POD.ip(family).to_string();
        assert!(describe(&sent.frame).contains(&format!("{from} > {to} ICMP")));
    });
}

/// Both ends of a connection whose backend is gone are told, each at the hook where its packets are seen.
#[test]
fn both_ends_of_a_connection_whose_backend_is_gone_get_a_reset_from_each_other() {
    for family in Family::BOTH {
        for (client, front, there, here) in
            [(OUTSIDE, Front::Node, UPLINK_IN, UPLINK_OUT), (POD, Front::Cluster, POD_IN, POD_OUT)]
        {
            let mut world = World::new(&[LOCAL]);
            let question = request(family, L4::Tcp, client, front);
            let asked = world.send(there, &question);
            world.set_generation(LOCAL, family, L4::Tcp, 0);
            let check = |at: At, packet: &Packet| {
                let (from, to) = crate::traffic::tuple(&packet.build());
                let sent = world.send(at, packet);
                assert_eq!(sent.outcome, Ok(Verdict::Answer(Answer::Reset)));
                assert_eq!(sent.tuple(), (to, from));
                assert!(describe(&sent.frame).contains("TCP [R] seq 5 ack 0 len 0"));
            };
            check(there, &question.tcp(flags::ACK).sequence(4, 5));
            // The endpoint's first packet tells the client, which may have nothing left to send.
            let answer = reply(family, L4::Tcp, asked.tuple());
            let answer = answer.tcp(flags::PSH | flags::ACK).sequence(4, 5);
            let reset =
                between(answer.clone(), front.socket(family), client.socket(family, 40_000))
                    .tcp(flags::RST | flags::ACK)
                    .sequence(4, 5);
            world.send(here, &answer).is(Ok(Verdict::Stack), &reset, &[Event::ClientTold as u32]);
            check(here, &answer);
        }
    }
}

#[test]
fn whom_nobody_can_answer_and_what_was_cut_off_is_dropped_in_silence() {
    each(|family, l4| {
        let world = World::new(&[]);
        let packet = request(family, l4, OUTSIDE, Front::Node);
        let mut cut = packet.build();
        cut.truncate(cut.len() - 1);
        let sent = world.send_frame(UPLINK_IN, cut.clone());
        assert_eq!((sent.outcome, sent.frame), (Err(DropReason::NoBackend), cut));
    });
}

#[test]
fn answers_are_limited_and_what_is_not_answered_is_counted() {
    each(|family, l4| {
        let mut world = World::new(&[]);
        world.tables.config.answers = 19;
        let packet = request(family, l4, OUTSIDE, Front::Node);
        let possible = if l4.has_handshake() { 19 } else { 1 };
        for round in 0..2 {
            for _ in 0..possible {
                let sent = world.send(UPLINK_IN, &packet);
                assert!(matches!(sent.outcome, Ok(Verdict::Answer(_))), "round {round}");
            }
            let limited = [Event::AnswerLimited as u32];
            world.send(UPLINK_IN, &packet).is(Err(DropReason::NoBackend), &packet, &limited);
            world.now += world.tables.config.touch_interval;
        }
    });
}

#[test]
fn an_uplink_without_an_address_answers_from_the_one_that_was_asked() {
    each(|family, l4| {
        let mut world = World::new(&[REMOTE]);
        let packet = request(family, l4, OUTSIDE, Front::Node);
        world.send(UPLINK_IN, &packet);
        let uplink = world.tables.devices.get_mut(&UPLINK).unwrap();
        (uplink.snat_v4, uplink.snat_v6) = (Ipv4::default(), Ipv6::default());
        let sent = world.send(UPLINK_IN, &carrying(packet.ttl(1), l4, flags::ACK));
        assert_eq!(sent.outcome, Ok(Verdict::Answer(Answer::TimeExceeded)));
        let from = Front::Node.socket(family).ip();
        assert!(describe(&sent.frame).contains(&format!("{from} > ")));
    });
}
