//! The end of flows: entries whose connection is over or long silent are removed, both halves
//! together. The programs never expire anything themselves; while the control program is away,
//! flows stay until it comes back (and new ones take the place of the oldest).

use std::time::Duration;

use lb_common::{
    addr::Address,
    hook::Hook,
    pipeline::{Generation, reverse_hook},
    tables::{Emit, Flow, FlowKey, Half, State},
    wire::Protocol,
};

use super::{DataplaneError, Tables, census::Census, hash_table::HashTable};

/// How long flows live without a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP and SCTP, once established.
    pub tcp: Duration,
    /// The same, before that.
    pub tcp_opening: Duration,
    /// The same, closed or reset: the `TIME_WAIT` of either end.
    pub tcp_closed: Duration,
    /// UDP, once answered.
    pub udp: Duration,
    /// UDP, before that.
    pub udp_unanswered: Duration,
}

impl Default for Timeouts {
    /// kube-proxy's and conntrack's values.
    fn default() -> Self {
        Self {
            tcp: Duration::from_hours(24),
            tcp_opening: Duration::from_mins(1),
            tcp_closed: Duration::from_mins(2),
            udp: Duration::from_mins(2),
            udp_unanswered: Duration::from_secs(30),
        }
    }
}

/// The kernel's time.
#[derive(Clone, Copy, Debug)]
pub struct Jiffies {
    /// The time now.
    pub now: u32,
    /// Jiffies in a second.
    pub hz: u32,
}

/// What a pass found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Entries that stay.
    pub live: usize,
    /// Entries removed.
    pub removed: usize,
    /// Entries of UDP flows in the tables that evict nothing.
    pub udp_established: usize,
}

/// Removes what expired. What is there is counted on the way, what is removed included, and puts the counts
/// of backends' open flows right.
pub fn collect(
    tables: &Tables,
    timeouts: &Timeouts,
    time: Jiffies,
    census: &mut Census,
) -> Result<Collected, DataplaneError> {
    let loads = tables.loads();
    let v4 = collect_family([&tables.new_flows_v4, &tables.flows_v4], timeouts, time, census)?;
    let v6 = collect_family([&tables.new_flows_v6, &tables.flows_v6], timeouts, time, census)?;
    tables.put_loads_right(&loads, census);
    Ok(Collected {
        live: v4.live + v6.live,
        removed: v4.removed + v6.removed,
        udp_established: v4.udp_established + v6.udp_established,
    })
}

fn collect_family<A: Address + Ord>(
    tables: [&HashTable<FlowKey<A>, Flow<A>>; 2],
    timeouts: &Timeouts,
    time: Jiffies,
    census: &mut Census,
) -> Result<Collected, DataplaneError>
where
    FlowKey<A>: bytemuck::Pod,
    Flow<A>: bytemuck::Pod,
{
    let mut collected = Collected::default();
    for (table, generation) in tables.into_iter().zip([Generation::New, Generation::Established]) {
        let mut silent = Vec::new();
        table.for_each(|key, flow| {
            collected.live += 1;
            census.add(key, flow);
            let protocol = Protocol(key.protocol);
            if generation == Generation::Established && protocol == Protocol::UDP {
                collected.udp_established += 1;
            }
            if is_silent(flow, limit(protocol, generation, flow, None, timeouts), time) {
                silent.push((*key, *flow));
            }
        })?;
        let mut expired = Vec::new();
        for (key, flow) in silent {
            let Some(other_key) = other_half(&key, &flow) else {
                continue;
            };
            let other = match tables[0].get(&other_key)? {
                None => tables[1].get(&other_key)?,
                found => found,
            };
            let limit = limit(Protocol(key.protocol), generation, &flow, other.as_ref(), timeouts);
            if [Some(&flow), other.as_ref()]
                .into_iter()
                .flatten()
                .all(|one| is_silent(one, limit, time))
            {
                expired.extend([key, other_key]);
            }
        }
        collected.removed += tables[0].remove(&expired)? + tables[1].remove(&expired)?;
    }
    collected.live = collected.live.saturating_sub(collected.removed);
    Ok(collected)
}

/// Whether a half had no packet for longer than a limit.
fn is_silent<A>(flow: &Flow<A>, limit: Duration, time: Jiffies) -> bool {
    let age = time.now.wrapping_sub(flow.last_seen);
    // More than half the range: seen after the clock was read.
    age <= u32::MAX / 2 && u128::from(age) * 1000 > limit.as_millis() * u128::from(time.hz)
}

/// How long a flow may be silent, from one half, or from both.
///
/// One half alone gives the shorter of the possible answers, so that it serves to sort out what
/// needs no closer look: a connection is closed when either side reset it, or both said FIN.
fn limit<A>(
    protocol: Protocol,
    generation: Generation,
    flow: &Flow<A>,
    other: Option<&Flow<A>>,
    timeouts: &Timeouts,
) -> Duration {
    let other_state = other.map_or(flow.state, |other| other.state);
    let closed =
        (flow.state | other_state) & State::RST != 0 || flow.state & other_state & State::FIN != 0;
    let answered =
        generation == Generation::Established || (flow.state | other_state) & State::REPLIED != 0;
    match (protocol, closed, answered) {
        (Protocol::TCP | Protocol::SCTP, true, _) => timeouts.tcp_closed,
        (Protocol::TCP | Protocol::SCTP, false, true) => timeouts.tcp,
        (Protocol::TCP | Protocol::SCTP, false, false) => timeouts.tcp_opening,
        (_, _, true) => timeouts.udp,
        (_, _, false) => timeouts.udp_unanswered,
    }
}

