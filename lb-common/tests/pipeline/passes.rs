//! Packets that are none of our business: every reason to leave one alone, at every hook.

use lb_common::{
    verdict::{PassReason, Verdict},
    wire::{Ethernet, L4},
};
use lb_tests::{
    lab::cast::{Family, NODE1, OUTSIDE},
    packet::Packet,
};

use crate::{
    traffic::{At, POD_IN, POD_OUT, UPLINK_IN, UPLINK_OUT, XDP, each, request},
    world::{BACKEND_PORT, CLIENT_PORT, Front, LOCAL, POD, REMOTE, SERVICE_PORT, World},
};

const HOOKS: [At; 5] = [POD_IN, POD_OUT, UPLINK_IN, UPLINK_OUT, XDP];

/// A frame that passes, for a reason, at a price in hash lookups.
#[derive(Clone, Copy)]
struct Case<'a> {
    what: &'a str,
    frame: &'a [u8],
    reason: PassReason,
    lookups: u32,
    is_odd: bool,
}

/// The frame passes at every hook, nothing of it and nothing else changes, and the reason is
/// counted. `lookups` bounds the price, since a packet looks less like ours at some hooks.
fn check(case: Case) {
    let world = World::new(&[LOCAL]);
    let before = world.snapshot();
    for at in HOOKS {
        let sent = world.send_frame(at, case.frame.to_vec());
        let context = format!("{} at {at:?}", case.what);
        // XDP leaves headers that are out of the ordinary to TC, and what is not all in hand.
        let left = at.xdp && case.is_odd && !sent.handed_over;
        let reason = if left { PassReason::Declined } else { case.reason };
        assert_eq!(sent.outcome, Ok(Verdict::Pass(reason)), "{context}");
        assert_eq!(sent.frame, case.frame, "{context}");
        assert_eq!(sent.counted, [(reason as u32, 1)].into(), "{context}");
        assert!(sent.lookups <= case.lookups, "{context}: {} lookups", sent.lookups);
    }
    assert_eq!(world.snapshot(), before, "{}", case.what);
}

const ORDINARY: Case<'static> = Case {
    what: "ordinary traffic",
    frame: &[],
    reason: PassReason::NotOurs,
    lookups: 0,
    is_odd: false,
};

#[test]
fn ordinary_traffic_passes_without_a_hash_lookup() {
    each(|family, l4| {
        for (from, to) in [(OUTSIDE, NODE1), (POD, OUTSIDE), (OUTSIDE, POD)] {
            let packet = request(family, l4, from, Front::Node).from(from, 50_000);
            let frame = packet.to(to, 22).build();
            check(Case { frame: &frame, ..ORDINARY });
        }
    });
}

#[test]
fn senders_that_cannot_be_answered_across_links_begin_no_flow() {
    for (family, sender) in [
        (Family::V6, "fe80::1"),
        (Family::V6, "ff02::1"),
        (Family::V6, "::1"),
        (Family::V4, "127.0.0.1"),
    ] {
        for l4 in [L4::Tcp, L4::Udp] {
            let target = Front::Node.socket(family).ip();
            let packet = request(family, l4, OUTSIDE, Front::Node);
            let frame = packet.addresses(sender.parse().expect("an address"), target).build();
            check(Case { what: sender, frame: &frame, lookups: 3, ..ORDINARY });
        }
    }
}

#[test]
fn a_port_for_snat_alone_makes_no_packet_ours() {
    each(|family, l4| {
        let packet = request(family, l4, OUTSIDE, Front::Node);
        check(Case {
            what: "to a port for SNAT, but not from a backend's port",
            frame: &packet.ports(50_000, crate::world::SNAT_PORTS.first).build(),
            ..ORDINARY
        });
    });
}

#[test]
fn a_port_of_a_service_at_another_address_passes_after_a_look() {
    each(|family, l4| {
        let packet = request(family, l4, OUTSIDE, Front::Node);
        // One lookup in the first stage, two for the flow in the second, and one for the frontend.
        for frame in [
            packet.clone().to(NODE1, SERVICE_PORT).build(),
            packet.clone().to(POD, SERVICE_PORT).build(),
            packet.from(REMOTE, BACKEND_PORT).to(OUTSIDE, 50_000).build(),
        ] {
            check(Case {
                what: "a port of ours, an address that isn't",
                frame: &frame,
                lookups: 4,
                ..ORDINARY
            });
        }
    });
}

#[test]
fn an_unknown_port_of_a_service_address_passes() {
    each(|family, l4| {
        let service = Front::Cluster.socket(family).ip();
        let packet = request(family, l4, POD, Front::Cluster);
        for (port, lookups) in [(81, 0), (crate::world::NODE_PORT, 4)] {
            let packet = packet.clone().addresses(POD.ip(family), service);
            check(Case {
                what: "no frontend's port, or another frontend's",
                frame: &packet.ports(CLIENT_PORT, port).build(),
                lookups,
                ..ORDINARY
            });
        }
    });
}

