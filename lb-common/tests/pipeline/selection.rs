//! The choice of a backend: fair over many tuples, and the same for the same tuple.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use lb_common::{tables::Half, verdict::Event, wire::L4};
use lb_tests::lab::cast::{self, Family, Host, OUTSIDE};

use crate::{
    traffic::{UPLINK_IN, each, request},
    world::{Front, LOCAL, POD, REMOTE, World},
};

const BACKENDS: [Host; 5] = [LOCAL, POD, REMOTE, cast::pod(2, 2), cast::pod(2, 3)];

/// Who answers each of the client's ports.
fn choices(world: &World, family: Family, l4: L4, ports: u16) -> Vec<SocketAddr> {
    (0..ports)
        .map(|port| {
            let packet = request(family, l4, OUTSIDE, Front::Node).from(OUTSIDE, 1_024 + port);
            let packet = packet.addresses(OUTSIDE.ip(family), Front::Node.socket(family).ip());
            let sent = world.send(UPLINK_IN, &packet);
            assert!(sent.outcome.is_ok());
            sent.tuple().1
        })
        .collect()
}

/// Pearson's statistic against equal shares.
fn chi_square(choices: &[SocketAddr], kinds: usize) -> f64 {
    let mut counts = BTreeMap::<_, u32>::new();
    for choice in choices {
        *counts.entry(choice).or_default() += 1;
    }
    assert_eq!(counts.len(), kinds);
    let total = u32::try_from(choices.len()).unwrap();
    let expected = f64::from(total) / f64::from(u32::try_from(kinds).unwrap());
    counts.values().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum()
}

#[test]
fn each_backend_gets_its_share() {
    each(|family, l4| {
        for key in [[0, 0], [1, 2], [0x5eed, 0xfeed], [u64::MAX, u64::MAX]] {
            let mut world = World::new(&BACKENDS);
            world.tables.config.hash_key = key;
            // Room for all clients at every remote backend.
            world.tables.config.snat_ports.count = 4_000;
            let chosen = choices(&world, family, l4, 4_000);
            // Four degrees of freedom: chance exceeds this once in 100,000 times.
            let statistic = chi_square(&chosen, BACKENDS.len());
            assert!(statistic < 28.5, "{family:?} {l4:?} {key:?}: {statistic}");
        }
    });
}

#[test]
fn repeated_entries_weigh() {
    each(|family, l4| {
        let mut world = World::new(&BACKENDS);
        world.choose_from(Front::Node, family, l4, &[LOCAL, LOCAL, LOCAL, POD]);
        let chosen = choices(&world, family, l4, 2_000);
        let heavy = LOCAL.socket(family, 8080);
        let count = chosen.iter().filter(|choice| **choice == heavy).count();
        // 1,500 expected, of a standard deviation of 19.4.
        assert!((1_400..1_600).contains(&count), "{count}");
    });
}

#[test]
fn the_same_tuple_gets_the_same_backend_again() {
    each(|family, l4| {
        let world = World::new(&BACKENDS);
        let first = choices(&world, family, l4, 200);
        world.evict(family, Half::Forward);
        assert_eq!(choices(&world, family, l4, 200), first);
        world.evict(family, Half::Forward);
        world.evict(family, Half::Reverse);
        assert_eq!(choices(&world, family, l4, 200), first);
        assert_eq!(choices(&World::new(&BACKENDS), family, l4, 200), first);

        let mut other = World::new(&BACKENDS);
        other.tables.config.hash_key = [1, 1];
        assert_ne!(choices(&other, family, l4, 200), first);
        assert_eq!(other.tables.counter(Event::FlowCreated as u32), 200);
    });
}

#[test]
fn the_two_scopes_choose_from_tables_of_their_own() {
    each(|family, l4| {
        let mut world = World::new(&[LOCAL, POD]);
        world.choose_from(Front::Cluster, family, l4, &[LOCAL]);
        let inside = world.tables.services[&Front::Cluster.service(family, l4)].internal;
        world.choose_from(Front::Node, family, l4, &[POD]);
        let service = world.tables.services.get_mut(&Front::Node.service(family, l4)).unwrap();
        service.internal = inside;

        let outside = world.send(UPLINK_IN, &request(family, l4, OUTSIDE, Front::Node));
        assert_eq!(outside.tuple().1, POD.socket(family, 8080));
        let pod = world.send(crate::traffic::POD_IN, &request(family, l4, POD, Front::Node));
        assert_eq!(pod.tuple().1, LOCAL.socket(family, 8080));
    });
}
