//! What user space tells the rig: which frames to make, and what a sink expects. Plain words, shared
//! by `#[path]` with the benchmarks; nothing of BPF or aya belongs here.

use bytemuck::{Pod, Zeroable};

/// Words of a frame: 80 bytes hold Ethernet, IPv6 and a bare TCP header.
pub const FRAME_WORDS: usize = 10;

/// A frame and how it varies from flow to flow.
///
/// Flow `n` has `base + ((n >> shift) & mask)` in each of its fields. Fields that are not to vary have
/// mask 0. The template's fields and checksums are overwritten; the sums are those of everything else
/// that they cover.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Plan {
    /// The template, from the Ethernet header on.
    pub frame: [u64; FRAME_WORDS],
    /// Addresses, or the last 32 bits of them.
    pub words: [Field; 2],
    /// A port.
    pub half: Field,
    /// Where the IPv4 header's checksum is; 0: nowhere.
    pub ip_checksum_at: u32,
    /// The sum of the IPv4 header without the fields and without the checksum.
    pub ip_sum: u32,
    /// Where the transport's checksum is; 0: nowhere.
    pub l4_checksum_at: u32,
    /// The sum that it covers, pseudo header included, without the fields.
    pub l4_sum: u32,
    /// How many flows there are, less one; one less than a power of two.
    pub mask: u32,
    /// 0: one flow after the other; else in no order, each as often as another.
    pub scattered: u32,
}

/// Four or two bytes of a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Field {
    /// Where it is, in bytes.
    pub at: u32,
    /// Its value for flow 0, host order.
    pub base: u32,
    /// How many low bits of the flow's number are left out.
    pub shift: u32,
    /// Which bits remain then.
    pub mask: u32,
}

/// How far a plan has been carried out.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Progress {
    /// Frames made.
    pub made: u64,
    /// The flow of the last one.
    pub flow: u64,
    /// What was read from lines, added up: so that it is read.
    pub read: u64,
}

/// How many things a sink looks at.
pub const CHECKS: usize = 3;

/// What a sink looks at: the word at `at` has `value` where `mask` has ones.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Check {
    /// Where, in bytes.
    pub at: u32,
    /// Which bits, as they lie in memory.
    pub mask: u32,
    /// Their value, as it lies in memory.
    pub value: u32,
}

/// What a sink has seen.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Seen {
    /// Frames that fulfil all checks.
    pub expected: u64,
    /// Others.
    pub others: u64,
}
