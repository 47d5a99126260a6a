//! Fragments: the ports of packets whose later fragments don't have any.

use bytemuck::{Pod, Zeroable};

use super::frontend::pod_per_family;
use crate::addr::{Ipv4, Ipv6, Port};

/// What the fragments of one packet have in common, at a hook.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FragmentKey<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// The identification, as it lies in memory.
    pub identification: u32,
    /// The hook's number.
    pub role: u32,
}

/// What the first of them said.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Fragmented {
    /// Source port.
    pub source_port: Port,
    /// Destination port.
    pub destination_port: Port,
    /// Protocol number.
    pub protocol: u32,
    /// When it was seen, in jiffies.
    pub seen: u32,
}

impl Fragmented {
    /// For how many seconds the others may come: as long as Linux waits for them.
    pub const SECONDS: u32 = 30;

    /// Whether it is too old to be of the same packet. A second lasts `second` jiffies.
    #[inline(always)]
    pub const fn is_over(&self, now: u32, second: u32) -> bool {
        now.wrapping_sub(self.seen) >= second.wrapping_mul(Self::SECONDS)
    }

    /// Instead of what a first fragment says: it has not come, and others wait for it.
    #[inline(always)]
    pub const fn awaited(now: u32) -> Self {
        let none = Port::from_wire(0);
        Self { source_port: none, destination_port: none, protocol: Self::AWAITED, seen: now }
    }

    /// Whether others wait for the first.
    #[inline(always)]
    pub const fn is_awaited(&self) -> bool {
        self.protocol == Self::AWAITED
    }

    /// The number of no protocol.
    const AWAITED: u32 = 0x100;
}

pod_per_family!(FragmentKey, 16, 40);
