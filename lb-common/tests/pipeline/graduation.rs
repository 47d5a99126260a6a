//! The way of a flow into the table that evicts nothing: only a client that has proven itself gets
//! there, and a table that is full stops no traffic.

use lb_common::{
    addr::Ipv6,
    pipeline::Generation,
    tables::{Backend, Half},
    verdict::{Event, Verdict},
    wire::L4,
};
use lb_tests::{
    lab::cast::{Family, pod},
    packet::{Packet, chunk, flags},
};

use crate::{
    traffic::{POD_IN, POD_OUT, Sent, carrying, each, reply, request},
    world::{Front, LOCAL, POD, World},
};

/// The sequence number of the SYN-ACK; the one after it wraps around.
const SYN_ACK_SEQUENCE: u32 = u32::MAX;

const GRADUATED: [u32; 1] = [Event::FlowGraduated as u32];
const FULL: [u32; 1] = [Event::GraduationFull as u32];

/// A pod's connection to a cluster address, packet by packet.
struct Dialogue {
    world: World,
    family: Family,
    l4: L4,
}

impl Dialogue {
    fn new(family: Family, l4: L4) -> Self {
        let world = World::new(&[LOCAL]);
        Self { world, family, l4 }
    }

    fn ask(&self, dress: impl Fn(Packet) -> Packet) -> Sent {
        let packet = request(self.family, self.l4, POD, Front::Cluster);
        self.world.send(POD_IN, &dress(packet))
    }

    fn answer(&self, dress: impl Fn(Packet) -> Packet) -> Sent {
        let forward = self.world.half(self.family, Half::Forward);
        let packet = reply(self.family, self.l4, forward.becomes);
        self.world.send(POD_OUT, &dress(packet))
    }

    fn syn(&self) -> Sent {
        self.ask(|packet| packet)
    }

    fn syn_ack(&self) -> Sent {
        self.answer(|packet| packet.sequence(SYN_ACK_SEQUENCE, 1_001))
    }

    fn ack(&self, acknowledged: u32) -> Sent {
        self.ask(|packet| packet.tcp(flags::ACK).sequence(1_001, acknowledged))
    }

    #[track_caller]
    fn is_in(&self, generation: Generation) {
        let entries = self.world.entries(self.family);
        assert_eq!(entries.len(), 2, "{entries:#?}");
        for entry in entries {
            assert_eq!(entry.generation, generation, "{entry:?}");
        }
    }
}

/// Panics unless the packet was translated and these events happened.
#[track_caller]
fn translated(sent: &Sent, events: &[u32]) {
    assert_eq!(sent.outcome, Ok(Verdict::Stack));
    let counted: Vec<_> = sent.counted.keys().copied().filter(|at| *at >= 24).collect();
    assert_eq!(counted, events);
}

#[test]
fn a_client_that_acknowledges_the_syn_ack_graduates() {
    for family in Family::BOTH {
        let dialogue = Dialogue::new(family, L4::Tcp);
        dialogue.syn();
        translated(&dialogue.syn_ack(), &[]);
        dialogue.is_in(Generation::New);
        translated(&dialogue.ack(SYN_ACK_SEQUENCE.wrapping_add(1)), &GRADUATED);
        dialogue.is_in(Generation::Established);
    }
}

#[test]
fn neither_a_mere_syn_ack_nor_a_wrong_acknowledgment_is_proof() {
    for family in Family::BOTH {
        let dialogue = Dialogue::new(family, L4::Tcp);
        dialogue.syn();
        translated(&dialogue.ack(1), &[]);
        dialogue.syn_ack();
        for wrong in [SYN_ACK_SEQUENCE, 1, 2, 0x8000_0000] {
            for _ in 0..10 {
                translated(&dialogue.ack(wrong), &[]);
            }
        }
        // The right number, but nothing that says it counts.
        let right = SYN_ACK_SEQUENCE.wrapping_add(1);
        let sent = dialogue.ask(|packet| packet.tcp(flags::PSH).sequence(1_001, right));
        translated(&sent, &[]);
        dialogue.is_in(Generation::New);
    }
}

#[test]
fn the_last_syn_ack_is_the_one_to_acknowledge() {
    for family in Family::BOTH {
        let dialogue = Dialogue::new(family, L4::Tcp);
        dialogue.syn();
        dialogue.answer(|packet| packet.sequence(5_000, 1_001));
        dialogue.syn_ack();
        translated(&dialogue.ack(5_001), &[]);
        translated(&dialogue.ack(0), &GRADUATED);
    }
}

/// Spoofed packets that belong to no connection draw resets, as often as they come.
#[test]
fn tcp_without_a_handshake_that_was_seen_does_not_graduate() {
    for family in Family::BOTH {
        let dialogue = Dialogue::new(family, L4::Tcp);
        for _ in 0..10 {
            let sent = dialogue.ask(|packet| packet.tcp(flags::ACK).sequence(7, 7));
            assert_eq!(sent.outcome, Ok(Verdict::Stack));
            dialogue.answer(|packet| packet.tcp(flags::RST).sequence(7, 0));
        }
        dialogue.is_in(Generation::New);
    }
}

