//! What the flow tables say about backends and source ports, counted while somebody walks them.

use std::{
    cmp::Reverse,
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use lb_common::{
    addr::Address,
    tables::{BackendRef, Emit, Flow, FlowKey, Half, SnatPorts, State},
    wire::Protocol as WireProtocol,
};
use serde::Serialize;

use crate::model::Protocol;

/// The two ends between which source ports are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Way {
    /// The source address after translation.
    pub source: IpAddr,
    /// The endpoint.
    pub remote: SocketAddr,
    /// The protocol.
    pub protocol: Protocol,
}

/// How many source ports a way has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Headroom {
    /// The source address after translation.
    pub source: IpAddr,
    /// The endpoint.
    pub remote: SocketAddr,
    /// The protocol.
    #[serde(serialize_with = "as_text")]
    pub protocol: Protocol,
    /// Ports that flows have.
    pub used: u32,
    /// Ports that there are.
    pub size: u32,
    /// The one of the other, in percent, rounded down.
    pub percent: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it like this")]
fn as_text<S: serde::Serializer>(protocol: &Protocol, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(protocol)
}

impl Headroom {
    /// Whose it is.
    pub const fn way(&self) -> Way {
        Way { source: self.source, remote: self.remote, protocol: self.protocol }
    }
}

/// Entries counted so far.
#[derive(Clone, Debug, Default)]
pub struct Census {
    ports: SnatPorts,
    /// Halves whose sender has not ended its direction: forward, reverse.
    open: HashMap<BackendRef, [u32; 2]>,
    used: HashMap<Way, u32>,
    replies: SnatPorts,
}

impl Census {
    /// Nothing is counted; these ports are for SNAT now.
    pub fn new(ports: SnatPorts) -> Self {
        Self { ports, ..Self::default() }
    }

    /// Counts one entry.
    pub fn add<A: Address>(&mut self, key: &FlowKey<A>, flow: &Flow<A>) {
        let is_reverse = flow.half == Half::Reverse as u8;
        if flow.state & (State::FIN | State::RST) == 0 {
            self.open.entry(flow.backend).or_default()[usize::from(is_reverse)] += 1;
        }
        let goes_on = [Emit::Stack, Emit::Switch].iter().any(|emit| flow.emit == *emit as u8);
        if !is_reverse || goes_on {
            return;
        }
        let protocol = match WireProtocol(key.protocol) {
            WireProtocol::TCP => Protocol::Tcp,
            WireProtocol::UDP => Protocol::Udp,
            WireProtocol::SCTP => Protocol::Sctp,
            _ => return,
        };
        self.replies = self.replies.hull(SnatPorts::of(key.destination_port));
        if self.ports.contains(key.destination_port) {
            let remote = SocketAddr::new(key.source.to_ip(), key.source_port.to_host());
            let way = Way { source: key.destination.to_ip(), remote, protocol };
            *self.used.entry(way).or_default() += 1;
        }
    }

    /// How many flows of a backend neither side has ended.
    pub fn open(&self, backend: BackendRef) -> u32 {
        self.open.get(&backend).map_or(0, |[forward, reverse]| *forward.min(reverse))
    }

    /// The range of all ports by which replies are recognised.
    pub const fn replies(&self) -> SnatPorts {
        self.replies
    }

    /// The ways with the fewest ports left, the fullest first.
    pub fn fullest(&self, most: usize) -> Vec<Headroom> {
        let size = u32::from(self.ports.count);
        let mut ways: Vec<(Way, u32)> = self.used.iter().map(|(way, used)| (*way, *used)).collect();
        ways.sort_unstable_by_key(|(way, used)| (Reverse(*used), *way));
        ways.truncate(most);
        let headroom = |(Way { source, remote, protocol }, used): (Way, u32)| {
            let percent = (used * 100).checked_div(size).unwrap_or(100);
            Headroom { source, remote, protocol, used, size, percent }
        };
        ways.into_iter().map(headroom).collect()
    }
}

