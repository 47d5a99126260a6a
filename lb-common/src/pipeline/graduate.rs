//! How a flow gets into the generation that evicts nothing, and how halves that were evicted before
//! that are put right. Whether a flow still goes is `flow.rs`.

use super::{Family, FamilyTables, FlowRef, Generation, Tables, flow::reverse_key, parse::Parsed};
use crate::{
    hook::Hook,
    tables::{Emit, FlowKey, Half, State},
    verdict::Event,
    wire::TcpFlags,
};

/// Packets of the client that must follow a reply before a flow without a handshake graduates.
pub const PACKETS_TO_GRADUATE: u8 = 3;

/// Moves a flow to the generation that evicts nothing, once its client has proven itself: by
/// acknowledging the SYN-ACK (a spoofed flood never sees it), or by going on after a reply.
///
/// Both halves are written there before either is removed here, so that a lookup finds one always.
/// The reverse half goes first: if there is room for it alone, the forward half stays where it is
/// and tries again, and neither is lost.
#[inline(always)]
pub fn graduate<A: Family, T: Tables + FamilyTables<A>>(
    tables: &T,
    hook: Hook,
    parsed: &Parsed<A>,
    key: &FlowKey<A>,
    flow: FlowRef<A>,
) {
    let reverse_key = reverse_key(hook, flow, key);
    let Some(reverse) = tables.find(&reverse_key) else {
        if hook == Hook::HostOut {
            // Where its replies come in only a first packet says.
            tables.remove_new(key);
            return;
        }
        restore_reverse(tables, key, flow, &reverse_key);
        return;
    };
    if !reverse.answers(key) {
        // The backend can't tell the two flows apart; the next packet begins anew, with another
        // source port.
        tables.remove_new(key);
        return;
    }
    if !has_proven_itself(tables, parsed, flow, reverse) {
        return;
    }
    let reverse_moved =
        reverse.generation == Generation::Established || tables.establish(&reverse_key, reverse);
    if !reverse_moved || !tables.establish(key, flow) {
        tables.count(Event::GraduationFull as u32);
        return;
    }
    tables.remove_new(key);
    tables.remove_new(&reverse_key);
    tables.count(Event::FlowGraduated as u32);
}

/// Makes the reverse half, which was evicted, again from the forward half. Without it the client
/// would never see a reply again, and its packets would keep the forward half alive.
#[inline(always)]
fn restore_reverse<A: Family, T: FamilyTables<A>>(
    tables: &T,
    key: &FlowKey<A>,
    flow: FlowRef<A>,
    reverse_key: &FlowKey<A>,
) {
    let Some(mut draft) = tables.draft() else {
        return;
    };
    // SAFETY: `draft` is this CPU's own, and `flow` isn't in it: a fresh flow never gets here.
    let reverse = unsafe { &mut draft.as_mut().reverse };
    reverse.source = key.destination;
    reverse.destination = key.source;
    reverse.source_port = key.destination_port;
    reverse.destination_port = key.source_port;
    reverse.address_delta = flow.address_delta().inverse();
    reverse.port_delta = flow.port_delta().inverse();
    reverse.backend = flow.backend();
    reverse.service = flow.service();
    reverse.last_seen = flow.last_seen();
    reverse.sequence = 0;
    reverse.half = Half::Reverse as u8;
    reverse.emit = if flow.emits(Emit::Switch) { Emit::Stack as u8 } else { flow.emit() };
    reverse.state = 0;
    reverse.packets = 0;
    reverse.egress.clear();
    // If it is taken, another CPU was faster, or another flow has the reply's tuple by now.
    let _ = tables.claim(reverse_key, reverse);
}

#[inline(always)]
fn has_proven_itself<A: Family, T: Tables>(
    tables: &T,
    parsed: &Parsed<A>,
    flow: FlowRef<A>,
    reverse: FlowRef<A>,
) -> bool {
    let state = reverse.state();
    if state & State::REPLIED == 0 {
        return false;
    }
    if parsed.has_handshake {
        return state & State::ACCEPTED != 0
            && parsed.flags.any(TcpFlags::ACK)
            && parsed.acknowledgment == reverse.sequence().wrapping_add(1);
    }
    if flow.packets() < PACKETS_TO_GRADUATE {
        flow.add_packet();
        return false;
    }
    tables.graduates_udp()
}
