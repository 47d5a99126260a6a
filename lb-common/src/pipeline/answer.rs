//! Answers to senders whose packets are not taken on: a reset or port unreachable where nobody listens,
//! and what a router says when it can't forward. The packet is made into its answer, in its own memory,
//! and goes back to where it came from.

use super::{
    Family, FamilyTables, Tables, ether_type,
    family::Part,
    parse::{self, Parsed},
};
use crate::{
    addr::{Ipv4, Ipv6},
    checksum::Sum,
    hook::Hook,
    packet::Packet,
    verdict::{Answer, DropReason, Event, Notice, Verdict},
    wire::{Chunk, EtherType, Ethernet, Icmp, IcmpKind, L4, Protocol, Sctp, Tcp, TcpFlags, U32},
};

/// How much of a packet an ICMP message quotes at most, from its IP header on, in bytes: enough for a
/// header with options and for what tells its sender which of its sockets it was.
const QUOTED: u32 = 128;

/// How many answers there may be, for each CPU: a bucket that is filled once a second.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Bucket {
    /// When it was filled, in jiffies.
    filled: u32,
    /// What was taken since.
    taken: u32,
}

impl Bucket {
    /// What it holds unless somebody says otherwise: ten thousand resets, or a thousand ICMP messages.
    pub const SIZE: u32 = 10_000;
    /// The price of a reset.
    pub const RESET: u32 = 1;
    /// The price of an ICMP message.
    pub const ICMP: u32 = 10;

    /// Takes something out of a bucket of this size; false if there is not enough. A second lasts
    /// `second` jiffies.
    #[inline(always)]
    pub const fn take(&mut self, now: u32, second: u32, size: u32, price: u32) -> bool {
        if now.wrapping_sub(self.filled) >= second {
            self.filled = now;
            self.taken = 0;
        }
        if self.taken + price > size {
            return false;
        }
        self.taken += price;
        true
    }
}

/// The last stage of a packet that is dropped for this reason: makes it an answer to its sender, if it
/// deserves one. The reason is counted by whoever found it; here, what became of it.
#[inline(always)]
pub fn answer<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    hook: Hook,
    now: u32,
    reason: DropReason,
) -> Result<Verdict, DropReason> {
    let made = match ether_type(packet) {
        Some(EtherType::IPV4) => make::<Ipv4, P, T>(packet, tables, hook, now, reason),
        Some(EtherType::IPV6) => make::<Ipv6, P, T>(packet, tables, hook, now, reason),
        _ => None,
    };
    match made {
        Some(answer) => {
            tables.count(answer as u32);
            Ok(Verdict::Answer(answer))
        }
        None => Err(reason),
    }
}

#[inline(always)]
fn make<A: Family, P: Packet, T: Tables + FamilyTables<A>>(
    packet: &mut P,
    tables: &T,
    hook: Hook,
    now: u32,
    reason: DropReason,
) -> Option<Answer> {
    // A first fragment's sender is told; that of the others was, or will be.
    let parsed: Parsed<A> = parse::alone(packet)?;
    let (sender, _) = parsed.source();
    #[expect(clippy::cast_possible_truncation, reason = "an offset of a header")]
    let end = parsed.l4_at as u32 + u32::from(parsed.l4_len);
    // Whom nobody can answer, and what was cut off on its way.
    if !sender.is_routable_source() || packet.len() < end {
        return None;
    }
    let notice = reason.notice()?;
    let may = |price| {
        let may = tables.may_answer(now, price);
        if !may {
            tables.count(Event::AnswerLimited as u32);
        }
        may
    };
    if let Notice::Refusal | Notice::Reset = notice {
        if parsed.has_handshake {
            let silent = parsed.flags.any(TcpFlags::RST)
                || parsed.part != Part::WHOLE
                || !may(Bucket::RESET);
            return match parsed.l4 {
                _ if silent => None,
                L4::Sctp => abort(packet, &parsed),
                _ => reset(packet, &parsed),
            };
        }
        if let Notice::Reset = notice {
            return None;
        }
    }
    if !may(Bucket::ICMP) {
        return None;
    }
    let (addressed, _) = parsed.destination();
    let own = tables.device(packet.ifindex()).and_then(|device| A::snat_source(&device));
    let own = match own {
        // What comes in from an address of this node's own is dropped by its stack.
        Some(own) if hook != Hook::HostOut => own,
        _ => addressed,
    };
    match notice {
        Notice::TimeExceeded => {
            icmp(packet, &parsed, own, A::TIME_EXCEEDED, 0)?;
            Some(Answer::TimeExceeded)
        }
        Notice::TooBig => {
            let mtu = packet.mtu();
            icmp(packet, &parsed, own, A::TOO_BIG, mtu)?;
            Some(Answer::TooBig)
        }
        Notice::Refusal | Notice::Reset => {
            icmp(packet, &parsed, addressed, A::PORT_UNREACHABLE, 0)?;
            Some(Answer::Unreachable)
        }
    }
}

