//! Services with rules of their own: who stays with which endpoint, who is admitted, whom a policy leaves
//! nobody for; and what becomes of packets to addresses of Services that no frontend has.

use std::{collections::BTreeSet, net::SocketAddr};

use anyhow::Result;
use lb_common::{verdict::DropReason, wire::L4};
use lb_tests::{
    lab::cast::{self, Family, Host, NODE1, OUTSIDE},
    packet::Packet,
};
use lb_userspace::{
    compile::{Desired, Touched},
    dataplane::{Changes, Writer, read_back, source_ranges},
};

use crate::{
    NOT_OURS,
    bed::{
        At, Backend, Bed, Ruled, in_shared_bed,
        sent::action,
        services::desired,
        world::{CLIENT_PORT, POD, unallocated},
    },
    each, flows, request,
};

/// Where clients' packets are seen: the place, and what it answers when it drops.
fn facing_clients(bed: &Bed) -> [At; 3] {
    [bed.world.xdp(), bed.world.uplink_in(), bed.world.pod_in()]
}

#[track_caller]
fn is_dropped(bed: &Bed, at: At, packet: &Packet, reason: DropReason) {
    crate::drops::is_dropped_at(bed, at, packet, reason);
}

/// Whom a packet of a pod was sent to.
fn receiver(family: Family, frame: &[u8]) -> SocketAddr {
    Backend::Several
        .hosts()
        .into_iter()
        .map(|host| host.socket(family, crate::bed::world::BACKEND_PORT))
        .find(|socket| match socket {
            SocketAddr::V4(v4) => frame[30..34] == v4.ip().octets(),
            SocketAddr::V6(v6) => frame[38..54] == v6.ip().octets(),
        })
        .expect("one of the service's backends")
}

#[test]
fn a_clients_connections_go_to_one_endpoint_over_both_transports_and_clients_are_spread()
-> Result<()> {
    in_shared_bed(|bed| {
        for family in Family::BOTH {
            let mut used = BTreeSet::new();
            // Other pods' addresses at this pod's interface: clients are told by nothing else.
            for client in (1..=20).map(|number| cast::pod(9, number)) {
                let answers = receivers(bed, family, client);
                assert_eq!(answers.len(), 1, "{}: {answers:?}", client.name);
                used.extend(answers);
            }
            assert_eq!(used.len(), Backend::Several.hosts().len(), "{used:?}");
        }
        Ok(())
    })
}

/// Who gets the connections of a client over TCP and UDP.
fn receivers(bed: &Bed, family: Family, client: Host) -> BTreeSet<SocketAddr> {
    let ports = CLIENT_PORT..CLIENT_PORT + 10;
    let each = ports.flat_map(|port| [L4::Tcp, L4::Udp].map(|l4| (port, l4)));
    each.map(|(port, l4)| {
        let to = Ruled::Sticky.socket(family);
        let packet = request(family, l4, client, to).ports(port, to.port());
        receiver(family, &bed.send(bed.world.pod_in(), &packet).frame)
    })
    .collect()
}

#[test]
fn a_client_keeps_its_endpoint_when_others_come_and_gets_another_when_it_goes() -> Result<()> {
    in_shared_bed(|bed| {
        for family in Family::BOTH {
            let client = cast::pod(9, 30);
            let with = |hosts: &[Host]| sticky_only(family, hosts);
            let hosts = Backend::Several.hosts();
            bed.apply(&with(&hosts[..1]))?;
            let first = receivers(bed, family, client);
            bed.apply(&with(&hosts))?;
            assert_eq!(receivers(bed, family, cast::pod(9, 30)), first);
            let clients = (40..60).map(|number| cast::pod(9, number));
            let others: BTreeSet<_> =
                clients.flat_map(|client| receivers(bed, family, client)).collect();
            assert_eq!(others.len(), hosts.len(), "the choice is another for others");
            bed.apply(&with(&hosts[1..]))?;
            let second = receivers(bed, family, client);
            assert_eq!(second.len(), 1);
            assert_ne!(second, first);
        }
        Ok(())
    })
}

