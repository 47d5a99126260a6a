//! A packet in a vector.

use alloc::vec::Vec;
use core::{cell::Cell, iter, ops::Range};

extern crate alloc;

use crate::{
    packet::Packet,
    tables::Held,
    wire::{Ethernet, Header},
};

/// A frame in a vector, at a hook that can finish every packet (TC) or can't (XDP).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPacket<const COMPLETE: bool> {
    /// The frame.
    pub frame: Vec<u8>,
    /// The interface at which it is seen.
    pub ifindex: u32,
    /// Payload bytes of each segment, if it is to be cut up, else 0.
    pub segment_payload: u32,
    /// Whether a socket of this machine sent it.
    pub own: bool,
    /// Whether the frame is of a VLAN, by a tag that is not in it.
    pub tagged: bool,
    /// What came in once more, in this order.
    pub again: Vec<Vec<u8>>,
    /// How many bytes lie in its first buffer: headers are read there only (XDP).
    pub first_buffer: usize,
    mtu: Cell<u32>,
}

impl<const COMPLETE: bool> HostPacket<COMPLETE> {
    /// A frame at an interface.
    pub fn new(frame: Vec<u8>, ifindex: u32) -> Self {
        Self {
            frame,
            ifindex,
            segment_payload: 0,
            own: false,
            tagged: false,
            again: Vec::new(),
            first_buffer: usize::MAX,
            mtu: Cell::new(0),
        }
    }

    /// Where a header lies, if it is in hand.
    fn place<H: Header>(&self, offset: usize) -> Option<Range<usize>> {
        let end = offset.checked_add(size_of::<H>())?;
        (end <= self.first_buffer).then_some(offset..end)
    }
}

impl<const COMPLETE: bool> Packet for HostPacket<COMPLETE> {
    const COMPLETE: bool = COMPLETE;

    fn header<H: Header>(&self, offset: usize) -> Option<&H> {
        let bytes = self.frame.get(self.place::<H>(offset)?)?;
        // SAFETY: `Header` promises alignment 1 and that any bytes are valid; the slice is as long.
        Some(unsafe { &*bytes.as_ptr().cast::<H>() })
    }

    fn header_mut<H: Header>(&mut self, offset: usize) -> Option<&mut H> {
        let place = self.place::<H>(offset)?;
        let bytes = self.frame.get_mut(place)?;
        // SAFETY: as in `header`, and the borrow is exclusive.
        Some(unsafe { &mut *bytes.as_mut_ptr().cast::<H>() })
    }

    fn len(&self) -> u32 {
        u32::try_from(self.frame.len().min(self.first_buffer)).unwrap_or(u32::MAX)
    }

    fn segment_payload(&self) -> u32 {
        self.segment_payload
    }

    fn ifindex(&self) -> u32 {
        self.ifindex
    }

    fn is_tagged(&self) -> bool {
        self.tagged
    }

    fn is_own(&self) -> bool {
        self.own
    }

    fn cut(&mut self, len: u32) -> bool {
        let fits = len <= Packet::len(self);
        self.frame.truncate(len as usize);
        fits
    }

    fn grow(&mut self, bytes: u32) -> bool {
        let behind = self.frame.len().min(Ethernet::LEN);
        self.frame.splice(behind..behind, iter::repeat_n(0, bytes as usize));
        true
    }

    fn save(&self, held: &mut Held) -> bool {
        let len = Packet::len(self);
        if len > Held::LONGEST {
            return false;
        }
        held.len = len;
        held.frame[..self.frame.len()].copy_from_slice(&self.frame);
        true
    }

    fn restore(&mut self, held: &Held) -> bool {
        self.frame = held.frame[..held.len as usize].to_vec();
        true
    }

    fn come_in_again(&mut self) -> bool {
        self.again.push(self.frame.clone());
        true
    }

    fn note_mtu(&self, mtu: u32) {
        self.mtu.set(mtu);
    }

    fn mtu(&self) -> u32 {
        self.mtu.get()
    }
}
