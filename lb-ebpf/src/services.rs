//! The tables of Services, over the maps.

use core::mem::size_of;

use aya_ebpf::{bindings::BPF_ANY, maps::lpm_trie};
use lb_common::{
    addr::Port,
    packet::Settled,
    pipeline::ServiceTables,
    tables::{
        AddressSet, AffinityKey, AffinityRule, BackendRef, Endpoint, EndpointKey, Frontend,
        FrontendKey, Load, Remembered, Selection, SelectionKind, SourceRangeKey, Turns,
    },
};

use crate::{
    family::KernelFamily,
    maps::{ADDRESS_BITS, BACKENDS, ENDPOINTS, LOADS, RangeData, SERVICES, SLOTS, TURNS},
    tables::Kernel,
};

impl<A: KernelFamily> ServiceTables<A> for Kernel {
    #[inline(always)]
    fn frontend(&self, key: &FrontendKey<A>) -> Option<Frontend> {
        // SAFETY: a pointer into the map's memory, which isn't written: an update replaces the entry.
        A::frontends().get_ptr(key).map(|frontend| unsafe { *frontend })
    }

    #[inline(always)]
    fn admits(&self, service: u32, client: A) -> bool {
        const { assert!(size_of::<SourceRangeKey<A>>() == 4 + size_of::<RangeData<A>>()) };
        let key = SourceRangeKey::client(service, client);
        // SAFETY: both are the length, the service and the address, one after the other; aya's type has
        // alignment 1.
        let key = unsafe { &*(&raw const key).cast::<lpm_trie::Key<RangeData<A>>>() };
        A::source_ranges().get(key).is_some()
    }

    #[inline(always)]
    fn service(&self, service: u32, kind: SelectionKind) -> (Selection, AffinityRule) {
        let Some(service) = SERVICES.get_ptr(service) else {
            return (Selection::EMPTY, AffinityRule { group: 0, seconds: 0 });
        };
        // SAFETY: a pointer into the map's memory; the control program stores each selection with
        // one 8-byte store, and a service's group doesn't change.
        unsafe {
            let selection = match kind {
                SelectionKind::All => core::ptr::read_volatile(&raw const (*service).all),
                SelectionKind::Internal => core::ptr::read_volatile(&raw const (*service).internal),
                SelectionKind::External => core::ptr::read_volatile(&raw const (*service).external),
            };
            let affinity = AffinityRule {
                group: core::ptr::read_volatile(&raw const (*service).affinity.group),
                seconds: core::ptr::read_volatile(&raw const (*service).affinity.seconds),
            };
            (selection, affinity)
        }
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<BackendRef> {
        // SAFETY: a pointer into the map's memory.
        SLOTS.get_ptr(index).map(|slot| unsafe { *slot })
    }

    #[inline(always)]
    fn backend(&self, backend: BackendRef) -> Option<(A, Port)> {
        let line = BACKENDS.get_ptr(backend.id)?;
        // SAFETY: a pointer into the map's memory. The generation is read first: while it is the
        // one meant, the rest of the line doesn't change.
        unsafe {
            if core::ptr::read_volatile(&raw const (*line).generation) != backend.generation {
                return None;
            }
            Some((A::of_backend((*line).address), (*line).port))
        }
    }

    #[inline(always)]
    fn load(&self, backend: u32) -> Load {
        match LOADS.get_ptr(backend) {
            // SAFETY: a pointer into the map's memory; two 4-byte reads.
            Some(load) => unsafe {
                Load {
                    open: core::ptr::read_volatile(&raw const (*load).open),
                    share: core::ptr::read_volatile(&raw const (*load).share),
                }
            },
            None => Load { open: 0, share: 0 },
        }
    }

    /// Without an atomic operation: two CPUs may count one change for two, which the collection of
    /// flows puts right.
    #[inline(always)]
    fn count_open(&self, backend: u32, more: bool) {
        if let Some(load) = LOADS.get_ptr_mut(backend) {
            // SAFETY: a pointer into the map's memory; a 4-byte read and a 4-byte store.
            unsafe {
                let open = core::ptr::read_volatile(&raw const (*load).open);
                let open = if more { open + 1 } else { open.saturating_sub(1) };
                core::ptr::write_volatile(&raw mut (*load).open, open);
            }
        }
    }

    #[inline(always)]
    fn turn(&self, service: u32, kind: u32) -> u32 {
        // SAFETY: within the value; a 4-byte read.
        turn(service, kind).map_or(0, |turn| unsafe { core::ptr::read_volatile(turn) })
    }

    /// Two CPUs may give one turn twice; none is left out.
    #[inline(always)]
    fn set_turn(&self, service: u32, kind: u32, next: u32) {
        if let Some(turn) = turn(service, kind) {
            // SAFETY: within the value; a 4-byte store.
            unsafe { core::ptr::write_volatile(turn, next) }
        }
    }

    #[inline(always)]
    fn settle(&self, words: Settled) -> Settled {
        match A::drafts().get_ptr_mut(0) {
            // SAFETY: this CPU's own, and nothing else refers to it: a flow is begun after the choice.
            Some(draft) => unsafe { (*draft).settle(words) },
            None => words,
        }
    }

    #[inline(always)]
    fn remembered(&self, key: &AffinityKey<A>) -> Option<Remembered> {
        // SAFETY: a pointer into the map's memory. If the entry is evicted just now, what is read is
        // another client's, and as good as a choice as any.
        A::clients().get_ptr(key).map(|remembered| unsafe { *remembered })
    }

    #[inline(always)]
    fn remember(&self, key: &AffinityKey<A>, remembered: Remembered) {
        if let Some(known) = A::clients().get_ptr_mut(key) {
            // SAFETY: a pointer into the map's memory; a 4-byte store.
            unsafe {
                if (*known).endpoint == remembered.endpoint {
                    (*known).last_seen = remembered.last_seen;
                    return;
                }
            }
        }
        // The table evicts when it is full; should it take nothing, the client is not remembered.
        let _ = A::clients().insert(key, remembered, u64::from(BPF_ANY));
    }

    #[inline(always)]
    fn endpoint(&self, key: EndpointKey) -> Option<Endpoint> {
        // SAFETY: a pointer into the map's memory, which isn't written: an update replaces the entry.
        ENDPOINTS.get_ptr(key).map(|endpoint| unsafe { *endpoint })
    }

    #[inline(always)]
    fn may_be_owned(&self, address: A) -> bool {
        let (word, bit) = AddressSet::position(address);
        ADDRESS_BITS.get(word).is_some_and(|bits| bits & bit != 0)
    }

    #[inline(always)]
    fn is_in_service_range(&self, address: A) -> bool {
        A::service_range().contains(address)
    }

    #[inline(always)]
    fn owner(&self, address: A) -> u32 {
        // SAFETY: a pointer into the map's memory; a 4-byte read.
        A::owners().get_ptr(address).map_or(0, |owner| unsafe { *owner })
    }
}

/// The number of a service's selection among the turns.
#[inline(always)]
fn turn(service: u32, kind: u32) -> Option<*mut u32> {
    let turns = TURNS.get_ptr_mut(service)?.cast::<u32>();
    // SAFETY: the position is always within the value.
    Some(unsafe { turns.add(Turns::position(kind)) })
}