/// Sum of the pseudo header that a transport's checksum covers too.
#[inline(always)]
fn pseudo<A: Family>(source: A, destination: A, protocol: Protocol, len: u16) -> Sum {
    source.sum()
        + destination.sum()
        + Sum::of_half(u16::from(protocol.0).to_be())
        + Sum::of_half(len.to_be())
}

/// Makes a segment the reset that answers it (RFC 9293, section 3.10.7.1).
#[inline(always)]
fn reset<A: Family, P: Packet>(packet: &mut P, parsed: &Parsed<A>) -> Option<Answer> {
    let ((source, source_port), (destination, destination_port)) =
        (parsed.source(), parsed.destination());
    let old = packet.header::<Tcp>(parsed.l4_at)?.checksum();
    // A packet of this machine may have the sum of the pseudo header only, for its device to finish.
    // That stays so whatever is written here.
    let partial = old == pseudo(source, destination, Protocol::TCP, parsed.l4_len).fold();

    let payload = u32::from(parsed.l4_len).saturating_sub(parsed.l4_header_len);
    let counts = |flag| u32::from(parsed.flags.any(flag));
    let (sequence, acknowledgment, flags) = if parsed.flags.any(TcpFlags::ACK) {
        (parsed.acknowledgment, 0, TcpFlags(TcpFlags::RST))
    } else {
        let length = payload + counts(TcpFlags::SYN) + counts(TcpFlags::FIN);
        (0, parsed.sequence.wrapping_add(length), TcpFlags(TcpFlags::RST | TcpFlags::ACK))
    };

    #[expect(clippy::cast_possible_truncation, reason = "offsets of headers")]
    if !packet.cut(parsed.l4_at as u32 + u32::from(TCP_LEN)) {
        return None;
    }
    let macs = packet.macs()?;
    packet.set_macs(macs.swapped())?;
    A::turn(packet, parsed, TCP_LEN)?;
    let tcp = packet.header_mut::<Tcp>(parsed.l4_at)?;
    tcp.fill(destination_port, source_port, sequence, acknowledgment, flags);
    let pseudo = pseudo(source, destination, Protocol::TCP, TCP_LEN);
    tcp.set_checksum(if partial { pseudo.fold() } else { (pseudo + tcp.sum()).checksum() });
    Some(Answer::Reset)
}

