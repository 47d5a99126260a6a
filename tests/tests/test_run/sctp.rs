//! SCTP: translated by TC, with its own checksum; left to TC by XDP.

use anyhow::Result;
use lb_common::{
    verdict::{Answer, DropReason},
    wire::L4,
};
use lb_tests::{
    lab::cast::{Family, OUTSIDE},
    packet::{checksums_ok, chunk, describe},
};

use crate::{
    CREATED, DECLINED, STACK, TRANSMIT, answer,
    bed::{Backend, Bed, Front, in_shared_bed, sent::action, world::CLIENT_PORT},
    between, from_outside, from_pod, snat_port,
};

fn each_family(test: impl Fn(&Bed, Family)) -> Result<()> {
    in_shared_bed(|bed| {
        for family in Family::BOTH {
            test(bed, family);
        }
        Ok(())
    })
}

#[test]
fn an_association_goes_through_the_stack_there_and_back_whatever_is_in_it() -> Result<()> {
    each_family(|bed, family| {
        let client = OUTSIDE.socket(family, CLIENT_PORT);
        let (service, server) =
            (Front::Node.socket(family, Backend::Local), Backend::Local.socket(family));
        let first = from_outside(family, L4::Sctp, Backend::Local);
        bed.send(bed.world.xdp(), &first).is(action::XDP_PASS, &first, &[DECLINED]);
        let becomes = between(first.clone(), client, server);
        let sent = bed.send(bed.world.uplink_in(), &first);
        sent.is(action::TC_UNSPEC, &becomes, &[STACK, CREATED]);
        for (kind, length) in [(chunk::COOKIE_ECHO, 200), (chunk::DATA, 1), (chunk::DATA, 1_400)] {
            let there = first.clone().sctp(kind).tags(7, 0).payload(&vec![kind; length]);
            let becomes = between(there.clone(), client, server);
            bed.send(bed.world.uplink_in(), &there).is(action::TC_UNSPEC, &becomes, &[STACK]);
            let back =
                answer(family, L4::Sctp, server, client).sctp(kind).payload(&vec![9; length]);
            let becomes = between(back.clone(), service, client);
            bed.send(bed.world.uplink_out(), &back).is(action::TC_UNSPEC, &becomes, &[STACK]);
        }
    })
}

#[test]
fn what_leaves_without_the_stack_leaves_after_its_checksum_is_amended() -> Result<()> {
    each_family(|bed, family| {
        let packet = from_outside(family, L4::Sctp, Backend::Remote);
        let sent = bed.send(bed.world.uplink_in(), &packet);
        let port = snat_port(&sent, family);
        assert!(checksums_ok(&sent.frame), "{}", describe(&sent.frame));
        assert_ne!(port, CLIENT_PORT);
        assert_eq!(sent.action, action::TC_REDIRECT);
        assert_eq!(sent.counted.keys().copied().collect::<Vec<_>>(), [TRANSMIT, CREATED]);
    })
}

#[test]
fn a_checksum_that_a_device_is_to_fill_in_is_left_to_it() -> Result<()> {
    each_family(|bed, family| {
        let packet = from_outside(family, L4::Sctp, Backend::Local).sctp_without_checksum();
        let becomes = between(
            packet.clone(),
            OUTSIDE.socket(family, CLIENT_PORT),
            Backend::Local.socket(family),
        );
        let sent = bed.send(bed.world.uplink_in(), &packet);
        sent.is(action::TC_UNSPEC, &becomes, &[STACK, CREATED]);
    })
}

#[test]
fn an_association_that_nobody_takes_is_aborted() -> Result<()> {
    each_family(|bed, family| {
        let packet = from_pod(family, L4::Sctp, Backend::Missing);
        let sent = bed.send(bed.world.pod_in(), &packet);
        let expected = [DropReason::NoBackend as u32, Answer::Reset as u32];
        assert!(expected.iter().all(|counter| sent.counted.contains_key(counter)));
        assert!(checksums_ok(&sent.frame), "{}", describe(&sent.frame));
        assert!(
            describe(&sent.frame).contains("SCTP chunk 6 tag 1001"),
            "{}",
            describe(&sent.frame)
        );
    })
}
