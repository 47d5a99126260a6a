//! The pipeline's tables, over the maps.

use core::{ffi::c_void, ptr::NonNull};

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    maps::Array,
};
use lb_common::{
    addr::Port,
    hash,
    pipeline::{Claim, FamilyTables, FlowRef, Generation, Route, RouteQuery, Tables},
    tables::{
        Device, Draft, Egress, Flow, FlowKey, FragmentKey, Fragmented, Held, HeldKey, PortSet,
        Sample, SnatPorts,
    },
};

use crate::{
    counted,
    family::KernelFamily,
    fib,
    maps::{
        ANSWERS, BACKEND_PORTS, BACKENDS, CONFIG, DEVICES, FRONTEND_PORTS, HELD, HOLD, NEIGHBOURS,
    },
    sockets,
};

const EEXIST: i32 = -17;

/// The maps, and the context that the kernel's routing table is asked with.
pub struct Kernel {
    ctx: *mut c_void,
}

impl Kernel {
    /// The tables as seen from a program with this context.
    #[inline(always)]
    pub fn at(ctx: *mut c_void) -> Self {
        Self { ctx }
    }
}

/// One field of the configuration: read by itself, because the control program writes it by itself.
macro_rules! config {
    ($field:ident) => {
        match CONFIG.get_ptr(0) {
            // SAFETY: a pointer into the map's memory; a read of this field only.
            Some(config) => unsafe { core::ptr::read_volatile(&raw const (*config).$field) },
            None => Default::default(),
        }
    };
}

pub(crate) use config;

#[inline(always)]
fn has_port(ports: &Array<u64>, port: Port) -> bool {
    let (word, bit) = PortSet::position(port);
    ports.get(word).is_some_and(|bits| bits & bit != 0)
}

impl Tables for Kernel {
    #[inline(always)]
    fn has_frontend_port(&self, port: Port) -> bool {
        has_port(&FRONTEND_PORTS, port)
    }

    #[inline(always)]
    fn has_backend_port(&self, port: Port) -> bool {
        has_port(&BACKEND_PORTS, port)
    }

    #[inline(always)]
    fn snat_ports(&self) -> SnatPorts {
        config!(snat_ports)
    }

    #[inline(always)]
    fn reply_ports(&self) -> SnatPorts {
        config!(reply_ports)
    }

    #[inline(always)]
    fn epoch(&self) -> u32 {
        config!(epoch)
    }

    #[inline(always)]
    fn graduates_udp(&self) -> bool {
        config!(graduate_udp) != 0
    }

    #[inline(always)]
    fn hash_key(&self) -> hash::Key {
        config!(hash_key)
    }

    #[inline(always)]
    fn touch_interval(&self) -> u32 {
        config!(touch_interval)
    }

    #[inline(always)]
    fn hz(&self) -> u32 {
        config!(hz)
    }

    #[inline(always)]
    fn backend_generation(&self, id: u32) -> u32 {
        // SAFETY: a pointer into the map's memory; a 4-byte read.
        BACKENDS.get_ptr(id).map_or(0, |backend| unsafe {
            core::ptr::read_volatile(&raw const (*backend).generation)
        })
    }

    #[inline(always)]
    fn device(&self, ifindex: u32) -> Option<Device> {
        // SAFETY: a pointer into the map's memory; interfaces change rarely, and what was read half
        // from before a change is read again when the epoch moves.
        DEVICES.get_ptr(ifindex).map(|device| unsafe { *device })
    }

    #[inline(always)]
    fn neighbour(&self, slot: u32) -> u64 {
        // SAFETY: a pointer into the map's memory; an 8-byte read.
        NEIGHBOURS.get_ptr(slot).map_or(0, |word| unsafe { core::ptr::read_volatile(word) })
    }

    #[inline(always)]
    fn set_neighbour(&self, slot: u32, word: u64) {
        if let Some(at) = NEIGHBOURS.get_ptr_mut(slot) {
            // SAFETY: a pointer into the map's memory; an 8-byte store.
            unsafe { core::ptr::write_volatile(at, word) }
        }
    }

    #[inline(always)]
    fn may_answer(&self, now: u32, price: u32) -> bool {
        let (second, size) = (config!(touch_interval), config!(answers));
        ANSWERS.get_ptr_mut(0).is_some_and(|bucket| {
            // SAFETY: this CPU's own.
            unsafe { (*bucket).take(now, second, size, price) }
        })
    }

    #[inline(always)]
    fn count(&self, counter: u32) {
        counted::count(counter);
    }

    #[inline(always)]
    fn count_packet(&self, backend: u32, bytes: u32) {
        counted::packet(backend, bytes);
    }

    #[inline(always)]
    fn count_flow(&self, backend: u32) {
        counted::flow(backend);
    }

