//! Packets on their way past the hooks of a [`World`], and what became of them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use lb_common::{
    hook::Hook,
    host::HostPacket,
    pipeline,
    verdict::{DropReason, PassReason, Verdict},
    wire::L4,
};
use lb_tests::{
    lab::cast::{Family, Host, NODE1},
    packet::{Packet, checksums_ok, chunk, describe, flags, keep_frames},
};

use crate::world::{CLIENT_PORT, Front, REMOTE, TRANSPORTS, UPLINK, World};

/// What becomes of a packet.
pub type Outcome = Result<Verdict, DropReason>;

/// Where a packet is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    pub hook: Hook,
    pub ifindex: u32,
    /// Before TC, at the hook that can't finish everything.
    pub xdp: bool,
    /// Payload of each segment that it will be cut into, or 0.
    pub segment_payload: u32,
    /// Whether a socket of the node sent it.
    pub own: bool,
    /// Whether the device took a VLAN's tag out of it.
    pub tagged: bool,
    /// How many bytes the packet's first buffer holds.
    pub first_buffer: usize,
}

const fn at(hook: Hook, ifindex: u32) -> At {
    let first_buffer = usize::MAX;
    At { hook, ifindex, xdp: false, segment_payload: 0, own: false, tagged: false, first_buffer }
}

/// From [`POD`].
pub const POD_IN: At = at(Hook::WorkloadIn, 11);
/// To [`POD`].
pub const POD_OUT: At = at(Hook::WorkloadOut, 11);
/// From other machines.
pub const UPLINK_IN: At = at(Hook::UplinkIn, UPLINK);
/// To other machines.
pub const UPLINK_OUT: At = at(Hook::UplinkOut, UPLINK);
/// From other machines, before there is a socket buffer.
pub const XDP: At = At { xdp: true, ..UPLINK_IN };

/// What became of a packet, and what else happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub outcome: Outcome,
    /// The frame before.
    pub before: Vec<u8>,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// Each counter's increase.
    pub counted: BTreeMap<u32, u64>,
    /// Hash lookups that it cost.
    pub lookups: u32,
    /// XDP left it to TC, which did this.
    pub handed_over: bool,
    /// What came in once more.
    pub again: Vec<Vec<u8>>,
}

impl Sent {
    /// Panics unless this is the outcome, these are the bytes, and these events, with the outcome
    /// itself, are all that was counted.
    #[track_caller]
    pub fn is(&self, outcome: Outcome, packet: &Packet, events: &[u32]) {
        let frame = packet.build();
        assert_eq!(self.outcome, outcome, "{}", describe(&self.frame));
        if self.frame != frame {
            let frames: [(&str, &[u8]); 3] =
                [("sent", &self.before), ("became", &self.frame), ("expected", &frame)];
            panic!("{}", keep_frames(&frames));
        }
        let own = match outcome {
            Ok(verdict) => verdict.counter(),
            Err(reason) => reason as u32,
        };
        let expected: BTreeMap<_, _> = events.iter().chain([&own]).map(|at| (*at, 1)).collect();
        assert_eq!(self.counted, expected, "{}", describe(&self.frame));
    }

    /// Panics unless the packet was dropped for this reason: with no trace and no answer, or, if its
    /// sender is told, left to TC by XDP and made an answer by TC. What is in answers is `answers.rs`'.
    #[track_caller]
    pub fn is_dropped(&self, at: At, reason: DropReason, packet: &Packet, events: &[u32]) {
        if reason.notice().is_none() {
            return self.is(Err(reason), packet, events);
        }
        if at.xdp && !self.handed_over {
            let declined = Verdict::Pass(lb_common::verdict::PassReason::Declined);
            return self.is(Ok(declined), packet, events);
        }
        let Ok(Verdict::Answer(answer)) = self.outcome else {
            // A reset is no answer to a datagram.
            return self.is(Err(reason), packet, events);
        };
        let own = [reason as u32, answer as u32];
        let expected: BTreeMap<_, _> = events.iter().chain(&own).map(|at| (*at, 1)).collect();
        assert_eq!(self.counted, expected, "{}", describe(&self.frame));
        assert!(checksums_ok(&self.frame), "{}", describe(&self.frame));
    }

    /// Source and destination address and port.
    pub fn tuple(&self) -> (SocketAddr, SocketAddr) {
        tuple(&self.frame)
    }
}

/// Whether a frame carries SCTP behind an ordinary header.
fn is_sctp(frame: &[u8]) -> bool {
    let at = match frame.get(12..14) {
        Some([0x08, 0x00]) => 23,
        Some([0x86, 0xdd]) => 20,
        _ => return false,
    };
    frame.get(at) == Some(&132)
}

