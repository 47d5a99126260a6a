//! A look into the flow table of a [`World`], and ways to lose what is in it.

use std::{collections::BTreeMap, net::SocketAddr};

use lb_common::{
    addr::{Address, Ipv4, Ipv6, Port},
    pipeline::{FamilyTables, Generation},
    tables::{AffinityKey, BackendRef, Flow, FlowKey, Half, Remembered, Traffic},
};
use lb_tests::lab::cast::Family;

use crate::world::World;

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub forward: bool,
    pub generation: Generation,
    /// The packet that it is for: source and destination.
    pub key: (SocketAddr, SocketAddr),
    /// What is made of it.
    pub becomes: (SocketAddr, SocketAddr),
    pub backend: BackendRef,
    pub role: u8,
    pub last_seen: u32,
}

/// Everything that a packet may change.
#[derive(Debug, PartialEq)]
pub struct Snapshot {
    v4: Vec<(FlowKey<Ipv4>, Generation, Flow<Ipv4>)>,
    v6: Vec<(FlowKey<Ipv6>, Generation, Flow<Ipv6>)>,
    backends: Vec<Traffic>,
    clients: (BTreeMap<AffinityKey<Ipv4>, Remembered>, BTreeMap<AffinityKey<Ipv6>, Remembered>),
}

impl World {
    /// All entries of a family, those of the first generation first.
    pub fn entries(&self, family: Family) -> Vec<Entry> {
        match family {
            Family::V4 => self.tables.v4.flows().into_iter().map(entry).collect(),
            Family::V6 => self.tables.v6.flows().into_iter().map(entry).collect(),
        }
    }

    /// The only entry of a direction.
    #[track_caller]
    pub fn half(&self, family: Family, half: Half) -> Entry {
        let entries = self.entries(family);
        let mut found = entries.iter().filter(|entry| entry.forward == (half == Half::Forward));
        match (found.next(), found.next()) {
            (Some(entry), None) => *entry,
            _ => panic!("not one {half:?} entry: {entries:#?}"),
        }
    }

    /// Evicts all entries of a direction from the first generation.
    pub fn evict(&self, family: Family, half: Half) {
        let half = half as u8;
        match family {
            Family::V4 => {
                for (key, _, flow) in self.tables.v4.flows() {
                    if flow.half == half {
                        FamilyTables::<Ipv4>::remove_new(&self.tables, &key);
                    }
                }
            }
            Family::V6 => {
                for (key, _, flow) in self.tables.v6.flows() {
                    if flow.half == half {
                        FamilyTables::<Ipv6>::remove_new(&self.tables, &key);
                    }
                }
            }
        }
    }

    /// The state of everything but the counters of outcomes.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            v4: self.tables.v4.flows(),
            v6: self.tables.v6.flows(),
            backends: self
                .tables
                .backends
                .keys()
                .map(|id| self.tables.backend_traffic(*id))
                .collect(),
            clients: (
                self.tables.v4.affinity.borrow().clone(),
                self.tables.v6.affinity.borrow().clone(),
            ),
        }
    }
}

impl Snapshot {
    /// Leaves out how many bytes were counted.
    pub fn forget_bytes(&mut self) {
        for traffic in &mut self.backends {
            traffic.bytes = 0;
        }
    }
}

fn entry<A: Address>((key, generation, flow): (FlowKey<A>, Generation, Flow<A>)) -> Entry {
    let socket = |address: A, port: Port| SocketAddr::new(address.to_ip(), port.to_host());
    Entry {
        forward: flow.half == Half::Forward as u8,
        generation,
        key: (socket(key.source, key.source_port), socket(key.destination, key.destination_port)),
        becomes: (
            socket(flow.source, flow.source_port),
            socket(flow.destination, flow.destination_port),
        ),
        backend: flow.backend,
        role: key.role,
        last_seen: flow.last_seen,
    }
}
