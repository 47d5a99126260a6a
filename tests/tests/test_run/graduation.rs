//! How flows move from the table that evicts to the one that doesn't.

use anyhow::Result;
use lb_common::{verdict::Event, wire::L4};
use lb_tests::{
    lab::cast::Family,
    packet::{Packet, flags},
};
use lb_userspace::dataplane::Sizes;

use crate::{
    CREATED, STACK, answer,
    bed::{
        Backend, Bed, Front, SIZES, in_shared_bed,
        sent::action,
        world::{CLIENT_PORT, POD},
    },
    between, flows, from_pod,
};

const GRADUATED: u32 = Event::FlowGraduated as u32;

/// One connection of the pod to a service with a local backend.
struct Connection<'a> {
    bed: &'a Bed,
    family: Family,
    l4: L4,
}

impl Connection<'_> {
    /// The client sends, and this is counted beside the packet itself.
    #[track_caller]
    fn client(&self, dress: impl Fn(Packet) -> Packet, events: &[u32]) {
        let packet = dress(from_pod(self.family, self.l4, Backend::Local));
        let client = POD.socket(self.family, CLIENT_PORT);
        let translated = between(packet.clone(), client, Backend::Local.socket(self.family));
        let counted = [&[STACK], events].concat();
        let sent = self.bed.send(self.bed.world.pod_in(), &packet);
        sent.is(action::TC_UNSPEC, &translated, &counted);
    }

    /// The backend answers.
    #[track_caller]
    fn backend(&self, dress: impl Fn(Packet) -> Packet) {
        let client = POD.socket(self.family, CLIENT_PORT);
        let server = Backend::Local.socket(self.family);
        let packet = dress(answer(self.family, self.l4, server, client));
        let service = Front::Cluster.socket(self.family, Backend::Local);
        let translated = between(packet.clone(), service, client);
        self.bed.send(self.bed.world.pod_out(), &packet).is(
            action::TC_UNSPEC,
            &translated,
            &[STACK],
        );
    }

    #[track_caller]
    fn has_flows(&self, new: usize, established: usize) {
        assert_eq!(flows(self.bed, self.family), (new, established));
    }
}

fn syn(packet: Packet) -> Packet {
    packet.tcp(flags::SYN)
}

fn syn_ack(packet: Packet) -> Packet {
    packet.tcp(flags::SYN_ACK).sequence(0xffff_ffff, 1_001)
}

fn ack(packet: Packet) -> Packet {
    packet.tcp(flags::ACK).sequence(1_001, 0)
}

#[test]
fn a_connection_whose_client_acknowledged_the_syn_ack_moves_with_both_halves() -> Result<()> {
    in_shared_bed(|bed| {
        for family in Family::BOTH {
            let connection = Connection { bed, family, l4: L4::Tcp };
            connection.client(syn, &[CREATED]);
            connection.has_flows(2, 0);
            connection.backend(syn_ack);
            connection.has_flows(2, 0);
            connection.client(|packet| ack(packet).sequence(1_001, 5), &[]);
            connection.has_flows(2, 0);
            connection.client(ack, &[GRADUATED]);
            connection.has_flows(0, 2);
            connection.client(ack, &[]);
            connection.backend(|packet| packet.tcp(flags::ACK).sequence(0, 1_011));
            connection.has_flows(0, 2);
        }
        Ok(())
    })
}

#[test]
fn an_acknowledgement_of_what_nobody_sent_moves_nothing() -> Result<()> {
    in_shared_bed(|bed| {
        for family in Family::BOTH {
            let connection = Connection { bed, family, l4: L4::Tcp };
            connection.client(syn, &[CREATED]);
            connection.client(ack, &[]);
            connection.client(ack, &[]);
            connection.has_flows(2, 0);
        }
        Ok(())
    })
}

#[test]
fn udp_moves_after_some_packets_that_follow_a_reply_unless_its_quota_is_used_up() -> Result<()> {
    in_shared_bed(|bed| {
        for family in Family::BOTH {
            let connection = Connection { bed, family, l4: L4::Udp };
            connection.client(|packet| packet, &[CREATED]);
            for _ in 0..5 {
                connection.client(|packet| packet, &[]);
            }
            connection.backend(|packet| packet);
            bed.tables.set_graduate_udp(false);
            for _ in 0..5 {
                connection.client(|packet| packet, &[]);
            }
            connection.has_flows(2, 0);
            bed.tables.set_graduate_udp(true);
            connection.client(|packet| packet, &[GRADUATED]);
            connection.has_flows(0, 2);
        }
        Ok(())
    })
}

#[test]
fn a_flow_that_finds_no_room_stays_where_it_is_and_is_counted() -> Result<()> {
    let bed = Bed::with(&Sizes { flows: 1, ..SIZES }, |_| Ok(()))?;
    for family in Family::BOTH {
        let connection = Connection { bed: &bed, family, l4: L4::Tcp };
        connection.client(syn, &[CREATED]);
        connection.backend(syn_ack);
        for _ in 0..2 {
            connection.client(ack, &[Event::GraduationFull as u32]);
            let (new, _) = flows(&bed, family);
            assert_eq!(new, 2, "both halves can still be found where they were");
        }
    }
    Ok(())
}

#[test]
fn a_syn_on_a_closed_connection_begins_another() -> Result<()> {
    in_shared_bed(|bed| {
        for family in Family::BOTH {
            let connection = Connection { bed, family, l4: L4::Tcp };
            connection.client(syn, &[CREATED]);
            connection.backend(syn_ack);
            connection.client(ack, &[GRADUATED]);
            connection.client(syn, &[]);
            connection.client(|packet| packet.tcp(flags::FIN | flags::ACK), &[]);
            connection.client(syn, &[CREATED]);
            connection.has_flows(2, 0);
        }
        Ok(())
    })
}
