//! Two CPUs that begin one flow at once, made to meet where it hurts.

use core::{
    cell::{Cell, RefCell},
    ptr::NonNull,
};

use bytemuck::Zeroable;
use lb_common::{
    addr::Port,
    hash,
    hook::Hook,
    host::{HostPacket, HostTables},
    pipeline::{self, Claim, FamilyTables, FlowRef, Route, RouteQuery, ServiceTables, Tables},
    tables::{
        AffinityKey, AffinityRule, BackendRef, Device, Draft, Egress, Endpoint, EndpointKey, Flow,
        FlowKey, FragmentKey, Fragmented, Frontend, FrontendKey, Half, Held, HeldKey, Load,
        Remembered, Sample, Selection, SelectionKind, SnatPorts,
    },
    verdict::Verdict,
};
use lb_tests::{
    lab::cast::{Host, OUTSIDE},
    packet::{Packet, flags},
};

use crate::{
    traffic::{UPLINK_IN, UPLINK_OUT, carrying, each, reply, request, tuple},
    world::{Front, LOCAL, REMOTE, UPLINK, World},
};

/// The tables as one CPU sees them while another one, whenever this one claims a key or holds a fragment for the
/// `meets_at`th time, processes the rival's packet from beginning to end.
pub struct Raced<'a> {
    tables: &'a HostTables,
    rival: Vec<u8>,
    pub meets_at: Cell<u32>,
    /// What came in again of the rival's.
    pub came_again: RefCell<Vec<Vec<u8>>>,
    /// Whether the rival's was a fragment and is held.
    pub held_rival: Cell<bool>,
}

impl<'a> Raced<'a> {
    /// A world's tables, while another CPU meets us with its packet when we claim or hold for the `meets_at`th time.
    pub fn new(world: &'a World, rival: &Packet, meets_at: u32) -> Self {
        Self {
            tables: &world.tables,
            rival: rival.build(),
            meets_at: Cell::new(meets_at),
            came_again: RefCell::default(),
            held_rival: Cell::default(),
        }
    }

    fn meet(&self) {
        let left = self.meets_at.get();
        self.meets_at.set(left.wrapping_sub(1));
        if left == 0 {
            let mut packet = HostPacket::<true>::new(self.rival.clone(), UPLINK);
            let outcome = pipeline::run(&mut packet, self.tables, Hook::UplinkIn, 1_000);
            assert!(outcome.is_ok());
            self.held_rival.set(outcome == Ok(Verdict::Held));
            self.came_again.borrow_mut().extend(packet.again);
        }
    }
}

impl<A> ServiceTables<A> for Raced<'_>
where
    HostTables: ServiceTables<A>,
{
    fn frontend(&self, key: &FrontendKey<A>) -> Option<Frontend> {
        self.tables.frontend(key)
    }

    fn admits(&self, service: u32, client: A) -> bool {
        self.tables.admits(service, client)
    }

    fn service(&self, service: u32, kind: SelectionKind) -> (Selection, AffinityRule) {
        ServiceTables::<A>::service(self.tables, service, kind)
    }

    fn slot(&self, index: u32) -> Option<BackendRef> {
        ServiceTables::<A>::slot(self.tables, index)
    }

    fn backend(&self, backend: BackendRef) -> Option<(A, Port)> {
        ServiceTables::<A>::backend(self.tables, backend)
    }

    fn load(&self, backend: u32) -> Load {
        ServiceTables::<A>::load(self.tables, backend)
    }

    fn count_open(&self, backend: u32, more: bool) {
        ServiceTables::<A>::count_open(self.tables, backend, more);
    }

    fn turn(&self, service: u32, kind: u32) -> u32 {
        ServiceTables::<A>::turn(self.tables, service, kind)
    }

    fn set_turn(&self, service: u32, kind: u32, turn: u32) {
        ServiceTables::<A>::set_turn(self.tables, service, kind, turn);
    }

    fn remembered(&self, key: &AffinityKey<A>) -> Option<Remembered> {
        self.tables.remembered(key)
    }

    fn remember(&self, key: &AffinityKey<A>, remembered: Remembered) {
        self.tables.remember(key, remembered);
    }

    fn endpoint(&self, key: EndpointKey) -> Option<Endpoint> {
        ServiceTables::<A>::endpoint(self.tables, key)
    }

    fn may_be_owned(&self, address: A) -> bool {
        self.tables.may_be_owned(address)
    }

    fn is_in_service_range(&self, address: A) -> bool {
        self.tables.is_in_service_range(address)
    }

    fn owner(&self, address: A) -> u32 {
        self.tables.owner(address)
    }
}

