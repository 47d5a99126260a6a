//! Real sockets that connect and send to Services while the programs at their cgroup look on: which endpoint
//! they get, what they see of it, and what they are refused. Needs root and cgroup v2.
//!
//! Each test has a cgroup of its own, and makes its sockets in it.

#[path = "../common/mod.rs"]
mod common;

mod binds;
mod client;
mod life;
mod matrix;
mod refusals;
mod talks;

use anyhow::Result;
use common::{BACKENDS, Bed};
use lb_tests::{
    echo::Pod,
    lab::{Cgroup, Cluster},
};
use serde_json::Value;

/// The cluster with `lb` at a cgroup.
pub struct Seen {
    // In the order in which they have to go.
    /// The cluster.
    pub bed: Bed,
    /// The cgroup of its clients.
    pub cgroup: Cgroup,
}

impl Seen {
    /// With the standard endpoints.
    pub fn standard() -> Result<Self> {
        Self::start(&BACKENDS, &[])
    }

    /// With these endpoints, and further arguments for `lb run`.
    pub fn start(backends: &[Pod], more: &[&str]) -> Result<Self> {
        let cgroup = Cgroup::make()?;
        let mut arguments = vec!["--cgroup", cgroup.argument()];
        arguments.extend(more);
        let bed = Bed::start(Cluster::start()?, backends, &arguments)?;
        Ok(Self { bed, cgroup })
    }

    /// What the programs counted.
    pub fn counter(&self, name: &str) -> Result<u64> {
        Ok(self.bed.lb.counter(name)?)
    }

    /// Whether any packet was translated, or any flow begun.
    pub fn translated_packets(&self) -> Result<u64> {
        let status = self.bed.lb.status()?;
        let counters = status["counters"].as_object().expect("counters");
        let of_packets = |name: &str| name.starts_with("translated_") || name == "flow_created";
        let all = counters.iter().filter(|(name, _)| of_packets(name));
        Ok(all.filter_map(|(_, count)| Value::as_u64(count)).sum())
    }
}
