//! The counters: a number, a name and a line for each thing that is counted.

use super::{Answer, DropReason, Event, PassReason, Verdict};

/// How many counters there are (each a 64-bit number for every CPU).
pub const COUNTERS: u32 = 64;

/// A counter's number, its name in tables and metrics, and what it means.
#[derive(Clone, Copy, Debug)]
pub struct CounterInfo {
    /// Index into the counters.
    pub index: u32,
    /// Name, unique, `snake_case`.
    pub name: &'static str,
    /// One line for people.
    pub help: &'static str,
}

const fn info(index: u32, name: &'static str, help: &'static str) -> CounterInfo {
    CounterInfo { index, name, help }
}

/// Every counter that the programs count.
pub const COUNTER_INFO: [CounterInfo; 45] = [
    info(PassReason::NotIp as u32, "pass_not_ip", "left alone: not IP, or cut short"),
    info(PassReason::NotOurs as u32, "pass_not_ours", "left alone: no service's packet"),
    info(PassReason::Fragment as u32, "pass_fragment", "left alone: fragment"),
    info(PassReason::Protocol as u32, "pass_protocol", "left alone: neither TCP, UDP nor SCTP"),
    info(PassReason::Declined as u32, "pass_declined", "handed by XDP to TC"),
    info(Verdict::Stack.counter(), "translated_stack", "translated, then routed by the kernel"),
    info(
        Verdict::Switch.counter(),
        "translated_switch",
        "translated, then switched by a bridge past the packet filters",
    ),
    info(Verdict::Transmit(0).counter(), "translated_transmit", "translated and sent on at once"),
    info(
        Verdict::Resolve(0).counter(),
        "translated_resolve",
        "translated and sent on; the kernel found the neighbour",
    ),
    info(
        Verdict::Inject(0).counter(),
        "translated_inject",
        "translated for a socket of this node, to which it comes in where its requests leave",
    ),
    info(Answer::Reset as u32, "answer_reset", "answered with a TCP reset or an SCTP ABORT"),
    info(Answer::Unreachable as u32, "answer_unreachable", "answered: port unreachable"),
    info(Answer::TimeExceeded as u32, "answer_time_exceeded", "answered: time exceeded"),
    info(Answer::TooBig as u32, "answer_too_big", "answered: too big for the way out"),
    info(Answer::Echo as u32, "answer_echo", "echo requests to Services that were answered"),
    info(
        Event::AnotherTried as u32,
        "another_tried",
        "connections that went to another endpoint because theirs did not answer",
    ),
    info(Event::EventsLost as u32, "events_lost", "events that lb events did not read in time"),
    info(
        Event::ClientTold as u32,
        "client_told",
        "clients that were told by a packet of their endpoint, made a reset, that it was removed",
    ),
    info(
        Verdict::Held.counter(),
        "fragment_held",
        "fragments to Services that came before their first, and waited for it",
    ),
    info(
        Event::FragmentReleased as u32,
        "fragment_released",
        "of these, the ones that came in once more behind it",
    ),
    info(
        Event::AnswerLimited as u32,
        "answer_limited",
        "not answered, because too many were answered lately",
    ),
    info(
        Event::SocketTranslated as u32,
        "socket_translated",
        "sockets that were given an endpoint when they connected, or first sent to a Service",
    ),
    info(Event::BindRefused as u32, "bind_refused", "processes that were refused a node port"),
    info(Event::ErrorTranslated as u32, "error_translated", "ICMP errors about packets of flows"),
    info(Event::FlowCreated as u32, "flow_created", "flows begun"),
    info(
        Event::FlowGraduated as u32,
        "flow_graduated",
        "flows moved to the table without eviction",
    ),
    info(
        Event::GraduationFull as u32,
        "graduation_full",
        "flows that stayed evictable because that table was full",
    ),
    info(
        Event::PortSearchLong as u32,
        "port_search_long",
        "source ports found after several tries",
    ),
    info(DropReason::NoBackend as u32, "drop_no_backend", "the service has no endpoint"),
    info(DropReason::BackendGone as u32, "drop_backend_gone", "the flow's endpoint was removed"),
    info(
        DropReason::SourcePortsExhausted as u32,
        "drop_source_ports_exhausted",
        "no free source port towards the endpoint",
    ),
    info(DropReason::FlowTableFull as u32, "drop_flow_table_full", "the flow could not be stored"),
    info(DropReason::NoRoute as u32, "drop_no_route", "no route for the translated packet"),
    info(
        DropReason::ForwardingOff as u32,
        "drop_forwarding_off",
        "IP forwarding is off on the interface the packet came in on",
    ),
    info(
        DropReason::EgressUnmanaged as u32,
        "drop_egress_unmanaged",
        "the endpoint lies behind an interface that is not given as --uplink",
    ),
    info(
        DropReason::NoSourceAddress as u32,
        "drop_no_source_address",
        "the uplink to the endpoint has no address of this family",
    ),
    info(DropReason::TtlExpired as u32, "drop_ttl_expired", "TTL or hop limit used up"),
    info(DropReason::TooBig as u32, "drop_too_big", "larger than the egress interface's MTU"),
    info(DropReason::Unwritable as u32, "drop_unwritable", "a header could not be written"),
    info(
        DropReason::FragmentAlone as u32,
        "drop_fragment_alone",
        "a fragment to a Service came before its first, and could not be held",
    ),
    info(DropReason::NoStage as u32, "drop_no_stage", "one of lb's own programs was not in place"),
    info(
        DropReason::NoLocalBackend as u32,
        "drop_no_local_backend",
        "the service's traffic policy leaves no endpoint on this node",
    ),
    info(
        DropReason::NotAdmitted as u32,
        "drop_not_admitted",
        "the client is not of the service's source ranges",
    ),
    info(
        DropReason::UnknownPort as u32,
        "drop_unknown_port",
        "a Service's address, none of its ports",
    ),
    info(
        DropReason::UnallocatedAddress as u32,
        "drop_unallocated_address",
        "a cluster IP that no Service has",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_numbers_and_names_of_their_own() {
        for (at, one) in COUNTER_INFO.iter().enumerate() {
            assert!(one.index < COUNTERS);
            for other in &COUNTER_INFO[at + 1..] {
                assert_ne!(one.index, other.index);
                assert_ne!(one.name, other.name);
            }
        }
    }
}
