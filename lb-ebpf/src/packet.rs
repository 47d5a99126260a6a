//! The file that touches packet memory at TC; but for `link.rs`, which writes link headers into it.
//!
//! References are made in [`at`], which the verifier follows: it learns the packet's length from
//! the comparison there, for this pointer and whatever is read through it.

use core::marker::PhantomData;

use aya_ebpf::{
    Global,
    bindings::{
        __sk_buff, BPF_F_INGRESS, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, BPF_F_RECOMPUTE_CSUM,
    },
    helpers::generated::{
        bpf_clone_redirect, bpf_csum_update, bpf_l4_csum_replace, bpf_skb_change_tail,
        bpf_skb_load_bytes, bpf_skb_pull_data, bpf_skb_store_bytes,
    },
    programs::TcContext,
};
use lb_common::{
    packet::{BY_FRAGMENTS, L4Change, Packet, Settled, exchange_sctp_ports},
    tables::Held,
    verdict::DropReason,
    wire::{EtherType, Ethernet, Header, L4, MacPair, Sctp, Tcp, TcpFlags, Udp},
};

use crate::{link::NO_MACS, note::Note};

/// A packet at TC. `LINK`: with a link header, as on all devices but bare ones.
pub struct SkbPacket<'a, const LINK: bool> {
    pub(crate) skb: *mut __sk_buff,
    _ctx: PhantomData<&'a TcContext>,
}

/// `BPF_F_IPV6` of `bpf_l4_csum_replace` if the kernel knows it, else 0: set when the programs are loaded,
/// so that the verifier takes out the way that isn't gone.
#[unsafe(no_mangle)]
static IPV6_FLAG: Global<u64> = Global::new(0);

/// How many bytes of a packet hold all its headers, with extensions and what an ICMP message quotes.
const ALL_HEADERS: u32 = 256;

/// The VLAN's number in a tag; 0 in one that only says how urgent a frame is.
const VLAN: u32 = 0xfff;

/// A length of a frame that is held, if it can be one. The verifier of Linux 5.10 follows a mask, and a comparison
/// with what was masked: the compiler is not to make one of another number out of both.
#[inline(always)]
fn held_len(len: u32) -> Option<u32> {
    if len > Held::LONGEST {
        return None;
    }
    let len = core::hint::black_box(u64::from(len)) & u64::from(Held::LONGEST);
    if len < Ethernet::LEN as u64 { None } else { Some(len as u32) }
}

/// The header `offset` bytes into the packet, if it ends within it.
#[inline(always)]
pub fn at<H: Header>(data: usize, data_end: usize, offset: usize) -> Option<*mut H> {
    let start = data + offset;
    if start + size_of::<H>() > data_end {
        return None;
    }
    Some(start as *mut H)
}

impl<'a, const LINK: bool> SkbPacket<'a, LINK> {
    /// Bytes of a frame that are not there.
    const MISSING: usize = if LINK { 0 } else { Ethernet::LEN };

    /// The packet of this context, its headers made linear: on paths where the driver left them in
    /// fragments they could not be read otherwise.
    #[inline(always)]
    pub fn new(ctx: &'a TcContext) -> Self {
        let packet = Self::again(ctx);
        let needed = if packet.field_protocol() == EtherType::IPV6.to_wire() { 74 } else { 54 };
        packet.make_linear(needed);
        packet
    }

    /// The same with all headers that there may be.
    #[inline(always)]
    pub fn with_all_headers(ctx: &'a TcContext) -> Self {
        let packet = Self::again(ctx);
        let len = packet.skb_len();
        packet.make_linear(if len < ALL_HEADERS { len } else { ALL_HEADERS });
        packet
    }

    /// The packet of a stage before, as that left it.
    #[inline(always)]
    pub fn again(ctx: &'a TcContext) -> Self {
        Self { skb: ctx.skb.skb, _ctx: PhantomData }
    }

    /// Amends the checksum of SCTP by what was noted.
    #[inline(always)]
    pub fn amend(&mut self) -> Result<(), DropReason> {
        let (amend, place) = (self.noted(Note::Mtu), self.noted(Note::Second));
        let sctp = self.header_mut::<Sctp>((place & 0x3fff) as usize);
        sctp.ok_or(DropReason::Unwritable)?.amend(amend, (place >> 16) as u16);
        Ok(())
    }

    #[inline(always)]
    fn make_linear(&self, needed: u32) {
        let linear = (self.data_end() - self.data()) as u32;
        if linear < needed && linear < self.skb_len() && self.segment_payload() != BY_FRAGMENTS {
            // A packet that is too short all the same fails at the bounds checks.
            // SAFETY: the program's own context; pointers into the packet don't exist yet.
            unsafe { bpf_skb_pull_data(self.skb, needed) };
        }
    }

