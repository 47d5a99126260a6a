//! Which backend a new flow gets: frontend, admission, selection, and the client's earlier choice.

use super::{
    Family, FamilyTables, ServiceTables, Tables,
    affinity::{self, Client},
    parse::Parsed,
};
use crate::{
    addr::Port,
    hash::Hasher,
    hook::Hook,
    packet::Settled,
    tables::{AffinityRule, BackendRef, Draft, Frontend, FrontendKey, SelectionKind},
    verdict::DropReason,
    wire::Protocol,
};

/// Who asks for a service, and where: a packet, or a socket.
#[derive(Clone, Copy)]
pub struct Asked<A> {
    /// The client.
    pub client: Client<A>,
    /// Its port.
    pub client_port: Port,
    /// The address that it wants.
    pub address: A,
    /// The port that it wants.
    pub port: Port,
    /// The protocol.
    pub protocol: Protocol,
}

impl<A: Copy> Asked<A> {
    /// By a packet.
    #[inline(always)]
    pub const fn by(parsed: &Parsed<A>) -> Self {
        let ((client, client_port), (address, port)) = (parsed.source(), parsed.destination());
        let (client, protocol) = (Client::at(client), parsed.l4.protocol());
        Self { client, client_port, address, port, protocol }
    }
}

/// A service's choice for one client.
#[derive(Clone, Copy)]
pub struct Choice<A> {
    /// The service.
    pub service: u32,
    /// The backend.
    pub backend: BackendRef,
    /// Its address.
    pub address: A,
    /// Its port.
    pub port: Port,
    /// The other half of the hash that chose it, for whatever else is to be spread.
    pub spread: u32,
    /// The group that is to remember it; 0: none is.
    pub group: u32,
    /// The number of the selection's kind.
    pub kind: u32,
    /// How many backends did not answer before.
    pub attempt: u8,
}

impl<A> Choice<A> {
    /// The same, as if all had been chosen in one way; see [`Packet::settle`].
    #[inline(always)]
    pub fn settled(self, draft: &mut Draft<A>) -> Self {
        let kinds = self.kind | u32::from(self.attempt) << 8;
        let Settled(group, spread, kinds) = draft.settle(Settled(self.group, self.spread, kinds));
        #[expect(clippy::cast_possible_truncation, reason = "it was eight bits")]
        let attempt = (kinds >> 8) as u8;
        Self { group, spread, kind: kinds & 0xff, attempt, ..self }
    }
}

/// What was chosen before, and is not to be chosen again if that can be helped.
#[derive(Clone, Copy)]
pub struct Before {
    /// The backend; no generation: there was none.
    pub backend: BackendRef,
    /// How many backends there were.
    pub attempt: u8,
}

impl Before {
    /// Nothing was chosen before.
    #[inline(always)]
    pub const fn none() -> Self {
        Self { backend: BackendRef { id: 0, generation: 0 }, attempt: 0 }
    }
}

/// Chooses a backend, or `None` if the packet's destination is no frontend.
#[inline(always)]
pub fn choose<A: Family, T: Tables + FamilyTables<A>>(
    tables: &T,
    hook: Hook,
    now: u32,
    parsed: &Parsed<A>,
    before: Before,
) -> Result<Option<Choice<A>>, DropReason> {
    let ((client, _), (address, port)) = (parsed.source(), parsed.destination());
    let Some(frontend) = tables.frontend(&FrontendKey::new(address, port, parsed.l4.protocol()))
    else {
        return Ok(None);
    };
    let service = frontend.service;
    if frontend.is(Frontend::GUARDED) && !tables.admits(service, client) {
        return Err(DropReason::NotAdmitted);
    }
    let kind = SelectionKind::of(frontend, hook.scope());
    choose_of(tables, now, service, kind, &Asked::by(parsed), before).map(Some)
}

/// Chooses one of a service's backends.
///
/// The hash is keyed by the secret of the boot and over the whole tuple: as long as the table is
/// the same, a choice that was forgotten comes out the same again. With session affinity it is over
/// client and group: connections that a client opens at once agree before one is remembered.
#[inline(always)]
pub fn choose_of<A: Family, T: Tables + FamilyTables<A>>(
    tables: &T,
    now: u32,
    service: u32,
    kind: SelectionKind,
    asked: &Asked<A>,
    before: Before,
) -> Result<Choice<A>, DropReason> {
    let (selection, affinity) = ServiceTables::<A>::service(tables, service, kind);
    let len = selection.len();
    if len == 0 {
        return Err(selection.reason());
    }
    let (of_tuple, of_client) = hashes(tables, asked, affinity);
    // No generation: nothing is chosen yet.
    let mut backend = BackendRef::default();
    let mut pick = low(of_tuple);
    if affinity.seconds != 0 {
        if before.attempt == 0 {
            backend = affinity::recall(tables, now, asked.client, service, affinity, kind);
        }
        pick = of_client;
    }
    if backend.generation == 0 {
        pick = pick.wrapping_add(u32::from(before.attempt).wrapping_mul(high(of_tuple) | 1));
        let slot = |pick: u32| {
            let slot = selection.base().wrapping_add(pick % len);
            ServiceTables::<A>::slot(tables, slot).ok_or(DropReason::NoBackend)
        };
        backend = slot(pick)?;
        if before.attempt != 0 && backend == before.backend {
            backend = slot(pick.wrapping_add(1))?;
        }
    }
    let (address, port) =
        ServiceTables::<A>::backend(tables, backend).ok_or(DropReason::BackendGone)?;
    let group = if affinity.seconds == 0 { 0 } else { affinity.group };
    let (spread, kind) = (high(of_tuple), kind as u32);
    let attempt = before.attempt;
    Ok(Choice { service, backend, address, port, spread, group, kind, attempt })
}

/// The hash of the tuple, and half of that of client and group, which is 0 without affinity.
#[inline(always)]
fn hashes<A: Family, T: Tables>(
    tables: &T,
    asked: &Asked<A>,
    affinity: AffinityRule,
) -> (u64, u32) {
    let words = size_of::<A>().div_ceil(8) as u64;
    let mut hasher = Hasher::new(tables.hash_key());
    asked.client.address.hash(&mut hasher);
    let mut of_client = 0;
    if affinity.seconds != 0 {
        let mut client = hasher;
        client.write(u64::from(affinity.group));
        of_client = low(client.finish(words + 1));
    }
    asked.address.hash(&mut hasher);
    hasher.write(
        u64::from(asked.client_port.to_wire())
            | u64::from(asked.port.to_wire()) << 16
            | u64::from(asked.protocol.0) << 32,
    );
    (hasher.finish(2 * words + 1), of_client)
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
#[inline(always)]
const fn low(hash: u64) -> u32 {
    hash as u32
}

#[inline(always)]
const fn high(hash: u64) -> u32 {
    (hash >> 32) as u32
}
