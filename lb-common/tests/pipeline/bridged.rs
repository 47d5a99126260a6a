//! Pods that are ports of a bridge whose frames packet filters don't see: requests to another port of it are
//! addressed to the endpoint and left to the bridge.

use lb_common::{
    pipeline::Route,
    tables::{Device, Half},
    verdict::{Event, Verdict},
};
use lb_tests::lab::cast::{Family, Mac};

use crate::{
    traffic::{POD_IN, POD_OUT, between, each, reply, request},
    world::{Front, LOCAL, POD, REMOTE, UPLINK, World, device_of},
};

/// The bridge.
const BRIDGE: u32 = 9;
/// Its own link-layer address.
const GATEWAY: Mac = Mac([2, 0, 0, 0, 0, 9]);

const CREATED: &[u32] = &[Event::FlowCreated as u32];

/// A world in which the pods of node 1 are ports of the bridge.
fn bridged(backend: lb_tests::lab::cast::Host, flags: u8) -> World {
    let mut world = World::new(&[backend]);
    for pod in [POD, LOCAL] {
        let port = world.tables.devices.get_mut(&device_of(pod)).unwrap();
        (port.flags, port.bridge) = (flags, BRIDGE);
        for family in Family::BOTH {
            world.route_by(family, pod, Route::Via, BRIDGE, (GATEWAY, pod.mac));
        }
    }
    world
}

const BOTH: u8 = Device::SWITCHED_V4 | Device::SWITCHED_V6;

#[test]
fn a_request_to_another_port_is_switched_and_its_reply_translated_on_its_way_out() {
    each(|family, l4| {
        let world = bridged(LOCAL, BOTH);
        let (client, backend) = (POD.socket(family, 40_000), LOCAL.socket(family, 8080));
        let question = request(family, l4, POD, Front::Cluster).macs(POD.mac, GATEWAY);
        // The sender stays, and the time to live: nobody has routed it.
        let switched = between(question.clone(), client, backend).macs(POD.mac, LOCAL.mac);
        world.send(POD_IN, &question).is(Ok(Verdict::Switch), &switched, CREATED);
        world.send(POD_IN, &question).is(Ok(Verdict::Switch), &switched, &[]);

        let answer = reply(family, l4, (client, backend)).macs(LOCAL.mac, POD.mac);
        let back = between(answer.clone(), Front::Cluster.socket(family), client);
        world.send(POD_OUT, &answer).is(Ok(Verdict::Stack), &back, &[]);
    });
}

#[test]
fn where_packet_filters_see_a_familys_frames_the_stack_routes_them() {
    each(|family, l4| {
        let other = match family {
            Family::V4 => Device::SWITCHED_V6,
            Family::V6 => Device::SWITCHED_V4,
        };
        for flags in [0, other] {
            let world = bridged(LOCAL, flags);
            let question = request(family, l4, POD, Front::Cluster);
            assert_eq!(world.send(POD_IN, &question).outcome, Ok(Verdict::Stack));
        }
    });
}

#[test]
fn an_endpoint_behind_another_interface_is_reached_through_the_stack() {
    each(|family, l4| {
        let world = bridged(REMOTE, BOTH);
        let question = request(family, l4, POD, Front::Cluster);
        assert_eq!(world.send(POD_IN, &question).outcome, Ok(Verdict::Stack));
    });
}

#[test]
fn a_pod_that_reaches_itself_is_turned_around_as_elsewhere() {
    each(|family, l4| {
        let world = bridged(POD, BOTH);
        let question = request(family, l4, POD, Front::Cluster);
        let turned = Ok(Verdict::Transmit(device_of(POD)));
        assert_eq!(world.send(POD_IN, &question).outcome, turned);
    });
}

#[test]
fn while_the_endpoints_address_is_not_known_the_stack_asks_for_it() {
    each(|family, l4| {
        let mut world = bridged(LOCAL, BOTH);
        world.route_by(family, LOCAL, Route::Unresolved, BRIDGE, (GATEWAY, LOCAL.mac));
        let question = request(family, l4, POD, Front::Cluster);
        for _ in 0..2 {
            assert_eq!(world.send(POD_IN, &question).outcome, Ok(Verdict::Stack));
        }
        world.route_by(family, LOCAL, Route::Via, BRIDGE, (GATEWAY, LOCAL.mac));
        assert_eq!(world.send(POD_IN, &question).outcome, Ok(Verdict::Switch));
    });
}

#[test]
fn an_endpoint_that_changes_its_address_is_found_in_the_next_epoch() {
    each(|family, l4| {
        let mut world = bridged(LOCAL, BOTH);
        let question = request(family, l4, POD, Front::Cluster);
        world.send(POD_IN, &question);
        let another = Mac([2, 0, 0, 0, 0, 77]);
        world.route_by(family, LOCAL, Route::Via, BRIDGE, (GATEWAY, another));
        assert_eq!(world.send(POD_IN, &question).frame[..6], LOCAL.mac.0);
        world.tables.config.epoch += 1;
        assert_eq!(world.send(POD_IN, &question).frame[..6], another.0);
    });
}

/// Its next hop elsewhere means nothing to the bridge.
#[test]
fn an_endpoint_that_moves_behind_another_interface_is_reached_through_the_stack() {
    each(|family, l4| {
        let mut world = bridged(LOCAL, BOTH);
        let question = request(family, l4, POD, Front::Cluster);
        assert_eq!(world.send(POD_IN, &question).outcome, Ok(Verdict::Switch));
        world.route_by(family, LOCAL, Route::Via, UPLINK, (GATEWAY, Mac([2, 0, 0, 0, 0, 77])));
        world.tables.config.epoch += 1;
        assert_eq!(world.send(POD_IN, &question).outcome, Ok(Verdict::Stack));
    });
}

/// The reverse half that was evicted is made again from the other: its packets just go on.
#[test]
fn a_reverse_half_that_was_lost_comes_back_as_it_was() {
    each(|family, l4| {
        let world = bridged(LOCAL, BOTH);
        let question = request(family, l4, POD, Front::Cluster);
        let asked = world.send(POD_IN, &question);
        world.evict(family, Half::Reverse);
        world.send(POD_IN, &question);
        let answer = reply(family, l4, asked.tuple());
        assert_eq!(world.send(POD_OUT, &answer).outcome, Ok(Verdict::Stack));
    });
}