/// The standard services, the sticky ones of one family with these backends.
fn sticky_only(family: Family, hosts: &[Host]) -> Desired {
    let mut desired = desired(Backend::hosts);
    for (key, service) in &mut desired.services {
        let of_family =
            key.family.to_string() == if family == Family::V4 { "IPv4" } else { "IPv6" };
        if key.service.name == "sticky" && of_family {
            let addresses: Vec<_> = hosts.iter().map(|host| host.ip(family)).collect();
            service.backends.retain(|backend, _| addresses.contains(&backend.address));
            let tables = [&mut service.all, &mut service.internal, &mut service.external];
            for table in tables {
                table.slots.retain(|backend| addresses.contains(&backend.address));
            }
        }
    }
    desired
}

#[test]
fn a_guarded_address_admits_its_source_ranges_and_drops_others() -> Result<()> {
    each(|bed, family, l4| {
        let before = flows(bed, family);
        let to = Ruled::Guarded.socket(family);
        for place in facing_clients(bed) {
            is_dropped(bed, place, &request(family, l4, POD, to), DropReason::NotAdmitted);
        }
        assert_eq!(flows(bed, family), before);
        let sent = bed.send(bed.world.uplink_in(), &request(family, l4, OUTSIDE, to));
        assert!(sent.counted.contains_key(&crate::CREATED), "{sent:?}");
    })
}

#[test]
fn where_the_external_policy_leaves_nobody_outsiders_are_dropped_and_pods_served() -> Result<()> {
    each(|bed, family, l4| {
        let to = Ruled::Absent.socket(family);
        let [xdp, uplink, _] = facing_clients(bed);
        for place in [xdp, uplink] {
            is_dropped(bed, place, &request(family, l4, OUTSIDE, to), DropReason::NoLocalBackend);
        }
        let sent = bed.send(bed.world.pod_in(), &request(family, l4, POD, to));
        assert!(sent.counted.contains_key(&crate::CREATED), "{sent:?}");
    })
}

#[test]
fn unknown_ports_of_services_addresses_are_refused_and_unallocated_addresses_dropped() -> Result<()>
{
    each(|bed, family, l4| {
        let address = Ruled::Sticky.socket(family).ip();
        for place in facing_clients(bed) {
            for port in [81, 30_081] {
                let packet = request(family, l4, OUTSIDE, SocketAddr::new(address, port));
                is_dropped(bed, place, &packet, DropReason::UnknownPort);
                let packet =
                    request(family, l4, OUTSIDE, SocketAddr::new(unallocated(family), port));
                is_dropped(bed, place, &packet, DropReason::UnallocatedAddress);
            }
        }
        // The node's own address is never judged, nor is what leaves.
        let packet = request(family, l4, OUTSIDE, NODE1.socket(family, 81));
        bed.send(bed.world.uplink_in(), &packet).is(action::TC_UNSPEC, &packet, &[NOT_OURS]);
        let packet = request(family, l4, OUTSIDE, SocketAddr::new(address, 81));
        bed.send(bed.world.uplink_out(), &packet).is(action::TC_UNSPEC, &packet, &[NOT_OURS]);
    })
}

#[test]
fn a_writer_that_takes_over_finds_everything_and_writes_nothing() -> Result<()> {
    in_shared_bed(|bed| {
        let mut writer = Writer::new(&bed.tables, read_back(&bed.tables)?)?;
        let changes =
            writer.apply(&mut bed.tables, &desired(Backend::hosts), &Touched::Everything)?;
        // Each is new to this writer; the maps have it.
        assert_eq!(changes, Changes { services: changes.services, ..Changes::default() });
        Ok(())
    })
}

#[test]
fn when_the_services_go_nothing_of_their_rules_stays() -> Result<()> {
    in_shared_bed(|bed| {
        bed.apply(&Desired::default())?;
        let tables = &bed.tables;
        assert!(tables.endpoints.elements()?.is_empty());
        assert!(source_ranges(tables)?.is_empty());
        assert!(tables.addresses_v4.elements()?.is_empty());
        assert!(tables.addresses_v6.elements()?.is_empty());
        let packet = request(Family::V4, L4::Tcp, OUTSIDE, Ruled::Sticky.socket(Family::V4));
        let place = bed.world.uplink_in();
        is_dropped(bed, place, &packet, DropReason::UnallocatedAddress);
        Ok(())
    })
}
