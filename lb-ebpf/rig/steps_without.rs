//! Packets and tables that leave one step out. Which is a constant, so that the compiler leaves out too what only
//! that step needs.

use core::{cell::Cell, ptr::NonNull};

use aya_ebpf::{macros::map, maps::Array};
use lb_common::{
    addr::{Ipv4, Ipv6, Port},
    hash,
    packet::{L4Change, Packet},
    pipeline::{
        Claim, FamilyTables, FlowRef, Generation, Route, RouteQuery, ServiceTables, Tables,
    },
    tables::{
        AffinityKey, AffinityRule, BackendRef, Device, Draft, Egress, Endpoint, EndpointKey, Flow,
        FlowKey, FragmentKey, Fragmented, Frontend, FrontendKey, Held, HeldKey, Load, Remembered,
        Sample, Selection, SelectionKind, SnatPorts,
    },
    verdict::DropReason,
    wire::{Header, L4},
};

/// The steps' numbers.
pub struct Step;

impl Step {
    /// Nothing is left out.
    pub const NONE: u32 = 0;
    /// The counter of outcomes.
    pub const COUNTER: u32 = 1;
    /// The counters of the backend.
    pub const TRAFFIC: u32 = 2;
    /// Whether the backend is still there: it always has the generation that the flow found there.
    pub const BACKEND: u32 = 3;
    /// The key and its lookup: the flow is always [`LINE_V4`] or [`LINE_V6`].
    pub const LOOKUP: u32 = 4;
    /// Ports and checksum of the transport header.
    pub const L4: u32 = 5;
    /// All writing: the packet is dropped as one that can't be written.
    pub const REWRITE: u32 = 6;
    /// The sets of ports: every port but 0 is a service's.
    pub const PORTS: u32 = 7;
    /// The clock and the interval: a flow's age is never due.
    pub const AGE: u32 = 8;
    /// Everything after parsing: no packet is ours.
    pub const ALL_BUT_PARSING: u32 = 9;
}

/// The one IPv4 flow, where there is no lookup.
#[map]
static LINE_V4: Array<Flow<Ipv4>> = Array::with_max_entries(1, 0);

/// The one IPv6 flow, where there is no lookup.
#[map]
static LINE_V6: Array<Flow<Ipv6>> = Array::with_max_entries(1, 0);

/// A packet, or tables, without a step.
pub struct Without<T, const STEP: u32> {
    inner: T,
    /// The generation of the flow's backend.
    generation: Cell<u32>,
}

impl<T, const STEP: u32> Without<T, STEP> {
    /// Of the whole.
    #[inline(always)]
    pub const fn new(inner: T) -> Self {
        Self { inner, generation: Cell::new(0) }
    }
}

/// What is as it is without anything left out.
macro_rules! asks_inner {
    ($($name:ident: $value:ty;)*) => {
        $(#[inline(always)]
        fn $name(&self) -> $value {
            self.inner.$name()
        })*
    };
}

/// The same with arguments.
macro_rules! hands_on {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $value:ty;)*) => {
        $(#[inline(always)]
        fn $name(&self, $($argument: $kind),*) -> $value {
            self.inner.$name($($argument),*)
        })*
    };
}

impl<P: Packet, const STEP: u32> Packet for Without<P, STEP> {
    const COMPLETE: bool = P::COMPLETE;

    #[inline(always)]
    fn header<H: Header>(&self, offset: usize) -> Option<&H> {
        self.inner.header(offset)
    }

    #[inline(always)]
    fn header_mut<H: Header>(&mut self, offset: usize) -> Option<&mut H> {
        if STEP == Step::REWRITE { None } else { self.inner.header_mut(offset) }
    }

    asks_inner! {
        len: u32;
        segment_payload: u32;
        ifindex: u32;
        is_tagged: bool;
        is_own: bool;
        mtu: u32;
    }

    #[inline(always)]
    fn cut(&mut self, len: u32) -> bool {
        self.inner.cut(len)
    }

    #[inline(always)]
    fn grow(&mut self, bytes: u32) -> bool {
        self.inner.grow(bytes)
    }

