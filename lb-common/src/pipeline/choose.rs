//! Which backend a new flow gets: frontend, admission, selection, and the client's earlier choice.

use super::{
    Family, FamilyTables, ServiceTables, Tables,
    affinity::{self, Client},
    parse::Parsed,
    pick::{self, Hashes, Place},
};
use crate::{
    addr::Port,
    hash::{self, Hasher},
    hook::Hook,
    packet::Settled,
    tables::{AffinityRule, Algorithm, BackendRef, Draft, Frontend, FrontendKey, SelectionKind},
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
    /// Whether the next flow is another backend's turn.
    pub takes_turn: bool,
}

impl<A> Choice<A> {
    /// The same, as if all had been chosen in one way; see [`Packet::settle`].
    #[inline(always)]
    pub fn settled(self, draft: &mut Draft<A>) -> Self {
        let kinds = self.kind | u32::from(self.attempt) << 8 | u32::from(self.takes_turn) << 16;
        let Settled(group, spread, kinds) = draft.settle(Settled(self.group, self.spread, kinds));
        #[expect(clippy::cast_possible_truncation, reason = "it was eight bits")]
        let attempt = (kinds >> 8) as u8;
        let takes_turn = kinds >> 16 != 0;
        Self { group, spread, kind: kinds & 0xff, attempt, takes_turn, ..self }
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
/// client and group: connections that a client opens at once agree before one is remembered. Algorithms
/// may go by something else.
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
    if selection.is_empty() {
        return Err(selection.reason());
    }
    let hashes = hashes(tables, asked, selection.algorithm(), affinity);
    // No generation: nothing is chosen yet.
    let mut backend = BackendRef::default();
    if affinity.seconds != 0 && before.attempt == 0 {
        backend = affinity::recall(tables, now, asked.client, service, affinity, kind);
    }
    let mut takes_turn = false;
    let kind = kind as u32;
    if backend.generation == 0 {
        let place = Place { service, kind };
        backend = pick::pick::<A, T>(tables, place, selection, hashes, before)?;
        takes_turn = selection.algorithm() == Algorithm::ROUND_ROBIN;
    }
    let (address, port) =
        ServiceTables::<A>::backend(tables, backend).ok_or(DropReason::BackendGone)?;
    let group = if affinity.seconds == 0 { 0 } else { affinity.group };
    let (spread, attempt) = (high(hashes.tuple), before.attempt);
    Ok(Choice { service, backend, address, port, spread, group, kind, attempt, takes_turn })
}

/// The hash of the tuple, and where it says to begin in a table.
///
/// Where one end decides alone, nothing is gained by a secret: who can choose among addresses aims all
/// its connections at one backend by keeping one of them. Without it, all nodes find the same.
#[inline(always)]
fn hashes<A: Family, T: Tables>(
    tables: &T,
    asked: &Asked<A>,
    algorithm: Algorithm,
    affinity: AffinityRule,
) -> Hashes {
    let (source, destination) = (asked.client.address, asked.address);
    let words = size_of::<A>().div_ceil(8) as u64;
    let secret = tables.hash_key();
    let mut hasher = Hasher::new(secret);
    source.hash(&mut hasher);
    destination.hash(&mut hasher);
    hasher.write(
        u64::from(asked.client_port.to_wire())
            | u64::from(asked.port.to_wire()) << 16
            | u64::from(asked.protocol.0) << 32,
    );
    let tuple = hasher.finish(2 * words + 1);
    let by_one_end = algorithm.hashes_one_end();
    if !by_one_end && affinity.seconds == 0 {
        return Hashes { tuple, start: low(tuple) };
    }
    let (key, group) =
        if by_one_end { (hash::NO_KEY, 0) } else { (secret, u64::from(affinity.group)) };
    let end = if algorithm == Algorithm::DESTINATION_HASH { destination } else { source };
    let mut hasher = Hasher::new(key);
    end.hash(&mut hasher);
    hasher.write(group);
    Hashes { tuple, start: low(hasher.finish(words + 1)) }
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
