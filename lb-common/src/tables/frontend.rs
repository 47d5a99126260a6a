//! Frontends: what clients talk to. The value is the number of the service.

use bytemuck::{Pod, Zeroable};

use crate::{
    addr::{Address, Ipv4, Ipv6, Port},
    wire::Protocol,
};

/// Address, port and protocol of a frontend.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrontendKey<A> {
    /// Address.
    pub address: A,
    /// Port.
    pub port: Port,
    /// Protocol number.
    pub protocol: u8,
    reserved: u8,
    reserved_tail: u32,
}

impl<A: Address> FrontendKey<A> {
    /// The key of a frontend.
    #[inline(always)]
    pub const fn new(address: A, port: Port, protocol: Protocol) -> Self {
        Self { address, port, protocol: protocol.0, reserved: 0, reserved_tail: 0 }
    }
}

/// Derives what `bytemuck` can't for a generic struct, once per family, with the size it must have.
macro_rules! pod_per_family {
    ($name:ident, $v4:literal, $v6:literal) => {
        const _: () = assert!(size_of::<$name<Ipv4>>() == $v4 && size_of::<$name<Ipv6>>() == $v6);

        // SAFETY: all fields are plain data, valid when zero.
        unsafe impl Zeroable for $name<Ipv4> {}
        // SAFETY: as above.
        unsafe impl Zeroable for $name<Ipv6> {}
        // SAFETY: `repr(C)`, all fields `Pod`, and the asserted size leaves no room for padding.
        unsafe impl Pod for $name<Ipv4> {}
        // SAFETY: as above.
        unsafe impl Pod for $name<Ipv6> {}
    };
}

pub(crate) use pod_per_family;

pod_per_family!(FrontendKey, 12, 24);