    #[inline(always)]
    fn count_unanswered(&self, backend: u32) {
        counted::unanswered(backend);
    }

    #[inline(always)]
    fn room(&self) -> Option<NonNull<Held>> {
        HOLD.get_ptr_mut(0).and_then(NonNull::new)
    }

    #[inline(always)]
    fn hold(&self, key: &HeldKey, held: &Held) -> bool {
        HELD.insert(key, held, u64::from(BPF_NOEXIST)).is_ok()
    }

    #[inline(always)]
    fn held(&self, key: &HeldKey) -> Option<NonNull<Held>> {
        HELD.get_ptr_mut(key).and_then(NonNull::new)
    }

    #[inline(always)]
    fn release(&self, key: &HeldKey) -> bool {
        HELD.remove(key).is_ok()
    }

    #[inline(always)]
    fn tells(&self) -> bool {
        counted::tells(config!(sample_events))
    }

    #[inline(always)]
    fn sample(&self) -> Option<NonNull<Sample>> {
        counted::room()
    }

    #[inline(always)]
    fn tell(&self, sample: &Sample) {
        counted::tell(sample);
    }
}

impl<A: KernelFamily> FamilyTables<A> for Kernel {
    #[inline(always)]
    fn find(&self, key: &FlowKey<A>) -> Option<FlowRef<A>> {
        if let Some(flow) = self.find_established(key) {
            return Some(flow);
        }
        let flow = A::new_flows().get_ptr_mut(key)?;
        // SAFETY: the memory stays; that the entry may be given to another flow meanwhile, if it
        // is the very one to be evicted now, is what the second generation is there for.
        Some(unsafe { FlowRef::new(flow, Generation::New) })
    }

    #[inline(always)]
    fn find_established(&self, key: &FlowKey<A>) -> Option<FlowRef<A>> {
        let flow = A::flows().get_ptr_mut(key)?;
        // SAFETY: an entry of a map that isn't preallocated stays until the program ends.
        Some(unsafe { FlowRef::new(flow, Generation::Established) })
    }

    #[inline(always)]
    fn fragmented(&self, key: &FragmentKey<A>) -> Option<Fragmented> {
        // SAFETY: a pointer into the map's memory, which stays; should the entry be another packet's a
        // moment later, this fragment goes astray, as it would have without an entry.
        A::fragments().get_ptr(key).map(|first| unsafe { *first })
    }

    #[inline(always)]
    fn set_fragmented(&self, key: &FragmentKey<A>, first: &Fragmented) {
        // Without an entry the others are left alone: what is to happen when there is no room.
        let _ = A::fragments().insert(key, first, u64::from(BPF_ANY));
    }

    #[inline(always)]
    fn claim_fragmented(&self, key: &FragmentKey<A>, first: &Fragmented) -> bool {
        A::fragments().insert(key, first, u64::from(BPF_NOEXIST)).is_ok()
    }

    #[inline(always)]
    fn draft(&self) -> Option<NonNull<Draft<A>>> {
        A::drafts().get_ptr_mut(0).and_then(NonNull::new)
    }

    /// The second generation is asked after the first has taken the entry: a flow that graduates
    /// is in the second before it leaves the first, so that one of the two always shows it.
    #[inline(always)]
    fn claim(&self, key: &FlowKey<A>, flow: &Flow<A>) -> Claim {
        match A::new_flows().insert(key, flow, u64::from(BPF_NOEXIST)) {
            Ok(()) => {}
            Err(EEXIST) => return Claim::Taken,
            Err(_) => return Claim::Full,
        }
        if A::flows().get_ptr(key).is_some() {
            self.remove_new(key);
            return Claim::Taken;
        }
        Claim::Claimed
    }

    #[inline(always)]
    #[expect(clippy::needless_borrows_for_generic_args, reason = "by value it would be copied")]
    fn establish(&self, key: &FlowKey<A>, flow: FlowRef<A>) -> bool {
        // SAFETY: the handle points to a whole entry, which the kernel copies.
        A::flows().insert(key, unsafe { &*flow.as_ptr() }, u64::from(BPF_ANY)).is_ok()
    }

    #[inline(always)]
    fn remove_new(&self, key: &FlowKey<A>) {
        // That there is none is what is wanted.
        let _ = A::new_flows().remove(key);
    }

    #[inline(always)]
    fn remove(&self, key: &FlowKey<A>) {
        self.remove_new(key);
        let _ = A::flows().remove(key);
    }

    #[inline(always)]
    fn has_socket(&self, key: &FlowKey<A>) -> bool {
        sockets::has_socket(self.ctx, key)
    }

    #[inline(always)]
    fn route(&self, query: &RouteQuery<A>, egress: &mut Egress) -> Route {
        fib::lookup(self.ctx, query, egress)
    }
}
