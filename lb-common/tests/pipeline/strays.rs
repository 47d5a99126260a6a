//! Packets to addresses of Services, and to addresses kept for them, that no frontend has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::{
    addr::{Address, Ipv4, Ipv6},
    tables::{AddressOwner, AddressRange, AddressSet},
    verdict::{DropReason, PassReason, Verdict},
    wire::L4,
};
use lb_tests::{
    lab::cast::{self, Family, NODE1, OUTSIDE},
    packet::Packet,
};

use crate::{
    traffic::{At, POD_IN, POD_OUT, UPLINK_IN, UPLINK_OUT, XDP, each, request},
    world::{BACKEND_PORT, CLIENT_PORT, Front, LOCAL, NODE_PORT, POD, World},
};

const FACING_CLIENTS: [At; 3] = [POD_IN, UPLINK_IN, XDP];
const PASSES: Result<Verdict, DropReason> = Ok(Verdict::Pass(PassReason::NotOurs));

/// A world that knows whose its addresses are, and the range of cluster IPs.
fn world() -> World {
    let mut world = World::new(&[LOCAL]);
    for family in Family::BOTH {
        for front in [Front::Cluster, Front::OtherCluster] {
            world.own(front.socket(family).ip(), AddressOwner::Service);
        }
        world.own(NODE1.ip(family), AddressOwner::Other);
    }
    world.tables.config.service_range_v4 =
        AddressRange { base: v4(cast::SERVICE_NETWORK_V4.0), mask: v4([255, 255, 0, 0].into()) };
    let mask = u128::MAX << 16;
    world.tables.config.service_range_v6 =
        AddressRange { base: cast::SERVICE_NETWORK_V6.0.into(), mask: Ipv6Addr::from(mask).into() };
    world
}

fn v4(address: Ipv4Addr) -> Ipv4 {
    address.into()
}

/// From the outside to an address and port.
fn to(family: Family, l4: L4, address: IpAddr, port: u16) -> Packet {
    let packet = request(family, l4, OUTSIDE, Front::Node);
    packet.addresses(OUTSIDE.ip(family), address).ports(CLIENT_PORT, port)
}

#[test]
fn an_unknown_port_of_a_services_address_is_refused() {
    each(|family, l4| {
        let world = world();
        let before = world.snapshot();
        // Nobody's port, another frontend's, and a port for SNAT.
        for port in [81, NODE_PORT, crate::world::SNAT_PORTS.first] {
            let packet = to(family, l4, Front::Cluster.socket(family).ip(), port);
            let packet = packet.ports(BACKEND_PORT, port);
            for at in FACING_CLIENTS {
                world.send(at, &packet).is_dropped(at, DropReason::UnknownPort, &packet, &[]);
            }
        }
        assert_eq!(world.snapshot(), before);
    });
}

#[test]
fn an_unknown_protocol_of_a_known_port_is_an_unknown_port() {
    for family in Family::BOTH {
        let mut world = world();
        let udp = lb_common::wire::Protocol::UDP.0;
        world.tables.v4.frontends.retain(|key, _| key.protocol != udp);
        world.tables.v6.frontends.retain(|key, _| key.protocol != udp);
        let packet = request(family, L4::Udp, POD, Front::Cluster);
        world.send(POD_IN, &packet).is_dropped(POD_IN, DropReason::UnknownPort, &packet, &[]);
        let packet = request(family, L4::Tcp, POD, Front::Cluster);
        assert!(world.send(POD_IN, &packet).outcome.is_ok());
    }
}

#[test]
fn an_address_of_the_range_that_no_service_has_is_dropped() {
    each(|family, l4| {
        let world = world();
        for port in [80, 81] {
            let packet = to(family, l4, cast::service(family, 77), port);
            for at in FACING_CLIENTS {
                world.send(at, &packet).is(Err(DropReason::UnallocatedAddress), &packet, &[]);
            }
        }
    });
}

#[test]
fn without_a_range_such_an_address_passes_and_a_services_is_known_all_the_same() {
    each(|family, l4| {
        let mut world = world();
        world.tables.config.service_range_v4 = AddressRange::default();
        world.tables.config.service_range_v6 = AddressRange::default();
        let packet = to(family, l4, cast::service(family, 77), 81);
        world.send(UPLINK_IN, &packet).is(PASSES, &packet, &[]);
        let packet = to(family, l4, Front::Cluster.socket(family).ip(), 81);
        world.send(UPLINK_IN, &packet).is_dropped(UPLINK_IN, DropReason::UnknownPort, &packet, &[]);
    });
}

#[test]
fn the_nodes_own_addresses_and_those_of_another_proxy_pass_in_the_range_too() {
    each(|family, l4| {
        let mut world = world();
        let others = cast::service(family, 78);
        world.own(others, AddressOwner::Other);
        for address in [NODE1.ip(family), others] {
            for port in [80, 81] {
                let packet = to(family, l4, address, port);
                for at in FACING_CLIENTS {
                    world.send(at, &packet).is(PASSES, &packet, &[]);
                }
            }
        }
    });
}

#[test]
fn where_replies_leave_and_for_senders_that_nobody_can_answer_nothing_is_judged() {
    each(|family, l4| {
        let world = world();
        let packet = to(family, l4, Front::Cluster.socket(family).ip(), 81);
        for at in [POD_OUT, UPLINK_OUT] {
            world.send(at, &packet).is(PASSES, &packet, &[]);
        }
    });
}

/// An address outside the range that has the bit of a service's, and isn't it.
fn with_the_same_bit(address: IpAddr) -> IpAddr {
    fn search<A: Address>(of: A, like: impl Fn(u32) -> A) -> A {
        let alike = |one: &A| AddressSet::position(*one) == AddressSet::position(of);
        (0..1 << 24).map(like).find(alike).expect("one in 65,536 has it")
    }
    match address {
        IpAddr::V4(ip) => {
            search(Ipv4::from(ip), |n| Ipv4::from(Ipv4Addr::from(0xc600_0000 + n))).to_ip()
        }
        IpAddr::V6(ip) => {
            let like = |n| Ipv6::from(Ipv6Addr::from((0x2001_0db8 << 96) + u128::from(n)));
            search(Ipv6::from(ip), like).to_ip()
        }
    }
}

#[test]
fn an_address_that_only_looks_like_a_services_passes_after_a_lookup() {
    each(|family, l4| {
        let world = world();
        let address = with_the_same_bit(Front::Cluster.socket(family).ip());
        let sent = world.send(UPLINK_IN, &to(family, l4, address, 81));
        assert_eq!((sent.outcome, sent.lookups), (PASSES, 1), "{address}");
    });
}

#[test]
fn ordinary_traffic_does_not_pay_for_it_with_a_lookup() {
    each(|family, l4| {
        let world = world();
        for address in [NODE1.ip(family), POD.ip(family), cast::pod(2, 1).ip(family)] {
            let sent = world.send(UPLINK_IN, &to(family, l4, address, 22));
            assert_eq!((sent.outcome, sent.lookups), (PASSES, 0));
        }
    });
}
