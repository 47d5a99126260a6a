//! What XDP finishes, and what it leaves to TC with nothing written.

use anyhow::Result;
use lb_tests::lab::cast::{NODE1, NODE2, OUTSIDE};

use crate::{
    CREATED, DECLINED, RESOLVE, TRANSMIT, answer,
    bed::{
        Backend, Front,
        sent::action,
        world::{CLIENT_PORT, uplink_mac},
    },
    between, each, flows, from_outside,
    remote::outward,
    snat_port,
};

#[test]
fn requests_for_a_backend_behind_the_same_interface_are_sent_back_out_of_it() -> Result<()> {
    each(|bed, family, l4| {
        let backend = Backend::Remote;
        let packet = from_outside(family, l4, backend);
        let first = bed.send(bed.world.xdp(), &packet);
        let translated = outward(&packet, family, backend, &first).macs(NODE1.mac, NODE2.mac);
        let back = bed.world.out_of_eth0();
        first.is(back, &translated, &[TRANSMIT, CREATED]);
        bed.send(bed.world.xdp(), &packet).is(back, &translated, &[TRANSMIT]);
        // The same flow at TC.
        let at_tc = bed.send(bed.world.uplink_in(), &packet);
        at_tc.is(action::TC_REDIRECT, &translated, &[TRANSMIT]);

        let node = NODE1.socket(family, snat_port(&first, family));
        let reply = answer(family, l4, backend.socket(family), node).macs(NODE2.mac, NODE1.mac);
        let client = OUTSIDE.socket(family, CLIENT_PORT);
        let translated = between(reply.clone(), Front::Node.socket(family, backend), client)
            .macs(NODE1.mac, OUTSIDE.mac)
            .ttl(63);
        for _ in 0..2 {
            bed.send(bed.world.xdp(), &reply).is(back, &translated, &[TRANSMIT]);
        }
    })
}

#[test]
fn requests_for_a_backend_behind_another_interface_are_redirected_to_it() -> Result<()> {
    each(|bed, family, l4| {
        let backend = Backend::Elsewhere;
        let packet = from_outside(family, l4, backend);
        let first = bed.send(bed.world.xdp(), &packet);
        let translated =
            outward(&packet, family, backend, &first).macs(uplink_mac(1), backend.hosts()[0].mac);
        first.is(action::XDP_REDIRECT, &translated, &[TRANSMIT, CREATED]);
    })
}

#[test]
fn what_xdp_cannot_send_it_leaves_to_tc_with_nothing_written() -> Result<()> {
    each(|bed, family, l4| {
        let before = flows(bed, family);
        for backend in [Backend::Unresolved, Backend::Deaf] {
            let packet = from_outside(family, l4, backend);
            bed.send(bed.world.xdp(), &packet).is(action::XDP_PASS, &packet, &[DECLINED]);
        }
        assert_eq!(flows(bed, family), before);
    })
}

#[test]
fn packets_of_a_flow_that_xdp_cannot_send_it_leaves_to_tc_too() -> Result<()> {
    each(|bed, family, l4| {
        for (backend, tc) in [(Backend::Unresolved, RESOLVE), (Backend::Deaf, TRANSMIT)] {
            let packet = from_outside(family, l4, backend);
            let at_tc = bed.send(bed.world.uplink_in(), &packet);
            assert_eq!(at_tc.counted.get(&tc), Some(&1));
            bed.send(bed.world.xdp(), &packet).is(action::XDP_PASS, &packet, &[DECLINED]);
        }
    })
}

#[test]
fn a_packet_that_renews_its_flows_age_is_left_to_tc() -> Result<()> {
    each(|bed, family, l4| {
        let packet = from_outside(family, l4, Backend::Remote);
        bed.send(bed.world.xdp(), &packet);
        bed.tables.set_settings(lb_userspace::dataplane::Settings {
            touch_interval: 0,
            ..crate::bed::SETTINGS
        });
        bed.send(bed.world.xdp(), &packet).is(action::XDP_PASS, &packet, &[DECLINED]);
        bed.tables.set_settings(crate::bed::SETTINGS);
    })
}
