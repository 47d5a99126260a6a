//! Which maps are a family's.

use aya_ebpf::maps::{HashMap, LpmTrie, LruHashMap, PerCpuArray};
use lb_common::{
    addr::{Ipv4, Ipv6},
    tables::{
        AddressRange, AffinityKey, Draft, Flow, FlowKey, FragmentKey, Fragmented, Frontend,
        FrontendKey, Remembered,
    },
};

use crate::{
    fib,
    maps::{
        ADDRESSES_V4, ADDRESSES_V6, AFFINITY_V4, AFFINITY_V6, CONFIG, DRAFT_V4, DRAFT_V6, FLOWS_V4,
        FLOWS_V6, FRAGMENTS_V4, FRAGMENTS_V6, FRONTENDS_V4, FRONTENDS_V6, NEW_FLOWS_V4,
        NEW_FLOWS_V6, RangeData, SOURCE_RANGES_V4, SOURCE_RANGES_V6,
    },
    tables::config,
};

/// The maps of one family.
pub trait KernelFamily: fib::FibFamily + lb_common::pipeline::Family + Default + 'static {
    fn frontends() -> &'static HashMap<FrontendKey<Self>, Frontend>;
    fn owners() -> &'static HashMap<Self, u32>;
    fn source_ranges() -> &'static LpmTrie<RangeData<Self>, u32>;
    fn clients() -> &'static LruHashMap<AffinityKey<Self>, Remembered>;
    fn service_range() -> AddressRange<Self>;
    fn new_flows() -> &'static LruHashMap<FlowKey<Self>, Flow<Self>>;
    fn flows() -> &'static HashMap<FlowKey<Self>, Flow<Self>>;
    fn fragments() -> &'static LruHashMap<FragmentKey<Self>, Fragmented>;
    fn drafts() -> &'static PerCpuArray<Draft<Self>>;
    fn of_backend(address: Ipv6) -> Self;
}

impl KernelFamily for Ipv4 {
    #[inline(always)]
    fn frontends() -> &'static HashMap<FrontendKey<Self>, Frontend> {
        &FRONTENDS_V4
    }

    #[inline(always)]
    fn owners() -> &'static HashMap<Self, u32> {
        &ADDRESSES_V4
    }

    #[inline(always)]
    fn source_ranges() -> &'static LpmTrie<RangeData<Self>, u32> {
        &SOURCE_RANGES_V4
    }

    #[inline(always)]
    fn clients() -> &'static LruHashMap<AffinityKey<Self>, Remembered> {
        &AFFINITY_V4
    }

    #[inline(always)]
    fn service_range() -> AddressRange<Self> {
        config!(service_range_v4)
    }

    #[inline(always)]
    fn new_flows() -> &'static LruHashMap<FlowKey<Self>, Flow<Self>> {
        &NEW_FLOWS_V4
    }

    #[inline(always)]
    fn flows() -> &'static HashMap<FlowKey<Self>, Flow<Self>> {
        &FLOWS_V4
    }

    #[inline(always)]
    fn fragments() -> &'static LruHashMap<FragmentKey<Self>, Fragmented> {
        &FRAGMENTS_V4
    }

    #[inline(always)]
    fn drafts() -> &'static PerCpuArray<Draft<Self>> {
        &DRAFT_V4
    }

    #[inline(always)]
    fn of_backend(address: Ipv6) -> Self {
        address.unmapped()
    }
}

impl KernelFamily for Ipv6 {
    #[inline(always)]
    fn frontends() -> &'static HashMap<FrontendKey<Self>, Frontend> {
        &FRONTENDS_V6
    }

    #[inline(always)]
    fn owners() -> &'static HashMap<Self, u32> {
        &ADDRESSES_V6
    }

    #[inline(always)]
    fn source_ranges() -> &'static LpmTrie<RangeData<Self>, u32> {
        &SOURCE_RANGES_V6
    }

    #[inline(always)]
    fn clients() -> &'static LruHashMap<AffinityKey<Self>, Remembered> {
        &AFFINITY_V6
    }

    #[inline(always)]
    fn service_range() -> AddressRange<Self> {
        config!(service_range_v6)
    }

    #[inline(always)]
    fn new_flows() -> &'static LruHashMap<FlowKey<Self>, Flow<Self>> {
        &NEW_FLOWS_V6
    }

    #[inline(always)]
    fn flows() -> &'static HashMap<FlowKey<Self>, Flow<Self>> {
        &FLOWS_V6
    }

    #[inline(always)]
    fn fragments() -> &'static LruHashMap<FragmentKey<Self>, Fragmented> {
        &FRAGMENTS_V6
    }

    #[inline(always)]
    fn drafts() -> &'static PerCpuArray<Draft<Self>> {
        &DRAFT_V6
    }

    #[inline(always)]
    fn of_backend(address: Ipv6) -> Self {
        address
    }
}
