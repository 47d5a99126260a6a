//! The tables in maps of the standard kind.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::{
    cell::{Cell, RefCell, UnsafeCell},
    ptr::NonNull,
};

extern crate alloc;

use super::HostFamily;
use crate::{
    addr::{Ipv4, Ipv6, Port},
    hash,
    pipeline::{Bucket, Claim, FamilyTables, FlowRef, Generation, Route, RouteQuery, Tables},
    tables::{
        AffinityKey, Backend, BackendRef, Config, Device, Draft, Egress, Endpoint, EndpointKey,
        Flow, FlowKey, FragmentKey, Fragmented, Frontend, FrontendKey, Held, HeldKey, Load,
        Remembered, Sample, Service, SnatPorts, SocketKey, SourceRangeKey, Talk, Traffic,
        Translated,
    },
};

type Entries<A> = RefCell<BTreeMap<FlowKey<A>, Box<UnsafeCell<Flow<A>>>>>;

/// What the routing table says for a destination; whatever isn't here has no route.
pub type Routes<A> = BTreeMap<A, (Route, Egress)>;

/// One family's tables.
#[derive(Default)]
pub struct FamilyState<A> {
    /// Frontends and where they lead.
    pub frontends: BTreeMap<FrontendKey<A>, Frontend>,
    /// Whose addresses are: numbers of [`AddressOwner`](crate::tables::AddressOwner)s.
    pub owners: BTreeMap<A, u32>,
    /// The source ranges of guarded services.
    pub source_ranges: Vec<SourceRangeKey<A>>,
    /// Clients of services with affinity.
    pub affinity: RefCell<BTreeMap<AffinityKey<A>, Remembered>>,
    /// The kernel's routing table, by destination.
    pub routes: Routes<A>,
    /// Sockets of this node: protocol, address, port.
    pub sockets: BTreeSet<(u8, A, Port)>,
    /// Sockets that were translated.
    pub translated: RefCell<BTreeMap<SocketKey<A>, Translated<A>>>,
    /// What sockets that aren't connected talk to.
    pub talks: RefCell<BTreeMap<SocketKey<A>, Talk<A>>>,
    draft: Option<Box<UnsafeCell<Draft<A>>>>,
    fragments: RefCell<BTreeMap<FragmentKey<A>, Fragmented>>,
    new: Entries<A>,
    established: Entries<A>,
}

/// All tables; public fields are what the control program would write.
#[derive(Default)]
pub struct HostTables {
    /// IPv4.
    pub v4: FamilyState<Ipv4>,
    /// IPv6.
    pub v6: FamilyState<Ipv6>,
    /// Services by number.
    pub services: BTreeMap<u32, Service>,
    /// Backends by id.
    pub backends: BTreeMap<u32, Backend>,
    /// Slots of the selection tables.
    pub slots: BTreeMap<u32, BackendRef>,
    /// The endpoints of services with affinity.
    pub endpoints: BTreeMap<EndpointKey, Endpoint>,
    /// Interfaces by index.
    pub devices: BTreeMap<u32, Device>,
    /// The configuration.
    pub config: Config,
    /// How many entries the generation that evicts nothing takes, in each family.
    pub established_limit: usize,
    /// How many entries the first generation takes, in each family.
    pub new_limit: usize,
    neighbours: RefCell<BTreeMap<u32, u64>>,
    bucket: Cell<Bucket>,
    counters: RefCell<BTreeMap<u32, u64>>,
    traffic: RefCell<BTreeMap<u32, Traffic>>,
    told: RefCell<Vec<Sample>>,
    sample: Option<Box<UnsafeCell<Sample>>>,
    room: Option<Box<UnsafeCell<Held>>>,
    held: RefCell<BTreeMap<HeldKey, Box<UnsafeCell<Held>>>>,
    lookups: Cell<u32>,
    pub(super) loads: RefCell<BTreeMap<u32, Load>>,
    pub(super) turns: RefCell<BTreeMap<(u32, u32), u32>>,
}

impl HostTables {
    /// Empty tables with room.
    pub fn new() -> Self {
        Self {
            established_limit: 1 << 16,
            new_limit: 1 << 16,
            config: Config {
                epoch: 1,
                touch_interval: 250,
                hz: 250,
                answers: Bucket::SIZE,
                ..Config::default()
            },
            sample: Some(Box::default()),
            room: Some(Box::new(UnsafeCell::new(bytemuck::Zeroable::zeroed()))),
            v4: FamilyState::new(),
            v6: FamilyState::new(),
            ..Self::default()
        }
    }

