//! Every reason to drop that the kernel's programs can be brought to, with its counter; the packet is
//! left as it was, and no flow is left behind. `drop_unwritable` is missing: a header that could be
//! read can always be written.

use anyhow::Result;
use aya::maps::{HashMap, MapData};
use lb_common::{
    addr::{Ipv4, Ipv6},
    tables::{Flow, FlowKey, SnatPorts},
    verdict::{DropReason, Event},
    wire::L4,
};
use lb_tests::{
    lab::cast::Family,
    packet::{Packet, checksums_ok, describe, flags},
};
use lb_userspace::dataplane::Settings;

use crate::{
    CREATED, DECLINED, STACK, TRANSMIT, answer,
    bed::{
        At, Backend, Bed, SETTINGS, SIZES, in_shared_bed,
        sent::action,
        services::desired,
        world::{CLIENT_PORT, POD, TRANSPORTS},
    },
    each, flows, from_outside, from_pod,
};

/// The packet is dropped for this reason by XDP and by TC, untouched, and leaves no flow; or it is left
/// by XDP to TC, which makes it an answer.
#[track_caller]
fn is_dropped(bed: &Bed, family: Family, packet: &Packet, reason: DropReason) {
    let before = flows(bed, family);
    is_dropped_at(bed, bed.world.xdp(), packet, reason);
    is_dropped_at(bed, bed.world.uplink_in(), packet, reason);
    assert_eq!(flows(bed, family), before);
}

#[track_caller]
pub fn is_dropped_at(bed: &Bed, at: At, packet: &Packet, reason: DropReason) {
    let at_xdp = at == bed.world.xdp();
    let sent = bed.send(at, packet);
    if reason.notice().is_none() {
        let shot = if at_xdp { action::XDP_DROP } else { action::TC_SHOT };
        return sent.is(shot, packet, &[reason as u32]);
    }
    if at_xdp {
        return sent.is(action::XDP_PASS, packet, &[DECLINED]);
    }
    assert_eq!(sent.counted.get(&(reason as u32)), Some(&1), "{}", describe(&sent.frame));
    if sent.action == action::TC_SHOT {
        // A reset is no answer to a datagram.
        return sent.is(action::TC_SHOT, packet, &[reason as u32]);
    }
    // What is in answers is lb-common's tests' and `agreement`'s; here, that it is one, and goes back.
    assert_eq!(sent.action, action::TC_REDIRECT);
    assert_eq!(sent.counted.len(), 2, "{:?}", sent.counted);
    assert!(checksums_ok(&sent.frame), "{}", describe(&sent.frame));
    let before = packet.build();
    assert_eq!(sent.frame[..6], before[6..12]);
    assert_eq!(sent.frame[6..12], before[..6]);
}

#[test]
fn requests_for_backends_that_cannot_be_reached_are_dropped() -> Result<()> {
    each(|bed, family, l4| {
        for (backend, reason) in [
            (Backend::Missing, DropReason::NoBackend),
            (Backend::Unreachable, DropReason::NoRoute),
            (Backend::Unmanaged, DropReason::EgressUnmanaged),
            (Backend::Addressless, DropReason::NoSourceAddress),
        ] {
            is_dropped(bed, family, &from_outside(family, l4, backend), reason);
        }
        let packet = from_pod(family, l4, Backend::Missing);
        is_dropped_at(bed, bed.world.pod_in(), &packet, DropReason::NoBackend);
    })
}

#[test]
fn a_request_that_may_not_be_forwarded_any_further_is_dropped() -> Result<()> {
    each(|bed, family, l4| {
        for ttl in [0, 1] {
            let packet = from_outside(family, l4, Backend::Remote).ttl(ttl);
            is_dropped(bed, family, &packet, DropReason::TtlExpired);
        }
        let hairpin = from_pod(family, l4, Backend::Oneself).ttl(1);
        is_dropped_at(bed, bed.world.pod_in(), &hairpin, DropReason::TtlExpired);
    })
}

#[test]
fn a_request_that_is_too_long_for_the_way_out_is_dropped_and_one_that_just_fits_is_not()
-> Result<()> {
    each(|bed, family, l4| {
        let headers = match (family, l4) {
            (Family::V4, L4::Udp) => 28,
            (Family::V4, L4::Tcp) => 40,
            (Family::V6, L4::Udp) => 48,
            (Family::V6, L4::Tcp) => 60,
            (_, L4::Sctp | L4::Other) => unreachable!("TRANSPORTS has no others"),
        };
        let of_length = |length: usize| {
            from_outside(family, l4, Backend::Remote).payload(&vec![7; length - headers])
        };
        is_dropped(bed, family, &of_length(1501), DropReason::TooBig);
        let sent = bed.send(bed.world.uplink_in(), &of_length(1500));
        assert_eq!(sent.counted.get(&TRANSMIT), Some(&1));
        // Also when the flow is there already.
        is_dropped(bed, family, &of_length(1501), DropReason::TooBig);
    })
}

