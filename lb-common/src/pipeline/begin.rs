//! The beginning of a flow: where its packets will leave, which source they get, and its two
//! entries.

use super::{
    Claim, Family, FamilyTables, FlowRef, Generation, Route, RouteQuery, ServiceTables, Tables,
    choose::Choice,
    flow::reverse_hook,
    parse::Parsed,
    way_out::{can_send, check_length, check_ttl},
};
use crate::{
    checksum::{Delta, Sum},
    hook::Hook,
    packet::{Packet, Settled},
    tables::{Device, DeviceRole, Draft, Egress, Emit, Flow, FlowKey, Half, State},
    verdict::{DropReason, Event},
};

/// How many source ports are tried.
pub const PORT_TRIES: u32 = 16;

/// From which try on a port is taken from a flow that nobody answered.
const LAST_TRIES: u32 = 12;

/// After how many tries a search is counted as long.
const LONG_SEARCH: u32 = 4;

/// How packets of a new flow get to their backend.
#[derive(Clone, Copy)]
struct Plan<A> {
    emit: Emit,
    /// How their replies get back.
    replies: Emit,
    /// Source address after translation.
    source: A,
}

/// The same as numbers, of which the verifier knows nothing; see [`Packet::settle`].
#[derive(Clone, Copy)]
struct Way<A> {
    emit: u8,
    replies: u8,
    /// The hook of the replies.
    reverse_role: u8,
    /// Whether the client's own port may be kept.
    keeps_port: bool,
    /// Whether the port is to be no socket's of this node.
    asks_sockets: bool,
    source: A,
}

impl<A> Plan<A> {
    #[inline(always)]
    fn settled(self, draft: &mut Draft<A>, hook: Hook) -> Way<A> {
        let Self { emit, replies, source } = self;
        let role = reverse_hook(hook, emit.goes_on(), emit == Emit::Deliver);
        let leaves_as_ours = matches!(emit, Emit::Transmit | Emit::Deliver);
        let numbers = emit as u32 | (replies as u32) << 8 | (role as u32) << 16;
        let Settled(numbers, keeps_port, asks_sockets) =
            draft.settle(Settled(numbers, u32::from(emit.goes_on()), u32::from(leaves_as_ours)));
        let [emit, replies, reverse_role, _] = numbers.to_le_bytes();
        Way {
            emit,
            replies,
            reverse_role,
            keeps_port: keeps_port != 0,
            asks_sockets: asks_sockets != 0,
            source,
        }
    }
}

/// How a flow was begun.
pub enum Begun<A> {
    /// By this packet.
    Fresh(FlowRef<A>),
    /// By another one, which came first.
    Elsewhere,
}

/// Begins a flow, unless this hook can't finish its packets.
///
/// Everything that can fail is found out before anything is written. The reply's entry is claimed
/// first, because it is what proves the source port free; the forward entry makes the flow real. The flow is
/// not part of the result: in one register with a reason the verifier takes it for a number.
/// Of two CPUs that begin the same flow, the one that comes second takes the first one's.
#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "a step of one function; bundled, they would be memory"
)]
pub fn begin<A: Family, P: Packet, T: Tables + FamilyTables<A>>(
    packet: &P,
    tables: &T,
    hook: Hook,
    now: u32,
    parsed: &Parsed<A>,
    key: &FlowKey<A>,
    choice: &mut Choice<A>,
    begun: &mut Option<Begun<A>>,
) -> Result<(), DropReason> {
    let mut draft = tables.draft().ok_or(DropReason::FlowTableFull)?;
    // SAFETY: `draft` is this CPU's own, and asked for only here.
    let draft = unsafe { draft.as_mut() };
    *choice = choice.settled(draft);
    draft.forward.egress.clear();
    let Some(plan) = plan(packet, tables, hook, parsed, choice, &mut draft.forward.egress)? else {
        return Ok(());
    };
    let way = plan.settled(draft, hook);
    write_down(draft, now, parsed, choice, way);
    if hook == Hook::HostOut {
        // Not looked up: replies come in where requests leave.
        let macs = packet.macs().ok_or(DropReason::Unwritable)?;
        draft.reverse.egress.macs = macs.swapped();
        draft.reverse.egress.ifindex = packet.ifindex();
    }

    let mut reverse_key = *key;
    reverse_key.role = way.reverse_role;
    reverse_key.source = choice.address;
    reverse_key.source_port = choice.port;
    reverse_key.destination = way.source;
    let claimed = claim_reverse(tables, now, parsed, choice, way, draft, &mut reverse_key)?;

    match tables.claim(key, &draft.forward) {
        Claim::Claimed => {
            tables.count(Event::FlowCreated as u32);
            tables.count_flow(choice.backend.id);
            ServiceTables::<A>::count_open(tables, choice.backend.id, true);
            *begun = Some(Begun::Fresh(FlowRef::fresh(&mut draft.forward)));
            Ok(())
        }
        Claim::Taken => {
            let other = tables.find(key).ok_or(DropReason::FlowTableFull)?;
            // If the other CPU's flow leads to the same, it counts on the entry of its replies.
            if claimed && !leads_alike(other, &draft.forward) {
                tables.remove_new(&reverse_key);
            }
            *begun = Some(Begun::Elsewhere);
            Ok(())
        }
        Claim::Full => {
            if claimed {
                tables.remove_new(&reverse_key);
            }
            Err(DropReason::FlowTableFull)
        }
    }
}

