//! What becomes of a packet, while it is still being worked on.
//!
//! A [`Verdict`] carries an interface in some of its variants and nothing in the others. Held across
//! a helper's call, the compiler keeps that number on the stack, writes it only where there is one,
//! and reads it back everywhere. Before Linux 6.3 (kernel commit 6715df8d5d24, "bpf: Allow reads from
//! uninit stack") the verifier refuses that: "invalid read from stack R10 off=-216 size=4". In a register it
//! calculates with whatever is there, which may be a pointer: "R8 pointer arithmetic with <<= operator
//! prohibited", on every kernel. Hence a fate is one number, always defined, and the interface is kept apart, and in
//! memory: [`Interface`].

use crate::verdict::{PassReason, Stage, Verdict};

/// A [`Verdict`] without the interface.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Fate {
    /// Untouched, to whoever comes next; see [`PassReason`].
    PassNotIp = 0,
    /// See there.
    PassNotOurs = 1,
    /// See there.
    PassFragment = 2,
    /// See there.
    PassProtocol = 3,
    /// See there.
    PassDeclined = 4,
    /// Translated, to the kernel's stack.
    Stack = 16,
    /// Translated and addressed, out of the [`Interface`].
    Transmit = 17,
    /// Translated, out of the [`Interface`]; the kernel finds the neighbour.
    Resolve = 18,
    /// Translated and addressed, to the bridge that it came in by.
    Switch = 23,
    /// Translated and addressed, as if it had come in over the [`Interface`].
    Inject = 53,
    /// To be gone on with by another [`Stage`].
    LaterWhole = 64,
    /// The same.
    LaterErrors = 65,
    /// The same.
    LaterBegin = 66,
    /// The same.
    LaterHost = 67,
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
    /// Left untouched for a reason.
    #[inline(always)]
    pub const fn pass(reason: PassReason) -> Self {
        match reason {
            PassReason::NotIp => Self::PassNotIp,
            PassReason::NotOurs => Self::PassNotOurs,
            PassReason::Fragment => Self::PassFragment,
            PassReason::Protocol => Self::PassProtocol,
            PassReason::Declined => Self::PassDeclined,
        }
    }

    /// The stage that goes on with it, if one does.
    #[inline(always)]
    pub const fn stage(self) -> Option<Stage> {
        match self {
            Self::LaterWhole => Some(Stage::Whole),
            Self::LaterErrors => Some(Stage::Errors),
            Self::LaterBegin => Some(Stage::Begin),
            Self::LaterHost => Some(Stage::Host),
            _ => None,
        }
    }

    /// The counter of this outcome.
    #[inline(always)]
    pub const fn counter(self) -> u32 {
        self as u32
    }

    /// The verdict. Only to be made when nothing follows but carrying it out.
    #[inline(always)]
    pub fn verdict(self, interface: &Interface) -> Verdict {
        match self {
            Self::PassNotIp => Verdict::Pass(PassReason::NotIp),
            Self::PassNotOurs => Verdict::Pass(PassReason::NotOurs),
            Self::PassFragment => Verdict::Pass(PassReason::Fragment),
            Self::PassProtocol => Verdict::Pass(PassReason::Protocol),
            Self::PassDeclined => Verdict::Pass(PassReason::Declined),
            Self::Stack => Verdict::Stack,
            Self::Switch => Verdict::Switch,
            Self::Transmit => Verdict::Transmit(interface.get()),
            Self::Resolve => Verdict::Resolve(interface.get()),
            Self::Inject => Verdict::Inject(interface.get()),
            Self::LaterWhole => Verdict::Later(Stage::Whole),
            Self::LaterErrors => Verdict::Later(Stage::Errors),
            Self::LaterBegin => Verdict::Later(Stage::Begin),
            Self::LaterHost => Verdict::Later(Stage::Host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fate_is_counted_like_its_verdict() {
        for fate in [
            Fate::PassNotIp,
            Fate::PassNotOurs,
            Fate::PassFragment,
            Fate::PassProtocol,
            Fate::PassDeclined,
            Fate::Stack,
            Fate::Switch,
            Fate::Transmit,
            Fate::Resolve,
            Fate::Inject,
        ] {
            assert_eq!(fate.counter(), fate.verdict(&Interface::none()).counter());
            assert!(fate.stage().is_none());
        }
    }
}
