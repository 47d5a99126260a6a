//! Handles on the maps, by their pins: for the control program, and for whoever only looks.

use std::os::fd::AsFd as _;

use aya::maps::{IterableMap as _, Map, MapData, PerCpuArray};
use lb_common::{
    addr::{Ipv4, Ipv6},
    hash,
    tables::{
        AddressRange, AffinityKey, Backend, BackendCounters, BackendRef, Config, Device, Endpoint,
        EndpointKey, Flow, FlowKey, Frontend, FrontendKey, PortSet, Remembered, Service,
        ServiceCounters, SnatPorts, SourceRangeKey,
    },
    verdict::COUNTERS,
};

use super::{
    DataplaneError, Pins, batch, hash_table::HashTable, mapped::MappedArray,
    prefix_table::PrefixTable,
};

/// All maps of an instance.
pub struct Tables {
    pub(super) config: MappedArray<Config>,
    pub(super) frontend_ports: MappedArray<u64>,
    pub(super) backend_ports: MappedArray<u64>,
    pub(super) services: MappedArray<Service>,
    pub(super) slots: MappedArray<BackendRef>,
    pub(super) backends: MappedArray<Backend>,
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
    counters: PerCpuArray<MapData, PodU64>,
    service_stats: PerCpuArray<MapData, PodCounters>,
    backend_stats: PerCpuArray<MapData, PodBackendCounters>,
    /// How many CPUs count.
    cpus: usize,
}

/// aya asks for its own marker on map values; these are the two that go through it.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct PodU64(u64);

#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct PodCounters(ServiceCounters);

// SAFETY: plain data without padding.
unsafe impl aya::Pod for PodU64 {}
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct PodBackendCounters(BackendCounters);

// SAFETY: plain data without padding, `bytemuck::Pod` itself.
unsafe impl aya::Pod for PodCounters {}
// SAFETY: plain data without padding, `bytemuck::Pod` itself.
unsafe impl aya::Pod for PodBackendCounters {}

/// What the control program tells the programs beside the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The ports for SNAT.
    pub snat_ports: SnatPorts,
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

fn open(pins: &Pins, name: &'static str) -> Result<MapData, DataplaneError> {
    MapData::from_pin(pins.maps().join(name))
        .map_err(|source| DataplaneError::Map { map: name, source: Some(Box::new(source)) })
}

fn table<K: bytemuck::Pod, V: bytemuck::Pod>(
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

fn mapped<T: bytemuck::Pod>(
    pins: &Pins,
    name: &'static str,
) -> Result<MappedArray<T>, DataplaneError> {
    MappedArray::map(name, &open(pins, name)?)
}

fn per_cpu<V: aya::Pod>(
    pins: &Pins,
    name: &'static str,
) -> Result<PerCpuArray<MapData, V>, DataplaneError> {
    PerCpuArray::try_from(Map::PerCpuArray(open(pins, name)?))
        .map_err(|source| DataplaneError::Map { map: name, source: Some(Box::new(source)) })
}

impl Tables {
    /// Opens the pinned maps of an instance.
    pub fn open(pins: &Pins) -> Result<Self, DataplaneError> {
        let cpus = aya::util::nr_cpus().map_err(|(_, source)| DataplaneError::MapOperation {
            action: "count the CPUs of",
            map: "SERVICE_STATS",
            source,
        })?;
        Ok(Self {
            config: mapped(pins, "CONFIG")?,
            frontend_ports: mapped(pins, "FRONTEND_PORTS")?,
            backend_ports: mapped(pins, "BACKEND_PORTS")?,
            services: mapped(pins, "SERVICES")?,
            slots: mapped(pins, "SLOTS")?,
            backends: mapped(pins, "BACKENDS")?,
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
            counters: per_cpu(pins, "COUNTERS")?,
            service_stats: per_cpu(pins, "SERVICE_STATS")?,
            backend_stats: per_cpu(pins, "BACKEND_STATS")?,
            cpus,
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
        };
        // A range of several words is none while it changes.
        if before.service_range_v6 != settings.service_range_v6 {
            self.config.store(0, &config);
        }
        self.config.store(0, &Config { service_range_v6: settings.service_range_v6, ..config });
    }

    /// Lets flows without a handshake move to the table that evicts nothing, or not.
    pub fn set_graduate_udp(&self, graduate: bool) {
        let mut config = self.config.load(0);
        config.graduate_udp = u32::from(graduate);
        self.config.store(0, &config);
    }

    /// Moves the epoch: every cached way out is looked up again.
    pub fn move_epoch(&self) {
        let mut config = self.config.load(0);
        config.epoch = config.epoch.wrapping_add(1).max(1);
        self.config.store(0, &config);
    }

    /// The backend with this id, if there is one.
    pub fn backend(&self, id: u32) -> Option<Backend> {
        (id < self.backends.len())
            .then(|| self.backends.load(id))
            .filter(|backend| backend.generation != 0)
    }

    /// All backends and their ids.
    pub fn backends(&self) -> impl Iterator<Item = (u32, Backend)> + '_ {
        (0..self.backends.len()).filter_map(|id| self.backend(id).map(|backend| (id, backend)))
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

    /// What was counted for a service, summed over the CPUs.
    pub fn service_counters(&self, service: u32) -> Result<ServiceCounters, DataplaneError> {
        let values = self.service_stats.get(&service, 0).map_err(|source| DataplaneError::Map {
            map: "SERVICE_STATS",
            source: Some(Box::new(source)),
        })?;
        Ok(values.iter().fold(ServiceCounters::default(), |sum, PodCounters(one)| {
            ServiceCounters {
                packets: sum.packets + one.packets,
                bytes: sum.bytes + one.bytes,
                flows: sum.flows + one.flows,
            }
        }))
    }

    /// What was counted for a backend, summed over the CPUs.
    pub fn backend_counters(&self, id: u32) -> Result<BackendCounters, DataplaneError> {
        let values = self.backend_stats.get(&id, 0).map_err(|source| DataplaneError::Map {
            map: "BACKEND_STATS",
            source: Some(Box::new(source)),
        })?;
        Ok(values.iter().fold(BackendCounters::default(), |sum, PodBackendCounters(one)| {
            BackendCounters {
                flows: sum.flows + one.flows,
                unanswered: sum.unanswered + one.unanswered,
            }
        }))
    }

    /// Sets what was counted for a service back to nothing.
    pub(super) fn reset_service_counters(&self, service: u32) -> Result<(), DataplaneError> {
        let words = size_of::<ServiceCounters>() / size_of::<u64>();
        self.reset("SERVICE_STATS", self.service_stats.map(), service, words)
    }

    /// Sets what was counted for a backend back to nothing.
    pub(super) fn reset_backend_counters(&self, id: u32) -> Result<(), DataplaneError> {
        let words = size_of::<BackendCounters>() / size_of::<u64>();
        self.reset("BACKEND_STATS", self.backend_stats.map(), id, words)
    }

    fn reset(
        &self,
        map: &'static str,
        data: &MapData,
        at: u32,
        words: usize,
    ) -> Result<(), DataplaneError> {
        batch::update_per_cpu(data.fd().as_fd(), at, &vec![0; self.cpus * words])
            .map_err(|source| DataplaneError::MapOperation { action: "write to", map, source })
    }
}
