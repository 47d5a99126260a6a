//! From a frame to the tuple that identifies its flow.

use super::{
    FamilyTables, Tables,
    family::{Family, Ip, Part},
};
use crate::{
    addr::Port,
    hook::Hook,
    packet::{BY_FRAGMENTS, Packet, Settled},
    tables::{FragmentKey, Fragmented},
    verdict::PassReason,
    wire::{Chunk, L4, Protocol, Sctp, Tcp, TcpFlags, U32, Udp},
};

/// What the pipeline needs to know of a packet.
#[derive(Clone, Copy)]
pub struct Parsed<A> {
    source: A,
    destination: A,
    source_port: Port,
    destination_port: Port,
    /// The transport.
    pub l4: L4,
    /// Whether its connections begin with a handshake.
    pub has_handshake: bool,
    /// Where its header begins, in bytes from the frame's beginning.
    pub l4_at: usize,
    /// Bytes from there on that the IP header speaks of.
    pub l4_len: u16,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Which part of the packet it is.
    pub part: Part,
    identification: u32,
    /// TCP's control bits, or what an SCTP chunk means in them; none for UDP.
    pub flags: TcpFlags,
    /// TCP's sequence number. Of SCTP, one less than the tag that its sender wants to be sent.
    pub sequence: u32,
    /// TCP's acknowledgment number. Of SCTP, the tag that its receiver wanted.
    pub acknowledgment: u32,
    /// Length of the transport header in bytes.
    pub l4_header_len: u32,
}

impl<A: Copy> Parsed<A> {
    /// What the IP header says, and no ports.
    #[inline(always)]
    pub const fn of(ip: Ip<A>) -> Self {
        Self {
            source: ip.source,
            destination: ip.destination,
            source_port: Port::from_wire(0),
            destination_port: Port::from_wire(0),
            l4: ip.l4,
            has_handshake: ip.l4.has_handshake(),
            l4_at: ip.l4_at,
            l4_len: ip.l4_len,
            ttl: ip.ttl,
            part: ip.part,
            identification: ip.identification,
            flags: TcpFlags(0),
            sequence: 0,
            acknowledgment: 0,
            l4_header_len: Udp::LEN,
        }
    }

    /// The same from one end to another.
    #[inline(always)]
    #[must_use]
    pub const fn between(
        self,
        (source, source_port): (A, Port),
        (destination, destination_port): (A, Port),
    ) -> Self {
        Self { source, destination, source_port, destination_port, ..self }
    }

    /// Length of the frame in bytes. Of one that is perhaps not all in hand, the IP header says it.
    #[inline(always)]
    pub fn frame_len<P: Packet>(&self, packet: &P) -> u32 {
        let in_hand = packet.len();
        if P::COMPLETE || self.said_len() < in_hand { in_hand } else { self.said_len() }
    }

    /// Whether a part of the frame is not in hand, or missing.
    #[inline(always)]
    pub fn is_in_parts<P: Packet>(&self, packet: &P) -> bool {
        !P::COMPLETE && packet.len() < self.said_len()
    }

    /// Length of the frame without what is behind the packet, by the IP header.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "an offset of a header")]
    fn said_len(&self) -> u32 {
        self.l4_at as u32 + u32::from(self.l4_len)
    }

    /// Source address and port.
    #[inline(always)]
    pub const fn source(&self) -> (A, Port) {
        (self.source, self.source_port)
    }

    /// Destination address and port.
    #[inline(always)]
    pub const fn destination(&self) -> (A, Port) {
        (self.destination, self.destination_port)
    }
}

/// For headers that are cut short.
pub const CUT_SHORT: Unparsed = Unparsed::Pass(PassReason::NotIp);

/// Why a packet has no tuple.
#[derive(Clone, Copy)]
pub enum Unparsed {
    /// It is none that is translated.
    Pass(PassReason),
    /// Its headers are out of the ordinary: there may be one further on.
    Odd,
    /// It is ICMP, and may be about one that has.
    Icmp,
    /// It is a fragment whose first was not seen.
    Alone,
}

