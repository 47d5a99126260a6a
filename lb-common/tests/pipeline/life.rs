//! What a flow lives through: repeated and closing packets, backends that go. Entries that are
//! lost are in `lost.rs`.

use lb_common::{
    hook::Hook,
    tables::Half,
    verdict::{Answer, DropReason, Event, Verdict},
    wire::L4,
};
use lb_tests::{
    lab::cast::{self, Family, Host, OUTSIDE},
    packet::{checksums_ok, describe, flags},
};

use crate::{
    traffic::{At, POD_IN, POD_OUT, Sent, UPLINK_IN, UPLINK_OUT, carrying, each, reply, request},
    world::{Front, LOCAL, POD, REMOTE, UPLINK, World},
};

/// Another backend on node 2.
const OTHER: Host = cast::pod(2, 2);

/// A client's connection to a frontend, whose table changes from one backend to another meanwhile.
pub struct Line {
    pub world: World,
    pub family: Family,
    pub l4: L4,
    pub client: Host,
    pub front: Front,
    pub hooks: (At, At),
    pub backend: Host,
    /// The backend that new flows get after a change.
    pub next: Host,
}

impl Line {
    /// Every path that a flow can take: a pod's, the outside's to here, the outside's to elsewhere.
    pub fn all(family: Family, l4: L4) -> [Self; 3] {
        [
            (POD, Front::Cluster, (POD_IN, POD_OUT), REMOTE, LOCAL),
            (OUTSIDE, Front::Node, (UPLINK_IN, UPLINK_OUT), LOCAL, POD),
            (OUTSIDE, Front::Node, (UPLINK_IN, UPLINK_IN), REMOTE, OTHER),
        ]
        .map(|(client, front, hooks, backend, next)| {
            let mut world = World::new(&[backend, next]);
            world.choose_from(front, family, l4, &[backend]);
            Self { world, family, l4, client, front, hooks, backend, next }
        })
    }

    pub fn ask(&self, tcp_flags: u8) -> Sent {
        let packet = request(self.family, self.l4, self.client, self.front);
        let packet = carrying(packet, self.l4, tcp_flags);
        self.world.send(self.hooks.0, &packet)
    }

    /// The backend answers what it was sent.
    pub fn answer(&self, asked: &Sent, tcp_flags: u8) -> Sent {
        let packet = reply(self.family, self.l4, asked.tuple());
        let packet = carrying(packet, self.l4, tcp_flags);
        self.world.send(self.hooks.1, &packet)
    }

    pub fn change_table(&mut self) {
        self.world.choose_from(self.front, self.family, self.l4, &[self.next]);
    }

    /// The client is answered by whom it asked.
    #[track_caller]
    pub fn is_answered(&self, asked: &Sent) {
        let answer = self.answer(asked, flags::ACK);
        let (from, to) = (self.front.socket(self.family), 40_000);
        let through_stack = self.hooks.0 != self.hooks.1;
        let verdict = if through_stack { Verdict::Stack } else { Verdict::Transmit(UPLINK) };
        assert_eq!(answer.outcome, Ok(verdict));
        assert!(checksums_ok(&answer.frame));
        assert_eq!(answer.tuple(), (from, self.client.socket(self.family, to)));
    }

    #[track_caller]
    pub fn goes_to(&self, asked: &Sent, host: Host) {
        let (_, destination) = asked.tuple();
        assert_eq!(destination, host.socket(self.family, 8080), "{asked:?}");
    }
}

pub fn each_line(transports: &[L4], test: impl Fn(Line)) {
    for family in Family::BOTH {
        for l4 in transports {
            Line::all(family, *l4).into_iter().for_each(&test);
        }
    }
}

#[test]
fn a_flow_keeps_its_backend_when_the_table_changes_also_for_its_repeated_syn() {
    each_line(&[L4::Tcp, L4::Udp], |mut line| {
        let first = line.ask(flags::SYN);
        line.change_table();
        for tcp_flags in [flags::SYN, flags::SYN, flags::ACK] {
            let again = line.ask(tcp_flags);
            assert_eq!(again.tuple(), first.tuple());
            line.is_answered(&again);
        }
    });
}

#[test]
fn a_syn_after_the_clients_end_chooses_anew() {
    for end in [flags::FIN | flags::ACK, flags::RST, flags::RST | flags::ACK] {
        each_line(&[L4::Tcp], |mut line| {
            let first = line.ask(flags::SYN);
            line.ask(end);
            line.change_table();
            // The end itself, sent again, is still the old connection's.
            assert_eq!(line.ask(end).tuple(), first.tuple());
            line.is_answered(&first);

            let second = line.ask(flags::SYN);
            line.goes_to(&second, line.next);
            line.is_answered(&line.ask(flags::ACK));
            assert_eq!(line.world.entries(line.family).len(), 2);
        });
    }
}

#[test]
fn a_syn_after_the_backends_reset_chooses_anew() {
    each_line(&[L4::Tcp], |mut line| {
        let first = line.ask(flags::SYN);
        line.answer(&first, flags::RST | flags::ACK);
        line.change_table();
        line.goes_to(&line.ask(flags::SYN), line.next);
    });
}

/// The client may still send; its next connection says when it is through.
#[test]
fn a_syn_after_the_backends_fin_alone_stays() {
    each_line(&[L4::Tcp], |mut line| {
        let first = line.ask(flags::SYN);
        line.answer(&first, flags::FIN | flags::ACK);
        line.change_table();
        assert_eq!(line.ask(flags::SYN).tuple(), first.tuple());
    });
}

