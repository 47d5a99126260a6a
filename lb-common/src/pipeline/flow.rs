//! Flows: a handle on an entry, whether it still goes, and what is noted in it.

use super::{Family, FamilyTables, ServiceTables, Tables, family::Part, graduate, parse::Parsed};
use crate::{
    addr::{Address, Port},
    checksum::Delta,
    hook::Hook,
    tables::{BackendRef, Egress, Emit, Flow, FlowKey, Half, State},
    verdict::DropReason,
    wire::{L4, TcpFlags},
};

/// Which of the two generations of the flow table an entry is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// The first, which evicts the least recently used.
    New,
    /// The second, which evicts nothing.
    Established,
}

/// A handle on an entry of the flow table.
///
/// A raw pointer, because other CPUs read and write the same entry: there is no exclusive borrow of
/// it, and each field is read and written by itself. The entry outlives the packet.
#[derive(Clone, Copy)]
pub struct FlowRef<A> {
    entry: *mut Flow<A>,
    pub(super) generation: Generation,
}

macro_rules! reads {
    ($($(#[$doc:meta])* $name:ident: $value:ty;)*) => {
        $($(#[$doc])*
        #[inline(always)]
        pub fn $name(self) -> $value {
            // SAFETY: `new` asked for a pointer that is valid as long as this handle is used.
            unsafe { (*self.entry).$name }
        })*
    };
}

impl<A: Address> FlowRef<A> {
    /// A handle on `entry`.
    ///
    /// # Safety
    ///
    /// `entry` must stay valid for reads and writes while the packet is processed.
    #[inline(always)]
    pub const unsafe fn new(entry: *mut Flow<A>, generation: Generation) -> Self {
        Self { entry, generation }
    }

    /// A handle on the copy of an entry that was just made; what is noted in it is not kept.
    #[inline(always)]
    pub(super) const fn fresh(flow: &mut Flow<A>) -> Self {
        Self { entry: flow, generation: Generation::Established }
    }

    reads! {
        /// New source address.
        source: A;
        /// New destination address.
        destination: A;
        /// New source port.
        source_port: Port;
        /// New destination port.
        destination_port: Port;
        /// What the new addresses do to a checksum.
        address_delta: Delta;
        /// What the new ports do to a checksum.
        port_delta: Delta;
        /// The backend.
        backend: BackendRef;
        /// The service.
        service: u32;
        /// Age, in jiffies.
        last_seen: u32;
        /// The SYN-ACK's sequence number.
        sequence: u32;
        /// Bits of [`State`].
        state: u8;
        /// An [`Emit`]'s number.
        emit: u8;
        /// Packets since the first reply.
        packets: u8;
        /// The cached way out.
        egress: Egress;
    }

    /// The entry itself, to be copied by the table.
    #[inline(always)]
    pub const fn as_ptr(self) -> *const Flow<A> {
        self.entry
    }

    /// Whether this is the forward half.
    #[inline(always)]
    pub fn is_forward(self) -> bool {
        // SAFETY: as in `new`.
        unsafe { (*self.entry).half == Half::Forward as u8 }
    }

    /// Whether packets leave as `emit` says.
    #[inline(always)]
    pub fn emits(self, emit: Emit) -> bool {
        // SAFETY: as in `new`.
        unsafe { (*self.entry).emit == emit as u8 }
    }

    /// Renews the age.
    #[inline(always)]
    pub fn touch(self, now: u32) {
        // SAFETY: as in `new`; a 4-byte store.
        unsafe { (*self.entry).last_seen = now }
    }

    /// Notes that the client was told that the backend is gone.
    #[inline(always)]
    pub(super) fn note_told(self) {
        self.add_state(State::TOLD);
    }

    /// Replaces the cached way out.
    #[inline(always)]
    pub fn set_egress(self, egress: Egress) {
        // SAFETY: as in `new`. A reader on another CPU may see old and new words mixed for one
        // packet; the epoch goes last.
        unsafe {
            (*self.entry).egress.macs = egress.macs;
            (*self.entry).egress.ifindex = egress.ifindex;
            (*self.entry).egress.mtu = egress.mtu;
            (*self.entry).egress.flags = egress.flags;
            core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
            (*self.entry).egress.epoch = egress.epoch;
        }
    }

    /// Whether this is the reverse half of the flow whose forward half has this key. It is not when
    /// the flow's own was evicted and another flow of the same client claimed the replies' tuple.
    #[inline(always)]
    pub(super) fn answers(self, key: &FlowKey<A>) -> bool {
        self.destination() == key.source
            && self.destination_port() == key.source_port
            && self.source() == key.destination
            && self.source_port() == key.destination_port
    }

    #[inline(always)]
    fn add_state(self, bits: u8) {
        // SAFETY: as in `new`; a 1-byte store.
        unsafe { (*self.entry).state |= bits }
    }

    #[inline(always)]
    fn accept(self, sequence: u32) {
        // SAFETY: as in `new`; a 4-byte store.
        unsafe { (*self.entry).sequence = sequence }
        self.add_state(State::REPLIED | State::ACCEPTED);
    }

    /// No other backend is tried any more.
    #[inline(always)]
    pub(super) fn give_up_trying(self) {
        // SAFETY: as in `new`; a 1-byte store.
        unsafe { (*self.entry).packets = ATTEMPTS }
    }

    #[inline(always)]
    pub(super) fn add_packet(self) {
        // SAFETY: as in `new`; a 1-byte store.
        unsafe { (*self.entry).packets = (*self.entry).packets.wrapping_add(1) }
    }
}

/// What the flow table says about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It belongs to the flow that was found.
    Goes,
    /// There is a flow, but it is over, and this packet begins another.
    Over,
    /// There is a flow whose backend never answered, and its client asks again.
    Unanswered,
    /// Its backend is gone, and this packet of the backend's is to tell the client.
    Farewell,
    /// There is none.
    None,
}

/// Whether a packet just follows its flow: the backend is there, it is no SYN that may begin another, and
/// no end, of which there is something to note.
#[inline(always)]
pub fn simply_goes<A: Family, T: Tables>(tables: &T, parsed: &Parsed<A>, flow: FlowRef<A>) -> bool {
    let backend = flow.backend();
    let beyond = TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST;
    tables.backend_generation(backend.id) == backend.generation && !parsed.flags.any(beyond)
}

/// How many other backends a connection tries.
const ATTEMPTS: u8 = 3;

/// Finds the flow of a packet and judges whether it still goes.
///
/// A SYN on a closed flow begins another, and so does one that nobody answered. When the backend is gone,
/// UDP and SYNs begin another; the senders of whatever else are told. The backend's first packet tells the client,
/// which may have nothing left to send.
#[inline(always)]
pub fn find<A: Family, T: Tables + FamilyTables<A>>(
    tables: &T,
    hook: Hook,
    parsed: &Parsed<A>,
    now: u32,
    key: &FlowKey<A>,
    found: &mut Option<FlowRef<A>>,
) -> Result<Judgement, DropReason> {
    let Some(flow) = tables.find(key) else {
        return Ok(Judgement::None);
    };
    *found = Some(flow);
    let backend = flow.backend();
    if tables.backend_generation(backend.id) != backend.generation {
        if flow.is_forward() && (!parsed.has_handshake || parsed.flags.opens()) {
            return Ok(Judgement::Over);
        }
        let tells = !flow.is_forward()
            && parsed.l4 == L4::Tcp
            && parsed.part == Part::WHOLE
            && flow.state() & (State::TOLD | State::RST) == 0;
        return if tells { Ok(Judgement::Farewell) } else { Err(DropReason::BackendGone) };
    }
    if parsed.flags.opens() && flow.is_forward() {
        return Ok(judge_syn(tables, hook, now, flow, key));
    }
    Ok(Judgement::Goes)
}

/// What a SYN says of the flow that is there. It is over if the client said so, or was told. If nobody
/// ever answered, and half a second has gone since, another backend is tried: clients repeat their first
/// SYN after a second.
#[inline(always)]
fn judge_syn<A: Family, T: Tables + FamilyTables<A>>(
    tables: &T,
    hook: Hook,
    now: u32,
    flow: FlowRef<A>,
    key: &FlowKey<A>,
) -> Judgement {
    if flow.state() & (State::FIN | State::RST) != 0 {
        return Judgement::Over;
    }
    let state = match tables.find(&reverse_key(hook, flow, key)) {
        Some(reverse) if reverse.answers(key) => reverse.state(),
        _ => return Judgement::Over,
    };
    if state & State::RST != 0 {
        return Judgement::Over;
    }
    let waited = now.wrapping_sub(flow.last_seen()) >= tables.touch_interval() / 2;
    if waited
        && flow.generation == Generation::New
        && state & State::REPLIED == 0
        && flow.packets() < ATTEMPTS
    {
        return Judgement::Unanswered;
    }
    Judgement::Goes
}

/// The hook at which the replies of a flow are translated back.
#[inline(always)]
pub const fn reverse_hook(hook: Hook, goes_on: bool, into_pod: bool) -> Hook {
    match hook {
        Hook::WorkloadIn | Hook::WorkloadOut if goes_on => Hook::WorkloadOut,
        Hook::UplinkIn | Hook::UplinkOut if goes_on => Hook::UplinkOut,
        Hook::WorkloadIn | Hook::WorkloadOut => Hook::WorkloadIn,
        Hook::HostOut if into_pod => Hook::WorkloadIn,
        Hook::UplinkIn | Hook::UplinkOut | Hook::HostOut => Hook::UplinkIn,
    }
}

/// The key of the other half, from a forward half.
#[inline(always)]
pub(super) fn reverse_key<A: Family>(hook: Hook, flow: FlowRef<A>, key: &FlowKey<A>) -> FlowKey<A> {
    let mut reverse = *key;
    let goes_on = flow.emits(Emit::Stack) || flow.emits(Emit::Switch);
    reverse.role = reverse_hook(hook, goes_on, flow.emits(Emit::Deliver)) as u8;
    reverse.source = flow.destination();
    reverse.source_port = flow.destination_port();
    reverse.destination = flow.source();
    reverse.destination_port = flow.source_port();
    reverse
}

/// The key of the other half, from either.
#[inline(always)]
fn other_key<A: Family>(hook: Hook, flow: FlowRef<A>, key: &FlowKey<A>) -> FlowKey<A> {
    let mut other = reverse_key(hook, flow, key);
    if !flow.is_forward() {
        let forward = match hook {
            _ if flow.emits(Emit::Inject) => Hook::HostOut,
            Hook::WorkloadIn | Hook::WorkloadOut => Hook::WorkloadIn,
            Hook::UplinkIn | Hook::UplinkOut => Hook::UplinkIn,
            Hook::HostOut => Hook::HostOut,
        };
        other.role = forward as u8;
    }
    other
}

/// Takes a flow off the count of its backend, if that is still the same.
#[inline(always)]
fn release<A: Family, T: Tables + FamilyTables<A>>(tables: &T, backend: BackendRef) {
    if tables.backend_generation(backend.id) == backend.generation {
        ServiceTables::<A>::count_open(tables, backend.id, false);
    }
}

/// Removes both halves of the flow whose forward half has this key.
#[inline(always)]
pub fn forget<A: Family, T: Tables + FamilyTables<A>>(tables: &T, hook: Hook, key: &FlowKey<A>) {
    if let Some(flow) = tables.find(key) {
        let reverse_key = reverse_key(hook, flow, key);
        let mut state = flow.state();
        if let Some(reverse) = tables.find(&reverse_key).filter(|reverse| reverse.answers(key)) {
            state |= reverse.state();
            tables.remove(&reverse_key);
        }
        if state & State::ENDED == 0 {
            release::<A, T>(tables, flow.backend());
        }
        tables.remove(key);
    }
}

/// Notes that a side has ended its direction. With the first of them the flow is open no more.
///
/// Of two CPUs that see both ends at once, neither or both may take it off: the count is put right when
/// flows are collected.
#[inline(always)]
fn end<A: Family, T: Tables + FamilyTables<A>>(
    tables: &T,
    hook: Hook,
    parsed: &Parsed<A>,
    key: &FlowKey<A>,
    flow: FlowRef<A>,
) {
    let had_ended = flow.state() & State::ENDED != 0;
    let fin = if parsed.flags.any(TcpFlags::FIN) { State::FIN } else { 0 };
    let rst = if parsed.flags.any(TcpFlags::RST) { State::RST } else { 0 };
    flow.add_state(fin | rst);
    let other = other_key(hook, flow, key);
    if !had_ended && tables.find(&other).is_none_or(|other| other.state() & State::ENDED == 0) {
        release::<A, T>(tables, flow.backend());
    }
}

/// Notes in a flow what a packet says about its state, and lets it graduate.
#[inline(always)]
pub fn note<A: Family, T: Tables + FamilyTables<A>>(
    tables: &T,
    hook: Hook,
    parsed: &Parsed<A>,
    key: &FlowKey<A>,
    flow: FlowRef<A>,
) {
    if parsed.flags.any(TcpFlags::FIN | TcpFlags::RST) {
        end(tables, hook, parsed, key, flow);
    }
    if flow.generation == Generation::Established {
        return;
    }
    // Forward halves are only where clients are; said for the compiler, which leaves the rest out.
    if hook.faces_clients() && flow.is_forward() {
        graduate::graduate(tables, hook, parsed, key, flow);
    } else if parsed.flags.accepts() {
        flow.accept(parsed.sequence);
    } else if flow.state() & State::REPLIED == 0 {
        flow.add_state(State::REPLIED);
    }
}
