//! Backends: the endpoints that packets are sent to.

use bytemuck::{Pod, Zeroable};

use crate::addr::{Ipv6, Port};

/// What names a backend in selection tables and flows: an index into the backends and the
/// generation that must stand there. An index that was freed and used again has another generation.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct BackendRef {
    /// Index into the array of backends.
    pub id: u32,
    /// Generation; 0 is never given to a backend.
    pub generation: u32,
}

/// One line of the array of backends. Half a cache line, so a check touches one line.
///
/// A line is filled before anything refers to it, its generation last, and emptied (generation 0)
/// after nothing chooses it any more: what still refers to it then sees that it is gone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Backend {
    /// Generation; 0: no backend is here.
    pub generation: u32,
    /// The service that it belongs to.
    pub service: u32,
    /// Address; IPv4 in the IPv4-mapped form.
    pub address: Ipv6,
    /// Port.
    pub port: Port,
    /// Protocol number.
    pub protocol: u8,
    /// Reserved, 0.
    pub reserved: [u8; 5],
}

const _: () = assert!(size_of::<Backend>() == 32 && size_of::<BackendRef>() == 8);
