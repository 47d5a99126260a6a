//! What becomes of a packet, while it is still being worked on.
//!
//! A [`Verdict`] carries an interface in some of its variants and nothing in the others. Held across
//! a helper's call, the compiler keeps that number on the stack, writes it only where there is one,
//! and reads it back everywhere. Before Linux 6.3 (kernel commit 6715df8d5d24, "bpf: Allow reads from
//! uninit stack") the verifier refuses that: "invalid read from stack R10 off=-216 size=4". Hence the
//! number is kept apart from the fate, and in memory: [`Interface`]. May go with the last such kernel.

use crate::verdict::{PassReason, Stage, Verdict};

/// A [`Verdict`] without the interface.
#[derive(Clone, Copy)]
pub enum Fate {
    /// Untouched, to whoever comes next.
    Pass(PassReason),
    /// Translated, to the kernel's stack.
    Stack,
    /// Translated and addressed, out of the [`Interface`].
    Transmit,
    /// Translated, out of the [`Interface`]; the kernel finds the neighbour.
    Resolve,
    /// To be gone on with by another stage.
    Later(Stage),
}

/// Index of the interface that a packet leaves by.
pub struct Interface(u32);

impl Interface {
    /// Not known yet.
    #[inline(always)]
    pub const fn none() -> Self {
        Self(0)
    }

    /// It is this one.
    #[inline(always)]
    pub fn set(&mut self, ifindex: u32) {
        // SAFETY: of a reference. Volatile, so that it is a word of memory and no register.
        unsafe { core::ptr::write_volatile(&raw mut self.0, ifindex) }
    }

    #[inline(always)]
    fn get(&self) -> u32 {
        // SAFETY: of a reference; see `set`.
        unsafe { core::ptr::read_volatile(&raw const self.0) }
    }
}

impl Fate {
    /// The counter of this outcome.
    #[inline(always)]
    pub const fn counter(self) -> u32 {
        match self {
            Self::Pass(reason) => Verdict::Pass(reason).counter(),
            Self::Stack => Verdict::Stack.counter(),
            Self::Transmit => Verdict::Transmit(0).counter(),
            Self::Resolve => Verdict::Resolve(0).counter(),
            Self::Later(stage) => Verdict::Later(stage).counter(),
        }
    }

    /// The verdict. Only to be made when nothing follows but carrying it out.
    #[inline(always)]
    pub fn verdict(self, interface: &Interface) -> Verdict {
        match self {
            Self::Pass(reason) => Verdict::Pass(reason),
            Self::Stack => Verdict::Stack,
            Self::Transmit => Verdict::Transmit(interface.get()),
            Self::Resolve => Verdict::Resolve(interface.get()),
            Self::Later(stage) => Verdict::Later(stage),
        }
    }
}
