//! Handles on the maps, by their pins: for the control program, and for whoever only looks.

use aya::maps::{Map, MapData, PerCpuArray};
use lb_common::{
    addr::{Ipv4, Ipv6},
    hash,
    tables::{
        AddressRange, AffinityKey, Backend, BackendRef, Config, Device, Endpoint, EndpointKey,
        Flow, FlowKey, Frontend, FrontendKey, Load, PortSet, Remembered, Service, SnatPorts,
        SourceRangeKey,
    },
    verdict::COUNTERS,
};

use super::{
    DataplaneError, Pins, SocketTables, hash_table::HashTable, mapped::MappedArray,
    prefix_table::PrefixTable, traffic::TrafficTables,
};

/// All maps of an instance.
pub struct Tables {
    pub(super) config: MappedArray<Config>,
    pub(super) frontend_ports: MappedArray<u64>,
    pub(super) backend_ports: MappedArray<u64>,
    pub(super) services: MappedArray<Service>,
    pub(super) slots: MappedArray<BackendRef>,
    pub(super) backends: MappedArray<Backend>,
    pub(super) loads: MappedArray<Load>,
    /// IPv4 frontends.
    pub frontends_v4: HashTable<FrontendKey<Ipv4>, Frontend>,
    /// IPv6 frontends.
    pub frontends_v6: HashTable<FrontendKey<Ipv6>, Frontend>,
    pub(super) address_bits: MappedArray<u64>,
    /// Whose IPv4 addresses are.
    pub addresses_v4: HashTable<Ipv4, u32>,
    /// Whose IPv6 addresses are.
    pub addresses_v6: HashTable<Ipv6, u32>,
    /// IPv4 source ranges.
    pub source_ranges_v4: PrefixTable<SourceRangeKey<Ipv4>>,
    /// IPv6 source ranges.
    pub source_ranges_v6: PrefixTable<SourceRangeKey<Ipv6>>,
    /// IPv4 clients of services with affinity.
    pub affinity_v4: HashTable<AffinityKey<Ipv4>, Remembered>,
    /// IPv6 clients of services with affinity.
    pub affinity_v6: HashTable<AffinityKey<Ipv6>, Remembered>,
    /// Endpoints of services with affinity.
    pub endpoints: HashTable<EndpointKey, Endpoint>,
    /// Interfaces.
    pub devices: HashTable<u32, Device>,
    /// IPv4 flows that can be evicted.
    pub new_flows_v4: HashTable<FlowKey<Ipv4>, Flow<Ipv4>>,
    /// IPv6 flows that can be evicted.
    pub new_flows_v6: HashTable<FlowKey<Ipv6>, Flow<Ipv6>>,
    /// IPv4 flows that can't.
    pub flows_v4: HashTable<FlowKey<Ipv4>, Flow<Ipv4>>,
    /// IPv6 flows that can't.
    pub flows_v6: HashTable<FlowKey<Ipv6>, Flow<Ipv6>>,
    /// Sockets that were given an endpoint.
    pub sockets: SocketTables,
    counters: PerCpuArray<MapData, PodU64>,
    pub(super) traffic: TrafficTables,
}

/// aya asks for its own marker on map values.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct PodU64(u64);

// SAFETY: plain data without padding.
unsafe impl aya::Pod for PodU64 {}

/// What the control program tells the programs beside the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The ports for SNAT.
    pub snat_ports: SnatPorts,
    /// The ports that replies to SNAT may have.
    pub reply_ports: SnatPorts,
    /// Of how many packets that there is something to tell of one is told; 0: of none.
    pub sample_events: u32,
    /// Whether flows without a handshake may move to the table that evicts nothing.
    pub graduate_udp: bool,
    /// Jiffies after which a packet renews its flow's age.
    pub touch_interval: u32,
    /// What answers to senders may cost in a second, on each CPU.
    pub answers: u32,
    /// The secret under which tuples are hashed.
    pub hash_key: hash::Key,
    /// Jiffies in a second.
    pub hz: u32,
    /// The range of IPv4 cluster IPs.
    pub service_range_v4: AddressRange<Ipv4>,
    /// The range of IPv6 cluster IPs.
    pub service_range_v6: AddressRange<Ipv6>,
}

