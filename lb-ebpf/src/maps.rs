//! The maps. Sizes are the smallest that make sense; the control program sets the real ones when it
//! loads the object. Arrays that it computes are memory-mapped, so that it writes them like memory.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray, RingBuf},
};
use lb_common::{
    addr::{Ipv4, Ipv6},
    pipeline::Bucket,
    tables::{
        Account, AddressSet, AffinityKey, Backend, BackendRef, Config, Device, Draft, Endpoint,
        EndpointKey, Flow, FlowKey, FragmentKey, Fragmented, Frontend, FrontendKey, Held, HeldKey,
        Load, Neighbour, PortSet, Remembered, Sample, Service, SocketKey, Talk, Traffic,
        Translated, Turns,
    },
    verdict::{COUNTERS as COUNTER_COUNT, Stage},
};

/// What changes while the programs run.
#[map]
pub static CONFIG: Array<Config> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The ports of all frontends.
#[map]
pub static FRONTEND_PORTS: Array<u64> = Array::with_max_entries(PortSet::WORDS, BPF_F_MMAPABLE);

/// The ports of all backends.
#[map]
pub static BACKEND_PORTS: Array<u64> = Array::with_max_entries(PortSet::WORDS, BPF_F_MMAPABLE);

/// IPv4 frontends → service.
#[map]
pub static FRONTENDS_V4: HashMap<FrontendKey<Ipv4>, Frontend> =
    HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

/// IPv6 frontends → service.
#[map]
pub static FRONTENDS_V6: HashMap<FrontendKey<Ipv6>, Frontend> =
    HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

/// Addresses of both families that are a Service's, as bits.
#[map]
pub static ADDRESS_BITS: Array<u64> = Array::with_max_entries(AddressSet::WORDS, BPF_F_MMAPABLE);

/// IPv4 addresses → whose they are.
#[map]
pub static ADDRESSES_V4: HashMap<Ipv4, u32> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

/// IPv6 addresses → whose they are.
#[map]
pub static ADDRESSES_V6: HashMap<Ipv6, u32> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

/// A `SourceRangeKey` without its length: aya has that in a type of its own.
#[repr(C, packed(4))]
pub struct RangeData<A> {
    _service: u32,
    _address: A,
}

/// IPv4 source ranges of guarded services.
#[map]
pub static SOURCE_RANGES_V4: LpmTrie<RangeData<Ipv4>, u32> = LpmTrie::with_max_entries(1, 0);

/// IPv6 source ranges of guarded services.
#[map]
pub static SOURCE_RANGES_V6: LpmTrie<RangeData<Ipv6>, u32> = LpmTrie::with_max_entries(1, 0);

/// IPv4 clients of services with affinity → endpoint.
#[map]
pub static AFFINITY_V4: LruHashMap<AffinityKey<Ipv4>, Remembered> =
    LruHashMap::with_max_entries(1, 0);

/// IPv6 clients of services with affinity → endpoint.
#[map]
pub static AFFINITY_V6: LruHashMap<AffinityKey<Ipv6>, Remembered> =
    LruHashMap::with_max_entries(1, 0);

/// Endpoints of services with affinity → backend.
#[map]
pub static ENDPOINTS: HashMap<EndpointKey, Endpoint> =
    HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

/// Services by number.
#[map]
pub static SERVICES: Array<Service> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Slots of the selection tables.
#[map]
pub static SLOTS: Array<BackendRef> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Backends by id.
#[map]
pub static BACKENDS: Array<Backend> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// How busy each backend is: counted up and down by the programs, put right by user space.
#[map]
pub static LOADS: Array<Load> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Whose turn it is in services that go by turns.
#[map]
pub static TURNS: Array<Turns> = Array::with_max_entries(1, 0);

/// What is counted per backend, so many in each element.
#[map]
pub static BACKEND_STATS: PerCpuArray<[Traffic; Traffic::CHUNK as usize]> =
    PerCpuArray::with_max_entries(1, 0);

/// Whose the figures of backends are. User space's own, beside the figures so that both live as long.
#[map]
pub static ACCOUNTS: Array<Account> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What was counted for services by backends whose numbers are others' now. User space's own.
#[map]
pub static FOLDED: Array<Traffic> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Interfaces by index.
#[map]
pub static DEVICES: HashMap<u32, Device> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