/// Makes a packet of SCTP the ABORT that answers it (RFC 9260, section 8.4).
#[inline(always)]
fn abort<A: Family, P: Packet>(packet: &mut P, parsed: &Parsed<A>) -> Option<Answer> {
    let ((_, source), (_, destination)) = (parsed.source(), parsed.destination());
    let has_checksum = packet.header::<Sctp>(parsed.l4_at)?.checksum() != 0;
    // Who begins an association says which tag to send; else the tag is the only one that is known.
    let (tag, is_reflected) = if parsed.flags.opens() {
        (parsed.sequence.wrapping_add(1), false)
    } else {
        (parsed.acknowledgment, true)
    };
    #[expect(clippy::cast_possible_truncation, reason = "offsets and lengths of headers")]
    let (end, len) = ((parsed.l4_at + ABORT_LEN) as u32, ABORT_LEN as u16);
    if !packet.cut(end) {
        return None;
    }
    let macs = packet.macs()?;
    packet.set_macs(macs.swapped())?;
    A::turn(packet, parsed, len)?;
    let chunk = Chunk::abort(is_reflected);
    *packet.header_mut::<Chunk>(parsed.l4_at + Sctp::LEN)? = chunk;
    let sctp = packet.header_mut::<Sctp>(parsed.l4_at)?;
    sctp.fill(destination, source, tag, chunk, has_checksum);
    Some(Answer::Reset)
}

/// Length of a packet of SCTP that consists of an ABORT.
const ABORT_LEN: usize = Sctp::LEN + Chunk::LEN;

/// Length of a TCP header without options.
const TCP_LEN: u16 = 20;

/// Puts the headers of an ICMP message in front of a packet, which it then quotes.
#[inline(always)]
fn icmp<A: Family, P: Packet>(
    packet: &mut P,
    parsed: &Parsed<A>,
    from: A,
    kind: IcmpKind,
    mtu: u32,
) -> Option<()> {
    let (sender, _) = parsed.source();
    #[expect(clippy::cast_possible_truncation, reason = "offsets of headers")]
    let (l3_at, l4_at) = (Ethernet::LEN as u32, parsed.l4_at as u32);
    let whole = l4_at - l3_at + u32::from(parsed.l4_len);
    let quoted = if whole < QUOTED { whole & !3 } else { QUOTED };
    let icmp_at = Ethernet::LEN + A::HEADER_LEN;
    #[expect(clippy::cast_possible_truncation, reason = "lengths of headers")]
    let added = (A::HEADER_LEN + Icmp::LEN) as u32;
    if !packet.cut(l3_at + quoted) || !packet.grow(added) {
        return None;
    }

    let macs = packet.macs()?;
    packet.set_macs(macs.swapped())?;
    #[expect(clippy::cast_possible_truncation, reason = "at most 128")]
    let len = quoted as u16 + Icmp::LEN as u16;
    A::put(packet, from, sender, A::ICMP, len)?;
    packet.header_mut::<Icmp>(icmp_at)?.fill(kind, mtu.to_be());

    let mut sum = Sum::of_half(kind.to_wire()) + Sum::of_word(mtu.to_be());
    if A::ICMP_HAS_PSEUDO_HEADER {
        sum = sum + pseudo(from, sender, A::ICMP, len);
    }
    let mut at = 0;
    // A bound that the verifier knows, and one that the compiler doesn't: else it makes one of both, which the
    // verifier doesn't know (Linux 5.10).
    while at < QUOTED && at < core::hint::black_box(quoted) {
        let word = packet.header::<U32>(icmp_at + Icmp::LEN + at as usize)?;
        sum = sum + Sum::of_word(word.get());
        at += 4;
    }
    packet.header_mut::<Icmp>(icmp_at)?.set_checksum(sum.checksum());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_filled_once_a_second_and_not_before() {
        let mut bucket = Bucket::default();
        for _ in 0..Bucket::SIZE / Bucket::ICMP {
            assert!(bucket.take(u32::MAX, 250, Bucket::SIZE, Bucket::ICMP));
        }
        assert!(!bucket.take(u32::MAX, 250, Bucket::SIZE, Bucket::RESET));
        assert!(!bucket.take(248, 250, Bucket::SIZE, Bucket::RESET));
        assert!(bucket.take(249, 250, Bucket::SIZE, Bucket::RESET));
    }
}
