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
}

pod_per_family!(FragmentKey, 16, 40);