#[test]
fn requests_are_dropped_where_the_kernel_does_not_forward() -> Result<()> {
    in_shared_bed(|bed| {
        // `lo`: where XDP is, on kernels whose test-run can't be told another place.
        let forward = |value| {
            bed.namespace().sysctl(&[
                ("net/ipv4/conf/eth0/forwarding", value),
                ("net/ipv6/conf/eth0/forwarding", value),
                ("net/ipv4/conf/lo/forwarding", value),
                ("net/ipv6/conf/lo/forwarding", value),
            ])
        };
        forward("0")?;
        for family in Family::BOTH {
            for l4 in TRANSPORTS {
                let packet = from_outside(family, l4, Backend::Remote);
                is_dropped(bed, family, &packet, DropReason::ForwardingOff);
            }
        }
        Ok(forward("1")?)
    })
}

#[test]
fn without_a_free_source_port_there_is_no_way_to_a_remote_backend() -> Result<()> {
    each(|bed, family, l4| {
        let ports = |count| Settings { snat_ports: SnatPorts { first: 61_000, count }, ..SETTINGS };
        let packet = from_outside(family, l4, Backend::Remote);
        bed.tables.set_settings(ports(0));
        is_dropped(bed, family, &packet, DropReason::SourcePortsExhausted);

        bed.tables.set_settings(ports(1));
        let sent = bed.send(bed.world.uplink_in(), &packet);
        assert_eq!(sent.counted.get(&CREATED), Some(&1));
        let another = from_outside(family, l4, Backend::Remote);
        let port = crate::Front::Node.socket(family, Backend::Remote).port();
        let another = another.ports(CLIENT_PORT + 1, port);
        is_dropped(bed, family, &another, DropReason::SourcePortsExhausted);
        bed.tables.set_settings(SETTINGS);
    })
}

#[test]
fn packets_of_a_connection_whose_backend_is_gone_are_dropped_in_both_directions() -> Result<()> {
    in_shared_bed(|bed| {
        for family in Family::BOTH {
            for l4 in TRANSPORTS {
                bed.send(bed.world.pod_in(), &from_pod(family, l4, Backend::Local));
            }
        }
        bed.apply(&desired(|backend| match backend {
            Backend::Local => vec![],
            other => other.hosts(),
        }))?;
        for family in Family::BOTH {
            let (client, server) = (POD.socket(family, CLIENT_PORT), Backend::Local.socket(family));
            for l4 in TRANSPORTS {
                let reply = answer(family, l4, server, client);
                if l4 == L4::Tcp {
                    // The first one tells the client.
                    let sent = bed.send(bed.world.pod_out(), &reply);
                    assert_eq!(sent.counted.get(&(Event::ClientTold as u32)), Some(&1));
                    let told = describe(&sent.frame);
                    assert!(told.contains("TCP [R.]") && checksums_ok(&sent.frame), "{told}");
                }
                is_dropped_at(bed, bed.world.pod_out(), &reply, DropReason::BackendGone);
                // What may begin anew finds that there is nobody left.
                let packet = from_pod(family, l4, Backend::Local);
                is_dropped_at(bed, bed.world.pod_in(), &packet, DropReason::NoBackend);
            }
            let packet = from_pod(family, L4::Tcp, Backend::Local).tcp(flags::ACK);
            is_dropped_at(bed, bed.world.pod_in(), &packet, DropReason::BackendGone);
        }
        Ok(())
    })
}

#[test]
fn udp_and_new_connections_go_to_another_backend_when_theirs_is_gone() -> Result<()> {
    in_shared_bed(|bed| {
        for family in Family::BOTH {
            for l4 in TRANSPORTS {
                bed.send(bed.world.pod_in(), &from_pod(family, l4, Backend::Local));
            }
        }
        bed.apply(&desired(|backend| match backend {
            Backend::Local => Backend::Node.hosts(),
            other => other.hosts(),
        }))?;
        for family in Family::BOTH {
            for l4 in TRANSPORTS {
                let packet = from_pod(family, l4, Backend::Local);
                let client = POD.socket(family, CLIENT_PORT);
                let translated =
                    crate::between(packet.clone(), client, Backend::Node.socket(family));
                let sent = bed.send(bed.world.pod_in(), &packet);
                sent.is(action::TC_UNSPEC, &translated, &[STACK, CREATED]);
            }
        }
        Ok(())
    })
}

#[test]
fn a_flow_that_cannot_be_stored_is_not_begun_and_half_of_it_is_taken_back() -> Result<()> {
    // The real table evicts before it is ever full. In its place one that doesn't.
    let bed = Bed::with(&SIZES, |maps| {
        HashMap::<MapData, [u8; size_of::<FlowKey<Ipv4>>()], [u8; size_of::<Flow<Ipv4>>()]>::create(
            1, 0,
        )?
        .pin(maps.join("NEW_FLOWS_V4"))?;
        HashMap::<MapData, [u8; size_of::<FlowKey<Ipv6>>()], [u8; size_of::<Flow<Ipv6>>()]>::create(
            1, 0,
        )?
        .pin(maps.join("NEW_FLOWS_V6"))?;
        Ok(())
    })?;
    for family in Family::BOTH {
        for l4 in TRANSPORTS {
            for backend in [Backend::Local, Backend::Remote] {
                let packet = from_outside(family, l4, backend);
                is_dropped(&bed, family, &packet, DropReason::FlowTableFull);
            }
        }
        assert_eq!(flows(&bed, family), (0, 0));
    }
    Ok(())
}