    #[inline(always)]
    fn note_mtu(&self, mtu: u32) {
        self.inner.note_mtu(mtu);
    }

    #[inline(always)]
    fn change_l4(&mut self, offset: usize, l4: L4, change: L4Change) -> Result<(), DropReason> {
        if STEP == Step::L4 { Ok(()) } else { self.inner.change_l4(offset, l4, change) }
    }
}

impl<T: Tables, const STEP: u32> Tables for Without<T, STEP> {
    #[inline(always)]
    fn has_frontend_port(&self, port: Port) -> bool {
        match STEP {
            // No packet that is sent has port 0; the port is read all the same.
            Step::PORTS => port.to_wire() != 0,
            Step::ALL_BUT_PARSING => port.to_wire() == 0,
            _ => self.inner.has_frontend_port(port),
        }
    }

    #[inline(always)]
    fn has_backend_port(&self, port: Port) -> bool {
        match STEP {
            Step::ALL_BUT_PARSING => port.to_wire() == 0,
            _ => self.inner.has_backend_port(port),
        }
    }

    asks_inner! {
        reply_ports: SnatPorts;
        snat_ports: SnatPorts;
        epoch: u32;
        graduates_udp: bool;
        hash_key: hash::Key;
        room: Option<NonNull<Held>>;
    }

    #[inline(always)]
    fn hold(&self, key: &HeldKey, held: &Held) -> bool {
        self.inner.hold(key, held)
    }

    #[inline(always)]
    fn held(&self, key: &HeldKey) -> Option<NonNull<Held>> {
        self.inner.held(key)
    }

    #[inline(always)]
    fn release(&self, key: &HeldKey) -> bool {
        self.inner.release(key)
    }

    #[inline(always)]
    fn touch_interval(&self) -> u32 {
        if STEP == Step::AGE { u32::MAX } else { self.inner.touch_interval() }
    }

    #[inline(always)]
    fn neighbour(&self, slot: u32) -> u64 {
        self.inner.neighbour(slot)
    }

    #[inline(always)]
    fn set_neighbour(&self, slot: u32, word: u64) {
        self.inner.set_neighbour(slot, word);
    }

    #[inline(always)]
    fn may_answer(&self, now: u32, price: u32) -> bool {
        self.inner.may_answer(now, price)
    }

    #[inline(always)]
    fn hz(&self) -> u32 {
        self.inner.hz()
    }

    #[inline(always)]
    fn backend_generation(&self, id: u32) -> u32 {
        if STEP == Step::BACKEND {
            self.generation.get()
        } else {
            self.inner.backend_generation(id)
        }
    }

    #[inline(always)]
    fn device(&self, ifindex: u32) -> Option<Device> {
        self.inner.device(ifindex)
    }

    #[inline(always)]
    fn count(&self, counter: u32) {
        if STEP != Step::COUNTER {
            self.inner.count(counter);
        }
    }

    #[inline(always)]
    fn count_packet(&self, backend: u32, bytes: u32) {
        if STEP != Step::TRAFFIC {
            self.inner.count_packet(backend, bytes);
        }
    }

    #[inline(always)]
    fn count_flow(&self, backend: u32) {
        self.inner.count_flow(backend);
    }

    #[inline(always)]
    fn count_unanswered(&self, backend: u32) {
        self.inner.count_unanswered(backend);
    }

    #[inline(always)]
    fn tells(&self) -> bool {
        self.inner.tells()
    }

    #[inline(always)]
    fn sample(&self) -> Option<NonNull<Sample>> {
        self.inner.sample()
    }

    #[inline(always)]
    fn tell(&self, sample: &Sample) {
        self.inner.tell(sample);
    }
}

/// The array that stands for the flow table of a family.
pub trait Line: Sized + 'static {
    /// It.
    fn line() -> &'static Array<Flow<Self>>;
}

impl Line for Ipv4 {
    #[inline(always)]
    fn line() -> &'static Array<Flow<Self>> {
        &LINE_V4
    }
}

