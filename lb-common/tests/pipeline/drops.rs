//! Every reason to begin no flow, with the state of the world that gives it. Packets of flows that
//! go on already are dropped in `drops_midway.rs`.

use core::mem::take;

use lb_common::{
    addr::{Ipv4, Ipv6},
    pipeline::Route,
    tables::SnatPorts,
    verdict::{DropReason, Verdict},
    wire::L4,
};
use lb_tests::{
    lab::cast::{Family, Host, OUTSIDE},
    packet::Packet,
};

use crate::{
    traffic::{At, POD_IN, UPLINK_IN, XDP, each, request},
    world::{Front, LOCAL, MTU, POD, REMOTE, SNAT_PORTS, UPLINK, World},
};

/// A request that is dropped.
#[derive(Clone, Copy)]
pub struct Case {
    pub client: Host,
    pub front: Front,
    pub backend: Host,
    pub at: At,
    /// What is wrong with the world.
    pub spoil: fn(&mut World, Family, L4),
    /// What is wrong with the packet.
    pub dress: fn(Packet) -> Packet,
    pub reason: DropReason,
    pub events: &'static [u32],
}

pub const GOOD: Case = Case {
    client: OUTSIDE,
    front: Front::Node,
    backend: REMOTE,
    at: UPLINK_IN,
    spoil: |_, _, _| {},
    dress: |packet| packet,
    reason: DropReason::NoBackend,
    events: &[],
};

/// The packet is dropped for this reason, untouched, with nothing written, in both families and
/// both transports, at TC and at XDP.
fn check(case: Case) {
    each(|family, l4| {
        for at in [case.at, At { xdp: true, ..case.at }] {
            let mut world = World::new(&[case.backend]);
            (case.spoil)(&mut world, family, l4);
            let before = world.snapshot();
            let packet = (case.dress)(request(family, l4, case.client, case.front));
            world.send(at, &packet).is_dropped(at, case.reason, &packet, case.events);
            assert_eq!(world.snapshot(), before, "{:?}", case.reason);
        }
    });
}

#[test]
fn a_service_without_endpoints_drops() {
    check(Case {
        spoil: |world, family, l4| world.choose_from(Front::Node, family, l4, &[]),
        ..GOOD
    });
}

#[test]
fn a_service_that_is_not_there_yet_drops() {
    check(Case { spoil: |world, _, _| world.tables.services.clear(), ..GOOD });
}

#[test]
fn a_selection_beyond_the_slots_drops() {
    check(Case { spoil: |world, _, _| world.tables.slots.clear(), ..GOOD });
}

#[test]
fn a_slot_of_a_removed_backend_drops() {
    check(Case {
        spoil: |world, family, l4| world.set_generation(REMOTE, family, l4, 0),
        reason: DropReason::BackendGone,
        ..GOOD
    });
}

#[test]
fn without_ports_for_snat_there_is_no_way_to_a_remote_backend_or_to_oneself() {
    let no_ports = Case {
        spoil: |world, _, _| world.tables.config.snat_ports = SnatPorts::default(),
        reason: DropReason::SourcePortsExhausted,
        ..GOOD
    };
    check(no_ports);
    check(Case { client: POD, front: Front::Cluster, backend: POD, at: POD_IN, ..no_ports });
}

#[test]
fn a_full_flow_table_drops() {
    let full = Case {
        spoil: |world, _, _| world.tables.new_limit = 0,
        reason: DropReason::FlowTableFull,
        ..GOOD
    };
    check(full);
    // Room for one of the two halves only: it is taken back.
    check(Case { spoil: |world, _, _| world.tables.new_limit = 1, ..full });
    check(Case { backend: LOCAL, ..full });
}

#[test]
fn tables_that_were_made_without_a_draft_drop() {
    check(Case {
        spoil: |world, _, _| {
            let tables = &mut world.tables;
            let (v4, v6) = (take(&mut tables.v4), take(&mut tables.v6));
            tables.v4.frontends = v4.frontends;
            tables.v6.frontends = v6.frontends;
        },
        reason: DropReason::FlowTableFull,
        ..GOOD
    });
}

