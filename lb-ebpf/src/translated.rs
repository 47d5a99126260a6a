//! The tables of translated sockets, over the maps.

use aya_ebpf::{bindings::BPF_ANY, maps::LruHashMap};
use lb_common::{
    addr::{Ipv4, Ipv6},
    socket::SocketTables,
    tables::{SocketKey, Talk, Translated},
};

use crate::{
    family::KernelFamily,
    maps::{SOCKETS_V4, SOCKETS_V6, TALKS_V4, TALKS_V6},
    tables::Kernel,
};

/// Which of these maps are a family's.
pub trait SocketFamily: KernelFamily {
    fn sockets() -> &'static LruHashMap<SocketKey<Self>, Translated<Self>>;
    fn talks() -> &'static LruHashMap<SocketKey<Self>, Talk<Self>>;
}

impl SocketFamily for Ipv4 {
    #[inline(always)]
    fn sockets() -> &'static LruHashMap<SocketKey<Self>, Translated<Self>> {
        &SOCKETS_V4
    }

    #[inline(always)]
    fn talks() -> &'static LruHashMap<SocketKey<Self>, Talk<Self>> {
        &TALKS_V4
    }
}

impl SocketFamily for Ipv6 {
    #[inline(always)]
    fn sockets() -> &'static LruHashMap<SocketKey<Self>, Translated<Self>> {
        &SOCKETS_V6
    }

    #[inline(always)]
    fn talks() -> &'static LruHashMap<SocketKey<Self>, Talk<Self>> {
        &TALKS_V6
    }
}

impl<A: SocketFamily> SocketTables<A> for Kernel {
    #[inline(always)]
    fn translated(&self, key: &SocketKey<A>) -> Option<Translated<A>> {
        // SAFETY: a pointer into the map's memory. If the entry is evicted just now, what is read is another
        // socket's, as it might be if the entry had gone a moment before.
        A::sockets().get_ptr(key).map(|translated| unsafe { *translated })
    }

    #[inline(always)]
    fn set_translated(&self, key: &SocketKey<A>, translated: &Translated<A>) {
        // The table evicts when it is full; should it take nothing, the process sees the endpoint.
        let _ = A::sockets().insert(key, translated, u64::from(BPF_ANY));
    }

    #[inline(always)]
    fn forget_translated(&self, key: &SocketKey<A>) {
        // To look is cheaper than to remove, and most sockets have none.
        if A::sockets().get_ptr(key).is_some() {
            let _ = A::sockets().remove(key);
        }
    }

    #[inline(always)]
    fn talk(&self, key: &SocketKey<A>) -> Option<Talk<A>> {
        // SAFETY: a pointer into the map's memory. Of an entry that is evicted just now the backend that is
        // read is one that its line knows, or none.
        A::talks().get_ptr(key).map(|talk| unsafe { *talk })
    }

    #[inline(always)]
    fn set_talk(&self, key: &SocketKey<A>, talk: &Talk<A>) {
        // Should the table take nothing, the next datagram chooses anew.
        let _ = A::talks().insert(key, talk, u64::from(BPF_ANY));
    }

    #[inline(always)]
    fn forget_talk(&self, key: &SocketKey<A>) {
        let _ = A::talks().remove(key);
    }
}
