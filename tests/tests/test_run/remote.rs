//! Node port to a backend elsewhere: with the node's address, straight out again, and the reply the
//! same way back.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use anyhow::Result;
use lb_common::wire::L4;
use lb_tests::{
    lab::cast::{Family, NODE1, NODE2, OUTSIDE},
    packet::{Packet, flags},
};

use crate::{
    CREATED, RESOLVE, STACK, TRANSMIT, answer,
    bed::{
        At, Backend, Bed, Front, SIZES, Sent, in_shared_bed,
        sent::action,
        world::{CLIENT_PORT, TRANSPORTS, uplink_mac},
    },
    between, each, from_outside, snat_port,
};

/// What a request has to become, given the port that it was sent from; link-layer addresses aside.
pub fn outward(packet: &Packet, family: Family, backend: Backend, sent: &Sent) -> Packet {
    let from = NODE1.socket(family, snat_port(sent, family));
    between(packet.clone(), from, backend.socket(family)).ttl(63)
}

#[test]
fn requests_leave_for_a_backend_whose_link_layer_address_is_known_and_answers_come_back()
-> Result<()> {
    each(|bed, family, l4| {
        let backend = Backend::Remote;
        let (service, server) = (Front::Node.socket(family, backend), backend.socket(family));
        let packet = from_outside(family, l4, backend);
        let first = bed.send(bed.world.uplink_in(), &packet);
        let translated = outward(&packet, family, backend, &first).macs(NODE1.mac, NODE2.mac);
        first.is(action::TC_REDIRECT, &translated, &[TRANSMIT, CREATED]);
        let second = bed.send(bed.world.uplink_in(), &packet);
        second.is(action::TC_REDIRECT, &translated, &[TRANSMIT]);

        let node = NODE1.socket(family, snat_port(&first, family));
        let reply = answer(family, l4, server, node).macs(NODE2.mac, NODE1.mac);
        let translated = between(reply.clone(), service, OUTSIDE.socket(family, CLIENT_PORT))
            .macs(NODE1.mac, OUTSIDE.mac)
            .ttl(63);
        for _ in 0..2 {
            let sent = bed.send(bed.world.uplink_in(), &reply);
            sent.is(action::TC_REDIRECT, &translated, &[TRANSMIT]);
        }
    })
}

/// The same client with the same secret would get the same port; a socket of the node has it now.
#[test]
fn a_source_port_that_a_socket_of_the_node_has_is_left_to_it() -> Result<()> {
    let port_of = |bed: &Bed, family, l4| {
        let sent = bed.send(bed.world.uplink_in(), &from_outside(family, l4, Backend::Remote));
        snat_port(&sent, family)
    };
    let bed = Bed::with(&SIZES, |_| Ok(()))?;
    let mut ports = Vec::new();
    for family in Family::BOTH {
        for l4 in TRANSPORTS {
            ports.push((family, l4, port_of(&bed, family, l4)));
        }
    }
    drop(bed);
    let bed = Bed::with(&SIZES, |_| Ok(()))?;
    for (family, l4, port) in ports {
        let any = match family {
            Family::V4 => SocketAddr::from(([0; 4], port)),
            Family::V6 => SocketAddr::from(([0; 16], port)),
        };
        let (_listener, _socket);
        match l4 {
            L4::Tcp => _listener = TcpListener::bind(any)?,
            _ => _socket = UdpSocket::bind(any)?,
        }
        assert_ne!(port_of(&bed, family, l4), port, "{family:?} {l4:?}");
    }
    Ok(())
}

#[test]
fn the_kernel_resolves_a_link_layer_address_that_is_not_known() -> Result<()> {
    each(|bed, family, l4| {
        let packet = from_outside(family, l4, Backend::Unresolved);
        let first = bed.send(bed.world.uplink_in(), &packet);
        let translated = outward(&packet, family, Backend::Unresolved, &first);
        first.is(action::TC_REDIRECT, &translated, &[RESOLVE, CREATED]);
        bed.send(bed.world.uplink_in(), &packet).is(action::TC_REDIRECT, &translated, &[RESOLVE]);
    })
}

