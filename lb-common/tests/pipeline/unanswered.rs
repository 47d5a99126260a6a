//! Backends that don't answer the first SYN: another one is tried.

use lb_common::{
    tables::Half,
    verdict::{Event, PassReason, Verdict},
    wire::L4,
};
use lb_tests::{
    lab::cast::{self, Family, Host, OUTSIDE},
    packet::flags,
};

use crate::{
    traffic::{POD_IN, UPLINK_IN, UPLINK_OUT, XDP, reply, request},
    world::{Front, LOCAL, POD, REMOTE, World},
};

/// A third backend.
const OTHER: Host = cast::pod(2, 2);

/// As long as clients wait before they repeat their SYN.
fn a_second(world: &mut World) {
    world.now += world.tables.config.touch_interval;
}

/// The backend that a SYN is sent to now.
fn backend(world: &World, family: Family) -> std::net::SocketAddr {
    world.send(UPLINK_IN, &request(family, L4::Tcp, OUTSIDE, Front::Node)).tuple().1
}

#[test]
fn a_repeated_syn_that_nobody_answered_goes_to_another_backend() {
    for family in Family::BOTH {
        for (client, front, at) in
            [(OUTSIDE, Front::Node, UPLINK_IN), (POD, Front::Cluster, POD_IN)]
        {
            let mut world = World::new(&[LOCAL, REMOTE]);
            let syn = request(family, L4::Tcp, client, front);
            let first = world.send(at, &syn);
            let silent = world.half(family, Half::Forward).backend;
            a_second(&mut world);
            let second = world.send(at, &syn);
            assert_ne!(first.tuple().1, second.tuple().1);
            assert_eq!(second.counted.get(&(Event::AnotherTried as u32)), Some(&1));
            assert_eq!(world.entries(family).len(), 2, "the first attempt is forgotten");
            assert_eq!(world.tables.backend_traffic(silent.id).unanswered, 1);
            let chosen = world.half(family, Half::Forward).backend;
            assert_eq!(world.tables.backend_traffic(chosen.id).flows, 1);
        }
    }
}

#[test]
fn it_happens_three_times_and_no_more() {
    for family in Family::BOTH {
        let mut world = World::new(&[LOCAL, REMOTE, OTHER]);
        let mut tried = vec![backend(&world, family)];
        for _ in 0..6 {
            a_second(&mut world);
            tried.push(backend(&world, family));
        }
        for pair in tried[..4].windows(2) {
            assert_ne!(pair[0], pair[1], "{tried:?}");
        }
        assert!(tried[3..].windows(2).all(|pair| pair[0] == pair[1]), "{tried:?}");
    }
}

#[test]
fn a_syn_that_is_doubled_on_its_way_changes_nothing() {
    for family in Family::BOTH {
        let mut world = World::new(&[LOCAL, REMOTE]);
        let first = backend(&world, family);
        world.now += world.tables.config.touch_interval / 2 - 1;
        assert_eq!(backend(&world, family), first);
    }
}

#[test]
fn a_backend_that_answered_keeps_its_connection_however_often_the_syn_is_repeated() {
    for family in Family::BOTH {
        let mut world = World::new(&[LOCAL]);
        let asked = world.send(UPLINK_IN, &request(family, L4::Tcp, OUTSIDE, Front::Node));
        let answer = reply(family, L4::Tcp, asked.tuple());
        assert_eq!(world.send(UPLINK_OUT, &answer).outcome, Ok(Verdict::Stack));
        world.choose_from(Front::Node, family, L4::Tcp, &[REMOTE]);
        a_second(&mut world);
        assert_eq!(backend(&world, family), asked.tuple().1);
    }
}

#[test]
fn where_there_is_no_other_backend_the_same_is_asked_and_its_neighbour_too() {
    for family in Family::BOTH {
        let mut world = World::new(&[REMOTE]);
        let first = backend(&world, family);
        a_second(&mut world);
        let again = world.send(UPLINK_IN, &request(family, L4::Tcp, OUTSIDE, Front::Node));
        assert_eq!(again.tuple().1, first);
        assert!(matches!(again.outcome, Ok(Verdict::Resolve(_))), "{:?}", again.outcome);
        assert_eq!(again.counted.get(&(Event::AnotherTried as u32)), None);
    }
}

#[test]
fn datagrams_and_other_segments_go_where_they_went() {
    for family in Family::BOTH {
        for (l4, flags) in [(L4::Udp, 0), (L4::Tcp, flags::ACK)] {
            let mut world = World::new(&[LOCAL, REMOTE]);
            let packet = request(family, l4, OUTSIDE, Front::Node);
            let packet = crate::traffic::carrying(packet, l4, flags);
            let first = world.send(UPLINK_IN, &packet).tuple().1;
            a_second(&mut world);
            assert_eq!(world.send(UPLINK_IN, &packet).tuple().1, first);
        }
    }
}

#[test]
fn xdp_leaves_it_to_tc() {
    for family in Family::BOTH {
        let mut world = World::new(&[LOCAL, REMOTE]);
        let syn = request(family, L4::Tcp, OUTSIDE, Front::Node);
        world.send(XDP, &syn);
        a_second(&mut world);
        let declined = Ok(Verdict::Pass(PassReason::Declined));
        world.send(XDP, &syn).is(declined, &syn, &[]);
    }
}
