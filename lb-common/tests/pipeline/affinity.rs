//! Session affinity: which client stays with which endpoint, at which ports, and until when.

use std::{collections::BTreeSet, net::SocketAddr};

use lb_common::{
    addr::{Address as _, Ipv4, Ipv6},
    pipeline::Route,
    tables::{AffinityRule, Endpoint, EndpointKey, Selection, SelectionKind},
    verdict::{PassReason, Verdict},
    wire::L4,
};
use lb_tests::lab::cast::{self, Family, Host, OUTSIDE};

use crate::{
    traffic::{At, POD_IN, UPLINK_IN, XDP, each, each_but_sctp, request},
    world::{BACKEND_PORT, Front, LOCAL, POD, REMOTE, World},
};

const BACKENDS: [Host; 5] = [LOCAL, POD, REMOTE, cast::pod(2, 2), cast::pod(2, 3)];
/// The time-out, in seconds and in jiffies.
const TIME_OUT: (u32, u32) = (10, 2_500);

/// A world whose services have affinity: cluster address and node port are ports of one Service, the
/// other cluster address is another Service's.
fn world(backends: &[Host]) -> World {
    let mut world = World::new(&BACKENDS);
    world.tables.config.snat_ports.count = 4_000;
    each_service(|front, family, l4| {
        world.choose_from(front, family, l4, backends);
        let group =
            1 + u32::from(family == Family::V6) + 2 * u32::from(front == Front::OtherCluster);
        world.service(front, family, l4).affinity = AffinityRule { group, seconds: TIME_OUT.0 };
    });
    tell_endpoints(&mut world);
    world
}

fn each_service(mut call: impl FnMut(Front, Family, L4)) {
    for front in Front::ALL {
        for family in Family::BOTH {
            for l4 in crate::world::TRANSPORTS {
                call(front, family, l4);
            }
        }
    }
}

/// Writes, as the control program does, which endpoints the selections have.
pub fn tell_endpoints(world: &mut World) {
    world.tables.endpoints.clear();
    each_service(|front, family, l4| {
        let service = front.service(family, l4);
        let line = *world.service(front, family, l4);
        for (kind, selection) in [
            (SelectionKind::All, line.all),
            (SelectionKind::Internal, line.internal),
            (SelectionKind::External, line.external),
        ] {
            for slot in selection.base()..selection.base() + selection.len() {
                let backend = world.tables.slots[&slot];
                let host =
                    BACKENDS.into_iter().find(|host| world.backend(*host, family, l4) == backend);
                let host = host.expect("a backend of the cast");
                let endpoint = match family {
                    Family::V4 => Ipv4::from(host.v4).mix(),
                    Family::V6 => Ipv6::from(host.v6).mix(),
                };
                let key = EndpointKey { service, endpoint };
                let entry = world.tables.endpoints.entry(key).or_default();
                let selections = entry.selections | 1 << kind as u32;
                *entry = Endpoint { backend, selections, reserved: 0 };
            }
        }
    });
}

/// Who answers a connection from one of the client's ports.
#[track_caller]
fn answers(world: &World, at: At, client: Host, (front, family, l4): Way, port: u16) -> SocketAddr {
    let packet = request(family, l4, client, front);
    let packet = packet.ports(port, front.socket(family).port());
    let sent = world.send(at, &packet);
    assert!(sent.outcome.is_ok(), "{:?}", sent.outcome);
    sent.tuple().1
}

type Way = (Front, Family, L4);

/// Who answers many connections.
fn all_answers(world: &World, client: Host, way: Way, first_port: u16) -> BTreeSet<SocketAddr> {
    (first_port..first_port + 40).map(|port| answers(world, UPLINK_IN, client, way, port)).collect()
}