    /// A counter.
    pub fn counter(&self, index: u32) -> u64 {
        self.counters.borrow().get(&index).copied().unwrap_or(0)
    }

    /// All counters that aren't 0.
    pub fn counters(&self) -> BTreeMap<u32, u64> {
        self.counters.borrow().clone()
    }

    /// What was counted for a backend.
    pub fn backend_traffic(&self, id: u32) -> Traffic {
        self.traffic.borrow().get(&id).copied().unwrap_or_default()
    }

    /// What was told of packets, in this order; takes it away.
    pub fn take_told(&self) -> Vec<Sample> {
        self.told.take()
    }

    /// How many hash lookups there were, each generation of the flow table by itself.
    pub fn lookups(&self) -> u32 {
        self.lookups.get()
    }

    pub(super) fn looked_up(&self) {
        self.lookups.set(self.lookups.get() + 1);
    }
}

impl<A: HostFamily> FamilyState<A>
where
    Draft<A>: bytemuck::Zeroable,
    Self: Default,
{
    fn new() -> Self {
        Self {
            draft: Some(Box::new(UnsafeCell::new(bytemuck::Zeroable::zeroed()))),
            ..Self::default()
        }
    }
}

impl<A: HostFamily> FamilyState<A> {
    fn handle(entries: &Entries<A>, key: &FlowKey<A>, in_: Generation) -> Option<FlowRef<A>> {
        let entry = entries.borrow().get(key).map(|entry| entry.get())?;
        // SAFETY: the box stays where it is until the entry is removed, which the pipeline does
        // only after it is through with the handle.
        Some(unsafe { FlowRef::new(entry, in_) })
    }

    /// The flow with this key and its generation.
    pub fn flow(&self, key: &FlowKey<A>) -> Option<(Generation, Flow<A>)> {
        [(Generation::Established, &self.established), (Generation::New, &self.new)]
            .into_iter()
            .find_map(|(generation, entries)| {
                let handle = Self::handle(entries, key, generation)?;
                // SAFETY: nothing else runs while the entry is copied.
                Some((generation, unsafe { *handle.as_ptr() }))
            })
    }

    /// All flows, the new ones first.
    pub fn flows(&self) -> Vec<(FlowKey<A>, Generation, Flow<A>)> {
        let keys = |entries: &Entries<A>| entries.borrow().keys().copied().collect::<Vec<_>>();
        let mut all = keys(&self.new);
        all.extend(keys(&self.established));
        all.into_iter()
            .filter_map(|key| self.flow(&key).map(|(generation, flow)| (key, generation, flow)))
            .collect()
    }
}

impl<A: HostFamily> FamilyTables<A> for HostTables {
    fn find(&self, key: &FlowKey<A>) -> Option<FlowRef<A>> {
        let state = A::state(self);
        self.looked_up();
        FamilyState::handle(&state.established, key, Generation::Established).or_else(|| {
            self.looked_up();
            FamilyState::handle(&state.new, key, Generation::New)
        })
    }

    fn find_established(&self, key: &FlowKey<A>) -> Option<FlowRef<A>> {
        self.looked_up();
        FamilyState::handle(&A::state(self).established, key, Generation::Established)
    }

    fn fragmented(&self, key: &FragmentKey<A>) -> Option<Fragmented> {
        self.looked_up();
        A::state(self).fragments.borrow().get(key).copied()
    }

    fn set_fragmented(&self, key: &FragmentKey<A>, first: &Fragmented) {
        A::state(self).fragments.borrow_mut().insert(*key, *first);
    }

    fn claim_fragmented(&self, key: &FragmentKey<A>, first: &Fragmented) -> bool {
        let mut fragments = A::state(self).fragments.borrow_mut();
        let is_free = !fragments.contains_key(key);
        fragments.entry(*key).or_insert(*first);
        is_free
    }

    fn draft(&self) -> Option<NonNull<Draft<A>>> {
        A::state(self).draft.as_ref().and_then(|draft| NonNull::new(draft.get()))
    }

    fn claim(&self, key: &FlowKey<A>, flow: &Flow<A>) -> Claim {
        let state = A::state(self);
        if FamilyTables::<A>::find(self, key).is_some() {
            return Claim::Taken;
        }
        if state.new.borrow().len() >= self.new_limit {
            return Claim::Full;
        }
        state.new.borrow_mut().insert(*key, Box::new(UnsafeCell::new(*flow)));
        Claim::Claimed
    }

    fn establish(&self, key: &FlowKey<A>, flow: FlowRef<A>) -> bool {
        let state = A::state(self);
        if state.established.borrow().len() >= self.established_limit {
            return false;
        }
        // SAFETY: the handle is valid, and nothing else runs while the entry is copied.
        let copy = unsafe { *flow.as_ptr() };
        state.established.borrow_mut().insert(*key, Box::new(UnsafeCell::new(copy)));
        true
    }

