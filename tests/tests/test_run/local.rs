//! Backends that packets reach through the kernel's stack, and the way back.

use anyhow::Result;
use lb_tests::lab::cast::{Family, OUTSIDE, gateway_mac};

use crate::{
    CREATED, NOT_OURS, STACK, TRANSMIT, answer,
    bed::{
        Backend, Front, in_shared_bed,
        sent::action,
        world::{CLIENT_PORT, POD},
    },
    between, each, from_outside, from_pod, snat_port,
};

const BEHIND_THE_STACK: [Backend; 4] =
    [Backend::Local, Backend::Node, Backend::Remote, Backend::Unreachable];

#[test]
fn a_pods_requests_go_to_a_backend_and_its_answers_come_from_the_service() -> Result<()> {
    each(|bed, family, l4| {
        let client = POD.socket(family, CLIENT_PORT);
        for backend in BEHIND_THE_STACK {
            let (service, server) =
                (Front::Cluster.socket(family, backend), backend.socket(family));
            let packet = from_pod(family, l4, backend);
            let translated = between(packet.clone(), client, server);
            let first = bed.send(bed.world.pod_in(), &packet);
            first.is(action::TC_UNSPEC, &translated, &[STACK, CREATED]);
            let second = bed.send(bed.world.pod_in(), &packet);
            second.is(action::TC_UNSPEC, &translated, &[STACK]);

            let reply = answer(family, l4, server, client);
            let translated = between(reply.clone(), service, client);
            bed.send(bed.world.pod_out(), &reply).is(action::TC_UNSPEC, &translated, &[STACK]);
            // The role is part of the key: at no other hook is it a reply.
            let untouched = bed.send(bed.world.uplink_out(), &reply);
            untouched.is(action::TC_UNSPEC, &reply, &[NOT_OURS]);
        }
    })
}

#[test]
fn requests_to_a_node_port_go_to_a_backend_of_this_node_at_tc_and_at_xdp() -> Result<()> {
    for (tc_first, port) in [(true, CLIENT_PORT), (false, CLIENT_PORT + 1)] {
        each(|bed, family, l4| {
            let client = OUTSIDE.socket(family, port);
            for backend in [Backend::Local, Backend::Node] {
                let (service, server) =
                    (Front::Node.socket(family, backend), backend.socket(family));
                let packet = from_outside(family, l4, backend).ports(port, service.port());
                let translated = between(packet.clone(), client, server);
                let mut points = [
                    (bed.world.uplink_in(), action::TC_UNSPEC),
                    (bed.world.xdp(), action::XDP_PASS),
                ];
                if !tc_first {
                    points.reverse();
                }
                for ((at, pass), counted) in
                    points.into_iter().zip([&[STACK, CREATED][..], &[STACK]])
                {
                    bed.send(at, &packet).is(pass, &translated, counted);
                }
                let reply = answer(family, l4, server, client);
                let translated = between(reply.clone(), service, client);
                let sent = bed.send(bed.world.uplink_out(), &reply);
                sent.is(action::TC_UNSPEC, &translated, &[STACK]);
            }
        })?;
    }
    Ok(())
}

#[test]
fn a_pod_reaches_itself_turned_around_with_the_service_as_its_peer() -> Result<()> {
    each(|bed, family, l4| {
        let (service, oneself) =
            (Front::Cluster.socket(family, Backend::Oneself), Backend::Oneself.socket(family));
        let gateway = gateway_mac(1, 1);
        let packet = from_pod(family, l4, Backend::Oneself).macs(POD.mac, gateway);
        let first = bed.send(bed.world.pod_in(), &packet);
        let mut peer = service;
        peer.set_port(snat_port(&first, family));
        let translated = between(packet.clone(), peer, oneself).macs(gateway, POD.mac).ttl(63);
        first.is(action::TC_REDIRECT, &translated, &[TRANSMIT, CREATED]);
        bed.send(bed.world.pod_in(), &packet).is(action::TC_REDIRECT, &translated, &[TRANSMIT]);

        let reply = answer(family, l4, oneself, peer).macs(POD.mac, gateway);
        let translated = between(reply.clone(), service, POD.socket(family, CLIENT_PORT))
            .macs(gateway, POD.mac)
            .ttl(63);
        bed.send(bed.world.pod_in(), &reply).is(action::TC_REDIRECT, &translated, &[TRANSMIT]);
    })
}

#[test]
fn udp_without_a_checksum_stays_without_one() -> Result<()> {
    in_shared_bed(|bed| {
        for family in Family::BOTH {
            let l4 = lb_common::wire::L4::Udp;
            let client = OUTSIDE.socket(family, CLIENT_PORT);
            let server = Backend::Local.socket(family);
            let packet = from_outside(family, l4, Backend::Local).udp_without_checksum();
            let translated = between(packet.clone(), client, server);
            let sent = bed.send(bed.world.uplink_in(), &packet);
            sent.is(action::TC_UNSPEC, &translated, &[STACK, CREATED]);
            bed.send(bed.world.xdp(), &packet).is(action::XDP_PASS, &translated, &[STACK]);
        }
        Ok(())
    })
}

#[test]
fn a_packet_that_the_stack_routes_keeps_its_time_to_live_even_the_last() -> Result<()> {
    each(|bed, family, l4| {
        let packet = from_pod(family, l4, Backend::Local).ttl(1);
        let server = Backend::Local.socket(family);
        let translated = between(packet.clone(), POD.socket(family, CLIENT_PORT), server);
        let sent = bed.send(bed.world.pod_in(), &packet);
        sent.is(action::TC_UNSPEC, &translated, &[STACK, CREATED]);
    })
}