/// The hash key of tables that nobody has configured yet.
pub const NO_HASH_KEY: hash::Key = [0; 2];

/// A pinned map.
pub(super) fn open(pins: &Pins, name: &'static str) -> Result<MapData, DataplaneError> {
    MapData::from_pin(pins.maps().join(name))
        .map_err(|source| DataplaneError::Map { map: name, source: Some(Box::new(source)) })
}

pub(super) fn table<K: bytemuck::Pod, V: bytemuck::Pod>(
    pins: &Pins,
    name: &'static str,
) -> Result<HashTable<K, V>, DataplaneError> {
    HashTable::new(name, open(pins, name)?)
}

fn prefixes<K: bytemuck::Pod>(
    pins: &Pins,
    name: &'static str,
) -> Result<PrefixTable<K>, DataplaneError> {
    PrefixTable::new(name, open(pins, name)?)
}

/// A pinned array, mapped.
pub(super) fn mapped<T: bytemuck::Pod>(
    pins: &Pins,
    name: &'static str,
) -> Result<MappedArray<T>, DataplaneError> {
    MappedArray::map(name, &open(pins, name)?)
}

fn per_cpu(
    pins: &Pins,
    name: &'static str,
) -> Result<PerCpuArray<MapData, PodU64>, DataplaneError> {
    PerCpuArray::try_from(Map::PerCpuArray(open(pins, name)?))
        .map_err(|source| DataplaneError::Map { map: name, source: Some(Box::new(source)) })
}

impl Tables {
    /// Opens the pinned maps of an instance.
    pub fn open(pins: &Pins) -> Result<Self, DataplaneError> {
        Ok(Self {
            config: mapped(pins, "CONFIG")?,
            frontend_ports: mapped(pins, "FRONTEND_PORTS")?,
            backend_ports: mapped(pins, "BACKEND_PORTS")?,
            services: mapped(pins, "SERVICES")?,
            slots: mapped(pins, "SLOTS")?,
            backends: mapped(pins, "BACKENDS")?,
            loads: mapped(pins, "LOADS")?,
            frontends_v4: table(pins, "FRONTENDS_V4")?,
            frontends_v6: table(pins, "FRONTENDS_V6")?,
            address_bits: mapped(pins, "ADDRESS_BITS")?,
            addresses_v4: table(pins, "ADDRESSES_V4")?,
            addresses_v6: table(pins, "ADDRESSES_V6")?,
            source_ranges_v4: prefixes(pins, "SOURCE_RANGES_V4")?,
            source_ranges_v6: prefixes(pins, "SOURCE_RANGES_V6")?,
            affinity_v4: table(pins, "AFFINITY_V4")?,
            affinity_v6: table(pins, "AFFINITY_V6")?,
            endpoints: table(pins, "ENDPOINTS")?,
            devices: table(pins, "DEVICES")?,
            new_flows_v4: table(pins, "NEW_FLOWS_V4")?,
            new_flows_v6: table(pins, "NEW_FLOWS_V6")?,
            flows_v4: table(pins, "FLOWS_V4")?,
            flows_v6: table(pins, "FLOWS_V6")?,
            sockets: SocketTables::open(pins)?,
            counters: per_cpu(pins, "COUNTERS")?,
            traffic: TrafficTables::open(pins)?,
        })
    }

    /// The secret in the maps; zero if there is none yet.
    pub fn hash_key(&self) -> hash::Key {
        self.config.load(0).hash_key
    }