/// Reads headers as nearly all packets have them: IP, then TCP or UDP. A packet that is cut short is
/// nobody's business here: it passes.
#[inline(always)]
pub fn ordinary<A: Family, P: Packet>(packet: &P) -> Result<Parsed<A>, Unparsed> {
    let parsed = A::read(packet).and_then(|ip| read_transport(packet, ip));
    match parsed {
        // Perhaps it goes on where it can't be read here.
        Err(Unparsed::Pass(PassReason::NotIp)) if !P::COMPLETE => {
            Err(Unparsed::Pass(PassReason::Declined))
        }
        parsed => parsed,
    }
}

/// Reads headers whatever is between them. A fragment without ports has those that the packet's first
/// fragment had at this hook.
#[inline(always)]
pub fn whole<A: Family, P: Packet, T: Tables + FamilyTables<A>>(
    packet: &P,
    tables: &T,
    hook: Hook,
    now: u32,
) -> Result<Parsed<A>, Unparsed> {
    let ip = settled(packet, A::read_whole(packet)?);
    if ip.part != Part::LATER {
        return Ok(one_way(packet, read_transport(packet, ip)?));
    }
    let key = fragment_key(hook, ip.source, ip.destination, ip.identification);
    let first = tables.fragmented(&key).ok_or(Unparsed::Alone)?;
    if first.is_awaited() || first.is_over(now, tables.touch_interval()) {
        return Err(Unparsed::Alone);
    }
    #[expect(clippy::cast_possible_truncation, reason = "it was eight bits")]
    let protocol = Protocol(first.protocol as u8);
    let l4 = L4::of(protocol).ok_or(Unparsed::Alone)?;
    let mut parsed = Parsed::of(ip);
    parsed.l4 = l4;
    parsed.source_port = first.source_port;
    parsed.destination_port = first.destination_port;
    Ok(one_way(packet, parsed))
}

/// What was read of a packet, as if all were of one kind up to here; see [`Packet::settle`].
#[inline(always)]
fn one_way<A: Copy, P: Packet>(packet: &P, parsed: Parsed<A>) -> Parsed<A> {
    let flags = u32::from(parsed.flags.0) | parsed.l4_header_len << 8;
    let Settled(part, l4, flags) =
        packet.settle(Settled(parsed.part.number(), parsed.l4 as u32, flags));
    #[expect(clippy::cast_possible_truncation, reason = "it was eight bits")]
    let control = TcpFlags(flags as u8);
    let l4 = L4::from_number(l4);
    Parsed {
        part: Part::from_number(part),
        l4,
        has_handshake: l4.has_handshake(),
        flags: control,
        l4_header_len: flags >> 8,
        ..parsed
    }
}

/// Reads headers whatever is between them, and asks nobody: a fragment without ports is not read.
#[inline(always)]
pub fn alone<A: Family, P: Packet>(packet: &P) -> Option<Parsed<A>> {
    let ip = settled(packet, A::read_whole(packet).ok()?);
    if ip.part == Part::LATER {
        return None;
    }
    read_transport(packet, ip).ok()
}

/// What an IP header said, as if all had said it in the same way; see [`Packet::settle`].
#[inline(always)]
pub fn settled<A: Family, P: Packet>(packet: &P, ip: Ip<A>) -> Ip<A> {
    #[expect(clippy::cast_possible_truncation, reason = "the walk is shorter")]
    let at = ip.l4_at as u32 & LONGEST_WALK | u32::from(ip.l4_len) << 16;
    let Settled(at, identification, kinds) =
        packet.settle(Settled(at, ip.identification, ip.part.number() | (ip.l4 as u32) << 8));
    let l4_len = (at >> 16) as u16;
    Ip {
        l4: L4::from_number(kinds >> 8),
        l4_at: (at & LONGEST_WALK) as usize,
        l4_len,
        part: Part::from_number(kinds & 0xff),
        identification,
        ..ip
    }
}

