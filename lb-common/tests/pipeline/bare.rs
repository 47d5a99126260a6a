//! Devices without link layer: whatever becomes of a frame becomes of the packet in it, and what is sent on from there
//! says which link header it gets.

use lb_common::{
    host::BarePacket,
    pipeline::{self, Route},
    tables::Device,
    verdict::{Answer, DropReason, Verdict},
    wire::{Ethernet, L4, MacPair},
};
use lb_tests::{
    lab::cast::{Family, NODE1, NODE2, OUTSIDE},
    packet::{Packet, checksums_ok, describe},
};

use crate::{
    traffic::{At, UPLINK_IN, UPLINK_OUT, each, reply, request},
    world::{Front, LOCAL, REMOTE, UPLINK, World},
};

/// The same for a packet without the link header: what became of it, with the old header in front again.
fn bare(
    world: &World,
    at: At,
    packet: &Packet,
) -> (Result<Verdict, DropReason>, Vec<u8>, Option<MacPair>) {
    let frame = packet.build();
    let mut packet = BarePacket::of(&frame, at.ifindex).expect("a frame");
    packet.packet.own = at.own;
    let outcome = pipeline::run(&mut packet, &world.tables, at.hook, world.now);
    (outcome, [&frame[..Ethernet::LEN], &packet.packet.frame].concat(), packet.macs)
}

/// Sends a frame in one world and what is in it in another of the same kind, and compares. Returns the link-layer
/// addresses that it gets.
fn check(
    worlds: &(World, World),
    at: At,
    packet: &Packet,
) -> (Result<Verdict, DropReason>, Option<MacPair>) {
    let framed = worlds.0.send(at, packet);
    let (outcome, became, macs) = bare(&worlds.1, at, packet);
    assert_eq!(outcome, framed.outcome);
    assert_eq!(
        became[Ethernet::LEN..],
        framed.frame[Ethernet::LEN..],
        "bare {}\nframed {}",
        describe(&became),
        describe(&framed.frame)
    );
    assert!(checksums_ok(&became), "{}", describe(&became));
    assert_eq!(worlds.0.tables.counters(), worlds.1.tables.counters());
    (outcome, macs)
}

fn worlds(backends: &[lb_tests::lab::cast::Host]) -> (World, World) {
    (World::new(backends), World::new(backends))
}

#[test]
fn a_packet_for_a_backend_here_takes_the_stack_as_a_frame_does_and_so_does_its_reply() {
    each(|family, l4| {
        let worlds = worlds(&[LOCAL]);
        let request = request(family, l4, OUTSIDE, Front::Node);
        assert_eq!(check(&worlds, UPLINK_IN, &request), (Ok(Verdict::Stack), None));
        let client = OUTSIDE.socket(family, crate::world::CLIENT_PORT);
        let reply = reply(family, l4, (client, LOCAL.socket(family, 8080)));
        assert_eq!(check(&worlds, UPLINK_OUT, &reply), (Ok(Verdict::Stack), None));
    });
}

#[test]
fn a_packet_for_a_backend_elsewhere_is_sent_on_with_the_next_hops_addresses() {
    each(|family, l4| {
        let worlds = worlds(&[REMOTE]);
        let request = request(family, l4, OUTSIDE, Front::Node);
        let macs = MacPair::new(NODE2.mac.0, NODE1.mac.0);
        assert_eq!(
            check(&worlds, UPLINK_IN, &request),
            (Ok(Verdict::Transmit(UPLINK)), Some(macs))
        );
    });
}

#[test]
fn nobody_is_told_that_a_packet_is_longer_or_shorter_than_it_is() {
    for family in Family::BOTH {
        let payload =
            |bytes| request(family, L4::Udp, OUTSIDE, Front::Node).payload(&vec![7; bytes]);
        let headers = if family == Family::V4 { 28 } else { 48 };
        let fits = check(&worlds(&[REMOTE]), UPLINK_IN, &payload(1500 - headers));
        assert_eq!(fits.0, Ok(Verdict::Transmit(UPLINK)));
        let long = check(&worlds(&[REMOTE]), UPLINK_IN, &payload(1501 - headers));
        assert_eq!(long.0, Ok(Verdict::Answer(Answer::TooBig)));
    }
}

#[test]
fn answers_are_made_of_packets_as_of_frames() {
    each(|family, l4| {
        let request = request(family, l4, OUTSIDE, Front::Node);
        let mut refusing = worlds(&[]);
        let (outcome, _) = check(&refusing, UPLINK_IN, &request);
        let refusal = if l4 == L4::Udp { Answer::Unreachable } else { Answer::Reset };
        assert_eq!(outcome, Ok(Verdict::Answer(refusal)));
        refusing = worlds(&[REMOTE]);
        let (outcome, _) = check(&refusing, UPLINK_IN, &request.ttl(1));
        assert_eq!(outcome, Ok(Verdict::Answer(Answer::TimeExceeded)));
    });
}

#[test]
fn into_a_device_without_link_layer_the_kernel_finds_the_way_for_each_packet() {
    each(|family, l4| {
        let mut world = World::new(&[REMOTE]);
        world.tables.devices.get_mut(&UPLINK).expect("an uplink").flags = Device::BARE;
        world.route(family, REMOTE, Route::Via);
        let request = request(family, l4, OUTSIDE, Front::Node);
        for _ in 0..2 {
            assert_eq!(world.send(UPLINK_IN, &request).outcome, Ok(Verdict::Resolve(UPLINK)));
        }
        // XDP sends nothing there.
        let xdp = At { xdp: true, ..UPLINK_IN };
        let sent = world.send(xdp, &request).outcome;
        let left =
            l4 == L4::Sctp || sent == Ok(Verdict::Pass(lb_common::verdict::PassReason::Declined));
        assert!(left, "{sent:?}");
    });
}
