//! What XDP finishes, and what it leaves to TC with nothing written.

use anyhow::{Result, ensure};
use lb_common::{tables::Device, wire::L4};
use lb_tests::lab::cast::{NODE1, NODE2, OUTSIDE};
use lb_userspace::dataplane::{Features, Pins, Programs};

use crate::{
    CREATED, DECLINED, RESOLVE, STACK, TRANSMIT, answer,
    bed::{
        Backend, Front, SIZES,
        sent::action,
        world::{CLIENT_PORT, uplink_mac},
    },
    between, each,
    features::with_pins,
    flows, from_outside,
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

/// Test-run lays what is longer than a page in several buffers, if the program knows such packets.
#[test]
fn a_packet_in_several_buffers_is_translated() -> Result<()> {
    each(|bed, family, l4| {
        if l4 == L4::Sctp {
            return;
        }
        let packet = from_outside(family, l4, Backend::Local).payload(&[0x5a; 8_000]);
        if !bed.programs().features().frags {
            let mut out = vec![0; 9_000];
            let ran = bed.run(bed.world.xdp(), &packet.build(), &mut out).expect("a test run");
            assert_eq!(ran, None, "the kernel has no such packets");
            return;
        }
        let (client, backend) =
            (OUTSIDE.socket(family, CLIENT_PORT), Backend::Local.socket(family));
        let translated = between(packet.clone(), client, backend);
        let first = bed.send(bed.world.xdp(), &packet);
        first.is(action::XDP_PASS, &translated, &[STACK, CREATED]);
        bed.send(bed.world.xdp(), &packet).is(action::XDP_PASS, &translated, &[STACK]);
    })
}

#[test]
fn a_packet_in_several_buffers_is_left_to_tc_where_another_interface_might_lose_it() -> Result<()> {
    each(|bed, family, l4| {
        if l4 == L4::Sctp || !bed.programs().features().frags {
            return;
        }
        let usual = bed.world.devices.table();
        let long: Vec<_> =
            usual.iter().map(|(at, device)| (*at, Device { mtu: 9_000, ..*device })).collect();
        bed.tables.devices.update(&long).expect("longer packets");
        let payload = [0x5a; 8_000];
        let (back, away) = (Backend::Remote, Backend::Elsewhere);
        let long = from_outside(family, l4, back).payload(&payload);
        assert_eq!(bed.send(bed.world.xdp(), &long).action, bed.world.out_of_eth0());
        let short = from_outside(family, l4, away);
        let long = short.clone().payload(&payload);
        bed.send(bed.world.xdp(), &long).is(action::XDP_PASS, &long, &[DECLINED]);
        assert_eq!(bed.send(bed.world.xdp(), &short).action, action::XDP_REDIRECT);
        bed.send(bed.world.xdp(), &long).is(action::XDP_PASS, &long, &[DECLINED]);
        bed.tables.devices.update(&usual).expect("packets as usual");
    })
}

/// An earlier version knew no packets in several buffers, and the kernel lets no program go on to one of
/// another kind.
#[test]
fn programs_of_one_kind_take_over_from_those_of_the_other() -> Result<()> {
    let usual = Features::tried()?;
    for frags in [true, false] {
        if usual.frags {
            with_pins(|pins| taken_over(pins, Features { frags, ..usual }))?;
        }
    }
    Ok(())
}

fn taken_over(pins: &Pins, features: Features) -> Result<()> {
    let before = Features { frags: !features.frags, ..features };
    let before = Programs::load_for(pins, &SIZES, before)?;
    let now = Programs::load_for(pins, &SIZES, features)?;
    let pin = |programs: &Programs| pins.maps().join(programs.xdp_stages());
    ensure!(pin(&before) != pin(&now) && pin(&before).exists() && pin(&now).exists());
    now.release_other_stages(pins)?;
    ensure!(!pin(&before).exists() && pin(&now).exists());
    Ok(())
}
