//! Packets of over a page, as XDP sees them: in several buffers, of which only the first is in hand.

use lb_common::{
    tables::Device,
    verdict::{Event, PassReason, Verdict},
    wire::L4,
};
use lb_tests::{
    lab::cast::{Family, Host, OUTSIDE},
    packet::{Packet, checksums_ok, flags},
};

use crate::{
    traffic::{At, UPLINK_IN, XDP, carrying, each_but_sctp, request},
    world::{BACKEND_PORT, CLIENT_PORT, Front, LOCAL, REMOTE, UPLINK, World},
};

/// In several buffers.
const IN_PARTS: At = At { first_buffer: 3_520, ..XDP };

const DECLINED: Verdict = Verdict::Pass(PassReason::Declined);

/// Another interface towards other machines.
const OTHER_UPLINK: u32 = 3;

/// A world with jumbo frames, with one backend everywhere.
fn world(backend: Host) -> World {
    let mut world = World::new(&[backend]);
    let long = Device { mtu: 9_000, ..world.tables.devices[&UPLINK] };
    world.tables.devices.insert(UPLINK, long);
    world.tables.devices.insert(OTHER_UPLINK, long);
    world
}

/// A request with so many bytes behind the transport's header.
fn long(family: Family, l4: L4, payload: usize) -> Packet {
    request(family, l4, OUTSIDE, Front::Node).payload(&vec![0x5a; payload])
}

#[test]
fn a_packet_in_several_buffers_is_translated_and_counted_with_all_its_bytes() {
    each_but_sctp(|family, l4| {
        let world = world(LOCAL);
        let packet = long(family, l4, 8_000);
        let translated = packet
            .clone()
            .addresses(OUTSIDE.ip(family), LOCAL.ip(family))
            .ports(CLIENT_PORT, BACKEND_PORT);
        let created = [Event::FlowCreated as u32];
        world.send(IN_PARTS, &packet).is(Ok(Verdict::Stack), &translated, &created);
        let sent = world.send(IN_PARTS, &packet);
        sent.is(Ok(Verdict::Stack), &translated, &[]);
        assert!(checksums_ok(&sent.frame));
        let counted = world.tables.backend_traffic(world.backend(LOCAL, family, l4).id);
        assert_eq!((counted.packets, counted.bytes), (2, 2 * packet.build().len() as u64));
    });
}

#[test]
fn it_is_sent_back_to_where_it_came_from_and_left_to_tc_where_another_interface_might_lose_it() {
    each_but_sctp(|family, l4| {
        let packet = long(family, l4, 8_000);
        let back = world(REMOTE);
        for _ in 0..2 {
            assert_eq!(back.send(IN_PARTS, &packet).outcome, Ok(Verdict::Transmit(UPLINK)));
        }

        let away = At { ifindex: OTHER_UPLINK, ..IN_PARTS };
        let world = world(REMOTE);
        let nothing = world.snapshot();
        world.send(away, &packet).is(Ok(DECLINED), &packet, &[]);
        assert_eq!(world.snapshot(), nothing);
        // Nor once there is a flow; a short packet of that one goes.
        let short = carrying(long(family, l4, 100), l4, flags::ACK);
        assert_eq!(world.send(away, &long(family, l4, 100)).outcome, Ok(Verdict::Transmit(UPLINK)));
        let begun = world.snapshot();
        world.send(away, &packet).is(Ok(DECLINED), &packet, &[]);
        assert_eq!(world.snapshot(), begun);
        assert_eq!(world.send(away, &short).outcome, Ok(Verdict::Transmit(UPLINK)));
        let at_tc = At { ifindex: OTHER_UPLINK, ..UPLINK_IN };
        assert_eq!(world.send(at_tc, &packet).outcome, Ok(Verdict::Transmit(UPLINK)));
    });
}

#[test]
fn one_that_is_too_long_for_its_way_out_is_left_to_tc_however_little_is_in_the_first_buffer() {
    each_but_sctp(|family, l4| {
        let mut world = world(REMOTE);
        world.tables.devices.get_mut(&UPLINK).unwrap().mtu = 4_000;
        let fits = long(family, l4, 3_900);
        assert_eq!(world.send(IN_PARTS, &fits).outcome, Ok(Verdict::Transmit(UPLINK)));
        let too_long = long(family, l4, 4_000);
        for _ in 0..2 {
            world.send(IN_PARTS, &too_long).is(Ok(DECLINED), &too_long, &[]);
        }
    });
}

#[test]
fn headers_that_are_not_all_in_the_first_buffer_are_left_to_tc() {
    each_but_sctp(|family, l4| {
        let world = world(LOCAL);
        let packet = long(family, l4, 100);
        let nothing = world.snapshot();
        let headers = packet.build().len() - 100;
        for first_buffer in 14..headers {
            let sent = world.send(At { first_buffer, ..XDP }, &packet);
            sent.is(Ok(DECLINED), &packet, &[]);
            assert_eq!(world.snapshot(), nothing);
        }
        let whole = world.send(At { first_buffer: headers, ..XDP }, &packet);
        assert_eq!(whole.outcome, Ok(Verdict::Stack));
    });
}

#[test]
fn bytes_behind_a_short_packet_are_counted_at_xdp_as_at_tc() {
    each_but_sctp(|family, l4| {
        let counted = |at| {
            let world = world(LOCAL);
            let packet = request(family, l4, OUTSIDE, Front::Node).payload(b"").trailer(20);
            assert_eq!(world.send(at, &packet).outcome, Ok(Verdict::Stack));
            world.tables.backend_traffic(world.backend(LOCAL, family, l4).id).bytes
        };
        assert_eq!(counted(XDP), counted(UPLINK_IN));
    });
}