/// The key of the other half; `None` for an entry that isn't ours to understand.
fn other_half<A: Address>(key: &FlowKey<A>, flow: &Flow<A>) -> Option<FlowKey<A>> {
    let hook = Hook::from_role(key.role)?;
    let goes_on = [Emit::Stack, Emit::Switch].into_iter().any(|emit| flow.emit == emit as u8);
    let other = match hook {
        _ if flow.half == Half::Forward as u8 => {
            reverse_hook(hook, goes_on, flow.emit == Emit::Deliver as u8)
        }
        _ if flow.emit == Emit::Inject as u8 => Hook::HostOut,
        Hook::WorkloadOut => Hook::WorkloadIn,
        Hook::UplinkOut => Hook::UplinkIn,
        hook => hook,
    };
    let mut reverse = *key;
    reverse.role = other as u8;
    reverse.source = flow.destination;
    reverse.source_port = flow.destination_port;
    reverse.destination = flow.source;
    reverse.destination_port = flow.source_port;
    Some(reverse)
}

#[cfg(test)]
mod tests {
    use lb_common::{
        addr::{Ipv4, Port},
        wire::L4,
    };

    use super::*;

    fn flow(half: Half, state: u8, last_seen: u32) -> Flow<Ipv4> {
        Flow { half: half as u8, state, last_seen, ..bytemuck::Zeroable::zeroed() }
    }

    struct Case {
        protocol: Protocol,
        generation: Generation,
        states: (u8, Option<u8>),
        expected: Duration,
    }

    fn check(case: &Case) {
        let timeouts = Timeouts::default();
        let forward = flow(Half::Forward, case.states.0, 0);
        let reverse = case.states.1.map(|state| flow(Half::Reverse, state, 0));
        let found = limit(case.protocol, case.generation, &forward, reverse.as_ref(), &timeouts);
        assert_eq!(found, case.expected, "{:?}", case.states);
    }

    #[test]
    fn a_flow_lives_as_long_as_its_state_allows() {
        let timeouts = Timeouts::default();
        let opening = Case {
            protocol: Protocol::TCP,
            generation: Generation::New,
            states: (0, Some(0)),
            expected: timeouts.tcp_opening,
        };
        check(&opening);
        check(&Case { states: (0, None), ..opening });
        check(&Case { states: (0, Some(State::REPLIED)), expected: timeouts.tcp, ..opening });
        let open = Case { generation: Generation::Established, expected: timeouts.tcp, ..opening };
        check(&open);
        check(&Case { states: (State::FIN, Some(State::REPLIED)), ..open });
        let closed = Case { expected: timeouts.tcp_closed, ..open };
        check(&Case { states: (State::FIN, Some(State::FIN)), ..closed });
        check(&Case { states: (0, Some(State::RST)), ..closed });
        check(&Case { states: (State::FIN, None), ..closed });
        let udp = Case { protocol: Protocol::UDP, expected: timeouts.udp_unanswered, ..opening };
        check(&udp);
        check(&Case { states: (0, Some(State::REPLIED)), expected: timeouts.udp, ..udp });
    }

    #[test]
    fn silence_is_told_across_the_wrap_of_the_clock() {
        let time = Jiffies { now: 500, hz: 100 };
        let second = Duration::from_secs(1);
        assert!(is_silent(&flow(Half::Forward, 0, 399), second, time));
        assert!(!is_silent(&flow(Half::Forward, 0, 400), second, time));
        assert!(is_silent(&flow(Half::Forward, 0, u32::MAX), second, time));
        assert!(!is_silent(&flow(Half::Forward, 0, 501), second, time));
    }

    #[test]
    fn each_half_leads_to_the_other() {
        let peer = |octets, port| {
            (Ipv4::from(std::net::Ipv4Addr::from_octets(octets)), Port::from_host(port))
        };
        let (client, service, backend) =
            (peer([10, 0, 0, 1], 40_000), peer([10, 96, 0, 1], 80), peer([10, 0, 0, 2], 8080));
        let key = FlowKey::new(Hook::WorkloadIn, L4::Tcp, client, service);
        let forward = Flow {
            source: client.0,
            source_port: client.1,
            destination: backend.0,
            destination_port: backend.1,
            ..flow(Half::Forward, 0, 0)
        };
        let reverse_key = other_half(&key, &forward).unwrap();
        assert_eq!(reverse_key, FlowKey::new(Hook::WorkloadOut, L4::Tcp, backend, client));
        // Replies to what a bridge switches are translated at the same place.
        let switched = Flow { emit: Emit::Switch as u8, ..forward };
        assert_eq!(other_half(&key, &switched), Some(reverse_key));
        let turned = Flow { emit: Emit::Turn as u8, ..forward };
        let turned_key = FlowKey::new(Hook::WorkloadIn, L4::Tcp, backend, client);
        assert_eq!(other_half(&key, &turned), Some(turned_key));
        let reverse = Flow {
            source: service.0,
            source_port: service.1,
            destination: client.0,
            destination_port: client.1,
            ..flow(Half::Reverse, 0, 0)
        };
        assert_eq!(other_half(&reverse_key, &reverse), Some(key));
    }
}
