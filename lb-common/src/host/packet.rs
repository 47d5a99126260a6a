//! A packet in a vector.

use alloc::vec::Vec;
use core::{cell::Cell, iter};

extern crate alloc;

use crate::{
    packet::Packet,
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
    mtu: Cell<u32>,
}

impl<const COMPLETE: bool> HostPacket<COMPLETE> {
    /// A frame at an interface.
    pub fn new(frame: Vec<u8>, ifindex: u32) -> Self {
        Self { frame, ifindex, segment_payload: 0, own: false, tagged: false, mtu: Cell::new(0) }
    }
}

impl<const COMPLETE: bool> Packet for HostPacket<COMPLETE> {
    const COMPLETE: bool = COMPLETE;

    fn header<H: Header>(&self, offset: usize) -> Option<&H> {
        let bytes = self.frame.get(offset..offset.checked_add(size_of::<H>())?)?;
        // SAFETY: `Header` promises alignment 1 and that any bytes are valid; the slice is as long.
        Some(unsafe { &*bytes.as_ptr().cast::<H>() })
    }

    fn header_mut<H: Header>(&mut self, offset: usize) -> Option<&mut H> {
        let bytes = self.frame.get_mut(offset..offset.checked_add(size_of::<H>())?)?;
        // SAFETY: as in `header`, and the borrow is exclusive.
        Some(unsafe { &mut *bytes.as_mut_ptr().cast::<H>() })
    }

    fn len(&self) -> u32 {
        u32::try_from(self.frame.len()).unwrap_or(u32::MAX)
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

    fn note_mtu(&self, mtu: u32) {
        self.mtu.set(mtu);
    }

    fn mtu(&self) -> u32 {
        self.mtu.get()
    }
}