/// The client is remembered with an endpoint that the hash alone would not give it.
fn remembered(family: Family, l4: L4, port: u16) -> (World, SocketAddr) {
    let mut world = world(&[LOCAL, POD]);
    let way = (Front::Node, family, l4);
    let by_hash = answers(&world, UPLINK_IN, OUTSIDE, way, port);
    let other = if by_hash == LOCAL.socket(family, BACKEND_PORT) { POD } else { LOCAL };
    // Only the other one is left for a moment; then there is the choice again.
    world.tables.v4.affinity.borrow_mut().clear();
    world.tables.v6.affinity.borrow_mut().clear();
    set_backends(&mut world, &[other]);
    let given = answers(&world, UPLINK_IN, OUTSIDE, way, port + 1);
    assert_ne!(given, by_hash);
    set_backends(&mut world, &[LOCAL, POD]);
    (world, given)
}

fn set_backends(world: &mut World, backends: &[Host]) {
    each_service(|front, family, l4| world.choose_from(front, family, l4, backends));
    tell_endpoints(world);
}

#[test]
fn all_connections_of_a_client_go_to_one_endpoint_and_clients_are_spread() {
    each(|family, l4| {
        let world = world(&BACKENDS);
        let mut used = BTreeSet::new();
        for client in [OUTSIDE, cast::node(2), cast::pod(2, 5), cast::pod(3, 1), cast::pod(3, 2)] {
            let answered = all_answers(&world, client, (Front::Node, family, l4), 1_024);
            assert_eq!(answered.len(), 1, "{}", client.name);
            used.extend(answered);
        }
        assert!(used.len() > 1, "{used:?}");
    });
}

#[test]
fn a_client_stays_with_its_endpoint_when_the_choice_would_be_another() {
    each(|family, l4| {
        let (world, given) = remembered(family, l4, 1_024);
        assert_eq!(all_answers(&world, OUTSIDE, (Front::Node, family, l4), 2_000), [given].into());
    });
}

#[test]
fn all_ports_of_a_service_lead_a_client_to_the_same_endpoint() {
    each(|family, l4| {
        let (mut world, given) = remembered(family, l4, 1_024);
        let other = if l4 == L4::Tcp { L4::Udp } else { L4::Tcp };
        let way = (Front::Node, family, other);
        assert_eq!(answers(&world, UPLINK_IN, OUTSIDE, way, 3_000), given);

        // A port that doesn't have it gives another; the memory goes on with that one.
        let without = if given == LOCAL.socket(family, BACKEND_PORT) { POD } else { LOCAL };
        world.choose_from(Front::Node, family, other, &[without]);
        tell_endpoints(&mut world);
        let instead = without.socket(family, BACKEND_PORT);
        assert_eq!(answers(&world, UPLINK_IN, OUTSIDE, way, 3_001), instead);
        let first = (Front::Node, family, l4);
        assert_eq!(answers(&world, UPLINK_IN, OUTSIDE, first, 3_002), instead);
    });
}

#[test]
fn what_a_client_was_given_inside_of_one_selection_is_not_what_it_gets_of_another() {
    each(|family, l4| {
        let mut world = world(&[LOCAL]);
        let from = |world: &World, front, port| {
            answers(world, UPLINK_IN, OUTSIDE, (front, family, l4), port)
        };
        let local = LOCAL.socket(family, BACKEND_PORT);
        assert_eq!(from(&world, Front::Node, 1_024), local);
        set_backends(&mut world, &[POD]);
        assert_eq!(from(&world, Front::Cluster, 1_025), POD.socket(family, BACKEND_PORT));
        set_backends(&mut world, &[LOCAL, POD]);
        assert_eq!(from(&world, Front::Node, 1_026), local);
        assert_eq!(from(&world, Front::Cluster, 1_027), POD.socket(family, BACKEND_PORT));
    });
}