/// Whether packets of two flows look alike after translation.
#[inline(always)]
fn leads_alike<A: Family>(one: FlowRef<A>, other: &Flow<A>) -> bool {
    one.source() == other.source
        && one.source_port() == other.source_port
        && one.destination() == other.destination
        && one.destination_port() == other.destination_port
}

/// Finds out how packets get to the backend.
#[inline(always)]
fn plan<A: Family, P: Packet, T: Tables + FamilyTables<A>>(
    packet: &P,
    tables: &T,
    hook: Hook,
    parsed: &Parsed<A>,
    choice: &Choice<A>,
    egress: &mut Egress,
) -> Result<Option<Plan<A>>, DropReason> {
    let (client, _) = parsed.source();
    let through_stack = Plan { emit: Emit::Stack, replies: Emit::Stack, source: client };
    if hook == Hook::WorkloadIn {
        if client != choice.address {
            let emit = to_another(packet, tables, choice, client, egress);
            return Ok(Some(Plan { emit, ..through_stack }));
        }
        check_ttl(parsed)?;
        // A pod that reaches itself: it can't be its own peer, so its peer is the service.
        let (service, _) = parsed.destination();
        return Ok(Some(Plan { emit: Emit::Turn, replies: Emit::Turn, source: service }));
    }

    let query =
        RouteQuery { ifindex: packet.ifindex(), source: client, destination: choice.address };
    match tables.route(&query, egress) {
        // From this node to itself there is no way past the stack.
        Route::Local if hook == Hook::HostOut => return Err(DropReason::EgressUnmanaged),
        Route::Local => return Ok(Some(through_stack)),
        Route::None => return Err(DropReason::NoRoute),
        Route::ForwardingOff => return Err(DropReason::ForwardingOff),
        Route::Via | Route::Unresolved => {}
    }
    let device = tables.device(egress.ifindex).ok_or(DropReason::EgressUnmanaged)?;
    let into_pod = device.role == DeviceRole::Workload as u8;
    if into_pod && hook != Hook::HostOut {
        return Ok(Some(through_stack));
    }
    let source = if into_pod {
        client
    } else {
        A::snat_source(&device).ok_or(DropReason::NoSourceAddress)?
    };
    complete_egress(tables, &device, egress);
    check_ttl(parsed)?;
    check_length(packet, parsed, egress)?;
    if !P::COMPLETE && !can_send(packet, parsed, egress) {
        return Ok(None);
    }
    let emit = if into_pod { Emit::Deliver } else { Emit::Transmit };
    let replies = if hook == Hook::HostOut { Emit::Inject } else { Emit::Transmit };
    Ok(Some(Plan { emit, replies, source }))
}

/// How packets of a pod get to another endpoint: through the stack, unless both are ports of one bridge
/// whose replies packet filters would not see. Then they are not to see the requests either.
#[inline(always)]
fn to_another<A: Family, P: Packet, T: Tables + FamilyTables<A>>(
    packet: &P,
    tables: &T,
    choice: &Choice<A>,
    client: A,
    egress: &mut Egress,
) -> Emit {
    let Some(port) = tables.device(packet.ifindex()) else {
        return Emit::Stack;
    };
    if port.flags & A::SWITCHED == 0 {
        return Emit::Stack;
    }
    let query =
        RouteQuery { ifindex: packet.ifindex(), source: client, destination: choice.address };
    match tables.route(&query, egress) {
        Route::Via | Route::Unresolved if egress.ifindex == port.bridge => {
            egress.epoch = tables.epoch();
            Emit::Switch
        }
        _ => Emit::Stack,
    }
}

/// Adds to an egress what the routing table doesn't know.
#[inline(always)]
pub fn complete_egress<T: Tables>(tables: &T, device: &Device, egress: &mut Egress) {
    egress.epoch = tables.epoch();
    egress.mtu = device.mtu;
    if device.flags & Device::XDP_TRANSMIT != 0 {
        egress.flags |= Egress::XDP_TRANSMIT;
    }
    // A tunnel may need the route with the packet, which only the kernel's neighbour table puts there.
    if device.flags & Device::BARE != 0 {
        egress.flags &= !Egress::NEIGHBOUR;
    }
}

