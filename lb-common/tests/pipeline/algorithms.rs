//! The algorithms of selection tables: who gets the next flow. Tables' shares are `selection.rs`.

use std::{collections::BTreeSet, net::SocketAddr};

use lb_common::{
    pipeline::Route,
    tables::{AffinityRule, Algorithm, Load},
    verdict::{Event, PassReason, Verdict},
    wire::L4,
};
use lb_tests::{
    lab::cast::{self, Family, Host, OUTSIDE},
    packet::flags,
};

use crate::{
    affinity::tell_endpoints,
    life::Line,
    traffic::{POD_IN, UPLINK_IN, XDP, each, each_but_sctp, request},
    world::{BACKEND_PORT, Front, LOCAL, POD, REMOTE, World},
};

const BACKENDS: [Host; 5] = [LOCAL, POD, REMOTE, cast::pod(2, 2), cast::pod(2, 3)];

const ALL: [Algorithm; 8] = [
    Algorithm::RANDOM,
    Algorithm::ROUND_ROBIN,
    Algorithm::SOURCE_HASH,
    Algorithm::DESTINATION_HASH,
    Algorithm::MAGLEV,
    Algorithm::LEAST_CONNECTION,
    Algorithm::SHORTEST_EXPECTED_DELAY,
    Algorithm::NEVER_QUEUE,
];

/// A world in which every service chooses among these by this algorithm.
fn world(backends: &[Host], algorithm: Algorithm) -> World {
    let mut world = World::new(backends);
    world.tables.config.snat_ports.count = 4_000;
    for line in world.tables.services.values_mut() {
        line.all = line.all.by(algorithm);
        (line.internal, line.external) = (line.all, line.all);
    }
    for backend in world.tables.backends.keys() {
        world.tables.set_load(*backend, Load::of(0, 1));
    }
    world
}

/// Who answers a client's port at a node port.
#[track_caller]
fn ask(world: &World, family: Family, l4: L4, client: Host, port: u16) -> SocketAddr {
    let packet = request(family, l4, client, Front::Node);
    let sent = world.send(UPLINK_IN, &packet.ports(port, Front::Node.socket(family).port()));
    assert!(sent.outcome.is_ok(), "{:?}", sent.outcome);
    sent.tuple().1
}

fn sockets(family: Family, hosts: &[Host]) -> Vec<SocketAddr> {
    hosts.iter().map(|host| host.socket(family, BACKEND_PORT)).collect()
}

fn set_open(world: &World, family: Family, l4: L4, host: Host, open: u32) {
    world.tables.set_load(world.backend(host, family, l4).id, Load::of(open, 1));
}

fn open(world: &World, family: Family, l4: L4, host: Host) -> u32 {
    world.tables.load(world.backend(host, family, l4).id).open
}

#[test]
fn backends_take_turns_and_every_one_gets_its_own() {
    each(|family, l4| {
        let world = world(&BACKENDS, Algorithm::ROUND_ROBIN);
        let answers: Vec<_> =
            (0..15).map(|at| ask(&world, family, l4, OUTSIDE, 1_024 + at)).collect();
        assert_eq!(answers, sockets(family, &BACKENDS).repeat(3));
    });
}

#[test]
fn a_packet_that_xdp_hands_over_takes_one_turn() {
    each_but_sctp(|family, l4| {
        let mut world = world(&[REMOTE, cast::pod(2, 2)], Algorithm::ROUND_ROBIN);
        for host in [REMOTE, cast::pod(2, 2)] {
            world.route(family, host, Route::Unresolved);
        }
        let mut answers = BTreeSet::new();
        for port in 0..2 {
            let packet = request(family, l4, OUTSIDE, Front::Node);
            let packet = packet.ports(1_024 + port, Front::Node.socket(family).port());
            let declined = Ok(Verdict::Pass(PassReason::Declined));
            assert_eq!(world.send(XDP, &packet).outcome, declined);
            answers.insert(world.send(UPLINK_IN, &packet).tuple().1);
        }
        assert_eq!(answers.len(), 2, "{answers:?}");
    });
}

#[test]
fn a_backend_that_cannot_be_reached_has_its_turn_and_no_other() {
    each(|family, l4| {
        let mut world = world(&[REMOTE, LOCAL], Algorithm::ROUND_ROBIN);
        world.route(family, REMOTE, Route::None);
        let reached = (0..6).filter(|port| {
            let packet = request(family, l4, OUTSIDE, Front::Node);
            let packet = packet.ports(1_024 + port, Front::Node.socket(family).port());
            world.send(UPLINK_IN, &packet).outcome == Ok(Verdict::Stack)
        });
        assert_eq!(reached.count(), 3);
    });
}