#[test]
fn an_endpoint_that_a_selection_has_no_more_is_not_gone_back_to() {
    each(|family, l4| {
        let (mut world, given) = remembered(family, l4, 1_024);
        let local = LOCAL.socket(family, BACKEND_PORT);
        let (gone, left) = if given == local { (LOCAL, POD) } else { (POD, LOCAL) };
        // In others of the service's selections it still is.
        let way = (Front::Node, family, l4);
        let backend = world.backend(left, family, l4);
        world.tables.slots.insert(8_000, backend);
        world.service(Front::Node, family, l4).external = Selection::new(8_000, 1).unwrap();
        tell_endpoints(&mut world);
        let left = left.socket(family, BACKEND_PORT);
        assert_eq!(all_answers(&world, OUTSIDE, way, 2_000), [left].into());

        // Replaced, it is another one under the same number.
        let (mut world, _) = remembered(family, l4, 1_024);
        world.set_generation(gone, family, l4, 7);
        world.choose_from(Front::Node, family, l4, &[POD, LOCAL]);
        assert!(all_answers(&world, OUTSIDE, way, 2_000).len() == 1);
    });
}

#[test]
fn a_client_is_forgotten_after_the_time_out_which_every_flow_begins_anew() {
    each(|family, l4| {
        let (mut world, given) = remembered(family, l4, 1_024);
        let way = (Front::Node, family, l4);
        for port in 2_000..2_005 {
            world.now = world.now.wrapping_add(TIME_OUT.1 - 1);
            assert_eq!(answers(&world, UPLINK_IN, OUTSIDE, way, port), given);
        }
        world.now = world.now.wrapping_add(TIME_OUT.1);
        assert_ne!(answers(&world, UPLINK_IN, OUTSIDE, way, 3_000), given);
    });
}

#[test]
fn packets_of_a_flow_renew_nothing() {
    each(|family, l4| {
        let (mut world, given) = remembered(family, l4, 1_024);
        let way = (Front::Node, family, l4);
        assert_eq!(answers(&world, UPLINK_IN, OUTSIDE, way, 2_000), given);
        world.now += TIME_OUT.1;
        // A SYN that nobody answered goes elsewhere.
        if l4 == L4::Udp {
            assert_eq!(answers(&world, UPLINK_IN, OUTSIDE, way, 2_000), given, "the flow goes on");
        }
        assert_ne!(answers(&world, UPLINK_IN, OUTSIDE, way, 2_001), given);
    });
}

#[test]
fn services_do_not_share_what_they_remember() {
    each(|family, l4| {
        let mut world = world(&[LOCAL]);
        let way = |front| (front, family, l4);
        answers(&world, POD_IN, POD, way(Front::Cluster), 1_024);
        set_backends(&mut world, &[REMOTE]);
        answers(&world, POD_IN, POD, way(Front::OtherCluster), 1_025);
        set_backends(&mut world, &[LOCAL, REMOTE]);
        let one = answers(&world, POD_IN, POD, way(Front::Cluster), 1_026);
        let other = answers(&world, POD_IN, POD, way(Front::OtherCluster), 1_027);
        assert_eq!(one, LOCAL.socket(family, BACKEND_PORT));
        assert_eq!(other, REMOTE.socket(family, BACKEND_PORT));
    });
}

#[test]
fn a_clients_choices_at_two_services_have_nothing_to_do_with_each_other() {
    each(|family, l4| {
        let world = world(&BACKENDS);
        let clients = (1..=30).map(|number| cast::pod(3, number));
        let alike = clients.filter(|client| {
            let answer = |front| answers(&world, UPLINK_IN, *client, (front, family, l4), 1_024);
            answer(Front::Cluster) == answer(Front::OtherCluster)
        });
        // Six of thirty, by chance.
        assert!((1..20).contains(&alike.count()));
    });
}

#[test]
fn what_xdp_hands_over_is_not_remembered() {
    each_but_sctp(|family, l4| {
        let mut world = world(&[REMOTE]);
        world.route(family, REMOTE, Route::Unresolved);
        let before = world.snapshot();
        let sent = world.send(XDP, &request(family, l4, OUTSIDE, Front::Node));
        assert_eq!(sent.outcome, Ok(Verdict::Pass(PassReason::Declined)));
        assert_eq!(world.snapshot(), before);
    });
}