impl<A> FamilyTables<A> for Raced<'_>
where
    HostTables: FamilyTables<A>,
    Draft<A>: Zeroable + 'static,
{
    fn find(&self, key: &FlowKey<A>) -> Option<FlowRef<A>> {
        self.tables.find(key)
    }

    fn find_established(&self, key: &FlowKey<A>) -> Option<FlowRef<A>> {
        self.tables.find_established(key)
    }

    fn fragmented(&self, key: &FragmentKey<A>) -> Option<Fragmented> {
        self.tables.fragmented(key)
    }

    fn set_fragmented(&self, key: &FragmentKey<A>, first: &Fragmented) {
        self.meet();
        self.tables.set_fragmented(key, first);
    }

    fn claim_fragmented(&self, key: &FragmentKey<A>, first: &Fragmented) -> bool {
        self.meet();
        self.tables.claim_fragmented(key, first)
    }

    fn draft(&self) -> Option<NonNull<Draft<A>>> {
        // Each CPU has its own. Leaked: a test makes few.
        Some(NonNull::from(Box::leak(Box::new(Draft::zeroed()))))
    }

    fn claim(&self, key: &FlowKey<A>, flow: &Flow<A>) -> Claim {
        self.meet();
        self.tables.claim(key, flow)
    }

    fn establish(&self, key: &FlowKey<A>, flow: FlowRef<A>) -> bool {
        self.tables.establish(key, flow)
    }

    fn remove_new(&self, key: &FlowKey<A>) {
        FamilyTables::<A>::remove_new(self.tables, key);
    }

    fn remove(&self, key: &FlowKey<A>) {
        FamilyTables::<A>::remove(self.tables, key);
    }

    fn has_socket(&self, key: &FlowKey<A>) -> bool {
        self.tables.has_socket(key)
    }

    fn route(&self, query: &RouteQuery<A>, egress: &mut Egress) -> Route {
        self.tables.route(query, egress)
    }
}

impl Tables for Raced<'_> {
    fn has_frontend_port(&self, port: Port) -> bool {
        self.tables.has_frontend_port(port)
    }

    fn has_backend_port(&self, port: Port) -> bool {
        self.tables.has_backend_port(port)
    }

    fn reply_ports(&self) -> SnatPorts {
        self.tables.reply_ports()
    }

    fn snat_ports(&self) -> SnatPorts {
        self.tables.snat_ports()
    }

    fn epoch(&self) -> u32 {
        self.tables.epoch()
    }

    fn graduates_udp(&self) -> bool {
        self.tables.graduates_udp()
    }

    fn hash_key(&self) -> hash::Key {
        self.tables.hash_key()
    }

    fn touch_interval(&self) -> u32 {
        self.tables.touch_interval()
    }

    fn neighbour(&self, slot: u32) -> u64 {
        self.tables.neighbour(slot)
    }

    fn set_neighbour(&self, slot: u32, word: u64) {
        self.tables.set_neighbour(slot, word);
    }

    fn may_answer(&self, now: u32, price: u32) -> bool {
        self.tables.may_answer(now, price)
    }

    fn room(&self) -> Option<NonNull<Held>> {
        Some(NonNull::from(Box::leak(Box::new(Held::zeroed()))))
    }

    fn hold(&self, key: &HeldKey, held: &Held) -> bool {
        self.meet();
        let is_free = self.tables.hold(key, held);
        self.meet();
        is_free
    }

    fn held(&self, key: &HeldKey) -> Option<NonNull<Held>> {
        self.tables.held(key)
    }

    fn release(&self, key: &HeldKey) -> bool {
        self.tables.release(key)
    }

    fn hz(&self) -> u32 {
        self.tables.hz()
    }

    fn backend_generation(&self, id: u32) -> u32 {
        self.tables.backend_generation(id)
    }

    fn device(&self, ifindex: u32) -> Option<Device> {
        self.tables.device(ifindex)
    }

    fn count(&self, counter: u32) {
        self.tables.count(counter);
    }

    fn count_packet(&self, backend: u32, bytes: u32) {
        self.tables.count_packet(backend, bytes);
    }

    fn count_flow(&self, backend: u32) {
        self.tables.count_flow(backend);
    }

    fn count_unanswered(&self, backend: u32) {
        self.tables.count_unanswered(backend);
    }

    fn tells(&self) -> bool {
        self.tables.tells()
    }

    fn sample(&self) -> Option<NonNull<Sample>> {
        self.tables.sample()
    }

    fn tell(&self, sample: &Sample) {
        self.tables.tell(sample);
    }
}