impl Line for Ipv6 {
    #[inline(always)]
    fn line() -> &'static Array<Flow<Self>> {
        &LINE_V6
    }
}

impl<A, T: ServiceTables<A>, const STEP: u32> ServiceTables<A> for Without<T, STEP> {
    #[inline(always)]
    fn frontend(&self, key: &FrontendKey<A>) -> Option<Frontend> {
        // Where every packet has a flow, none is begun; said so that the verifier needn't follow it.
        if STEP == Step::LOOKUP { None } else { self.inner.frontend(key) }
    }

    hands_on! {
        admits(service: u32, client: A) -> bool;
        service(service: u32, kind: SelectionKind) -> (Selection, AffinityRule);
        slot(index: u32) -> Option<BackendRef>;
        backend(backend: BackendRef) -> Option<(A, Port)>;
        load(backend: u32) -> Load;
        count_open(backend: u32, more: bool) -> ();
        turn(service: u32, kind: u32) -> u32;
        set_turn(service: u32, kind: u32, turn: u32) -> ();
        remembered(key: &AffinityKey<A>) -> Option<Remembered>;
        remember(key: &AffinityKey<A>, remembered: Remembered) -> ();
        endpoint(key: EndpointKey) -> Option<Endpoint>;
        owner(address: A) -> u32;
    }

    #[inline(always)]
    fn may_be_owned(&self, address: A) -> bool {
        STEP != Step::ALL_BUT_PARSING && self.inner.may_be_owned(address)
    }

    #[inline(always)]
    fn is_in_service_range(&self, address: A) -> bool {
        STEP != Step::ALL_BUT_PARSING && self.inner.is_in_service_range(address)
    }
}

impl<A: Line + lb_common::addr::Address, T: FamilyTables<A>, const STEP: u32> FamilyTables<A>
    for Without<T, STEP>
{
    #[inline(always)]
    fn find(&self, key: &FlowKey<A>) -> Option<FlowRef<A>> {
        self.inner.find(key)
    }

    #[inline(always)]
    fn find_established(&self, key: &FlowKey<A>) -> Option<FlowRef<A>> {
        if STEP == Step::BACKEND {
            let flow = self.inner.find_established(key)?;
            self.generation.set(flow.backend().generation);
            return Some(flow);
        }
        if STEP != Step::LOOKUP {
            return self.inner.find_established(key);
        }
        let flow = A::line().get_ptr_mut(0)?;
        // SAFETY: an array's memory stays as long as the program runs.
        Some(unsafe { FlowRef::new(flow, Generation::Established) })
    }

    #[inline(always)]
    fn fragmented(&self, key: &FragmentKey<A>) -> Option<Fragmented> {
        self.inner.fragmented(key)
    }

    #[inline(always)]
    fn set_fragmented(&self, key: &FragmentKey<A>, first: &Fragmented) {
        self.inner.set_fragmented(key, first);
    }

    #[inline(always)]
    fn claim_fragmented(&self, key: &FragmentKey<A>, first: &Fragmented) -> bool {
        self.inner.claim_fragmented(key, first)
    }

    #[inline(always)]
    fn has_socket(&self, key: &FlowKey<A>) -> bool {
        self.inner.has_socket(key)
    }

    #[inline(always)]
    fn draft(&self) -> Option<NonNull<Draft<A>>> {
        self.inner.draft()
    }

    #[inline(always)]
    fn claim(&self, key: &FlowKey<A>, flow: &Flow<A>) -> Claim {
        self.inner.claim(key, flow)
    }

    #[inline(always)]
    fn establish(&self, key: &FlowKey<A>, flow: FlowRef<A>) -> bool {
        self.inner.establish(key, flow)
    }

    #[inline(always)]
    fn remove_new(&self, key: &FlowKey<A>) {
        self.inner.remove_new(key);
    }

    #[inline(always)]
    fn remove(&self, key: &FlowKey<A>) {
        self.inner.remove(key);
    }

    #[inline(always)]
    fn route(&self, query: &RouteQuery<A>, egress: &mut Egress) -> Route {
        self.inner.route(query, egress)
    }
}