/// Source and destination address and port of a frame with an IPv4 or IPv6 header.
pub fn tuple(frame: &[u8]) -> (SocketAddr, SocketAddr) {
    let four = frame[12..14] == [0x08, 0x00];
    let l4 = 14 + if four { usize::from(frame[14] & 0xf) * 4 } else { 40 };
    let ip = |which: usize| -> IpAddr {
        if four {
            let at = 26 + 4 * which;
            <[u8; 4]>::try_from(&frame[at..at + 4]).unwrap().into()
        } else {
            let at = 22 + 16 * which;
            <[u8; 16]>::try_from(&frame[at..at + 16]).unwrap().into()
        }
    };
    let socket = |which: usize| {
        let at = l4 + 2 * which;
        SocketAddr::new(ip(which), u16::from_be_bytes([frame[at], frame[at + 1]]))
    };
    (socket(0), socket(1))
}

impl World {
    /// Sends a packet past a hook.
    pub fn send(&self, at: At, packet: &Packet) -> Sent {
        self.send_frame(at, packet.build())
    }

    /// Sends any bytes past a hook. SCTP is always left to TC by XDP, and so it is here.
    pub fn send_frame(&self, at: At, frame: Vec<u8>) -> Sent {
        if at.xdp {
            let sent = self.run::<false>(at, frame.clone());
            if !is_sctp(&frame) || sent.outcome != Ok(Verdict::Pass(PassReason::Declined)) {
                return sent;
            }
            assert_eq!(sent.frame, frame);
            return Sent { handed_over: true, ..self.run::<true>(at, frame) };
        }
        self.run::<true>(at, frame)
    }

    fn run<const COMPLETE: bool>(&self, at: At, frame: Vec<u8>) -> Sent {
        let (before, lookups) = (self.tables.counters(), self.tables.lookups());
        let mut packet = HostPacket::<COMPLETE>::new(frame.clone(), at.ifindex);
        packet.segment_payload = at.segment_payload;
        packet.own = at.own;
        packet.tagged = at.tagged;
        packet.first_buffer = at.first_buffer;
        let outcome = pipeline::run(&mut packet, &self.tables, at.hook, self.now);
        let counted = self
            .tables
            .counters()
            .into_iter()
            .map(|(at, count)| (at, count - before.get(&at).unwrap_or(&0)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let lookups = self.tables.lookups() - lookups;
        let (after, again) = (packet.frame, packet.again);
        Sent { outcome, before: frame, frame: after, counted, lookups, handed_over: false, again }
    }
}

/// Runs a test for each family and transport.
pub fn each(test: impl Fn(Family, L4)) {
    for family in Family::BOTH {
        for l4 in TRANSPORTS {
            test(family, l4);
        }
    }
}

/// Runs a test for each family and transport but SCTP: XDP has no part in that, and its checksum is over all
/// fragments, so that a first one can't be given other ports.
pub fn each_but_sctp(test: impl Fn(Family, L4)) {
    each(|family, l4| {
        if l4 != L4::Sctp {
            test(family, l4);
        }
    });
}

/// A packet of this transport, a SYN if it is TCP, from a client to a frontend, to the MAC of the
/// node.
pub fn request(family: Family, l4: L4, client: Host, front: Front) -> Packet {
    let (from, to) = (client.socket(family, CLIENT_PORT), front.socket(family));
    carrying(between(Packet::new(family), from, to), l4, flags::SYN).payload(b"a question")
}

/// The same packet between other addresses and ports.
pub fn between(packet: Packet, from: SocketAddr, to: SocketAddr) -> Packet {
    packet.addresses(from.ip(), to.ip()).ports(from.port(), to.port())
}

/// The same packet with this transport.
pub fn carrying(packet: Packet, l4: L4, tcp_flags: u8) -> Packet {
    match l4 {
        L4::Tcp => packet.tcp(tcp_flags),
        L4::Udp => packet.udp(),
        _ => {
            let packet = packet.sctp(chunk_like(tcp_flags));
            if tcp_flags == flags::SYN { packet } else { packet.tags(1_001, 1_001) }
        }
    }
}

/// The chunk of SCTP that means what these bits of TCP mean.
pub fn chunk_like(tcp_flags: u8) -> u8 {
    match tcp_flags {
        flags::SYN => chunk::INIT,
        flags::SYN_ACK => chunk::INIT_ACK,
        other if other & flags::RST != 0 => chunk::ABORT,
        other if other & flags::FIN != 0 => chunk::SHUTDOWN,
        _ => chunk::DATA,
    }
}

/// A backend's answer to what it was sent, with no link-layer addresses of note: a SYN-ACK if it
/// is TCP.
pub fn reply(family: Family, l4: L4, (client, backend): (SocketAddr, SocketAddr)) -> Packet {
    let packet = between(Packet::new(family), backend, client).macs(REMOTE.mac, NODE1.mac);
    carrying(packet, l4, flags::SYN_ACK).payload(b"an answer, longer")
}