#[test]
fn a_graduated_flow_that_is_closed_is_begun_anew_too() {
    each_line(&[L4::Tcp], |mut line| {
        let first = line.ask(flags::SYN);
        let packet = reply(line.family, L4::Tcp, first.tuple()).sequence(6, 0);
        line.world.send(line.hooks.1, &packet);
        let ack = request(line.family, L4::Tcp, line.client, line.front);
        let ack = ack.tcp(flags::ACK).sequence(1_001, 7);
        let proven = line.world.send(line.hooks.0, &ack);
        assert_eq!(proven.counted.get(&(Event::FlowGraduated as u32)), Some(&1));

        line.ask(flags::FIN | flags::ACK);
        line.change_table();
        let second = line.ask(flags::SYN);
        line.goes_to(&second, line.next);
        line.is_answered(&second);
        assert_eq!(line.world.entries(line.family).len(), 2);
    });
}

#[test]
fn when_the_backend_is_gone_udp_chooses_anew_with_its_next_packet() {
    each_line(&[L4::Udp], |mut line| {
        let first = line.ask(0);
        let backend = line.world.half(line.family, Half::Forward).backend;
        line.world.tables.backends.get_mut(&backend.id).unwrap().generation = 0;
        line.change_table();
        assert_eq!(line.answer(&first, 0).outcome, Err(DropReason::BackendGone));
        let next = line.ask(0);
        line.goes_to(&next, line.next);
        line.is_answered(&next);
        assert_eq!(line.world.entries(line.family).len(), 2);
    });
}

#[test]
fn when_the_backend_is_gone_both_ends_of_tcp_are_told_until_a_syn() {
    each_line(&[L4::Tcp], |mut line| {
        let first = line.ask(flags::SYN);
        let backend = line.world.half(line.family, Half::Forward).backend;
        line.world.tables.backends.get_mut(&backend.id).unwrap().generation = 2;
        line.change_table();
        let farewell = line.answer(&first, flags::ACK);
        assert!(matches!(farewell.outcome, Ok(Verdict::Stack | Verdict::Transmit(_))));
        assert_eq!(farewell.counted.get(&(Event::ClientTold as u32)), Some(&1));
        assert!(describe(&farewell.frame).contains("TCP [R.]"), "{}", describe(&farewell.frame));
        assert!(checksums_ok(&farewell.frame));
        for end in [flags::ACK, flags::FIN | flags::ACK, flags::RST, flags::SYN_ACK] {
            // Nobody answers a reset.
            let (outcome, told) = match end {
                flags::RST => (Err(DropReason::BackendGone), None),
                _ => (Ok(Verdict::Answer(Answer::Reset)), Some((Answer::Reset as u32, 1))),
            };
            let there = line.ask(end);
            assert_eq!(there.outcome, outcome);
            let gone = (DropReason::BackendGone as u32, 1);
            assert_eq!(there.counted, told.into_iter().chain([gone]).collect());
            assert_eq!(line.answer(&first, end).outcome, outcome);
        }
        let second = line.ask(flags::SYN);
        line.goes_to(&second, line.next);
        line.is_answered(&second);
    });
}

#[test]
fn a_backend_that_came_back_in_another_generation_is_another_backend() {
    each_line(&[L4::Tcp, L4::Udp], |mut line| {
        line.ask(flags::SYN);
        let backend = line.world.half(line.family, Half::Forward).backend;
        let host = line.world.tables.backends.get_mut(&backend.id).unwrap();
        host.generation = 7;
        let slot = line.front.service(line.family, line.l4) * 100;
        line.world.tables.slots.get_mut(&slot).unwrap().generation = 7;
        let again = line.ask(flags::SYN);
        assert!(matches!(again.outcome, Ok(Verdict::Stack | Verdict::Transmit(_))));
        line.is_answered(&again);
        let forward = line.world.half(line.family, Half::Forward);
        assert_eq!(forward.backend.generation, 7);
    });
}

#[test]
fn a_reset_opens_nothing_even_with_a_syn() {
    each_line(&[L4::Tcp], |mut line| {
        let first = line.ask(flags::SYN);
        line.ask(flags::FIN | flags::ACK);
        line.change_table();
        assert_eq!(line.ask(flags::SYN | flags::RST).tuple(), first.tuple());
    });
}

#[test]
fn the_age_is_renewed_once_in_a_touch_interval_in_each_direction() {
    each_line(&[L4::Tcp, L4::Udp], |mut line| {
        let first = line.ask(flags::SYN);
        let ages = |line: &Line| {
            [Half::Forward, Half::Reverse].map(|half| line.world.half(line.family, half).last_seen)
        };
        let begun = line.world.now;
        let interval = line.world.tables.config.touch_interval;
        line.world.now = begun + interval - 1;
        line.ask(flags::ACK);
        line.answer(&first, flags::ACK);
        assert_eq!(ages(&line), [begun, begun]);
        line.world.now = begun + interval;
        line.ask(flags::ACK);
        assert_eq!(ages(&line), [begun + interval, begun]);
        line.answer(&first, flags::ACK);
        assert_eq!(ages(&line), [begun + interval, begun + interval]);
    });
}

#[test]
fn a_flow_is_entered_under_the_hooks_that_see_its_two_directions() {
    each(|family, l4| {
        let roles = Line::all(family, l4).map(|line| {
            line.ask(flags::SYN);
            [Half::Forward, Half::Reverse]
                .map(|half| Hook::from_role(line.world.half(family, half).role).unwrap())
        });
        assert_eq!(
            roles,
            [
                [Hook::WorkloadIn, Hook::WorkloadOut],
                [Hook::UplinkIn, Hook::UplinkOut],
                [Hook::UplinkIn, Hook::UplinkIn],
            ]
        );
    });
}