/// Two packets of one flow meet at each place where they can; both are translated alike, and the
/// flow has both its entries afterwards.
fn check(backend: Host, rival: impl Fn(Packet) -> Packet, same: bool) {
    each(|family, l4| {
        for meets_at in 0..2 {
            let world = World::new(&[backend]);
            let packet = request(family, l4, OUTSIDE, Front::Node);
            let raced = Raced::new(&world, &rival(packet.clone()), meets_at);
            let mut one = HostPacket::<true>::new(packet.build(), UPLINK);
            let outcome = pipeline::run(&mut one, &raced, Hook::UplinkIn, world.now);
            assert!(outcome.is_ok());
            assert!(raced.meets_at.get() > 1, "they met");

            let expected = if same { 2 } else { 4 };
            let entries = world.entries(family);
            assert_eq!(entries.len(), expected, "{entries:#?}");
            for request in [packet.clone(), rival(packet.clone())] {
                let later = carrying(request.clone(), l4, flags::ACK);
                let asked = world.send(UPLINK_IN, &later);
                if request == packet {
                    assert_eq!(asked.tuple(), tuple(&one.frame));
                }
                let answer = reply(family, l4, asked.tuple());
                let at = if backend == LOCAL { UPLINK_OUT } else { UPLINK_IN };
                let answered = world.send(at, &answer);
                let (client, front) = tuple(&request.build());
                assert_eq!(answered.tuple(), (front, client));
            }
            let forward = |half: Half| {
                entries.iter().filter(|entry| entry.forward == (half == Half::Forward)).count()
            };
            assert_eq!(forward(Half::Forward), forward(Half::Reverse));
        }
    });
}

#[test]
fn two_cpus_that_begin_one_flow_leave_it_whole() {
    for backend in [LOCAL, REMOTE] {
        check(backend, |packet| packet, true);
    }
}

#[test]
fn two_cpus_that_begin_two_flows_leave_both_whole() {
    for backend in [LOCAL, REMOTE] {
        check(backend, |packet| packet.from(OUTSIDE, 40_001), false);
    }
}

#[test]
fn two_clients_at_once_get_source_ports_of_their_own() {
    each(|family, l4| {
        let mut world = World::new(&[REMOTE]);
        // Two ports: the tries are all of them soon.
        world.tables.config.snat_ports.count = 2;
        let packet = request(family, l4, OUTSIDE, Front::Node);
        let raced = Raced::new(&world, &packet.clone().from(OUTSIDE, 40_001), 0);
        let mut one = HostPacket::<true>::new(packet.build(), UPLINK);
        let outcome = pipeline::run(&mut one, &raced, Hook::UplinkIn, world.now);
        assert!(outcome.is_ok());
        let ports: std::collections::BTreeSet<_> = world
            .entries(family)
            .into_iter()
            .filter(|entry| entry.forward)
            .map(|entry| entry.becomes.0.port())
            .collect();
        assert_eq!(ports.len(), 2);
    });
}