/// Writes both halves into the draft, but for the source port and what depends on it.
#[inline(always)]
fn write_down<A: Family>(
    draft: &mut Draft<A>,
    now: u32,
    parsed: &Parsed<A>,
    choice: &Choice<A>,
    way: Way<A>,
) {
    let ((client, client_port), (frontend, frontend_port)) =
        (parsed.source(), parsed.destination());
    let (outer, inner) = (client.sum() + frontend.sum(), way.source.sum() + choice.address.sum());

    let forward = &mut draft.forward;
    forward.source = way.source;
    forward.destination = choice.address;
    forward.destination_port = choice.port;
    forward.address_delta = Delta::replace(outer, inner);
    describe(forward, Half::Forward, now, choice, way);

    let reverse = &mut draft.reverse;
    reverse.source = frontend;
    reverse.destination = client;
    reverse.source_port = frontend_port;
    reverse.destination_port = client_port;
    reverse.address_delta = Delta::replace(inner, outer);
    describe(reverse, Half::Reverse, now, choice, way);
    // Looked up when the first reply comes: its way is not the request's.
    reverse.egress.clear();
}

/// Writes what both halves have.
#[inline(always)]
fn describe<A: Family>(flow: &mut Flow<A>, half: Half, now: u32, choice: &Choice<A>, way: Way<A>) {
    flow.backend = choice.backend;
    flow.service = choice.service;
    flow.last_seen = now;
    flow.sequence = 0;
    flow.half = half as u8;
    flow.emit = match half {
        Half::Forward => way.emit,
        Half::Reverse => way.replies,
    };
    flow.state = 0;
    flow.packets = match half {
        Half::Forward => choice.attempt,
        Half::Reverse => 0,
    };
}

/// Claims the entry of the replies, trying source ports until one is free. Returns whether the
/// entry is new; it is not when a flow with the same client and frontend left it behind.
///
/// The last tries take a port from a flow that nobody answered for half a second: first packets with
/// invented senders must not use up the ports towards an endpoint.
///
/// A client behind the same address as before keeps its port if it can. Towards a node's own
/// address or a service's, the port is always one of ours: that is how replies are recognised.
#[inline(always)]
fn claim_reverse<A: Family, T: Tables + FamilyTables<A>>(
    tables: &T,
    now: u32,
    parsed: &Parsed<A>,
    choice: &Choice<A>,
    way: Way<A>,
    draft: &mut Draft<A>,
    reverse_key: &mut FlowKey<A>,
) -> Result<bool, DropReason> {
    let ((_, client_port), (_, frontend_port)) = (parsed.source(), parsed.destination());
    let outer = Sum::of_half(client_port.to_wire()) + Sum::of_half(frontend_port.to_wire());
    let ports = tables.snat_ports();
    for attempt in 0..PORT_TRIES {
        let port = if attempt == 0 && way.keeps_port {
            client_port
        } else if ports.count == 0 {
            return Err(DropReason::SourcePortsExhausted);
        } else {
            ports.pick(choice.spread.wrapping_add(attempt.wrapping_mul(attempt)))
        };
        let inner = Sum::of_half(port.to_wire()) + Sum::of_half(choice.port.to_wire());
        draft.forward.source_port = port;
        draft.forward.port_delta = Delta::replace(outer, inner);
        draft.reverse.port_delta = Delta::replace(inner, outer);
        reverse_key.destination_port = port;
        // Of an address of this node's own the port may be somebody's already, whatever its number.
        if way.asks_sockets && tables.has_socket(reverse_key) {
            continue;
        }
        match tables.claim(reverse_key, &draft.reverse) {
            Claim::Claimed => {
                if attempt >= LONG_SEARCH {
                    tables.count(Event::PortSearchLong as u32);
                }
                return Ok(true);
            }
            Claim::Taken if is_same_flow(tables, reverse_key, &draft.reverse) => return Ok(false),
            Claim::Taken if attempt < LAST_TRIES => {}
            Claim::Taken => {
                if is_embryo(tables, now, reverse_key) {
                    tables.remove_new(reverse_key);
                    if let Claim::Claimed = tables.claim(reverse_key, &draft.reverse) {
                        tables.count(Event::PortSearchLong as u32);
                        return Ok(true);
                    }
                }
            }
            Claim::Full => return Err(DropReason::FlowTableFull),
        }
    }
    Err(DropReason::SourcePortsExhausted)
}

/// Whether the entry under this key leads to the same client and frontend.
#[inline(always)]
fn is_same_flow<A: Family, T: FamilyTables<A>>(
    tables: &T,
    key: &FlowKey<A>,
    reverse: &Flow<A>,
) -> bool {
    tables
        .find(key)
        .is_some_and(|other| leads_alike(other, reverse) && other.backend() == reverse.backend)
}

/// Whether the entry under this key is of a flow that nobody has answered for some time.
#[inline(always)]
fn is_embryo<A: Family, T: Tables + FamilyTables<A>>(
    tables: &T,
    now: u32,
    key: &FlowKey<A>,
) -> bool {
    tables.find(key).is_some_and(|reverse| {
        reverse.generation == Generation::New
            && reverse.state() & State::REPLIED == 0
            && now.wrapping_sub(reverse.last_seen()) >= tables.touch_interval() / 2
    })
}
