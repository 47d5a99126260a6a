//! Reasons to drop a packet of a flow that goes on already, and packets that can't be written.

use lb_common::{
    hook::Hook,
    host::HostPacket,
    packet::Packet as PacketMemory,
    pipeline::{self, Route},
    tables::{AddressOwner, Held},
    verdict::{DropReason, Event, Verdict},
    wire::{Header, L4},
};
use lb_tests::{
    lab::cast::{Family, OUTSIDE},
    packet::{Packet, checksums_ok, flags},
};

use crate::{
    drops::{Case, GOOD},
    traffic::{At, UPLINK_IN, carrying, each, request},
    world::{Front, LOCAL, MTU, REMOTE, UPLINK, World},
};

/// A flow that goes on already, of which a packet then is dropped.
fn check_later(case: Case) {
    each(|family, l4| {
        for at in [case.at, At { xdp: true, ..case.at }] {
            let mut world = World::new(&[case.backend]);
            let first = request(family, l4, case.client, case.front);
            let begun = world.send(UPLINK_IN, &first);
            assert_eq!(begun.outcome, Ok(Verdict::Transmit(UPLINK)));
            (case.spoil)(&mut world, family, l4);
            let before = world.snapshot();
            let packet = (case.dress)(carrying(first, l4, flags::ACK));
            world.send(at, &packet).is_dropped(at, case.reason, &packet, case.events);
            assert_eq!(world.snapshot(), before, "{:?}", case.reason);
        }
    });
}

#[test]
fn a_packet_at_the_end_of_its_time_to_live_is_not_sent_on() {
    for dress in [|packet: Packet| packet.ttl(1), |packet: Packet| packet.ttl(0)] {
        check_later(Case { dress, reason: DropReason::TtlExpired, ..GOOD });
    }
}

#[test]
fn a_packet_that_does_not_fit_its_egress_is_not_sent_on() {
    // IPv6 with TCP is the longest: 60 bytes of headers.
    check_later(Case {
        dress: |packet| packet.payload(&[0; MTU as usize]),
        reason: DropReason::TooBig,
        ..GOOD
    });
}

#[test]
fn a_packet_that_will_be_cut_up_is_measured_by_its_segments() {
    each(|family, l4| {
        let world = World::new(&[REMOTE]);
        let first = request(family, l4, OUTSIDE, Front::Node);
        world.send(UPLINK_IN, &first);
        let long = carrying(first, l4, flags::ACK).payload(&[7; 9_000]);
        let header_len = match (family, l4) {
            (Family::V4, L4::Tcp) => 40,
            (Family::V4, L4::Udp) => 28,
            (Family::V4, L4::Sctp) => 32,
            (Family::V6, L4::Tcp) => 60,
            (Family::V6, L4::Udp) => 48,
            (Family::V6, L4::Sctp) => 52,
            (_, L4::Other) => unreachable!("no transport"),
        };
        let cut = |segment_payload| At { segment_payload, ..UPLINK_IN };
        let fits = u32::from(MTU) - header_len;
        let sent = world.send(cut(fits), &long);
        assert_eq!(sent.outcome, Ok(Verdict::Transmit(UPLINK)));
        assert!(checksums_ok(&sent.frame));
        let sent = world.send(cut(fits + 1), &long);
        sent.is_dropped(UPLINK_IN, DropReason::TooBig, &long, &[]);
    });
}

#[test]
fn a_flow_whose_way_is_gone_when_the_epoch_moves_drops() {
    fn moved(world: &mut World, family: Family, route: Route) {
        world.tables.config.epoch += 1;
        world.route(family, REMOTE, route);
    }
    check_later(Case {
        spoil: |world, family, _| moved(world, family, Route::None),
        reason: DropReason::NoRoute,
        ..GOOD
    });
    check_later(Case {
        spoil: |world, family, _| moved(world, family, Route::Local),
        reason: DropReason::NoRoute,
        ..GOOD
    });
    check_later(Case {
        spoil: |world, family, _| moved(world, family, Route::ForwardingOff),
        reason: DropReason::ForwardingOff,
        ..GOOD
    });
    // The way there is, but over an interface that is none of ours.
    check_later(Case {
        spoil: |world, family, _| {
            moved(world, family, Route::Via);
            world.tables.devices.clear();
        },
        reason: DropReason::EgressUnmanaged,
        ..GOOD
    });
}

/// A packet that can be read and not written, as one in memory that is shared.
struct ReadOnly(HostPacket<true>);

impl PacketMemory for ReadOnly {
    const COMPLETE: bool = true;

    fn header<H: Header>(&self, offset: usize) -> Option<&H> {
        self.0.header(offset)
    }

    fn header_mut<H: Header>(&mut self, _: usize) -> Option<&mut H> {
        None
    }

    fn len(&self) -> u32 {
        self.0.len()
    }

    fn segment_payload(&self) -> u32 {
        self.0.segment_payload()
    }

    fn ifindex(&self) -> u32 {
        self.0.ifindex()
    }

    fn is_tagged(&self) -> bool {
        self.0.is_tagged()
    }

    fn is_own(&self) -> bool {
        self.0.is_own()
    }

    fn cut(&mut self, _: u32) -> bool {
        false
    }

    fn grow(&mut self, _: u32) -> bool {
        false
    }

    fn save(&self, held: &mut Held) -> bool {
        self.0.save(held)
    }

    fn note_mtu(&self, mtu: u32) {
        self.0.note_mtu(mtu);
    }

    fn mtu(&self) -> u32 {
        self.0.mtu()
    }
}

#[test]
fn a_packet_that_cannot_be_written_is_dropped() {
    for backend in [LOCAL, REMOTE] {
        each(|family, l4| {
            let world = World::new(&[backend]);
            let frame = request(family, l4, OUTSIDE, Front::Node).build();
            let mut packet = ReadOnly(HostPacket::new(frame.clone(), UPLINK));
            let outcome = pipeline::run(&mut packet, &world.tables, Hook::UplinkIn, world.now);
            assert_eq!(outcome, Err(DropReason::Unwritable));
            assert_eq!(packet.0.frame, frame);
            let counters = world.tables.counters();
            assert_eq!(counters[&(DropReason::Unwritable as u32)], 1);
            assert_eq!(counters[&(Event::FlowCreated as u32)], 1);
        });
    }
}

/// One for which others wait, of which no copy can be made.
#[test]
fn a_first_fragment_that_cannot_come_in_again_is_dropped() {
    each(|family, l4| {
        let mut world = World::new(&[LOCAL]);
        world.own(Front::Cluster.socket(family).ip(), AddressOwner::Answering);
        let packet = request(family, l4, OUTSIDE, Front::Cluster);
        world.send(UPLINK_IN, &packet.clone().fragment(9, false, 7));
        let mut first = ReadOnly(HostPacket::new(packet.fragment(0, true, 7).build(), UPLINK));
        let outcome = pipeline::run(&mut first, &world.tables, Hook::UplinkIn, world.now);
        assert_eq!(outcome, Err(DropReason::Unwritable));
        assert_eq!(world.tables.counter(DropReason::Unwritable as u32), 1);
    });
}
