//! Where a program sits, and what that decides.

/// The places at which a packet is looked at.
///
/// The hook is the **role** in a flow's key: one reply crosses several hooks and must match at
/// exactly one of them. The numbers stand in map keys and must not change within a layout version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Hook {
    /// A packet that a pod sent, at the host's end of its interface.
    WorkloadIn = 1,
    /// A packet on its way into a pod, at the host's end of its interface.
    WorkloadOut = 2,
    /// A packet that came in over an uplink.
    UplinkIn = 3,
    /// A packet that leaves over an uplink.
    UplinkOut = 4,
    /// The same, if a socket of this node sent it: a client's packet.
    HostOut = 5,
}

/// Where a client is, as far as a service's selections differ by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Clients inside the cluster.
    Internal,
    /// Clients outside it.
    External,
}

impl Hook {
    /// All hooks.
    pub const ALL: [Self; 5] =
        [Self::WorkloadIn, Self::WorkloadOut, Self::UplinkIn, Self::UplinkOut, Self::HostOut];

    /// Whether packets come from clients here: new flows start only at such a hook.
    #[inline(always)]
    pub const fn faces_clients(self) -> bool {
        matches!(self, Self::WorkloadIn | Self::UplinkIn | Self::HostOut)
    }

    /// Whether packets leave here: what answers their senders has to come in.
    #[inline(always)]
    pub const fn leaves(self) -> bool {
        matches!(self, Self::WorkloadOut | Self::UplinkOut | Self::HostOut)
    }

    /// The scope of clients whose packets come in here.
    #[inline(always)]
    pub const fn scope(self) -> Scope {
        match self {
            Self::WorkloadIn | Self::WorkloadOut | Self::HostOut => Scope::Internal,
            Self::UplinkIn | Self::UplinkOut => Scope::External,
        }
    }

    /// The hook with this number.
    #[inline(always)]
    pub const fn from_role(role: u8) -> Option<Self> {
        match role {
            1 => Some(Self::WorkloadIn),
            2 => Some(Self::WorkloadOut),
            3 => Some(Self::UplinkIn),
            4 => Some(Self::UplinkOut),
            5 => Some(Self::HostOut),
            _ => None,
        }
    }
}