    /// Notes something for a later stage, which is another program that sees the same self.
    #[inline(always)]
    pub fn note(&self, what: Note, value: u32) {
        // SAFETY: the program's own context; a word of it that programs may write.
        unsafe { core::ptr::write_volatile(&raw mut (*self.skb).cb[what as usize], value) }
    }

    /// What was noted.
    #[inline(always)]
    pub fn noted(&self, what: Note) -> u32 {
        // SAFETY: the program's own context.
        unsafe { core::ptr::read_volatile(&raw const (*self.skb).cb[what as usize]) }
    }

    /// Where in memory a frame's offset is. Nobody asks for the header that is missing. The mask, which is longer than
    /// all headers, is for the verifier: without it the compiler subtracts from the packet's beginning ("offset is
    /// outside of the packet", 6.18).
    #[inline(always)]
    fn place(offset: usize) -> usize {
        if LINK { offset } else { offset.wrapping_sub(Self::MISSING) & 0x3fff }
    }

    #[inline(always)]
    fn skb_len(&self) -> u32 {
        // SAFETY: the program's own context.
        unsafe { (*self.skb).len }
    }

    #[inline(always)]
    pub fn data(&self) -> usize {
        // SAFETY: the program's own context.
        unsafe { (*self.skb).data as usize }
    }

    #[inline(always)]
    pub fn data_end(&self) -> usize {
        // SAFETY: the program's own context.
        unsafe { (*self.skb).data_end as usize }
    }

    #[inline(always)]
    pub fn field_protocol(&self) -> u16 {
        // SAFETY: the program's own context.
        unsafe { (*self.skb).protocol as u16 }
    }
}