    fn remove_new(&self, key: &FlowKey<A>) {
        A::state(self).new.borrow_mut().remove(key);
    }

    fn remove(&self, key: &FlowKey<A>) {
        self.remove_new(key);
        A::state(self).established.borrow_mut().remove(key);
    }

    fn has_socket(&self, key: &FlowKey<A>) -> bool {
        let socket = (key.protocol, key.destination, key.destination_port);
        A::state(self).sockets.contains(&socket)
    }

    fn route(&self, query: &RouteQuery<A>, egress: &mut Egress) -> Route {
        match A::state(self).routes.get(&query.destination) {
            Some((route, found)) => {
                // Exactly what the kernel's answer sets.
                egress.ifindex = found.ifindex;
                if *route == Route::Via {
                    egress.macs = found.macs;
                    egress.flags = found.flags;
                }
                *route
            }
            None => Route::None,
        }
    }
}

impl Tables for HostTables {
    fn has_frontend_port(&self, port: Port) -> bool {
        self.v4.frontends.keys().any(|key| key.port == port)
            || self.v6.frontends.keys().any(|key| key.port == port)
    }

    fn has_backend_port(&self, port: Port) -> bool {
        self.backends.values().any(|backend| backend.generation != 0 && backend.port == port)
    }

    fn snat_ports(&self) -> SnatPorts {
        self.config.snat_ports
    }

    fn reply_ports(&self) -> SnatPorts {
        self.config.reply_ports
    }

    fn epoch(&self) -> u32 {
        self.config.epoch
    }

    fn graduates_udp(&self) -> bool {
        self.config.graduate_udp != 0
    }

    fn hash_key(&self) -> hash::Key {
        self.config.hash_key
    }

    fn touch_interval(&self) -> u32 {
        self.config.touch_interval
    }

    fn hz(&self) -> u32 {
        self.config.hz
    }

    fn backend_generation(&self, id: u32) -> u32 {
        self.backends.get(&id).map_or(0, |backend| backend.generation)
    }

    fn device(&self, ifindex: u32) -> Option<Device> {
        self.devices.get(&ifindex).copied()
    }

    fn neighbour(&self, slot: u32) -> u64 {
        self.neighbours.borrow().get(&slot).copied().unwrap_or(0)
    }

    fn set_neighbour(&self, slot: u32, word: u64) {
        self.neighbours.borrow_mut().insert(slot, word);
    }

    fn may_answer(&self, now: u32, price: u32) -> bool {
        let mut bucket = self.bucket.get();
        let may = bucket.take(now, self.config.touch_interval, self.config.answers, price);
        self.bucket.set(bucket);
        may
    }

    fn count(&self, counter: u32) {
        *self.counters.borrow_mut().entry(counter).or_default() += 1;
    }

    fn count_packet(&self, backend: u32, bytes: u32) {
        let mut all = self.traffic.borrow_mut();
        let traffic = all.entry(backend).or_default();
        traffic.packets += 1;
        traffic.bytes += u64::from(bytes);
    }

    fn count_flow(&self, backend: u32) {
        self.traffic.borrow_mut().entry(backend).or_default().flows += 1;
    }

    fn count_unanswered(&self, backend: u32) {
        self.traffic.borrow_mut().entry(backend).or_default().unanswered += 1;
    }

    fn room(&self) -> Option<NonNull<Held>> {
        self.room.as_ref().and_then(|room| NonNull::new(room.get()))
    }

    fn hold(&self, key: &HeldKey, held: &Held) -> bool {
        let mut all = self.held.borrow_mut();
        let is_free = !all.contains_key(key);
        all.entry(*key).or_insert_with(|| Box::new(UnsafeCell::new(*held)));
        is_free
    }

    fn held(&self, key: &HeldKey) -> Option<NonNull<Held>> {
        self.held.borrow().get(key).and_then(|held| NonNull::new(held.get()))
    }

    fn release(&self, key: &HeldKey) -> bool {
        self.held.borrow_mut().remove(key).is_some()
    }

    /// Of all packets, however few it is to be.
    fn tells(&self) -> bool {
        self.config.sample_events != 0
    }

    fn sample(&self) -> Option<NonNull<Sample>> {
        self.sample.as_ref().and_then(|sample| NonNull::new(sample.get()))
    }

    fn tell(&self, sample: &Sample) {
        self.told.borrow_mut().push(*sample);
    }
}