/// Where transport headers begin at the latest, as a mask: behind all that is walked.
const LONGEST_WALK: u32 = 0x3fff;

/// Remembers the ports of a packet's first fragment for the others. Returns whether some came before it, and wait.
#[inline(always)]
pub fn remember_first<A: Family, T: FamilyTables<A>>(
    tables: &T,
    hook: Hook,
    now: u32,
    parsed: &Parsed<A>,
) -> bool {
    if parsed.part == Part::FIRST {
        let key = fragment_key(hook, parsed.source, parsed.destination, parsed.identification);
        let first = Fragmented {
            source_port: parsed.source_port,
            destination_port: parsed.destination_port,
            protocol: u32::from(parsed.l4.protocol().0),
            seen: now,
        };
        if tables.claim_fragmented(&key, &first) {
            return false;
        }
        let others_wait = tables.fragmented(&key).is_some_and(|there| there.is_awaited());
        tables.set_fragmented(&key, &first);
        return others_wait;
    }
    false
}

/// Where the ports of a packet's first fragment are noted.
#[inline(always)]
pub const fn fragment_key<A: Family>(
    hook: Hook,
    source: A,
    destination: A,
    identification: u32,
) -> FragmentKey<A> {
    FragmentKey { source, destination, identification, role: hook as u32 }
}

#[expect(clippy::cast_possible_truncation, reason = "12")]
const SCTP_LEN: u32 = Sctp::LEN as u32;

#[inline(always)]
fn read_transport<A: Family, P: Packet>(packet: &P, ip: Ip<A>) -> Result<Parsed<A>, Unparsed> {
    let mut parsed = Parsed::of(ip);
    match parsed.l4 {
        L4::Tcp => {
            let tcp = packet.header::<Tcp>(parsed.l4_at).ok_or(CUT_SHORT)?;
            parsed.source_port = tcp.ports().source();
            parsed.destination_port = tcp.ports().destination();
            parsed.flags = tcp.flags();
            parsed.sequence = tcp.sequence();
            parsed.acknowledgment = tcp.acknowledgment();
            parsed.l4_header_len = tcp.header_len();
            if (parsed.l4_len as usize) < size_of::<Tcp>() {
                return Err(CUT_SHORT);
            }
        }
        L4::Udp => {
            let udp = packet.header::<Udp>(parsed.l4_at).ok_or(CUT_SHORT)?;
            parsed.source_port = udp.ports().source();
            parsed.destination_port = udp.ports().destination();
            if (parsed.l4_len as usize) < size_of::<Udp>() {
                return Err(CUT_SHORT);
            }
        }
        L4::Other => {}
        L4::Sctp => {
            let sctp = packet.header::<Sctp>(parsed.l4_at).ok_or(CUT_SHORT)?;
            if (parsed.l4_len as usize) < Sctp::LEN + Chunk::LEN {
                return Err(CUT_SHORT);
            }
            parsed.source_port = sctp.ports().source();
            parsed.destination_port = sctp.ports().destination();
            parsed.acknowledgment = sctp.tag();
            parsed.l4_header_len = SCTP_LEN;
            let chunk_at = parsed.l4_at + Sctp::LEN;
            match packet.header::<Chunk>(chunk_at) {
                Some(chunk) => {
                    parsed.flags = chunk.meaning();
                    if chunk.has_initiate_tag() {
                        let tag = packet.header::<U32>(chunk_at + Chunk::LEN).ok_or(CUT_SHORT)?;
                        parsed.sequence = u32::from_be(tag.get()).wrapping_sub(1);
                    }
                }
                // Data, of which nothing is linear but the common header.
                None if packet.segment_payload() == BY_FRAGMENTS => {
                    parsed.flags = TcpFlags(TcpFlags::ACK);
                }
                None => return Err(CUT_SHORT),
            }
        }
    }
    Ok(parsed)
}
