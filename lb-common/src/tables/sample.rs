//! What is told of a packet, of one in so many: a record of the ring buffer `EVENTS`.

use bytemuck::{Pod, Zeroable};

use super::BackendRef;
use crate::addr::{Ipv6, Port};

/// A record, 72 bytes, numbers in the machine's byte order, addresses and ports as on the wire:
///
/// | at | bytes | what |
/// | --- | --- | --- |
/// | 0 | 8 | `time` |
/// | 8 | 16 | `source` |
/// | 24 | 16 | `destination` |
/// | 40 | 4 × 3 | `ifindex`, `what`, `service` |
/// | 52 | 4 × 2 | `backend`: id, generation |
/// | 60 | 2 × 2 | `source_port`, `destination_port` |
/// | 64 | 1 × 3 | `protocol`, `hook`, `version` |
/// | 67 | 5 | reserved |
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Sample {
    /// When, in nanoseconds of the kernel's monotonic clock.
    pub time: u64,
    /// The packet's source, before anything was translated; IPv4 in the IPv4-mapped form.
    pub source: Ipv6,
    /// Its destination.
    pub destination: Ipv6,
    /// The interface at which it was seen.
    pub ifindex: u32,
    /// The number of the counter, by which it has its name.
    pub what: u32,
    /// The service, if there is a backend.
    pub service: u32,
    /// The backend that was chosen, or the one that did not answer. No generation: neither is told.
    pub backend: BackendRef,
    /// Source port.
    pub source_port: Port,
    /// Destination port.
    pub destination_port: Port,
    /// Protocol number.
    pub protocol: u8,
    /// The hook's number.
    pub hook: u8,
    /// The version of IP.
    pub version: u8,
    /// Reserved, 0.
    pub reserved: [u8; 5],
}

const _: () = assert!(size_of::<Sample>() == 72);
