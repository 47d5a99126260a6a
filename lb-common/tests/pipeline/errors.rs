//! ICMP errors about packets that were translated, in every direction, byte by byte.

use std::net::SocketAddr;

use lb_common::{
    tables::AddressOwner,
    verdict::{Answer, Event, PassReason, Verdict},
    wire::L4,
};
use lb_tests::{
    lab::cast::{self, Family, Host, Mac, NODE1, NODE2, OUTSIDE},
    packet::{Packet, describe, flags},
};

use crate::{
    traffic::{At, POD_IN, POD_OUT, UPLINK_IN, UPLINK_OUT, XDP, carrying, each, reply, request},
    world::{Front, LOCAL, POD, REMOTE, UPLINK, World},
};

/// A connection, and the hooks at which its two directions are translated.
#[derive(Clone, Copy)]
struct Line {
    client: Host,
    front: Front,
    backend: Host,
    there: At,
    back: At,
}

const LINES: [Line; 5] = [
    Line {
        client: OUTSIDE,
        front: Front::Node,
        backend: LOCAL,
        there: UPLINK_IN,
        back: UPLINK_OUT,
    },
    Line {
        client: OUTSIDE,
        front: Front::Node,
        backend: REMOTE,
        there: UPLINK_IN,
        back: UPLINK_IN,
    },
    Line { client: POD, front: Front::Cluster, backend: LOCAL, there: POD_IN, back: POD_OUT },
    Line { client: POD, front: Front::Cluster, backend: REMOTE, there: POD_IN, back: POD_OUT },
    Line { client: POD, front: Front::Cluster, backend: POD, there: POD_IN, back: POD_IN },
];

/// Destination unreachable with the given code, with a value as in "packet too big".
fn error(family: Family, from: SocketAddr, to: SocketAddr, about: &[u8]) -> Packet {
    let kind = match family {
        Family::V4 => [3, 4],
        Family::V6 => [2, 0],
    };
    Packet::new(family).addresses(from.ip(), to.ip()).dont_fragment(false).icmp(
        kind,
        [0, 0, 5, 0x14],
        about,
    )
}

/// How much of a packet is quoted: up to the ports and eight bytes in all, up to where the checksum of TCP
/// is, and everything.
fn quotes(family: Family, frame: &[u8]) -> [&[u8]; 3] {
    let header = if family == Family::V4 { 20 } else { 40 };
    let packet = &frame[14..];
    [&packet[..header + 8], &packet[..header + 18], packet]
}

fn mac(frame: &[u8], at: usize) -> Mac {
    Mac(<[u8; 6]>::try_from(&frame[at..at + 6]).unwrap())
}

/// The error at a hook becomes the other one; `turned`: sent on, not through the stack.
#[track_caller]
fn check(world: &World, at: At, before: &Packet, after: Packet, line: &Line, to: Host) {
    let sent = world.send(at, before);
    let (verdict, after) = match (line.backend, line.client) {
        (REMOTE, OUTSIDE) => {
            let next = if to == OUTSIDE { OUTSIDE } else { NODE2 };
            (Verdict::Transmit(UPLINK), after.ttl(63).macs(NODE1.mac, next.mac))
        }
        (POD, POD) => {
            let frame = before.build();
            let (from, to) = (mac(&frame, 0), mac(&frame, 6));
            (Verdict::Transmit(at.ifindex), after.ttl(63).macs(from, to))
        }
        _ => (Verdict::Stack, after),
    };
    assert_eq!(describe(&sent.frame), describe(&after.clone().build()));
    sent.is(Ok(verdict), &after, &[Event::ErrorTranslated as u32]);
}

/// The checksum of SCTP can't be known from a part of a packet: what is quoted keeps the one it had.
fn with_checksum(family: Family, l4: L4, about: &[u8], becomes: &[u8]) -> Vec<u8> {
    let mut becomes = becomes.to_vec();
    let at = if family == Family::V4 { 28 } else { 48 };
    let end = becomes.len().min(at + 4);
    if l4 == L4::Sctp && end > at {
        becomes[at..end].copy_from_slice(&about[at..end]);
    }
    becomes
}

#[test]
fn an_error_about_a_request_is_one_about_what_the_client_sent() {
    each(|family, l4| {
        for line in LINES {
            let world = World::new(&[line.backend]);
            let question = request(family, l4, line.client, line.front);
            let asked = world.send(line.there, &question);
            let (source, backend) = asked.tuple();
            let (client, front) = (line.client.socket(family, 40_000), line.front.socket(family));
            // What the client would read in an error about its own packet, but for the distance.
            let ttl = if asked.outcome == Ok(Verdict::Stack) { 64 } else { 63 };
            let own = question.clone().ttl(ttl).build();
            // By the backend itself, and by a router on the way.
            for from in [backend, cast::node(3).socket(family, 0)] {
                for (about, becomes) in
                    quotes(family, &asked.frame).iter().zip(quotes(family, &own))
                {
                    let before = error(family, from, source, about);
                    let after =
                        error(family, front, client, &with_checksum(family, l4, about, becomes));
                    check(&world, line.back, &before, after, &line, line.client);
                }
            }
        }
    });
}

