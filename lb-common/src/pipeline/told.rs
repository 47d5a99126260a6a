//! What is told of single packets, of one in so many: for whoever looks for the cause of what the
//! counters say. Nobody is told of packets that simply follow their flows.

use core::ptr::NonNull;

use super::{Family, FamilyTables, Fate, Tables};
use crate::{
    packet::Packet,
    tables::{BackendRef, FlowKey, Sample},
    verdict::{DropReason, Event},
};

/// Tells what became of a packet: that it was dropped (or its sender answered) and why, or that it began a
/// flow. What is for a later hook to finish is for that one to tell.
///
/// In one place, because the verifier follows each by itself.
#[inline(always)]
pub fn outcome<A: Family, P: Packet, T: Tables + FamilyTables<A>>(
    packet: &P,
    tables: &T,
    key: &FlowKey<A>,
    fate: Result<Fate, DropReason>,
    has_begun: bool,
) {
    let what = match fate {
        Err(reason) if P::COMPLETE || reason.notice().is_none() => reason as u32,
        Ok(_) if has_begun => Event::FlowCreated as u32,
        _ => return,
    };
    let Some(mut sample) = sample(packet, tables, key, what) else {
        return;
    };
    // SAFETY: this CPU's own, and asked for once a packet at a time.
    let sample = unsafe { sample.as_mut() };
    if has_begun && let Some(draft) = FamilyTables::<A>::draft(tables) {
        // SAFETY: this CPU's own, in which the flow was begun. Read like this the pointer need not be kept,
        // for which there is no room.
        unsafe {
            sample.service = (*draft.as_ptr()).forward.service;
            sample.backend = (*draft.as_ptr()).forward.backend;
        }
    }
    tables.tell(sample);
}

/// Tells that a backend did not answer, and another is tried.
#[inline(always)]
pub fn unanswered<A: Family, P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    key: &FlowKey<A>,
    service: u32,
    backend: BackendRef,
) {
    if let Some(mut sample) = sample(packet, tables, key, Event::AnotherTried as u32) {
        // SAFETY: this CPU's own, and asked for once a packet at a time.
        let sample = unsafe { sample.as_mut() };
        sample.service = service;
        sample.backend = backend;
        tables.tell(sample);
    }
}

/// Room with what every packet has, and no backend, if it is to be told of this one.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the version is 4 or 6")]
fn sample<A: Family, P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    key: &FlowKey<A>,
    what: u32,
) -> Option<NonNull<Sample>> {
    if !tables.tells() {
        return None;
    }
    let mut room = tables.sample()?;
    // SAFETY: as above.
    let sample = unsafe { room.as_mut() };
    sample.source = key.source.to_mapped();
    sample.destination = key.destination.to_mapped();
    sample.ifindex = packet.ifindex();
    sample.what = what;
    sample.service = 0;
    sample.backend = BackendRef { id: 0, generation: 0 };
    sample.source_port = key.source_port;
    sample.destination_port = key.destination_port;
    sample.protocol = key.protocol;
    sample.hook = key.role;
    sample.version = A::VERSION as u8;
    Some(room)
}
