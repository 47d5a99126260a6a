//! What can become of a packet, and the number under which each outcome is counted.

mod counters;

pub use counters::{COUNTER_INFO, COUNTERS, CounterInfo};

use crate::hook::Hook;

/// What the hook is to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Untouched, to whoever comes next.
    Pass(PassReason),
    /// Translated, to the kernel's stack.
    Stack,
    /// Translated and addressed, to the bridge that it came in by.
    Switch,
    /// Translated and addressed, out of the interface with this index.
    Transmit(u32),
    /// Translated, out of the interface with this index; the kernel finds the neighbour.
    Resolve(u32),
    /// Translated and addressed, as if it had come in over the interface with this index.
    Inject(u32),
    /// A fragment that waits for its packet's first one.
    Held,
    /// It comes in once more, and what waited for it behind it. No outcome: nothing is counted.
    Again,
    /// Not translated: made into an answer to its sender, back to where it came from.
    Answer(Answer),
    /// To be gone on with by another stage. No outcome: nothing is counted.
    Later(Stage),
}

impl Verdict {
    /// Whether the packet goes to another interface by itself.
    #[inline(always)]
    pub const fn is_sent_on(self) -> bool {
        matches!(self, Self::Transmit(_) | Self::Resolve(_) | Self::Inject(_))
    }
}

/// What a sender is answered whose packet was not taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Answer {
    /// A TCP reset, or an SCTP ABORT.
    Reset = 19,
    /// ICMP: port unreachable.
    Unreachable = 20,
    /// ICMP: time exceeded.
    TimeExceeded = 21,
    /// ICMP: fragmentation needed, or packet too big.
    TooBig = 22,
    /// ICMP: the reply to an echo request.
    Echo = 30,
}

/// What follows the first look at a packet. In the kernel each is a program, reached by a tail call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stage {
    /// The whole way, for what begins a flow and for headers that are out of the ordinary.
    Whole = 0,
    /// An answer to the sender of what is dropped.
    Answer = 1,
    /// ICMP.
    Errors = 2,
    /// The beginning of a flow.
    Begin = 3,
    /// The checksum of SCTP, when all else is done.
    Sctp = 4,
    /// The whole way of what a socket of this node sends: from here on at [`Hook::HostOut`].
    Host = 5,
    /// The holding of a fragment that came before its packet's first one.
    Hold = 6,
    /// The release of those that waited for this one.
    Release = 7,
}

/// How many hooks there are.
const HOOKS: u32 = 5;

const _: () = assert!(Hook::ALL.len() == HOOKS as usize);

impl Stage {
    /// How many places there are for their programs.
    pub const PLACES: u32 = 8 * HOOKS;

    /// The place of its program for a hook.
    #[inline(always)]
    pub const fn place(self, hook: Hook) -> u32 {
        self as u32 * HOOKS + (hook as u32 - 1)
    }
}

/// Why a packet was left untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PassReason {
    /// Neither IPv4 nor IPv6, or too short for its headers.
    NotIp = 0,
    /// No frontend, no backend, no flow: not a service's packet.
    NotOurs = 1,
    /// A fragment, which has no ports to look at.
    Fragment = 2,
    /// Neither TCP, UDP nor SCTP, or behind headers that are not walked.
    Protocol = 3,
    /// A service's packet that this hook can't finish; the next one does.
    Declined = 4,
}

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum DropReason {
    /// The service has no endpoint to send to.
    NoBackend = 32,
    /// The endpoint of this flow was removed.
    BackendGone = 33,
    /// No source port was free for the way to this endpoint.
    SourcePortsExhausted = 34,
    /// The flow could not be remembered.
    FlowTableFull = 35,
    /// The kernel has no route for the translated packet.
    NoRoute = 36,
    /// The kernel does not forward on the interface that the packet came in on.
    ForwardingOff = 37,
    /// The way to the endpoint leaves over an interface that is no uplink of ours.
    EgressUnmanaged = 38,
    /// The interface to the endpoint has no address to send from.
    NoSourceAddress = 39,
    /// The packet may not be forwarded any further.
    TtlExpired = 40,
    /// The packet is larger than what the egress interface can carry.
    TooBig = 41,
    /// A header that was there before could not be written.
    Unwritable = 42,
    /// The program of the next stage is not there.
    NoStage = 43,
    /// A fragment to a Service whose first fragment was not seen, and that could not be held.
    FragmentAlone = 44,
    /// The service has endpoints, but its traffic policy leaves none on this node.
    NoLocalBackend = 48,
    /// The client is not of the ranges that the service admits.
    NotAdmitted = 49,
    /// A Service's address, but none of its ports.
    UnknownPort = 50,
    /// An address of the range of cluster IPs that no Service has.
    UnallocatedAddress = 51,
}

