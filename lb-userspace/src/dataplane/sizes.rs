//! How large new maps are made.

use lb_common::tables::{Held, Traffic};

/// Of how many packets, in each family, fragments may be on their way.
const FRAGMENTS: u32 = 1 << 14;

/// How many elements the tables have room for. Arrays and the first generation of flows take their
/// memory at once, hash tables as they fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Services, counted per port and family; 80 bytes each.
    pub services: u32,
    /// Frontends, in each family.
    pub frontends: u32,
    /// Backends; 80 bytes each, and 32 on every CPU.
    pub backends: u32,
    /// Slots of all selection tables together; 8 bytes each.
    pub slots: u32,
    /// Flow entries that can be evicted, in each family; two for each connection.
    pub new_flows: u32,
    /// Flow entries that can't, in each family; two for each connection.
    pub flows: u32,
    /// Clients of services with affinity, in each family; some 100 bytes each.
    pub clients: u32,
    /// Source ranges, each for every port of its Service, in each family.
    pub source_ranges: u32,
    /// Endpoints that sockets have instead of Services, in each family; some 110 bytes each.
    pub sockets: u32,
    /// Services that UDP sockets talk to without being connected, in each family; some 110 bytes each.
    pub talks: u32,
    /// Interfaces.
    pub devices: u32,
    /// Fragments that wait for their packet's first one, in both families together; 2 KiB each.
    pub held: u32,
    /// Bytes of events that nobody has read yet; a power of two, and whole pages.
    pub events: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            services: 1 << 16,
            frontends: 1 << 18,
            backends: 1 << 17,
            slots: 1 << 19,
            new_flows: 1 << 17,
            flows: 1 << 20,
            clients: 1 << 16,
            source_ranges: 1 << 16,
            sockets: 1 << 17,
            talks: 1 << 15,
            devices: 1 << 12,
            held: Held::ALL,
            events: 1 << 18,
        }
    }
}

impl Sizes {
    /// The maps whose sizes are not fixed, each with how many elements it takes.
    pub(super) fn entries(&self) -> [(&'static str, u32); 30] {
        [
            ("ADDRESSES_V4", self.frontends),
            ("ADDRESSES_V6", self.frontends),
            ("AFFINITY_V4", self.clients),
            ("AFFINITY_V6", self.clients),
            ("BACKENDS", self.backends),
            ("ACCOUNTS", self.backends),
            ("BACKEND_STATS", Traffic::chunks(self.backends)),
            ("DEVICES", self.devices),
            ("ENDPOINTS", self.backends),
            ("EVENTS", self.events),
            ("FLOWS_V4", self.flows),
            ("FLOWS_V6", self.flows),
            ("FRAGMENTS_V4", FRAGMENTS),
            ("FRAGMENTS_V6", FRAGMENTS),
            ("FRONTENDS_V4", self.frontends),
            ("FRONTENDS_V6", self.frontends),
            ("HELD", self.held),
            ("NEW_FLOWS_V4", self.new_flows),
            ("NEW_FLOWS_V6", self.new_flows),
            ("SERVICES", self.services),
            ("FOLDED", self.services),
            ("SLOTS", self.slots),
            ("SOCKETS_V4", self.sockets),
            ("SOCKETS_V6", self.sockets),
            ("SOURCE_RANGES_V4", self.source_ranges),
            ("SOURCE_RANGES_V6", self.source_ranges),
            ("TALKS_V4", self.talks),
            ("TALKS_V6", self.talks),
            ("LOADS", self.backends),
            ("TURNS", self.services),
        ]
    }
}