#[test]
fn udp_graduates_when_the_client_goes_on_after_a_reply() {
    for family in Family::BOTH {
        let dialogue = Dialogue::new(family, L4::Udp);
        // Without a reply never.
        for _ in 0..10 {
            dialogue.syn();
        }
        dialogue.is_in(Generation::New);
        dialogue.answer(|packet| packet);
        for _ in 0..3 {
            translated(&dialogue.syn(), &[]);
            dialogue.answer(|packet| packet);
        }
        dialogue.is_in(Generation::New);
        translated(&dialogue.syn(), &GRADUATED);
        dialogue.is_in(Generation::Established);
    }
}

#[test]
fn udp_stays_while_its_quota_is_used_up_and_moves_when_there_is_room() {
    for family in Family::BOTH {
        let mut dialogue = Dialogue::new(family, L4::Udp);
        dialogue.world.tables.config.graduate_udp = 0;
        dialogue.syn();
        dialogue.answer(|packet| packet);
        for _ in 0..300 {
            translated(&dialogue.syn(), &[]);
        }
        dialogue.is_in(Generation::New);
        dialogue.world.tables.config.graduate_udp = 1;
        translated(&dialogue.syn(), &GRADUATED);
    }
}

/// Goes through what makes a client graduate, and returns what became of the last packet.
fn prove(dialogue: &Dialogue) -> Sent {
    dialogue.syn();
    match dialogue.l4 {
        L4::Tcp => {
            dialogue.syn_ack();
            dialogue.ack(0)
        }
        L4::Sctp => {
            dialogue.answer(|packet| packet.sctp(chunk::INIT_ACK).tags(1_001, 2_000));
            dialogue.ask(|packet| packet.sctp(chunk::COOKIE_ECHO).tags(2_000, 0))
        }
        _ => {
            dialogue.answer(|packet| packet);
            for _ in 0..3 {
                dialogue.syn();
            }
            dialogue.syn()
        }
    }
}

#[test]
fn when_the_table_is_full_the_flow_stays_and_traffic_goes_on() {
    each(|family, l4| {
        let mut dialogue = Dialogue::new(family, l4);
        dialogue.world.tables.established_limit = 0;
        translated(&prove(&dialogue), &FULL);
        dialogue.is_in(Generation::New);
        translated(&dialogue.answer(|packet| packet), &[]);

        dialogue.world.tables.established_limit = 2;
        let next = dialogue.ask(|packet| carrying(packet, l4, flags::ACK));
        assert_eq!(next.outcome, Ok(Verdict::Stack));
        if l4 == L4::Udp {
            dialogue.is_in(Generation::Established);
        }
    });
}

#[test]
fn when_there_is_room_for_one_half_only_neither_is_lost() {
    each(|family, l4| {
        let mut dialogue = Dialogue::new(family, l4);
        dialogue.world.tables.established_limit = 1;
        translated(&prove(&dialogue), &FULL);

        // A changed selection would show if the flow had to be chosen again.
        let forward = dialogue.world.half(family, Half::Forward);
        let other = pod(2, 2);
        let line =
            Backend { address: Ipv6::from_wire([1, 2]), generation: 1, ..Backend::default() };
        let id = dialogue.world.backend(other, family, l4).id;
        dialogue.world.tables.backends.insert(id, line);
        dialogue.world.choose_from(Front::Cluster, family, l4, &[other]);
        for _ in 0..3 {
            let next = dialogue.ask(|packet| carrying(packet, l4, flags::ACK));
            assert_eq!(next.outcome, Ok(Verdict::Stack));
            assert_eq!(next.tuple(), forward.becomes);
            translated(&dialogue.answer(|packet| packet), &[]);
        }

        dialogue.world.tables.established_limit = 2;
        let next = dialogue.ask(|packet| match l4 {
            L4::Tcp => packet.tcp(flags::ACK).sequence(1_001, 0),
            L4::Sctp => packet.sctp(chunk::DATA).tags(2_000, 0),
            _ => packet,
        });
        translated(&next, &GRADUATED);
        dialogue.is_in(Generation::Established);
    });
}

#[test]
fn a_hit_costs_one_lookup() {
    each(|family, l4| {
        let dialogue = Dialogue::new(family, l4);
        prove(&dialogue);
        dialogue.is_in(Generation::Established);
        for _ in 0..3 {
            let there = dialogue.ask(|packet| carrying(packet, l4, flags::ACK));
            let back = dialogue.answer(|packet| carrying(packet, l4, flags::ACK));
            assert_eq!((there.lookups, back.lookups), (1, 1));
        }
    });
}

#[test]
fn a_graduated_flow_outlives_an_eviction_of_everything_else() {
    each(|family, l4| {
        let dialogue = Dialogue::new(family, l4);
        prove(&dialogue);
        dialogue.world.evict(family, Half::Forward);
        dialogue.world.evict(family, Half::Reverse);
        dialogue.is_in(Generation::Established);
    });
}