#[test]
fn an_address_that_gets_known_is_used_as_soon_as_the_epoch_moves() -> Result<()> {
    each(|bed, family, l4| {
        let packet = from_outside(family, l4, Backend::Unresolved);
        let first = bed.send(bed.world.uplink_in(), &packet);
        let translated = outward(&packet, family, Backend::Unresolved, &first);
        let node3 = lb_tests::lab::cast::node(3);
        let (ip, mac) = (node3.ip(family), node3.mac);
        let line = format!("neigh replace {ip} lladdr {mac} dev eth0 nud permanent\n");
        bed.namespace().ip(&line).expect("a new neighbour");
        bed.send(bed.world.uplink_in(), &packet).is(action::TC_REDIRECT, &translated, &[RESOLVE]);
        bed.tables.move_epoch();
        let translated = translated.macs(NODE1.mac, mac);
        bed.send(bed.world.uplink_in(), &packet).is(action::TC_REDIRECT, &translated, &[TRANSMIT]);
        bed.namespace().ip(&format!("neigh del {ip} dev eth0\n")).expect("it is gone again");
    })
}

#[test]
fn a_packet_that_renews_its_flows_age_takes_the_kernels_neighbour_table() -> Result<()> {
    each(|bed, family, l4| {
        let packet = from_outside(family, l4, Backend::Remote);
        let first = bed.send(bed.world.uplink_in(), &packet);
        // 0: every packet renews it.
        bed.tables.set_settings(lb_userspace::dataplane::Settings {
            touch_interval: 0,
            ..crate::bed::SETTINGS
        });
        let translated = outward(&packet, family, Backend::Remote, &first);
        bed.send(bed.world.uplink_in(), &packet).is(action::TC_REDIRECT, &translated, &[RESOLVE]);
        bed.tables.set_settings(crate::bed::SETTINGS);
    })
}

#[test]
fn requests_leave_by_the_interface_where_the_backend_is() -> Result<()> {
    each(|bed, family, l4| {
        for (backend, uplink) in [(Backend::Elsewhere, 1), (Backend::Deaf, 2)] {
            let packet = from_outside(family, l4, backend);
            let first = bed.send(bed.world.uplink_in(), &packet);
            let translated = outward(&packet, family, backend, &first)
                .macs(uplink_mac(uplink), backend.hosts()[0].mac);
            first.is(action::TC_REDIRECT, &translated, &[TRANSMIT, CREATED]);
        }
    })
}

#[test]
fn a_packet_that_will_be_cut_up_is_measured_by_its_segments() -> Result<()> {
    in_shared_bed(|bed| {
        for family in Family::BOTH {
            let packet =
                from_outside(family, L4::Tcp, Backend::Remote).tcp(flags::ACK).payload(&[7; 2800]);
            let at = At { segment_payload: 1400, ..bed.world.uplink_in() };
            let sent = bed.send(at, &packet);
            let translated = outward(&packet, family, Backend::Remote, &sent);
            let translated = translated.macs(NODE1.mac, NODE2.mac);
            sent.is(action::TC_REDIRECT, &translated, &[TRANSMIT, CREATED]);
        }
        Ok(())
    })
}

#[test]
fn a_pods_requests_to_a_backend_elsewhere_keep_its_address() -> Result<()> {
    each(|bed, family, l4| {
        let packet = crate::from_pod(family, l4, Backend::Elsewhere);
        let client = crate::bed::world::POD.socket(family, CLIENT_PORT);
        let translated = between(packet.clone(), client, Backend::Elsewhere.socket(family));
        let sent = bed.send(bed.world.pod_in(), &packet);
        sent.is(action::TC_UNSPEC, &translated, &[STACK, CREATED]);
    })
}