impl<const LINK: bool> Packet for SkbPacket<'_, LINK> {
    const COMPLETE: bool = true;

    #[inline(always)]
    fn header<H: Header>(&self, offset: usize) -> Option<&H> {
        // SAFETY: `at` checked the bounds; `Header` has alignment 1 and takes any bytes; the
        // packet's memory stays where it is while `self` is borrowed.
        at::<H>(self.data(), self.data_end(), Self::place(offset)).map(|header| unsafe { &*header })
    }

    #[inline(always)]
    fn header_mut<H: Header>(&mut self, offset: usize) -> Option<&mut H> {
        // SAFETY: as in `header`, and `self` is borrowed exclusively.
        at::<H>(self.data(), self.data_end(), Self::place(offset))
            .map(|header| unsafe { &mut *header })
    }

    #[inline(always)]
    fn ether_type(&self) -> Option<EtherType> {
        if LINK {
            return Some(self.header::<Ethernet>(0)?.ether_type());
        }
        Some(EtherType::from_wire(self.field_protocol()))
    }

    #[inline(always)]
    fn macs(&self) -> Option<MacPair> {
        if LINK { Some(self.header::<Ethernet>(0)?.macs()) } else { Some(NO_MACS) }
    }

    #[inline(always)]
    fn set_macs(&mut self, macs: MacPair) -> Option<()> {
        if LINK {
            self.header_mut::<Ethernet>(0)?.set_macs(macs);
        } else {
            self.note_macs(macs);
        }
        Some(())
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        self.skb_len() + Self::MISSING as u32
    }

    #[inline(always)]
    fn segment_payload(&self) -> u32 {
        // SAFETY: the program's own context.
        unsafe { (*self.skb).gso_size }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the program's own context.
        unsafe { (*self.skb).ifindex }
    }

    #[inline(always)]
    fn is_tagged(&self) -> bool {
        // SAFETY: the program's own context.
        unsafe { (*self.skb).vlan_present != 0 && (*self.skb).vlan_tci & VLAN != 0 }
    }

    #[inline(always)]
    fn is_own(&self) -> bool {
        // SAFETY: the program's own context.
        unsafe { (*self.skb).ingress_ifindex == 0 }
    }

    #[inline(always)]
    fn cut(&mut self, len: u32) -> bool {
        // SAFETY: the program's own context; no references into the packet exist.
        unsafe { bpf_skb_change_tail(self.skb, len - Self::MISSING as u32, 0) == 0 }
    }

    #[inline(always)]
    fn grow(&mut self, bytes: u32) -> bool {
        self.make_room(bytes)
    }

    #[inline(always)]
    fn save(&self, held: &mut Held) -> bool {
        let Some(len) = held_len(self.skb_len()) else { return false };
        held.len = len;
        let frame = (&raw mut held.frame).cast();
        // SAFETY: the program's own context; room for `LONGEST` bytes and one more.
        unsafe { bpf_skb_load_bytes(self.skb.cast(), 0, frame, len) == 0 }
    }

    #[inline(always)]
    fn restore(&mut self, held: &Held) -> bool {
        // SAFETY: a reference; volatile, so that the number that is compared is the one that is used.
        let len = unsafe { (&raw const held.len).read_volatile() };
        let Some(len) = held_len(len) else { return false };
        let (frame, flags) = ((&raw const held.frame).cast(), u64::from(BPF_F_RECOMPUTE_CSUM));
        // SAFETY: the program's own context; no references into the packet exist; `len` bytes of the frame.
        unsafe {
            bpf_skb_change_tail(self.skb, len, 0) == 0
                && bpf_skb_store_bytes(self.skb, 0, frame, len, flags) == 0
        }
    }

    #[inline(always)]
    fn come_in_again(&mut self) -> bool {
        // SAFETY: the program's own context; no references into the packet exist.
        unsafe { bpf_clone_redirect(self.skb, self.ifindex(), u64::from(BPF_F_INGRESS)) == 0 }
    }

    #[inline(always)]
    fn settle(&self, Settled(first, second, third): Settled) -> Settled {
        self.note(Note::Reason, first);
        self.note(Note::Second, second);
        self.note(Note::Third, third);
        Settled(self.noted(Note::Reason), self.noted(Note::Second), self.noted(Note::Third))
    }

    #[inline(always)]
    fn note_mtu(&self, mtu: u32) {
        self.note(Note::Mtu, mtu);
    }

    #[inline(always)]
    fn mtu(&self) -> u32 {
        self.noted(Note::Mtu)
    }

    #[inline(always)]
    fn change_tcp_flags(&mut self, offset: usize, flags: TcpFlags) -> Result<(), DropReason> {
        let tcp = self.header_mut::<Tcp>(offset).ok_or(DropReason::Unwritable)?;
        let delta = tcp.exchange_flags(flags).for_helper();
        let at = (offset - Self::MISSING + Tcp::CHECKSUM_AT) as u32;
        // SAFETY: the program's own context; references into the packet ended above.
        let failed = unsafe { bpf_l4_csum_replace(self.skb, at, 0, delta, 0) != 0 };
        if failed { Err(DropReason::Unwritable) } else { Ok(()) }
    }

    /// The kernel's helper fixes the checksum, because it knows whether there is one yet: packets
    /// of this machine may carry one of the pseudo header only, for the device to finish. It takes
    /// the addresses' change and the ports' apart, since only the first touches the pseudo header.
    #[inline(always)]
    fn change_l4(&mut self, offset: usize, l4: L4, change: L4Change) -> Result<(), DropReason> {
        let (at, flags) = match l4 {
            L4::Tcp => {
                let tcp = self.header_mut::<Tcp>(offset).ok_or(DropReason::Unwritable)?;
                tcp.ports_mut().set(change.source, change.destination);
                (offset + Tcp::CHECKSUM_AT, 0)
            }
            L4::Udp => {
                let udp = self.header_mut::<Udp>(offset).ok_or(DropReason::Unwritable)?;
                udp.ports_mut().set(change.source, change.destination);
                (offset + Udp::CHECKSUM_AT, u64::from(BPF_F_MARK_MANGLED_0))
            }
            L4::Other => return Ok(()),
            L4::Sctp => {
                // What it takes to amend the checksum is a stage's of its own: here it would be gone through
                // by the verifier again for each way that leads here.
                let amend = exchange_sctp_ports(self, offset, change)?;
                self.note(Note::Mtu, amend);
                self.note(Note::Second, offset as u32 & 0x3fff | u32::from(change.length) << 16);
                return Ok(());
            }
        };
        let at = at - Self::MISSING;
        let (addresses, ports) = (change.addresses.for_helper(), change.ports.for_helper());
        let ipv6_flag = if change.is_ipv6 { IPV6_FLAG.load() } else { 0 };
        let pseudo = flags | u64::from(BPF_F_PSEUDO_HDR) | ipv6_flag;
        // SAFETY: the program's own context; references into the packet ended above.
        let failed = unsafe {
            bpf_l4_csum_replace(self.skb, at as u32, 0, addresses, pseudo) != 0
                || bpf_l4_csum_replace(self.skb, at as u32, 0, ports, flags) != 0
        };
        if change.is_ipv6 && ipv6_flag == 0 {
            // The helper took the sum over the packet, if its device gave one, for one that new addresses
            // leave as it is, as with IPv4, whose header has a checksum of its own. Where there is no such
            // sum this does nothing.
            // SAFETY: the program's own context.
            unsafe { bpf_csum_update(self.skb, addresses as u32) };
        }
        if failed { Err(DropReason::Unwritable) } else { Ok(()) }
    }
}
