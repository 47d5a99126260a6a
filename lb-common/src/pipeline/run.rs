//! All stages one after the other, in ordinary memory: in the kernel each is a program of its own.

use super::{Tables, answer, errors, first, hold, open, release, whole};
use crate::{
    hook::Hook,
    packet::Packet,
    verdict::{DropReason, Stage, Verdict},
};

/// Goes through all stages, as the kernel's programs do by tail calls. `now` is in jiffies.
pub fn run<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    hook: Hook,
    now: u32,
) -> Result<Verdict, DropReason> {
    let mut hook = hook;
    let mut outcome = first(packet, tables, hook, now);
    // As often as the kernel allows.
    for _ in 0..TAIL_CALLS {
        outcome = match outcome {
            Ok(Verdict::Later(Stage::Whole)) => whole(packet, tables, hook, now),
            Ok(Verdict::Later(Stage::Begin)) => open(packet, tables, hook, now),
            Ok(Verdict::Later(Stage::Host)) => {
                hook = Hook::HostOut;
                whole(packet, tables, hook, now)
            }
            Ok(Verdict::Later(Stage::Hold)) => hold(packet, tables, hook, now),
            Ok(Verdict::Later(Stage::Release)) => release(packet, tables, hook, now),
            Ok(Verdict::Later(Stage::Errors)) => errors(packet, tables, hook, now),
            Err(reason) if reason.notice().is_some() => {
                return answer(packet, tables, hook, now, reason);
            }
            outcome => return outcome,
        };
    }
    outcome
}

/// How often the kernel goes from one program to another.
const TAIL_CALLS: u32 = 32;
