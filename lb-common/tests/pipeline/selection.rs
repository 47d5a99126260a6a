//! The choice of a backend: fair over many tuples, and the same for the same tuple.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use lb_common::{
    tables::{Half, Selection, Service},
    verdict::{DropReason, Event},
    wire::L4,
};
use lb_tests::lab::cast::{self, Family, Host, OUTSIDE};

use crate::{
    traffic::{POD_IN, UPLINK_IN, XDP, each, request},
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

/// The service of a frontend chooses from tables of its own for each kind of client.
fn with_three_tables(family: Family, l4: L4) -> World {
    let mut world = World::new(&[LOCAL, POD, REMOTE]);
    let mut table = |host| {
        world.choose_from(Front::OtherCluster, family, l4, &[host]);
        let slot = world.tables.slots[&(Front::OtherCluster.service(family, l4) * 100)];
        let base = 9_000 + slot.id;
        world.tables.slots.insert(base, slot);
        Selection::new(base, 1).unwrap()
    };
    let (all, internal, external) = (table(REMOTE), table(LOCAL), table(POD));
    for front in [Front::Cluster, Front::Node] {
        let line = world.service(front, family, l4);
        *line = Service { all, internal, external, ..*line };
    }
    world
}

#[test]
fn a_cluster_ip_is_the_internal_policys_and_other_addresses_are_the_external_ones_for_outsiders() {
    each(|family, l4| {
        let world = with_three_tables(family, l4);
        for (at, client, front, backend) in [
            (UPLINK_IN, OUTSIDE, Front::Cluster, LOCAL),
            (POD_IN, POD, Front::Cluster, LOCAL),
            (UPLINK_IN, OUTSIDE, Front::Node, POD),
            (POD_IN, POD, Front::Node, REMOTE),
        ] {
            let sent = world.send(at, &request(family, l4, client, front));
            assert_eq!(
                sent.tuple().1,
                backend.socket(family, 8080),
                "{} to {front:?}",
                client.name
            );
        }
    });
}

#[test]
fn a_selection_that_a_policy_emptied_drops_and_the_others_go_on() {
    each(|family, l4| {
        let mut world = World::new(&[LOCAL]);
        world.service(Front::Node, family, l4).external = Selection::NONE_HERE;
        let outside = request(family, l4, OUTSIDE, Front::Node);
        let before = world.snapshot();
        for at in [XDP, UPLINK_IN] {
            world.send(at, &outside).is(Err(DropReason::NoLocalBackend), &outside, &[]);
        }
        assert_eq!(world.snapshot(), before);
        assert!(world.send(POD_IN, &request(family, l4, POD, Front::Node)).outcome.is_ok());

        world.service(Front::Cluster, family, l4).internal = Selection::NONE_HERE;
        let inside = request(family, l4, POD, Front::Cluster);
        world.send(POD_IN, &inside).is(Err(DropReason::NoLocalBackend), &inside, &[]);
    });
}

#[test]
fn a_service_without_affinity_and_guard_costs_one_lookup_beside_the_flows() {
    each(|family, l4| {
        let world = World::new(&[LOCAL]);
        let first = world.send(UPLINK_IN, &request(family, l4, OUTSIDE, Front::Node));
        // The flow in the first stage, then flow (in two generations) and frontend in the second and the
        // third, and a claim of each half in both generations.
        // The first stage knows no SCTP.
        let at_first = u32::from(l4 != L4::Sctp);
        assert_eq!(first.lookups, at_first + 3 + 3 + 4);
    });
}