#[cfg(test)]
mod tests {
    use lb_common::{
        addr::{Ipv4, Port},
        hook::Hook,
        wire::L4,
    };

    use super::*;

    const PORTS: SnatPorts = SnatPorts { first: 2_000, count: 10 };
    const BACKEND: BackendRef = BackendRef { id: 3, generation: 7 };

    fn peer(last: u8, port: u16) -> (Ipv4, Port) {
        (std::net::Ipv4Addr::new(10, 0, 0, last).into(), Port::from_host(port))
    }

    fn flow(half: Half, emit: Emit, state: u8) -> Flow<Ipv4> {
        Flow {
            half: half as u8,
            emit: emit as u8,
            state,
            backend: BACKEND,
            ..bytemuck::Zeroable::zeroed()
        }
    }

    /// A reply from an endpoint to a port of ours.
    fn reply(census: &mut Census, l4: L4, remote: (u8, u16), port: u16) {
        let key = FlowKey::new(Hook::UplinkIn, l4, peer(remote.0, remote.1), peer(1, port));
        census.add(&key, &flow(Half::Reverse, Emit::Transmit, 0));
    }

    #[test]
    fn ports_are_counted_for_each_endpoint_and_protocol_and_the_fullest_stands_first() {
        let mut census = Census::new(PORTS);
        for port in 2_000..2_004 {
            reply(&mut census, L4::Tcp, (9, 80), port);
        }
        reply(&mut census, L4::Udp, (9, 80), 2_000);
        reply(&mut census, L4::Tcp, (9, 81), 2_000);
        let fullest = census.fullest(2);
        assert_eq!(fullest.len(), 2);
        assert_eq!((fullest[0].used, fullest[0].size, fullest[0].percent), (4, 10, 40));
        assert_eq!(fullest[0].remote, "10.0.0.9:80".parse().unwrap());
        assert_eq!(fullest[0].source, "10.0.0.1".parse::<IpAddr>().unwrap());
        assert_eq!(fullest[1].used, 1);
        assert_eq!(census.fullest(9).len(), 3);
    }

    #[test]
    fn ports_of_an_older_range_are_recognised_and_take_nothing_from_the_new_one() {
        let mut census = Census::new(PORTS);
        reply(&mut census, L4::Tcp, (9, 80), 1_500);
        assert_eq!(census.fullest(9), []);
        assert_eq!(census.replies(), SnatPorts { first: 1_500, count: 1 });
        reply(&mut census, L4::Tcp, (9, 80), 2_001);
        assert_eq!(census.fullest(9)[0].used, 1);
        assert_eq!(census.replies(), SnatPorts { first: 1_500, count: 502 });
    }

    #[test]
    fn what_keeps_the_clients_port_takes_none() {
        let mut census = Census::new(PORTS);
        let key = FlowKey::new(Hook::UplinkOut, L4::Tcp, peer(9, 80), peer(1, 2_000));
        census.add(&key, &flow(Half::Reverse, Emit::Stack, 0));
        census.add(&key, &flow(Half::Forward, Emit::Transmit, 0));
        assert_eq!(census.fullest(9), []);
        assert_eq!(census.replies(), SnatPorts::default());
    }

    #[test]
    fn a_flow_is_open_until_a_side_ends_it() {
        let mut census = Census::new(PORTS);
        let key = FlowKey::new(Hook::UplinkIn, L4::Tcp, peer(9, 80), peer(1, 2_000));
        for (forward, reverse) in
            [(0, 0), (0, State::REPLIED), (State::FIN, 0), (State::RST, State::FIN)]
        {
            census.add(&key, &flow(Half::Forward, Emit::Stack, forward));
            census.add(&key, &flow(Half::Reverse, Emit::Stack, reverse));
        }
        assert_eq!(census.open(BACKEND), 2);
        assert_eq!(census.open(BackendRef { generation: 8, ..BACKEND }), 0);
    }
}
