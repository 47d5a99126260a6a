//! Frontends: what clients talk to, and the service that each leads to.

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
    any_node: u8,
    reserved_tail: u32,
}

impl<A: Address + Default> FrontendKey<A> {
    /// The key of a node port wherever on this node: what a process of the node reaches at loopback addresses.
    /// No packet's destination is looked up by it.
    #[inline(always)]
    pub fn any_node(port: Port, protocol: Protocol) -> Self {
        Self { any_node: 1, ..Self::new(A::default(), port, protocol) }
    }

    /// Whether it is one of these.
    pub const fn is_any_node(&self) -> bool {
        self.any_node != 0
    }
}

impl<A: Address> FrontendKey<A> {
    /// The key of a frontend.
    #[inline(always)]
    pub const fn new(address: A, port: Port, protocol: Protocol) -> Self {
        Self { address, port, protocol: protocol.0, any_node: 0, reserved_tail: 0 }
    }
}

/// Where a frontend leads.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Frontend {
    /// The service's number.
    pub service: u32,
    /// [`Frontend::CLUSTER_IP`] and those that follow it.
    pub flags: u32,
}

impl Frontend {
    /// The address is a cluster IP: the internal policy's selection holds, whoever asks.
    pub const CLUSTER_IP: u32 = 1;
    /// Only clients of the service's source ranges are admitted.
    pub const GUARDED: u32 = 2;
    /// It is a node port: no process of the node may bind it.
    pub const NODE_PORT: u32 = 4;
    /// Packets are translated, sockets aren't: the Service wants it so.
    pub const PACKETS_ONLY: u32 = 8;

    /// Whether one of these flags is set.
    #[inline(always)]
    pub const fn is(self, flag: u32) -> bool {
        self.flags & flag != 0
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

const _: () = assert!(size_of::<Frontend>() == 8);
