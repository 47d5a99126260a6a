//! Fragments that came before their packet's first one, and wait for it.

use bytemuck::{Pod, Zeroable};

use super::FragmentKey;
use crate::addr::Ipv6;

/// One of the fragments of a packet that wait at a hook.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
pub struct HeldKey {
    /// The packet; IPv4 addresses in the IPv4-mapped form.
    pub packet: FragmentKey<Ipv6>,
    /// Which of them, from 0 on, in no order.
    pub slot: u32,
    reserved: u32,
}

impl HeldKey {
    /// The first of those that wait for this packet's first fragment.
    #[inline(always)]
    pub const fn first(packet: FragmentKey<Ipv6>) -> Self {
        Self { packet, slot: 0, reserved: 0 }
    }
}

/// Room for a frame.
const ROOM: usize = 2048;

/// The whole frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Held {
    /// When it came, in jiffies.
    pub seen: u32,
    /// Its length in bytes.
    pub len: u32,
    /// What is in it; behind its length there may be anything.
    pub frame: [u8; ROOM],
}

impl Held {
    /// The longest frame that is held: an ordinary one, not a jumbo.
    pub const LONGEST: u32 = 2047;
    /// How many of a packet's fragments may wait.
    pub const SLOTS: u32 = 8;
    /// How many may wait in all, unless somebody says otherwise; who has waited longest goes when there are more.
    pub const ALL: u32 = 1024;
}