#[test]
fn a_service_of_one_transport_does_not_catch_the_other() {
    for family in Family::BOTH {
        let mut world = World::new(&[LOCAL]);
        let udp = lb_common::wire::Protocol::UDP.0;
        world.tables.v4.frontends.retain(|key, _| key.protocol != udp);
        world.tables.v6.frontends.retain(|key, _| key.protocol != udp);
        let question = request(family, lb_common::wire::L4::Udp, OUTSIDE, Front::Node);
        let sent = world.send(UPLINK_IN, &question);
        sent.is(Ok(Verdict::Pass(PassReason::NotOurs)), &question, &[]);
    }
}

#[test]
fn other_protocols_pass() {
    let icmp = Packet::ipv4().to(NODE1, 0).other(1).payload(&[8, 0, 0, 0]);
    let dccp = Packet::ipv6().to(NODE1, 0).other(33).payload(&[0; 12]);
    // ICMP may be about a packet of ours, which XDP leaves to TC.
    for (packet, is_odd) in [(icmp, true), (dccp, false)] {
        check(Case {
            what: "another protocol",
            frame: &packet.build(),
            reason: PassReason::Protocol,
            is_odd,
            ..ORDINARY
        });
    }
}

#[test]
fn tagged_and_foreign_frames_pass() {
    let tagged = Packet::ipv4().vlan(5).build();
    let doubly = Packet::ipv6().service_vlan(5).vlan(6).build();
    let mut arp = Packet::ipv4().build();
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    for frame in [tagged, doubly, arp] {
        check(Case {
            what: "not IP, or behind a tag",
            frame: &frame,
            reason: PassReason::NotIp,
            ..ORDINARY
        });
    }
}

/// Its addresses may be another network's, and the VLAN's own device shows it again.
#[test]
fn a_frame_of_a_vlan_whose_tag_the_device_took_out_passes() {
    each(|family, l4| {
        let world = World::new(&[LOCAL]);
        let packet = request(family, l4, OUTSIDE, Front::Node);
        let at = crate::traffic::At { tagged: true, ..UPLINK_IN };
        let sent = world.send(at, &packet);
        sent.is(Ok(Verdict::Pass(PassReason::NotIp)), &packet, &[]);
    });
}

#[test]
fn a_version_or_a_header_length_that_cannot_be_passes() {
    each(|family, l4| {
        let frame = request(family, l4, OUTSIDE, Front::Node).build();
        let firsts: &[u8] = match family {
            // Version 6 in a frame that says IPv4, no version, and lengths below five words.
            Family::V4 => &[0x65, 0x05, 0x55, 0x44, 0x40],
            Family::V6 => &[0x40, 0x00, 0x70],
        };
        for first in firsts {
            let mut frame = frame.clone();
            frame[14] = *first;
            check(Case {
                what: "a wrong version or length",
                frame: &frame,
                reason: PassReason::NotIp,
                is_odd: true,
                ..ORDINARY
            });
        }
    });
}

#[test]
fn a_frame_that_ends_within_its_headers_passes_wherever_it_ends() {
    each(|family, l4| {
        let whole = request(family, l4, OUTSIDE, Front::Node).payload(b"").build();
        // Of a chunk that begins an association the tag is read, and nothing behind it.
        let unread = if l4 == lb_common::wire::L4::Sctp { 12 } else { 0 };
        for length in 0..whole.len() - unread {
            check(Case {
                what: "cut off",
                frame: &whole[..length],
                reason: PassReason::NotIp,
                is_odd: length >= Ethernet::LEN,
                ..ORDINARY
            });
        }
    });
}

/// Bytes behind the end of the packet, Ethernet's padding, must not be taken for a header.
#[test]
fn an_ip_packet_that_ends_within_its_transport_header_passes() {
    each(|family, l4| {
        let whole = request(family, l4, OUTSIDE, Front::Node).build();
        let header: u8 = match l4 {
            lb_common::wire::L4::Tcp => 20,
            lb_common::wire::L4::Udp => 8,
            _ => 16,
        };
        for length in 0..header {
            let mut frame = whole.clone();
            match family {
                Family::V4 => frame[16..18].copy_from_slice(&[0, 20 + length]),
                Family::V6 => frame[18..20].copy_from_slice(&[0, length]),
            }
            check(Case {
                what: "the IP header speaks of less than a transport header",
                frame: &frame,
                reason: PassReason::NotIp,
                is_odd: true,
                ..ORDINARY
            });
        }
    });
}

#[test]
fn options_that_reach_over_the_end_of_the_frame_pass() {
    let mut frame = Packet::ipv4().to(NODE1, SERVICE_PORT).build();
    frame[14] = 0x4f;
    check(Case {
        what: "options over the end",
        frame: &frame,
        reason: PassReason::NotIp,
        is_odd: true,
        ..ORDINARY
    });
}
