//! What becomes of a packet, while it is still being worked on.
//!
//! A [`Verdict`] carries an interface in some of its variants and nothing in the others. Held across
//! a helper's call, the compiler keeps that number on the stack, writes it only where there is one,
//! and reads it back everywhere. Before Linux 6.3 (kernel commit 6715df8d5d24, "bpf: Allow reads from
//! uninit stack") the verifier refuses that: "invalid read from stack R10 off=-216 size=4". In a register it
//! calculates with whatever is there, which may be a pointer: "R8 pointer arithmetic with <<= operator
//! prohibited", on every kernel. Hence a fate is one number, always defined, and the interface is kept apart, and in
//! memory: [`Interface`].

use crate::{
    packet::{Packet, Settled},
    verdict::{PassReason, Stage, Verdict},
};

/// A [`Verdict`] without the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate(u32);

impl Fate {
    /// Untouched, to whoever comes next; see [`PassReason`].
    pub const PASS_NOT_IP: Self = Self(PassReason::NotIp as u32);
    /// See there.
    pub const PASS_NOT_OURS: Self = Self(PassReason::NotOurs as u32);
    /// See there.
    pub const PASS_FRAGMENT: Self = Self(PassReason::Fragment as u32);
    /// See there.
    pub const PASS_PROTOCOL: Self = Self(PassReason::Protocol as u32);
    /// Translated, to the kernel's stack.
    pub const STACK: Self = Self(Verdict::Stack.counter());
    /// Translated and addressed, out of the [`Interface`].
    pub const TRANSMIT: Self = Self(Verdict::Transmit(0).counter());
    /// Translated, out of the [`Interface`]; the kernel finds the neighbour.
    pub const RESOLVE: Self = Self(Verdict::Resolve(0).counter());
    /// Translated and addressed, to the bridge that it came in by.
    pub const SWITCH: Self = Self(Verdict::Switch.counter());
    /// Translated and addressed, as if it had come in over the [`Interface`].
    pub const INJECT: Self = Self(Verdict::Inject(0).counter());
    /// To be gone on with by another [`Stage`].
    pub const LATER_WHOLE: Self = Self(64);
    /// The same.
    pub const LATER_ERRORS: Self = Self(65);
    /// The same.
    pub const LATER_BEGIN: Self = Self(66);
    /// The same.
    pub const LATER_HOST: Self = Self(67);
    /// The same.
    pub const LATER_HOLD: Self = Self(68);
    /// The same.
    pub const LATER_RELEASE: Self = Self(69);
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
        Self(reason as u32)
    }

    /// The same fate, with what its packet's interface is, as if all had come about in one way; see
    /// [`Packet::settle`]. Not where every nanosecond counts.
    #[inline(always)]
    pub fn settled<P: Packet>(self, packet: &P, interface: &mut Interface) -> Self {
        let Settled(fate, ifindex, _) = packet.settle(Settled(self.0, interface.get(), 0));
        interface.set(ifindex);
        Self(fate)
    }

    /// The stage that goes on with it, if one does.
    #[inline(always)]
    pub const fn stage(self) -> Option<Stage> {
        match self {
            Self::LATER_WHOLE => Some(Stage::Whole),
            Self::LATER_ERRORS => Some(Stage::Errors),
            Self::LATER_BEGIN => Some(Stage::Begin),
            Self::LATER_HOST => Some(Stage::Host),
            Self::LATER_HOLD => Some(Stage::Hold),
            Self::LATER_RELEASE => Some(Stage::Release),
            _ => None,
        }
    }

    /// The counter of this outcome.
    #[inline(always)]
    pub const fn counter(self) -> u32 {
        self.0
    }

    /// The verdict. Only to be made when nothing follows but carrying it out.
    #[inline(always)]
    pub fn verdict(self, interface: &Interface) -> Verdict {
        match self {
            Self::PASS_NOT_IP => Verdict::Pass(PassReason::NotIp),
            Self::PASS_NOT_OURS => Verdict::Pass(PassReason::NotOurs),
            Self::PASS_FRAGMENT => Verdict::Pass(PassReason::Fragment),
            Self::PASS_PROTOCOL => Verdict::Pass(PassReason::Protocol),
            Self::STACK => Verdict::Stack,
            Self::SWITCH => Verdict::Switch,
            Self::TRANSMIT => Verdict::Transmit(interface.get()),
            Self::RESOLVE => Verdict::Resolve(interface.get()),
            Self::INJECT => Verdict::Inject(interface.get()),
            Self::LATER_WHOLE => Verdict::Later(Stage::Whole),
            Self::LATER_ERRORS => Verdict::Later(Stage::Errors),
            Self::LATER_BEGIN => Verdict::Later(Stage::Begin),
            Self::LATER_HOST => Verdict::Later(Stage::Host),
            Self::LATER_HOLD => Verdict::Later(Stage::Hold),
            Self::LATER_RELEASE => Verdict::Later(Stage::Release),
            // There is no other.
            _ => Verdict::Pass(PassReason::Declined),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fate_is_counted_like_its_verdict() {
        for fate in [
            Fate::PASS_NOT_IP,
            Fate::PASS_NOT_OURS,
            Fate::PASS_FRAGMENT,
            Fate::PASS_PROTOCOL,
            Fate::pass(PassReason::Declined),
            Fate::STACK,
            Fate::SWITCH,
            Fate::TRANSMIT,
            Fate::RESOLVE,
            Fate::INJECT,
        ] {
            assert_eq!(fate.counter(), fate.verdict(&Interface::none()).counter());
            assert!(fate.stage().is_none());
        }
    }
}