#[test]
fn each_selection_has_turns_of_its_own() {
    each(|family, l4| {
        let world = world(&[REMOTE, LOCAL], Algorithm::ROUND_ROBIN);
        for port in 1_024..1_030 {
            // In between somebody else asks the same service at the node port.
            let pod = request(family, l4, POD, Front::Node);
            let pod = pod.ports(port, Front::Node.socket(family).port());
            assert!(world.send(POD_IN, &pod).outcome.is_ok());
            let expected = if port % 2 == 0 { REMOTE } else { LOCAL };
            let answer = ask(&world, family, l4, OUTSIDE, port);
            assert_eq!(answer, expected.socket(family, BACKEND_PORT), "{port}");
        }
    });
}

#[test]
fn where_one_end_is_hashed_only_that_counts_and_every_node_finds_the_same() {
    each(|family, l4| {
        let clients: Vec<Host> = (1..30).map(|number| cast::pod(3, number)).collect();
        for (algorithm, by_client) in [
            (Algorithm::SOURCE_HASH, true),
            (Algorithm::MAGLEV, true),
            (Algorithm::DESTINATION_HASH, false),
        ] {
            let one = world(&BACKENDS, algorithm);
            let mut other = world(&BACKENDS, algorithm);
            other.tables.config.hash_key = [7, 7];
            let mut all = BTreeSet::new();
            for client in &clients {
                let answers: BTreeSet<_> = [1_024, 1_025, 40_000]
                    .into_iter()
                    .flat_map(|port| [&one, &other].map(|at| ask(at, family, l4, *client, port)))
                    .collect();
                assert_eq!(answers.len(), 1, "{algorithm:?} {}: {answers:?}", client.name);
                all.extend(answers);
            }
            let spread = if by_client { BACKENDS.len() } else { 1 };
            assert_eq!(all.len(), spread, "{algorithm:?}");
        }
    });
}

#[test]
fn the_backend_with_less_to_do_is_chosen_as_each_algorithm_counts_it() {
    const LEAST: Algorithm = Algorithm::LEAST_CONNECTION;
    const DELAY: Algorithm = Algorithm::SHORTEST_EXPECTED_DELAY;
    const QUEUE: Algorithm = Algorithm::NEVER_QUEUE;
    for (algorithm, flows, weights, expected) in [
        (LEAST, [5, 4], [1, 1], REMOTE),
        (LEAST, [5, 4], [2, 1], LOCAL),
        (LEAST, [1, 0], [10, 1], REMOTE),
        (LEAST, [3, 2], [0, 0], REMOTE),
        (DELAY, [1, 0], [10, 1], LOCAL),
        (DELAY, [5, 4], [1, 1], REMOTE),
        (DELAY, [2, 1], [3, 1], LOCAL),
        (QUEUE, [1, 0], [10, 1], REMOTE),
        (QUEUE, [3, 1], [3, 1], LOCAL),
    ] {
        each(|family, l4| {
            for port in 1_024..1_040 {
                let world = world(&[LOCAL, REMOTE], algorithm);
                for (host, (open, weight)) in
                    [LOCAL, REMOTE].into_iter().zip(flows.into_iter().zip(weights))
                {
                    let id = world.backend(host, family, l4).id;
                    world.tables.set_load(id, Load::of(open, weight));
                }
                let answer = ask(&world, family, l4, OUTSIDE, port);
                let expected = expected.socket(family, BACKEND_PORT);
                assert_eq!(answer, expected, "{algorithm:?} {flows:?} {weights:?}");
            }
        });
    }
}

#[test]
fn equals_are_chosen_by_chance_and_flows_that_begin_even_out() {
    each(|family, l4| {
        for algorithm in [
            Algorithm::LEAST_CONNECTION,
            Algorithm::SHORTEST_EXPECTED_DELAY,
            Algorithm::NEVER_QUEUE,
        ] {
            let first: BTreeSet<_> = (0..40)
                .map(|at| ask(&world(&BACKENDS, algorithm), family, l4, OUTSIDE, 1_024 + at))
                .collect();
            assert_eq!(first.len(), BACKENDS.len());
            let world = world(&BACKENDS, algorithm);
            for port in 0..100 {
                ask(&world, family, l4, OUTSIDE, 1_024 + port);
            }
            let counts = BACKENDS.map(|host| open(&world, family, l4, host));
            assert_eq!(counts.iter().sum::<u32>(), 100);
            // By chance alone one of five would stray by four.
            assert!(counts.iter().all(|count| (17..=23).contains(count)), "{counts:?}");
        }
    });
}