#[test]
fn an_error_about_a_reply_is_one_about_what_the_backend_sent() {
    each(|family, l4| {
        for line in LINES {
            let world = World::new(&[line.backend]);
            let asked = world.send(line.there, &request(family, l4, line.client, line.front));
            let (source, backend) = asked.tuple();
            let (client, front) = (line.client.socket(family, 40_000), line.front.socket(family));
            let answer = reply(family, l4, (source, backend));
            let answered = world.send(line.back, &answer);
            assert_eq!(answered.tuple(), (front, client));
            let ttl = if answered.outcome == Ok(Verdict::Stack) { 64 } else { 63 };
            let own = answer.clone().ttl(ttl).build();
            let router = cast::node(3).socket(family, 0);
            for from in [client, router] {
                // Where the client is hidden from the backend, so is a router before it.
                let seen = if source == client { from } else { source };
                for (about, becomes) in
                    quotes(family, &answered.frame).iter().zip(quotes(family, &own))
                {
                    let before = error(family, from, front, about);
                    let after =
                        error(family, seen, backend, &with_checksum(family, l4, about, becomes));
                    check(&world, line.there, &before, after, &line, line.backend);
                }
            }
        }
    });
}

#[test]
fn every_kind_of_error_is_translated_and_nothing_else() {
    let kinds: [(Family, &[u8], &[u8]); 2] = [
        (Family::V4, &[3, 11, 12], &[0, 4, 5, 8, 13]),
        (Family::V6, &[1, 2, 3, 4], &[128, 129, 134, 137]),
    ];
    for (family, errors, others) in kinds {
        let line = LINES[0];
        let world = World::new(&[line.backend]);
        let asked = world.send(line.there, &request(family, L4::Udp, line.client, line.front));
        let (source, backend) = asked.tuple();
        let message = |kind| {
            Packet::new(family).addresses(backend.ip(), source.ip()).icmp(
                [kind, 0],
                [0; 4],
                &asked.frame[14..],
            )
        };
        for kind in errors {
            let sent = world.send(line.back, &message(*kind));
            assert_eq!(sent.outcome, Ok(Verdict::Stack), "type {kind}");
        }
        for kind in others {
            let (packet, passes) = (message(*kind), Verdict::Pass(PassReason::Protocol));
            world.send(line.back, &packet).is(Ok(passes), &packet, &[]);
        }
    }
}

#[test]
fn errors_about_what_is_none_of_ours_pass() {
    each(|family, l4| {
        for line in LINES {
            let world = World::new(&[line.backend]);
            let asked = world.send(line.there, &request(family, l4, line.client, line.front));
            let (source, backend) = asked.tuple();
            let not_ours = Ok(Verdict::Pass(PassReason::NotOurs));
            // About a packet of another port, and one that goes the other way.
            let another = carrying(Packet::new(family), l4, flags::ACK)
                .addresses(source.ip(), backend.ip())
                .ports(9, backend.port());
            let reversed = carrying(Packet::new(family), l4, flags::ACK)
                .addresses(backend.ip(), source.ip())
                .ports(backend.port(), source.port());
            for about in [another, reversed] {
                let packet = error(family, backend, source, &about.build()[14..]);
                world.send(line.back, &packet).is(not_ours, &packet, &[]);
            }
        }
    });
}

#[test]
fn an_error_that_quotes_too_little_passes() {
    each(|family, l4| {
        let line = LINES[0];
        let world = World::new(&[line.backend]);
        let asked = world.send(line.there, &request(family, l4, line.client, line.front));
        let (source, backend) = asked.tuple();
        let header = if family == Family::V4 { 20 } else { 40 };
        for length in [0, 1, header - 1, header, header + 3] {
            let packet = error(family, backend, source, &asked.frame[14..14 + length]);
            let passes = Verdict::Pass(PassReason::Protocol);
            world.send(line.back, &packet).is(Ok(passes), &packet, &[]);
        }
    });
}

#[test]
fn xdp_leaves_errors_to_tc() {
    each(|family, l4| {
        let line = LINES[1];
        let world = World::new(&[line.backend]);
        let asked = world.send(line.there, &request(family, l4, line.client, line.front));
        let (source, backend) = asked.tuple();
        let packet = error(family, backend, source, &asked.frame[14..]);
        let declined = Verdict::Pass(PassReason::Declined);
        world.send(XDP, &packet).is(Ok(declined), &packet, &[]);
    });
}

#[test]
fn an_echo_request_to_a_service_with_endpoints_is_answered_at_once() {
    for family in Family::BOTH {
        let (request, reply) = match family {
            Family::V4 => ([8, 0], [0, 0]),
            Family::V6 => ([128, 0], [129, 0]),
        };
        for (client, at) in [(OUTSIDE, UPLINK_IN), (POD, POD_IN)] {
            let mut world = World::new(&[LOCAL]);
            let service = Front::Cluster.socket(family).ip();
            let packet = Packet::new(family)
                .macs(client.mac, NODE1.mac)
                .dont_fragment(true)
                .ttl(3)
                .addresses(client.ip(family), service);
            let question = packet.clone().icmp(request, [0, 7, 0, 1], b"how are you?!");
            let passes = Ok(Verdict::Pass(PassReason::Protocol));
            world.send(at, &question).is(passes, &question, &[]);
            world.own(service, AddressOwner::Service);
            world.send(at, &question).is(passes, &question, &[]);
            world.own(service, AddressOwner::Answering);
            let answer = packet
                .macs(NODE1.mac, client.mac)
                .ttl(64)
                .addresses(service, client.ip(family))
                .icmp(reply, [0, 7, 0, 1], b"how are you?!");
            world.send(at, &question).is(Ok(Verdict::Answer(Answer::Echo)), &answer, &[]);
            // What leaves is not judged, nor what is a reply.
            world.send(UPLINK_OUT, &question).is(passes, &question, &[]);
            let unasked = question.icmp(reply, [0, 7, 0, 1], b"fine");
            world.send(at, &unasked).is(passes, &unasked, &[]);
        }
    }
}
