//! What is not ours leaves as it came, at every program.

use anyhow::Result;
use lb_common::verdict::PassReason;
use lb_tests::{lab::cast::OUTSIDE, packet::Packet};

use crate::{
    DECLINED, NOT_OURS,
    bed::{Point, in_shared_bed, sent::action, world::CLIENT_PORT},
    each, request,
};

fn pass(point: Point) -> i32 {
    match point {
        Point::Xdp => action::XDP_PASS,
        Point::Tc(_) => action::TC_UNSPEC,
    }
}

#[test]
fn traffic_to_other_ports_passes_untouched_at_every_program() -> Result<()> {
    each(|bed, family, l4| {
        let packet = request(family, l4, OUTSIDE, OUTSIDE.socket(family, 443));
        for point in Point::ALL {
            bed.send(bed.world.at(point), &packet).is(pass(point), &packet, &[NOT_OURS]);
        }
    })
}

#[test]
fn a_services_port_at_an_address_that_is_no_services_passes_untouched() -> Result<()> {
    each(|bed, family, l4| {
        for port in [80, 30_081, 8080] {
            let packet = request(family, l4, OUTSIDE, OUTSIDE.socket(family, port));
            let packet = packet.ports(8080, port);
            for point in Point::ALL {
                bed.send(bed.world.at(point), &packet).is(pass(point), &packet, &[NOT_OURS]);
            }
        }
    })
}

#[test]
fn fragments_of_others_other_protocols_and_what_is_not_ip_pass_untouched() -> Result<()> {
    in_shared_bed(|bed| {
        let packet = || Packet::ipv4().from(OUTSIDE, CLIENT_PORT).payload(b"sixteen bytes ...");
        let cases = [
            (packet().fragment(2, false, 7), PassReason::Fragment),
            (packet().other(33), PassReason::Protocol),
            (packet().vlan(7), PassReason::NotIp),
            (Packet::ipv6().fragment(2, true, 7), PassReason::Fragment),
        ];
        for (packet, reason) in cases {
            for point in Point::ALL {
                // XDP leaves fragments to TC.
                let declined = point == Point::Xdp && reason == PassReason::Fragment;
                let counted = if declined { DECLINED } else { reason as u32 };
                bed.send(bed.world.at(point), &packet).is(pass(point), &packet, &[counted]);
            }
        }
        Ok(())
    })
}
