//! What the pipeline asks of a packet. The kernel's packets implement it in lb-ebpf, ordinary
//! memory implements it in [`host`](crate::host).

use crate::{
    addr::Port,
    checksum::Delta,
    tables::Held,
    verdict::DropReason,
    wire::{EtherType, Ethernet, Header, Icmp, L4, MacPair, Sctp, Tcp, TcpFlags, Udp},
};

/// A rewrite of the transport header: new ports, and what they and the addresses do to its sum.
#[derive(Clone, Copy)]
pub struct L4Change {
    /// New source port.
    pub source: Port,
    /// New destination port.
    pub destination: Port,
    /// What the new addresses do to the pseudo header.
    pub addresses: Delta,
    /// Whether they are IPv6's: then no checksum of the IP header makes up for them.
    pub is_ipv6: bool,
    /// What the new ports do to the header.
    pub ports: Delta,
    /// Bytes from the transport header to the packet's end; 0: this is not all of it.
    pub length: u16,
}

/// Instead of the length of segments: each lies by itself already, as long as its sender thought fit, behind one
/// header for all (SCTP). What is made linear of them is never taken apart again.
pub const BY_FRAGMENTS: u32 = 0xffff;

/// Words for [`Packet::settle`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled(pub u32, pub u32, pub u32);

/// One packet at a hook: an Ethernet frame, its memory checked at every access.
///
/// A device without link layer has packets that begin with their IP header. Such a packet is told as the frame that it
/// would be: all offsets and lengths count a link header, only that there is none to be read or written.
#[expect(clippy::len_without_is_empty, reason = "a frame is never empty")]
pub trait Packet: Sized {
    /// Whether this hook can finish every packet. One that can't (XDP) hands what it can't finish
    /// to the next untouched, with nothing written.
    const COMPLETE: bool;

    /// The header at `offset` bytes, if it lies within the packet.
    fn header<H: Header>(&self, offset: usize) -> Option<&H>;

    /// The same, to be written.
    fn header_mut<H: Header>(&mut self, offset: usize) -> Option<&mut H>;

    /// What the frame says that it carries.
    #[inline(always)]
    fn ether_type(&self) -> Option<EtherType> {
        Some(self.header::<Ethernet>(0)?.ether_type())
    }

    /// The frame's link-layer addresses. Of a packet without link header they mean nothing.
    #[inline(always)]
    fn macs(&self) -> Option<MacPair> {
        Some(self.header::<Ethernet>(0)?.macs())
    }

    /// Writes them. A packet without link header gets one with them if it is sent on, after all else.
    #[inline(always)]
    fn set_macs(&mut self, macs: MacPair) -> Option<()> {
        self.header_mut::<Ethernet>(0)?.set_macs(macs);
        Some(())
    }

    /// How many bytes of the frame are in hand: all, or where not every packet can be finished perhaps its
    /// first part only, in which all headers are that are read (XDP, a frame in several buffers).
    fn len(&self) -> u32;

    /// Payload bytes that each segment will carry if the device is to cut the packet up, else 0;
    /// [`BY_FRAGMENTS`]: they are apart already.
    fn segment_payload(&self) -> u32;

    /// Index of the interface at which the packet is seen.
    fn ifindex(&self) -> u32;

    /// Whether the frame is of a VLAN, whose tag was taken out of it or is yet to be put in.
    fn is_tagged(&self) -> bool;

    /// Whether a socket of this machine sent it.
    fn is_own(&self) -> bool;

    /// Cuts the frame off after so many bytes, of which it has at least as many; false: it can't be.
    /// Only where packets are finished.
    fn cut(&mut self, len: u32) -> bool;

    /// Makes room for so many bytes behind the link header, which stays as it is; what is in the room is not
    /// said. False: there is none. Only where packets are finished.
    fn grow(&mut self, bytes: u32) -> bool;

