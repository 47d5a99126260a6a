//! The sets of ports that let ordinary traffic pass without a lookup: how often each port occurs, so
//! that it leaves the set with the last one that has it.

use std::collections::BTreeMap;

use crate::dataplane::{Tables, mapped::MappedArray};

/// Which ports occur how often, and the map that says whether they do.
#[derive(Debug, Default)]
pub struct PortCounts(BTreeMap<u16, u32>);

impl PortCounts {
    /// One more has this port.
    pub fn add(&mut self, ports: &MappedArray<u64>, port: u16) {
        let count = self.0.entry(port).or_insert(0);
        *count += 1;
        if *count == 1 {
            Tables::set_port(ports, port, true);
        }
    }

    /// One less has this port.
    pub fn remove(&mut self, ports: &MappedArray<u64>, port: u16) {
        let Some(count) = self.0.get_mut(&port) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.0.remove(&port);
            Tables::set_port(ports, port, false);
        }
    }
}
