//! Which slot of a selection table a new flow gets, by the selection's algorithm. What is hashed, and which
//! selection it is, `choose.rs` knows.

use super::{
    ServiceTables,
    choose::{Before, Choice},
};
use crate::{
    packet::{Packet, Settled},
    tables::{Algorithm, BackendRef, Selection},
    verdict::DropReason,
};

/// What was hashed of a tuple.
#[derive(Clone, Copy)]
pub struct Hashes {
    /// Of all of it.
    pub tuple: u64,
    /// Where in the table to begin: of the end that the algorithm goes by, of the client if it is to be
    /// remembered, else the lower half of the other.
    pub start: u32,
}

/// Whose selection it is.
#[derive(Clone, Copy)]
pub struct Place {
    /// The service.
    pub service: u32,
    /// The number of the selection's kind.
    pub kind: u32,
}

/// Picks a backend of a selection that has slots: of the two slots that the hashes name the first, unless that is
/// the one that did not answer before, or there is less to do at the second, where that is asked.
///
/// Two, and no loop over more: it took the verifier more than a million instructions. What it knows of the ways
/// before is lost at the beginning; see [`Packet::settle`].
#[inline(always)]
pub fn pick<A, T: ServiceTables<A>>(
    tables: &T,
    place: Place,
    selection: Selection,
    hashes: Hashes,
    before: Before,
) -> Result<BackendRef, DropReason> {
    let algorithm = selection.algorithm();
    let start = if algorithm == Algorithm::ROUND_ROBIN {
        tables.turn(place.service, place.kind)
    } else {
        hashes.start
    };
    let attempt = u32::from(before.attempt);
    let numbers =
        Settled(start, (hashes.tuple >> 32) as u32, u32::from(algorithm.0) | attempt << 8);
    let Settled(start, spread, numbers) = tables.settle(numbers);
    let [algorithm, attempt, ..] = numbers.to_le_bytes();
    let (algorithm, attempt) = (Algorithm(algorithm), u32::from(attempt));

    let start = start.wrapping_add(attempt.wrapping_mul(spread | 1));
    let first = slot(tables, selection, start)?;
    if attempt == 0 && !algorithm.compares() {
        return Ok(first);
    }
    let step = if algorithm.compares() { step(selection.len(), spread) } else { 1 };
    let second = slot(tables, selection, start.wrapping_add(step))?;
    let (one, other) = (tables.load(first.id), tables.load(second.id));
    let second_has_less = algorithm.compares() && algorithm.to_do(other) < algorithm.to_do(one);
    let is_silent = |one: BackendRef| attempt != 0 && one.id == before.backend.id;
    let picks_second = is_silent(first) || (second_has_less && !is_silent(second));
    let picked = if picks_second { second } else { first };
    let Settled(id, generation, _) = tables.settle(Settled(picked.id, picked.generation, 0));
    Ok(BackendRef { id, generation })
}

/// How far it is from the first slot to the second: never a multiple of the length.
#[inline(always)]
fn step(len: u32, spread: u32) -> u32 {
    1 + spread.checked_rem(len.wrapping_sub(1)).unwrap_or(0)
}

/// The next one's turn, if the algorithm goes by turns. Not if another hook is to begin the same flow: that one
/// picks once more, and of two backends it would always be the same.
#[inline(always)]
pub fn pass_turn<A, P: Packet, T: ServiceTables<A>>(
    tables: &T,
    choice: &Choice<A>,
    outcome: Result<(), DropReason>,
    has_begun: bool,
) {
    let is_finished = match outcome {
        Ok(()) => has_begun,
        Err(reason) => P::COMPLETE || reason.notice().is_none(),
    };
    if is_finished {
        take_turn(tables, choice);
    }
}

/// The next one's turn, if the algorithm goes by turns.
#[inline(always)]
pub fn take_turn<A, T: ServiceTables<A>>(tables: &T, choice: &Choice<A>) {
    if choice.takes_turn {
        let turn = tables.turn(choice.service, choice.kind);
        tables.set_turn(choice.service, choice.kind, turn.wrapping_add(1));
    }
}

#[inline(always)]
fn slot<A, T: ServiceTables<A>>(
    tables: &T,
    selection: Selection,
    number: u32,
) -> Result<BackendRef, DropReason> {
    // That the length isn't 0 the compiler doesn't see in every place, and a remainder by 0 would panic.
    let within = number.checked_rem(selection.len()).ok_or(DropReason::NoBackend)?;
    tables.slot(selection.base().wrapping_add(within)).ok_or(DropReason::NoBackend)
}
