//! What the programs must know about interfaces; the key is the interface index.

use bytemuck::{Pod, Zeroable};

use crate::addr::{Ipv4, Ipv6};

/// What an interface is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DeviceRole {
    /// A layer-3 device towards other machines, with our programs on it.
    Uplink = 1,
    /// The way to pods of this node: their interface, or a bridge that holds such.
    Workload = 2,
}

/// One interface.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Device {
    /// A [`DeviceRole`]'s number.
    pub role: u8,
    /// [`Device::XDP_TRANSMIT`], [`Device::SWITCHED_V4`], [`Device::SWITCHED_V6`] and [`Device::BARE`].
    pub flags: u8,
    /// Largest layer-3 packet in bytes; 0: not known.
    pub mtu: u16,
    /// Source of IPv4 packets that leave here with the node's address; 0.0.0.0: there is none.
    pub snat_v4: Ipv4,
    /// Source of IPv6 packets that leave here with the node's address; `::`: there is none.
    pub snat_v6: Ipv6,
    /// Of a workload that is a port of a bridge: the bridge. Else 0.
    pub bridge: u32,
    /// Reserved, 0.
    pub reserved: u32,
}

impl Device {
    /// Frames that XDP sends out here do leave.
    pub const XDP_TRANSMIT: u8 = 1;
    /// IPv4 from port to port of its bridge goes past the packet filters.
    pub const SWITCHED_V4: u8 = 2;
    /// The same for IPv6.
    pub const SWITCHED_V6: u8 = 4;
    /// It has no link layer: packets on it begin with their IP header.
    pub const BARE: u8 = 8;
}

const _: () = assert!(size_of::<Device>() == 32);