    /// Copies the frame, with its length; false: there is not so much room. Only where packets are finished.
    #[inline(always)]
    fn save(&self, _: &mut Held) -> bool {
        false
    }

    /// Becomes the frame that was copied; false: it can't. Only where packets are finished.
    #[inline(always)]
    fn restore(&mut self, _: &Held) -> bool {
        false
    }

    /// A copy of the frame comes in once more where this one did, behind what waits there already; false: it
    /// can't. Only where packets are finished, and come in.
    #[inline(always)]
    fn come_in_again(&mut self) -> bool {
        false
    }

    /// Gives back what it is given. In the kernel it goes through memory of which the verifier knows
    /// nothing: it then doesn't follow each way on which the words came about to the program's end.
    #[inline(always)]
    fn settle(&self, words: Settled) -> Settled {
        words
    }

    /// Notes how long the packet might have been, for the stage that tells its sender.
    fn note_mtu(&self, mtu: u32);

    /// What was noted.
    fn mtu(&self) -> u32;

    /// Changes the checksum of the ICMP header at `offset` by what was changed in the packet.
    ///
    /// References into the packet end here, as in `change_l4`.
    #[inline(always)]
    fn change_icmp(&mut self, offset: usize, delta: Delta) -> Result<(), DropReason> {
        let icmp = self.header_mut::<Icmp>(offset).ok_or(DropReason::Unwritable)?;
        icmp.set_checksum(delta.apply(icmp.checksum()));
        Ok(())
    }

    /// Replaces the control bits of the TCP header at `offset`.
    ///
    /// References into the packet end here, as in `change_l4`.
    #[inline(always)]
    fn change_tcp_flags(&mut self, offset: usize, flags: TcpFlags) -> Result<(), DropReason> {
        let tcp = self.header_mut::<Tcp>(offset).ok_or(DropReason::Unwritable)?;
        let delta = tcp.exchange_flags(flags);
        tcp.set_checksum(delta.apply(tcp.checksum()));
        Ok(())
    }

    /// Writes ports and checksum of the transport header at `offset`.
    ///
    /// References into the packet end here: a hook may have to move the packet's memory.
    #[inline(always)]
    fn change_l4(&mut self, offset: usize, l4: L4, change: L4Change) -> Result<(), DropReason> {
        let delta = change.addresses.and(change.ports);
        match l4 {
            L4::Tcp => {
                let tcp = self.header_mut::<Tcp>(offset).ok_or(DropReason::Unwritable)?;
                tcp.ports_mut().set(change.source, change.destination);
                tcp.set_checksum(delta.apply(tcp.checksum()));
            }
            L4::Udp => {
                let udp = self.header_mut::<Udp>(offset).ok_or(DropReason::Unwritable)?;
                udp.ports_mut().set(change.source, change.destination);
                if udp.checksum() != 0 {
                    let checksum = delta.apply(udp.checksum());
                    udp.set_checksum(if checksum == 0 { 0xffff } else { checksum });
                }
            }
            L4::Other => {}
            L4::Sctp => {
                let amend = exchange_sctp_ports(self, offset, change)?;
                if amend != 0 {
                    let sctp = self.header_mut::<Sctp>(offset).ok_or(DropReason::Unwritable)?;
                    sctp.amend(amend, change.length);
                }
            }
        }
        Ok(())
    }
}

/// Writes the ports of SCTP and says what is to be amended in its checksum, which doesn't cover addresses, and
/// can't be amended in a fragment.
#[inline(always)]
pub fn exchange_sctp_ports<P: Packet>(
    packet: &mut P,
    offset: usize,
    change: L4Change,
) -> Result<u32, DropReason> {
    let sctp = packet.header_mut::<Sctp>(offset).ok_or(DropReason::Unwritable)?;
    let amend = sctp.exchange_ports(change.source, change.destination);
    if amend != 0 && change.length == 0 {
        return Err(DropReason::Unwritable);
    }
    Ok(amend)
}
