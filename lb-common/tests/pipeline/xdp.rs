//! XDP hands on what it can't finish: the packet untouched, and nothing written but the count of
//! having done so. TC then finishes it.

use lb_common::{
    pipeline::Route,
    tables::Device,
    verdict::{PassReason, Verdict},
    wire::L4,
};
use lb_tests::{
    lab::cast::{Family, Host, OUTSIDE},
    packet::{Packet, flags},
};

use crate::{
    traffic::{UPLINK_IN, XDP, carrying, each, each_but_sctp, request},
    world::{Front, LOCAL, REMOTE, UPLINK, World},
};

const DECLINED: Result<Verdict, lb_common::verdict::DropReason> =
    Ok(Verdict::Pass(PassReason::Declined));

/// Why XDP can't finish a packet.
#[derive(Clone, Copy)]
struct Case {
    backend: Host,
    /// Packets that go by first, at TC.
    before: &'static [u8],
    /// What happens then.
    spoil: fn(&mut World, Family, L4),
    /// The TCP flags of the packet that is declined.
    flags: u8,
    /// What TC makes of it.
    verdict: Verdict,
}

const NEW: Case = Case {
    backend: REMOTE,
    before: &[],
    spoil: |_, _, _| {},
    flags: flags::SYN,
    verdict: Verdict::Resolve(UPLINK),
};

const GOING_ON: Case = Case { before: &[flags::SYN], flags: flags::ACK, ..NEW };

fn check(case: Case, family: Family, l4: L4) {
    let mut world = World::new(&[case.backend]);
    let packet = |tcp_flags| -> Packet {
        carrying(request(family, l4, OUTSIDE, Front::Node), l4, tcp_flags)
    };
    for tcp_flags in case.before {
        let sent = world.send(UPLINK_IN, &packet(*tcp_flags));
        assert!(sent.outcome.is_ok_and(|verdict| !matches!(verdict, Verdict::Pass(_))));
    }
    (case.spoil)(&mut world, family, l4);

    let before = world.snapshot();
    let declined = packet(case.flags);
    for _ in 0..2 {
        world.send(XDP, &declined).is(DECLINED, &declined, &[]);
        assert_eq!(world.snapshot(), before);
    }
    let finished = world.send(UPLINK_IN, &declined);
    assert_eq!(finished.outcome, Ok(case.verdict));
    assert_ne!(finished.frame, declined.build());
}

fn no_transmit(world: &mut World, _: Family, _: L4) {
    let uplink = world.tables.devices.get_mut(&UPLINK).unwrap();
    uplink.flags &= !Device::XDP_TRANSMIT;
}

fn unresolved(world: &mut World, family: Family, _: L4) {
    world.route(family, REMOTE, Route::Unresolved);
}

#[test]
fn a_new_flow_whose_neighbour_is_unknown_is_declined() {
    let case = Case { spoil: unresolved, ..NEW };
    each_but_sctp(|family, l4| check(case, family, l4));
}

#[test]
fn a_new_flow_out_of_a_device_that_xdp_cannot_send_on_is_declined() {
    let case = Case { spoil: no_transmit, verdict: Verdict::Transmit(UPLINK), ..NEW };
    each_but_sctp(|family, l4| check(case, family, l4));
}

#[test]
fn a_flow_whose_neighbour_is_no_longer_known_is_declined() {
    let case = Case {
        spoil: |world, family, l4| {
            world.tables.config.epoch += 1;
            unresolved(world, family, l4);
        },
        ..GOING_ON
    };
    each_but_sctp(|family, l4| check(case, family, l4));
}

#[test]
fn a_flow_whose_device_lost_xdp_is_declined() {
    let case = Case {
        spoil: |world, family, l4| {
            world.tables.config.epoch += 1;
            no_transmit(world, family, l4);
        },
        verdict: Verdict::Transmit(UPLINK),
        ..GOING_ON
    };
    each_but_sctp(|family, l4| check(case, family, l4));
}

#[test]
fn a_flow_that_is_sent_on_is_declined_when_its_touch_is_due() {
    let case =
        Case { spoil: |world, _, _| world.now += world.tables.config.touch_interval, ..GOING_ON };
    each_but_sctp(|family, l4| check(case, family, l4));
}

#[test]
fn a_due_flow_in_a_new_epoch_is_declined() {
    let case = Case {
        spoil: |world, _, _| {
            world.now += world.tables.config.touch_interval;
            world.tables.config.epoch += 1;
        },
        ..GOING_ON
    };
    each_but_sctp(|family, l4| check(case, family, l4));
}

#[test]
fn a_syn_on_a_closed_flow_is_declined() {
    for (backend, verdict) in [(REMOTE, Verdict::Transmit(UPLINK)), (LOCAL, Verdict::Stack)] {
        for closing in [&[flags::SYN, flags::FIN | flags::ACK], &[flags::SYN, flags::RST]] {
            let case = Case { backend, before: closing, flags: flags::SYN, verdict, ..NEW };
            for family in Family::BOTH {
                check(case, family, L4::Tcp);
            }
        }
    }
}

#[test]
fn a_packet_that_begins_another_flow_since_its_backend_is_gone_is_declined() {
    let case = Case {
        spoil: |world, family, l4| {
            world.set_generation(REMOTE, family, l4, 2);
            world.choose_from(Front::Node, family, l4, &[REMOTE]);
        },
        flags: flags::SYN,
        verdict: Verdict::Transmit(UPLINK),
        ..GOING_ON
    };
    each_but_sctp(|family, l4| check(case, family, l4));
}

#[test]
fn a_flow_through_the_stack_is_touched_by_xdp_itself() {
    each(|family, l4| {
        let mut world = World::new(&[LOCAL]);
        let packet = request(family, l4, OUTSIDE, Front::Node);
        world.send(XDP, &packet);
        world.now += world.tables.config.touch_interval;
        let next = carrying(packet, l4, flags::ACK);
        assert_eq!(world.send(XDP, &next).outcome, Ok(Verdict::Stack));
        let forward = world.half(family, lb_common::tables::Half::Forward);
        assert_eq!(forward.last_seen, world.now);
    });
}

/// While the way out is known, XDP renews what it knows when the epoch has moved.
#[test]
fn xdp_looks_a_way_out_up_again_by_itself() {
    each(|family, l4| {
        let mut world = World::new(&[REMOTE]);
        let packet = request(family, l4, OUTSIDE, Front::Node);
        world.send(XDP, &packet);
        world.tables.config.epoch += 1;
        let sent = world.send(XDP, &packet);
        assert_eq!(sent.outcome, Ok(Verdict::Transmit(UPLINK)));
        // The second time from the entry: no route is asked for any more.
        world.route(family, REMOTE, Route::None);
        assert_eq!(world.send(XDP, &packet).frame, sent.frame);
    });
}
