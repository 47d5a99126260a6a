//! Link headers: moved when there has to be room behind them, and put in front of packets that have none, of bare devices.

use aya_ebpf::{
    bindings::bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
    helpers::generated::{bpf_skb_adjust_room, bpf_skb_change_head},
};
use lb_common::{
    packet::Packet as _,
    verdict::{DropReason, Verdict},
    wire::{EtherType, Ethernet, MacPair},
};

use crate::{
    note::Note,
    packet::{SkbPacket, at},
};

/// Where nobody has a link-layer address, or nobody knows it yet.
pub const NO_MACS: MacPair = MacPair::from_wire(0, 0, 0);

impl<const LINK: bool> SkbPacket<'_, LINK> {
    /// Puts a link header in front, for a device that has one; the kernel takes it off again where there is none.
    /// From here on offsets are wrong: this is the last that is done to a packet.
    #[inline(always)]
    pub fn put_link(&mut self, verdict: Verdict) -> Result<(), DropReason> {
        let macs = if let Verdict::Resolve(_) = verdict {
            // The kernel finds them.
            NO_MACS
        } else {
            let [first, second, third] = Note::MACS.map(|word| self.noted(word));
            MacPair::from_wire(first, second, third)
        };
        let ether_type = EtherType::from_wire(self.field_protocol());
        // SAFETY: the program's own context; no references into the packet exist.
        if unsafe { bpf_skb_change_head(self.skb, Ethernet::LEN as u32, 0) } != 0 {
            return Err(DropReason::Unwritable);
        }
        let at = at::<Ethernet>(self.data(), self.data_end(), 0).ok_or(DropReason::Unwritable)?;
        // SAFETY: `at` checked the bounds; nothing else points into the packet.
        let ethernet = unsafe { &mut *at };
        ethernet.set_macs(macs);
        ethernet.set_ether_type(ether_type);
        Ok(())
    }

    /// Notes them for the link header that the packet gets.
    #[inline(always)]
    pub fn note_macs(&self, macs: MacPair) {
        let (first, second, third) = macs.to_wire();
        let [one, two, three] = Note::MACS;
        self.note(one, first);
        self.note(two, second);
        self.note(three, third);
    }

    /// Makes room for so many bytes behind the link header, if there is one.
    #[inline(always)]
    pub fn make_room(&mut self, bytes: u32) -> bool {
        if !LINK {
            // The other helper takes what it adds for a link header, which is cut off again on the way out.
            let mode = BPF_ADJ_ROOM_MAC;
            // SAFETY: the program's own context; no references into the packet exist.
            return unsafe { bpf_skb_adjust_room(self.skb, bytes as i32, mode, 0) == 0 };
        }
        let Some(ethernet) = self.header::<Ethernet>(0) else { return false };
        let (macs, ether_type) = (ethernet.macs(), ethernet.ether_type());
        // SAFETY: the program's own context; no references into the packet exist.
        if unsafe { bpf_skb_change_head(self.skb, bytes, 0) } != 0 {
            return false;
        }
        let Some(ethernet) = self.header_mut::<Ethernet>(0) else { return false };
        ethernet.set_macs(macs);
        ethernet.set_ether_type(ether_type);
        true
    }
}