#[test]
fn a_flow_counts_as_open_until_either_side_ends_it_and_only_once() {
    for l4 in [L4::Tcp, L4::Sctp] {
        for family in Family::BOTH {
            for line in Line::all(family, l4) {
                let count = || open(&line.world, family, l4, line.backend);
                let asked = line.ask(flags::SYN);
                assert_eq!(count(), 1);
                line.answer(&asked, flags::SYN_ACK);
                line.ask(flags::ACK);
                line.ask(flags::SYN);
                assert_eq!(count(), 1, "a repeated SYN is no other flow");
                line.answer(&asked, flags::FIN | flags::ACK);
                assert_eq!(count(), 0);
                line.answer(&asked, flags::FIN | flags::ACK);
                line.ask(flags::FIN | flags::ACK);
                line.ask(flags::RST);
                assert_eq!(count(), 0, "it has ended once");
                line.ask(flags::SYN);
                assert_eq!(count(), 1, "a SYN begins it anew");
            }
        }
    }
}

#[test]
fn a_reset_by_either_side_ends_a_flow() {
    for family in Family::BOTH {
        for by_client in [true, false] {
            for line in Line::all(family, L4::Tcp) {
                let asked = line.ask(flags::SYN);
                if by_client {
                    line.ask(flags::RST);
                } else {
                    line.answer(&asked, flags::RST | flags::ACK);
                }
                assert_eq!(open(&line.world, family, L4::Tcp, line.backend), 0);
            }
        }
    }
}

#[test]
fn a_backend_whose_number_is_anothers_now_is_not_counted_down() {
    for family in Family::BOTH {
        for mut line in Line::all(family, L4::Tcp) {
            line.ask(flags::SYN);
            line.world.set_generation(line.backend, family, L4::Tcp, 9);
            set_open(&line.world, family, L4::Tcp, line.backend, 5);
            let (front, next) = (line.front, line.next);
            line.world.choose_from(front, family, L4::Tcp, &[next]);
            line.ask(flags::SYN);
            assert_eq!(open(&line.world, family, L4::Tcp, line.backend), 5);
            assert_eq!(open(&line.world, family, L4::Tcp, next), 1);
        }
    }
}

#[test]
fn a_syn_that_nobody_answered_goes_to_another_backend_by_every_algorithm() {
    for family in Family::BOTH {
        for algorithm in ALL {
            for port in 1_024..1_040 {
                let mut world = world(&[LOCAL, REMOTE], algorithm);
                // The one that is silent has the least to do.
                let first = ask(&world, family, L4::Tcp, OUTSIDE, port);
                world.now += world.tables.config.touch_interval;
                let second = ask(&world, family, L4::Tcp, OUTSIDE, port);
                assert_ne!(first, second, "{algorithm:?}");
                assert_eq!(world.tables.counter(Event::AnotherTried as u32), 1);
                let counts = [LOCAL, REMOTE].map(|host| open(&world, family, L4::Tcp, host));
                assert_eq!(counts.iter().sum::<u32>(), 1, "the first one counts no more");
            }
        }
    }
}

#[test]
fn flows_that_are_open_keep_their_backend_when_the_algorithm_changes() {
    each(|family, l4| {
        let mut world = world(&BACKENDS, Algorithm::RANDOM);
        let ports = 1_024..1_064;
        let answers = |world: &World| -> Vec<_> {
            ports.clone().map(|port| ask(world, family, l4, OUTSIDE, port)).collect()
        };
        let first = answers(&world);
        for algorithm in ALL {
            let line = world.service(Front::Node, family, l4);
            line.external = line.external.by(algorithm);
            assert_eq!(answers(&world), first, "{algorithm:?}");
        }
    });
}

#[test]
fn a_client_that_is_remembered_goes_where_it_went_by_every_algorithm() {
    each(|family, l4| {
        for algorithm in ALL {
            let mut world = world(&BACKENDS, algorithm);
            tell_endpoints(&mut world);
            let line = world.service(Front::Node, family, l4);
            line.affinity = AffinityRule { group: 1, seconds: 10 };
            let answers: BTreeSet<_> =
                (0..20).map(|at| ask(&world, family, l4, OUTSIDE, 1_024 + at)).collect();
            assert_eq!(answers.len(), 1, "{algorithm:?}");
        }
    });
}
