//! What this CPU counts, and what it tells of single packets.

use core::ptr::NonNull;

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    helpers::generated::{bpf_get_prandom_u32, bpf_ktime_get_ns},
};
use lb_common::{
    tables::{Sample, Traffic},
    verdict::Event,
};

use crate::maps::{BACKEND_STATS, COUNTERS, EVENTS, SAMPLE};

/// Adds one to a counter.
#[inline(always)]
pub fn count(counter: u32) {
    if let Some(counter) = COUNTERS.get_ptr_mut(counter) {
        // SAFETY: this CPU's own number.
        unsafe { *counter += 1 }
    }
}

/// What was counted of a backend.
#[inline(always)]
fn traffic(backend: u32) -> Option<*mut Traffic> {
    let (chunk, within) = Traffic::position(backend);
    let chunk = BACKEND_STATS.get_ptr_mut(chunk)?.cast::<Traffic>();
    // SAFETY: `within` is less than the chunk's length.
    Some(unsafe { chunk.add(within as usize) })
}

/// A packet to or from a backend.
#[inline(always)]
pub fn packet(backend: u32, bytes: u32) {
    if let Some(traffic) = traffic(backend) {
        // SAFETY: this CPU's own numbers.
        unsafe {
            (*traffic).packets += 1;
            (*traffic).bytes += u64::from(bytes);
        }
    }
}

/// A flow that began with a backend.
#[inline(always)]
pub fn flow(backend: u32) {
    if let Some(traffic) = traffic(backend) {
        // SAFETY: this CPU's own number.
        unsafe { (*traffic).flows += 1 }
    }
}

/// A connection that a backend did not answer.
#[inline(always)]
pub fn unanswered(backend: u32) {
    if let Some(traffic) = traffic(backend) {
        // SAFETY: this CPU's own number.
        unsafe { (*traffic).unanswered += 1 }
    }
}

/// Whether it is to be told of a packet, if it is of one in so many; 0: of none.
#[inline(always)]
pub fn tells(every: u32) -> bool {
    // SAFETY: takes nothing, touches nothing.
    every != 0 && (unsafe { bpf_get_prandom_u32() }) % every == 0
}

/// Room for what is told, with the time in it.
#[inline(always)]
pub fn room() -> Option<NonNull<Sample>> {
    let sample = NonNull::new(SAMPLE.get_ptr_mut(0)?)?;
    // SAFETY: this CPU's own; the helper takes nothing.
    unsafe { (*sample.as_ptr()).time = bpf_ktime_get_ns() }
    Some(sample)
}

/// Tells it.
#[inline(always)]
pub fn tell(sample: &Sample) {
    // Nobody waits for one: the reader looks every now and then.
    if EVENTS.output::<Sample>(sample, u64::from(BPF_RB_NO_WAKEUP)).is_err() {
        count(Event::EventsLost as u32);
    }
}