    /// Writes the settings; the epoch stays, or begins at 1.
    pub fn set_settings(&self, settings: Settings) {
        let before = self.config.load(0);
        let config = Config {
            epoch: before.epoch.max(1),
            snat_ports: settings.snat_ports,
            graduate_udp: u32::from(settings.graduate_udp),
            touch_interval: settings.touch_interval,
            answers: settings.answers,
            hz: settings.hz,
            hash_key: settings.hash_key,
            service_range_v4: settings.service_range_v4,
            service_range_v6: AddressRange::default(),
            reply_ports: settings.reply_ports,
            sample_events: settings.sample_events,
            ..Config::default()
        };
        // A range of several words is none while it changes.
        if before.service_range_v6 != settings.service_range_v6 {
            self.config.store(0, &config);
        }
        self.config.store(0, &Config { service_range_v6: settings.service_range_v6, ..config });
    }

    /// Lets flows without a handshake move to the table that evicts nothing, or not.
    pub fn set_graduate_udp(&self, graduate: bool) {
        self.config.change(0, |config| config.graduate_udp = u32::from(graduate));
    }

    /// The ports for SNAT, and those that replies to it may have.
    pub fn source_ports(&self) -> (SnatPorts, SnatPorts) {
        let config = self.config.load(0);
        (config.snat_ports, config.reply_ports)
    }

    /// Gives new flows other ports. Replies are recognised before there are any.
    pub fn set_source_ports(&self, ports: SnatPorts) {
        self.config.change(0, |config| config.reply_ports = config.reply_ports.hull(ports));
        self.config.change(0, |config| config.snat_ports = ports);
    }

    /// Says which ports replies may have.
    pub fn set_reply_ports(&self, ports: SnatPorts) {
        self.config.change(0, |config| config.reply_ports = ports);
    }

    /// Of how many packets one is told, if anybody is told of any.
    pub fn sample_events(&self) -> u32 {
        self.config.load(0).sample_events
    }

    /// Says of how many packets one is told; 0: of none.
    pub fn set_sample_events(&self, every: u32) {
        self.config.change(0, |config| config.sample_events = every);
    }

    /// Moves the epoch: every cached way out is looked up again.
    pub fn move_epoch(&self) {
        self.config.change(0, |config| config.epoch = config.epoch.wrapping_add(1).max(1));
    }

    /// The backend with this id, if there is one.
    pub fn backend(&self, id: u32) -> Option<Backend> {
        (id < self.backends.len())
            .then(|| self.backends.load(id))
            .filter(|backend| backend.generation != 0)
    }

    /// All backends and their ids.
    pub fn backends(&self) -> impl Iterator<Item = (u32, Backend)> + '_ {
        let used = (0..self.backends.len()).filter(|id| !self.backends.is_empty_at(*id));
        used.filter_map(|id| self.backend(id).map(|backend| (id, backend)))
    }

    /// A slot of the selection tables; one that there is not is empty.
    pub(super) fn slot(&self, at: u32) -> BackendRef {
        if at < self.slots.len() { self.slots.load(at) } else { BackendRef::default() }
    }

    /// A service's line.
    pub fn service(&self, id: u32) -> Service {
        self.services.load(id)
    }

    /// Puts a port into one of the two sets, or takes it out.
    pub(super) fn set_port(ports: &MappedArray<u64>, port: u16, present: bool) {
        Self::set_bit(ports, PortSet::position(lb_common::addr::Port::from_host(port)), present);
    }

    /// Puts a bit of a word into a set, or takes it out.
    pub(super) fn set_bit(set: &MappedArray<u64>, (word, bit): (u32, u64), present: bool) {
        let old = set.load(word);
        set.store(word, &if present { old | bit } else { old & !bit });
    }

    /// A counter, summed over the CPUs.
    pub fn counter(&self, index: u32) -> Result<u64, DataplaneError> {
        debug_assert!(index < COUNTERS);
        let values = self.counters.get(&index, 0).map_err(|source| DataplaneError::Map {
            map: "COUNTERS",
            source: Some(Box::new(source)),
        })?;
        Ok(values.iter().map(|value| value.0).sum())
    }
}