#[test]
fn a_backend_without_a_route_drops() {
    check(Case {
        spoil: |world, family, _| world.route(family, REMOTE, Route::None),
        reason: DropReason::NoRoute,
        ..GOOD
    });
}

#[test]
fn a_node_that_does_not_forward_drops() {
    check(Case {
        spoil: |world, family, _| world.route(family, REMOTE, Route::ForwardingOff),
        reason: DropReason::ForwardingOff,
        ..GOOD
    });
}

#[test]
fn a_way_over_an_interface_that_is_not_ours_drops() {
    check(Case {
        spoil: |world, _, _| {
            world.tables.devices.remove(&UPLINK);
        },
        reason: DropReason::EgressUnmanaged,
        ..GOOD
    });
}

#[test]
fn an_uplink_without_an_address_of_the_family_drops() {
    check(Case {
        spoil: |world, family, _| {
            let uplink = world.tables.devices.get_mut(&UPLINK).unwrap();
            match family {
                Family::V4 => uplink.snat_v4 = Ipv4::default(),
                Family::V6 => uplink.snat_v6 = Ipv6::default(),
            }
        },
        reason: DropReason::NoSourceAddress,
        ..GOOD
    });
}

/// What can't leave at once begins no flow: whoever sends such packets fills no table with them.
#[test]
fn a_first_packet_that_may_not_be_sent_on_begins_no_flow() {
    let short_lived =
        Case { dress: |packet| packet.ttl(1), reason: DropReason::TtlExpired, ..GOOD };
    check(short_lived);
    check(Case { client: POD, front: Front::Cluster, backend: POD, at: POD_IN, ..short_lived });
    check(Case {
        dress: |packet| packet.payload(&[0; MTU as usize]),
        reason: DropReason::TooBig,
        ..GOOD
    });
}

#[test]
fn when_all_source_ports_are_taken_the_next_client_is_dropped() {
    each(|family, l4| {
        let mut world = World::new(&[REMOTE]);
        world.tables.config.snat_ports.count = 4;
        let first_port = 40_000;
        let ask = |world: &World, at, port| {
            let packet = request(family, l4, OUTSIDE, Front::Node);
            world.send(at, &packet.from(OUTSIDE, port))
        };
        let mut refused = 0;
        for port in first_port..first_port + 40 {
            match ask(&world, UPLINK_IN, port).outcome {
                Ok(verdict) => assert_eq!(verdict, Verdict::Transmit(UPLINK)),
                Err(reason) => {
                    assert_eq!(reason, DropReason::SourcePortsExhausted);
                    assert_eq!(ask(&world, XDP, port).outcome, Err(reason));
                    refused += 1;
                }
            }
        }
        assert!((36..40).contains(&refused), "{refused}");

        // Those who have a port go on; with the whole range there is room again.
        world.tables.config.snat_ports = SNAT_PORTS;
        for port in first_port..first_port + 40 {
            assert!(ask(&world, UPLINK_IN, port).outcome.is_ok());
        }
    });
}

/// First packets with invented senders use up the ports towards an endpoint only for as long as somebody
/// may still be answered.
#[test]
fn ports_of_flows_that_nobody_answered_are_taken_after_half_a_second_and_those_of_others_never() {
    each(|family, l4| {
        for answered in [false, true] {
            let mut world = World::new(&[REMOTE]);
            world.tables.config.snat_ports.count = 1;
            let question = request(family, l4, OUTSIDE, Front::Node);
            let asked = world.send(UPLINK_IN, &question);
            if answered {
                let answer = crate::traffic::reply(family, l4, asked.tuple());
                assert!(world.send(UPLINK_IN, &answer).outcome.is_ok());
            }
            let another = question.ports(40_001, Front::Node.socket(family).port());
            world.now += world.tables.config.touch_interval / 2 - 1;
            let early = world.send(UPLINK_IN, &another).outcome;
            assert_eq!(early, Err(DropReason::SourcePortsExhausted));
            world.now += 1;
            let late = world.send(UPLINK_IN, &another).outcome;
            let taken = Err(DropReason::SourcePortsExhausted);
            assert_eq!(late, if answered { taken } else { Ok(Verdict::Transmit(UPLINK)) });
        }
    });
}