/// How the sender of a dropped packet is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// That nobody listens: a reset over TCP, an ABORT over SCTP, else port unreachable.
    Refusal,
    /// That the connection is over: a reset over TCP, an ABORT over SCTP.
    Reset,
    /// That it was forwarded too often.
    TimeExceeded,
    /// How long it may be.
    TooBig,
}

impl DropReason {
    /// How the sender is told; `None`: not at all.
    #[inline(always)]
    pub const fn notice(self) -> Option<Notice> {
        match self {
            Self::NoBackend | Self::UnknownPort => Some(Notice::Refusal),
            Self::BackendGone => Some(Notice::Reset),
            Self::TtlExpired => Some(Notice::TimeExceeded),
            Self::TooBig => Some(Notice::TooBig),
            _ => None,
        }
    }

    /// The reason with this number, if its sender is told.
    #[inline(always)]
    pub const fn told(number: u32) -> Option<Self> {
        match number {
            32 => Some(Self::NoBackend),
            33 => Some(Self::BackendGone),
            40 => Some(Self::TtlExpired),
            41 => Some(Self::TooBig),
            50 => Some(Self::UnknownPort),
            _ => None,
        }
    }
}

/// What happened beside a packet's own outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Event {
    /// A flow was created.
    FlowCreated = 24,
    /// A flow moved to the table that evicts nothing.
    FlowGraduated = 25,
    /// A flow could not move there because that table is full.
    GraduationFull = 26,
    /// A source port was found only after several tries.
    PortSearchLong = 27,
    /// A sender was not answered because too many were lately.
    AnswerLimited = 28,
    /// An ICMP error about a packet of a flow was translated.
    ErrorTranslated = 29,
    /// Another backend was tried, because one did not answer the first SYN.
    AnotherTried = 31,
    /// A client was told, by a packet of its backend made a reset, that the backend is gone.
    ClientTold = 52,
    /// What was to be told of a packet found no room in the ring buffer.
    EventsLost = 54,
    /// A fragment that waited for its packet's first one came in once more behind it.
    FragmentReleased = 56,
    /// A socket was given an endpoint when it connected, or sent to a Service for the first time.
    SocketTranslated = 57,
    /// A process of the node was refused a node port.
    BindRefused = 58,
}

impl Verdict {
    /// The counter of this outcome.
    #[inline(always)]
    pub const fn counter(self) -> u32 {
        match self {
            Self::Pass(reason) => reason as u32,
            Self::Stack => 16,
            Self::Switch => 23,
            Self::Transmit(_) => 17,
            Self::Resolve(_) => 18,
            Self::Inject(_) => 53,
            Self::Answer(answer) => answer as u32,
            Self::Held => 55,
            // Counted by nobody.
            Self::Again | Self::Later(_) => COUNTERS,
        }
    }

    /// The interface of one that is sent out of it, else 0.
    #[inline(always)]
    pub const fn ifindex(self) -> u32 {
        match self {
            Self::Transmit(ifindex) | Self::Resolve(ifindex) | Self::Inject(ifindex) => ifindex,
            _ => 0,
        }
    }

    /// The verdict on a translated packet with this counter and interface.
    #[inline(always)]
    pub const fn translated(counter: u32, ifindex: u32) -> Option<Self> {
        match counter {
            16 => Some(Self::Stack),
            17 => Some(Self::Transmit(ifindex)),
            18 => Some(Self::Resolve(ifindex)),
            23 => Some(Self::Switch),
            53 => Some(Self::Inject(ifindex)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_certain_not_to_be_there_is_refused() {
        for refused in [DropReason::NoBackend, DropReason::UnknownPort] {
            assert_eq!(refused.notice(), Some(Notice::Refusal));
            assert_eq!(DropReason::told(refused as u32), Some(refused));
        }
        for silent in [
            DropReason::NoLocalBackend,
            DropReason::NotAdmitted,
            DropReason::UnallocatedAddress,
            DropReason::NoRoute,
        ] {
            assert_eq!(silent.notice(), None, "{silent:?}");
            assert_eq!(DropReason::told(silent as u32), None);
        }
    }

    #[test]
    fn a_verdict_on_a_translated_packet_is_known_by_its_counter() {
        for verdict in [
            Verdict::Stack,
            Verdict::Switch,
            Verdict::Transmit(7),
            Verdict::Resolve(8),
            Verdict::Inject(9),
        ] {
            assert_eq!(Verdict::translated(verdict.counter(), verdict.ifindex()), Some(verdict));
        }
        assert_eq!(Verdict::translated(Verdict::Answer(Answer::Echo).counter(), 0), None);
    }
}
