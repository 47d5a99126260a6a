//! Fragments that come before their packet's first one: they are held, and come in once more behind it.
//!
//! Who holds one leaves a mark where the first will note its ports, holds it, and looks once more whether
//! the first came meanwhile. The first finds the mark when it notes its ports. So of two CPUs one sees the other.

use super::{
    Family, FamilyTables, Tables, ether_type,
    parse::{self, fragment_key},
};
use crate::{
    addr::{Ipv4, Ipv6},
    hook::Hook,
    packet::Packet,
    tables::{FragmentKey, Fragmented, Held, HeldKey},
    verdict::{DropReason, Event, Stage, Verdict},
    wire::EtherType,
};

/// The stage of a fragment whose packet's first one was not seen: holds it, within a bound.
#[inline(always)]
pub fn hold<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    hook: Hook,
    now: u32,
) -> Result<Verdict, DropReason> {
    let outcome = match ether_type(packet) {
        Some(EtherType::IPV4) => put::<Ipv4, P, T>(packet, tables, hook, now),
        Some(EtherType::IPV6) => put::<Ipv6, P, T>(packet, tables, hook, now),
        _ => None,
    };
    let outcome = outcome.ok_or(DropReason::FragmentAlone);
    match outcome {
        Ok(Verdict::Later(_)) => {}
        Ok(verdict) => tables.count(verdict.counter()),
        Err(reason) => tables.count(reason as u32),
    }
    outcome
}

#[inline(always)]
fn put<A: Family, P: Packet, T: Tables + FamilyTables<A>>(
    packet: &P,
    tables: &T,
    hook: Hook,
    now: u32,
) -> Option<Verdict> {
    let key = key::<A, P>(packet, hook)?;
    let mut room = tables.room()?;
    // SAFETY: this CPU's own, and asked for only here.
    let held = unsafe { room.as_mut() };
    held.seen = now;
    if !packet.save(held) {
        return None;
    }
    let awaited = Fragmented::awaited(now);
    if !tables.claim_fragmented(&key, &awaited)
        && tables.fragmented(&key).is_some_and(|first| first.is_over(now, tables.touch_interval()))
    {
        tables.set_fragmented(&key, &awaited);
    }
    let mut place = HeldKey::first(mapped(&key));
    for slot in 0..Held::SLOTS {
        place.slot = slot;
        if !tables.hold(&place, held) {
            let is_left_behind = tables.held(&place).is_some_and(|other| {
                // SAFETY: an entry that was just found; a 4-byte read.
                let seen = unsafe { (&raw const (*other.as_ptr()).seen).read() };
                !is_fresh(tables, seen, now)
            });
            if !is_left_behind || !tables.release(&place) || !tables.hold(&place, held) {
                continue;
            }
        }
        let has_come = tables.fragmented(&key).is_some_and(|first| !first.is_awaited());
        if has_come && tables.release(&place) {
            return Some(Verdict::Later(Stage::Whole));
        }
        return Some(Verdict::Held);
    }
    None
}

/// The stage of a first fragment for which others wait: it comes in once more, and they behind it.
#[inline(always)]
pub fn release<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    hook: Hook,
    now: u32,
) -> Result<Verdict, DropReason> {
    let key = match ether_type(packet) {
        Some(EtherType::IPV4) => key::<Ipv4, P>(packet, hook).map(|key| mapped(&key)),
        Some(EtherType::IPV6) => key::<Ipv6, P>(packet, hook),
        _ => None,
    };
    if !packet.come_in_again() {
        tables.count(DropReason::Unwritable as u32);
        return Err(DropReason::Unwritable);
    }
    if let Some(key) = key {
        let mut place = HeldKey::first(key);
        for slot in 0..Held::SLOTS {
            place.slot = slot;
            let Some(held) = tables.held(&place) else { continue };
            // SAFETY: an entry that was just found. Should it be another's by now, `release` fails, and what
            // was made of the packet goes nowhere.
            let held = unsafe { held.as_ref() };
            let fresh = is_fresh(tables, held.seen, now);
            let whole = packet.restore(held);
            if tables.release(&place) && fresh && whole && packet.come_in_again() {
                tables.count(Event::FragmentReleased as u32);
            }
        }
    }
    Ok(Verdict::Again)
}

/// Whether one that came then is still to go on. It is another packet's if its identification is used again.
#[inline(always)]
fn is_fresh<T: Tables>(tables: &T, seen: u32, now: u32) -> bool {
    now.wrapping_sub(seen) < tables.touch_interval()
}

#[inline(always)]
fn key<A: Family, P: Packet>(packet: &P, hook: Hook) -> Option<FragmentKey<A>> {
    let ip = parse::settled(packet, A::read_whole(packet).ok()?);
    Some(fragment_key(hook, ip.source, ip.destination, ip.identification))
}

#[inline(always)]
fn mapped<A: Family>(key: &FragmentKey<A>) -> FragmentKey<Ipv6> {
    FragmentKey {
        source: key.source.to_mapped(),
        destination: key.destination.to_mapped(),
        identification: key.identification,
        role: key.role,
    }
}
