//! Source ranges: who is admitted at a guarded frontend.

use std::net::IpAddr;

use lb_common::{
    addr::Address,
    tables::{Frontend, Half, SourceRangeKey},
    verdict::DropReason,
    wire::L4,
};
use lb_tests::lab::cast::{Family, OUTSIDE};

use crate::{
    traffic::{POD_IN, UPLINK_IN, XDP, each, request},
    world::{Front, LOCAL, POD, World},
};

/// The node port is guarded, and admits the addresses that share so many bits with this one.
fn guarded(family: Family, l4: L4, address: IpAddr, bits: u32) -> World {
    let mut world = World::new(&[LOCAL]);
    world.lead(Front::Node, family, l4, Frontend::GUARDED);
    admit(&mut world, Front::Node.service(family, l4), address, bits);
    world
}

fn admit(world: &mut World, service: u32, address: IpAddr, bits: u32) {
    fn range<A: Address>(service: u32, address: A, bits: u32) -> SourceRangeKey<A> {
        SourceRangeKey::range(service, address, bits)
    }
    match address {
        IpAddr::V4(ip) => world.tables.v4.source_ranges.push(range(service, ip.into(), bits)),
        IpAddr::V6(ip) => world.tables.v6.source_ranges.push(range(service, ip.into(), bits)),
    }
}

#[test]
fn clients_of_the_ranges_are_admitted_and_others_dropped_wherever_they_come_in() {
    each(|family, l4| {
        let (outside, pod) =
            (request(family, l4, OUTSIDE, Front::Node), request(family, l4, POD, Front::Node));
        let world = guarded(family, l4, OUTSIDE.ip(family), 24);
        assert!(world.send(UPLINK_IN, &outside).outcome.is_ok());
        let before = world.snapshot();
        world.send(POD_IN, &pod).is(Err(DropReason::NotAdmitted), &pod, &[]);
        assert_eq!(world.snapshot(), before);

        let world = guarded(family, l4, POD.ip(family), 24);
        assert!(world.send(POD_IN, &pod).outcome.is_ok());
        for at in [XDP, UPLINK_IN] {
            world.send(at, &outside).is(Err(DropReason::NotAdmitted), &outside, &[]);
        }
    });
}

#[test]
fn a_range_of_no_bits_admits_everybody_and_no_range_nobody() {
    each(|family, l4| {
        let outside = request(family, l4, OUTSIDE, Front::Node);
        let world = guarded(family, l4, POD.ip(family), 0);
        assert!(world.send(UPLINK_IN, &outside).outcome.is_ok());

        let mut world = World::new(&[LOCAL]);
        world.lead(Front::Node, family, l4, Frontend::GUARDED);
        world.send(UPLINK_IN, &outside).is(Err(DropReason::NotAdmitted), &outside, &[]);
    });
}

#[test]
fn ranges_are_their_services_and_hold_at_guarded_frontends_only() {
    each(|family, l4| {
        let outside = request(family, l4, OUTSIDE, Front::Node);
        let mut world = World::new(&[LOCAL]);
        world.lead(Front::Node, family, l4, Frontend::GUARDED);
        admit(&mut world, Front::Cluster.service(family, l4), OUTSIDE.ip(family), 0);
        world.send(UPLINK_IN, &outside).is(Err(DropReason::NotAdmitted), &outside, &[]);

        let world = guarded(family, l4, POD.ip(family), 32);
        let elsewhere = request(family, l4, OUTSIDE, Front::Cluster);
        assert!(world.send(UPLINK_IN, &elsewhere).outcome.is_ok());
    });
}

#[test]
fn a_connection_goes_on_when_its_client_would_not_be_admitted_any_more() {
    each(|family, l4| {
        let mut world = guarded(family, l4, OUTSIDE.ip(family), 32);
        let outside = request(family, l4, OUTSIDE, Front::Node);
        assert!(world.send(UPLINK_IN, &outside).outcome.is_ok());
        world.tables.v4.source_ranges.clear();
        world.tables.v6.source_ranges.clear();
        assert!(world.send(UPLINK_IN, &outside).outcome.is_ok());
        world.evict(family, Half::Forward);
        world.send(UPLINK_IN, &outside).is(Err(DropReason::NotAdmitted), &outside, &[]);
    });
}