/// IPv4 flows of the first generation.
#[map]
pub static NEW_FLOWS_V4: LruHashMap<FlowKey<Ipv4>, Flow<Ipv4>> = LruHashMap::with_max_entries(1, 0);

/// IPv6 flows of the first generation.
#[map]
pub static NEW_FLOWS_V6: LruHashMap<FlowKey<Ipv6>, Flow<Ipv6>> = LruHashMap::with_max_entries(1, 0);

/// IPv4 flows of the generation that evicts nothing. Not preallocated: memory follows the flows,
/// and an entry that is removed keeps its content until no program reads it any more.
#[map]
pub static FLOWS_V4: HashMap<FlowKey<Ipv4>, Flow<Ipv4>> =
    HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

/// IPv6 flows of the generation that evicts nothing.
#[map]
pub static FLOWS_V6: HashMap<FlowKey<Ipv6>, Flow<Ipv6>> =
    HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

/// IPv4 packets of which fragments are on their way.
#[map]
pub static FRAGMENTS_V4: LruHashMap<FragmentKey<Ipv4>, Fragmented> =
    LruHashMap::with_max_entries(1, 0);

/// IPv6 packets of which fragments are on their way.
#[map]
pub static FRAGMENTS_V6: LruHashMap<FragmentKey<Ipv6>, Fragmented> =
    LruHashMap::with_max_entries(1, 0);

/// Fragments that wait for their packet's first one, in both families.
#[map]
pub static HELD: LruHashMap<HeldKey, Held> = LruHashMap::with_max_entries(Held::ALL, 0);

/// Room for one that is to be held.
#[map]
pub static HOLD: PerCpuArray<Held> = PerCpuArray::with_max_entries(1, 0);

/// IPv4 endpoints of sockets → the Service that the socket's process means.
#[map]
pub static SOCKETS_V4: LruHashMap<SocketKey<Ipv4>, Translated<Ipv4>> =
    LruHashMap::with_max_entries(1, 0);

/// IPv6 endpoints of sockets → the Service that the socket's process means.
#[map]
pub static SOCKETS_V6: LruHashMap<SocketKey<Ipv6>, Translated<Ipv6>> =
    LruHashMap::with_max_entries(1, 0);

/// IPv4 Services that UDP sockets talk to without being connected → backend.
#[map]
pub static TALKS_V4: LruHashMap<SocketKey<Ipv4>, Talk<Ipv4>> = LruHashMap::with_max_entries(1, 0);

/// IPv6 Services that UDP sockets talk to without being connected → backend.
#[map]
pub static TALKS_V6: LruHashMap<SocketKey<Ipv6>, Talk<Ipv6>> = LruHashMap::with_max_entries(1, 0);

/// Who was refused a node port: `RefusedBind`s.
#[map]
pub static BINDS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// Room for an IPv4 flow that is being begun.
#[map]
pub static DRAFT_V4: PerCpuArray<Draft<Ipv4>> = PerCpuArray::with_max_entries(1, 0);

/// Room for an IPv6 flow that is being begun.
#[map]
pub static DRAFT_V6: PerCpuArray<Draft<Ipv6>> = PerCpuArray::with_max_entries(1, 0);

/// When neighbours were last asked for, see [`Neighbour`].
#[map]
pub static NEIGHBOURS: Array<u64> = Array::with_max_entries(Neighbour::SLOTS, 0);

/// How many senders may still be answered, on each CPU.
#[map]
pub static ANSWERS: PerCpuArray<Bucket> = PerCpuArray::with_max_entries(1, 0);

/// What is told of single packets: [`Sample`]s.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// Room for what is to be told.
#[map]
pub static SAMPLE: PerCpuArray<Sample> = PerCpuArray::with_max_entries(1, 0);

/// The stages behind the first at TC, by their places.
#[map]
pub static STAGES: ProgramArray = ProgramArray::with_max_entries(Stage::PLACES, 0);

/// The same for bare devices.
#[map]
pub static STAGES_BARE: ProgramArray = ProgramArray::with_max_entries(Stage::PLACES, 0);

/// The same at XDP.
#[map]
pub static STAGES_XDP: ProgramArray = ProgramArray::with_max_entries(Stage::PLACES, 0);

/// Outcomes and events, see `lb_common::verdict`.
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTER_COUNT, 0);
