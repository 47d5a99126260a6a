//! `program`: how fast tables are written, how fast a change gets there, and how large they are; and what the peers'
//! rules take for the same services.
//!
//! - [`data`]: the services, for `lb` and for the peers. [`maps`]: real maps of a loaded object.
//! - [`fill`], [`change`]: in this process, from the model's objects into the maps. [`process`]: a real `lb run`.
//! - [`memory`]: the maps'. [`peers`]: rules in kube-proxy's shape.
//! - [`tables`]: what is reported of it.

mod change;
mod data;
mod fill;
mod maps;
mod memory;
mod peers;
mod process;
mod tables;

use std::time::Duration;

use anyhow::{Context as _, Result};
use lb_tests::bench::{Context, Report, peers::Peer};

use change::{Changed, Times};
use data::Size;
use fill::Filled;
use memory::Memory;
use peers::Loaded;
use process::{Process, Resident};

/// Endpoints of each service.
const ENDPOINTS: u32 = 10;

/// What is asked for.
struct Plan {
    /// How many services the tables are filled with.
    sizes: Vec<Size>,
    /// Up to how many services a real `lb run` is started with.
    most_from_manifests: u32,
    /// How many changes are made, and how long at most.
    changes: u32,
    change_for: Duration,
    /// How long loading a peer's rules may take.
    peers_within: Duration,
}

/// What was found.
struct Found {
    filled: Vec<Filled>,
    changed: Vec<Changed>,
    /// For each size; none where it was too large.
    nftables: Vec<Option<Loaded>>,
    iptables: Vec<Option<Loaded>>,
    started: Vec<Option<Started>>,
    /// With a single service.
    small: Resident,
    memory: Memory,
}

/// What was found of a real `lb run`.
struct Started {
    start: Duration,
    changes: Times,
    resident: Resident,
}

impl Plan {
    fn of(context: &Context) -> Self {
        let services: &[u32] =
            if context.quick { &[100, 1_000] } else { &[100, 1_000, 10_000, 100_000] };
        let size = |services: &u32| Size { services: *services, endpoints: ENDPOINTS };
        Self {
            sizes: services.iter().map(size).collect(),
            most_from_manifests: 10_000,
            changes: if context.quick { 20 } else { 200 },
            change_for: Duration::from_secs(20),
            peers_within: Duration::from_secs(if context.quick { 1 } else { 60 }),
        }
    }

    fn found(&self, context: &Context) -> Result<Found> {
        let change = |size: &Size| change::measure(context, *size, self.changes, self.change_for);
        let peer = |peer| peers::measure(context, peer, &self.sizes, self.peers_within);
        let largest = self.sizes.last().context("there are no sizes")?;
        Ok(Found {
            filled: fill::measure(context, &self.sizes)?,
            changed: self.sizes.iter().map(change).collect::<Result<_>>()?,
            memory: memory::measure(*largest)?,
            small: start(context, Size { services: 1, endpoints: ENDPOINTS }, 1)?.resident,
            started: self.started(context)?,
            nftables: peer(Peer::Nftables)?,
            iptables: peer(Peer::Iptables)?,
        })
    }

    fn started(&self, context: &Context) -> Result<Vec<Option<Started>>> {
        let started = self.sizes.iter().map(|size| {
            let fits = size.services <= self.most_from_manifests;
            fits.then(|| start(context, *size, self.changes)).transpose()
        });
        started.collect()
    }
}

/// Starts a real `lb run`, changes an endpoint of it so many times, and ends it.
fn start(context: &Context, size: Size, changes: u32) -> Result<Started> {
    context.check()?;
    let _spinner = context.spinner(&format!("lb run, services: {size}"));
    let process = Process::start(size)?;
    let resident = process.resident()?;
    Ok(Started { start: process.start, changes: process.change(context, changes)?, resident })
}

/// Measures.
pub fn run(context: &Context) -> Result<Report> {
    let plan = Plan::of(context);
    let found = plan.found(context)?;
    let mut report = Report::new("program", "services and endpoints into the tables");
    report.setting(
        "services",
        format!("one port, TCP over IPv4, {ENDPOINTS} endpoints each, no node ports"),
    );
    report.setting(
        "changes",
        format!(
            "a service loses an endpoint, another change gives it back; {} of them, or as many as fit into {} s",
            plan.changes,
            plan.change_for.as_secs()
        ),
    );
    tables::write(&mut report, &found)?;
    report.note(
        "Filling and changing are from checked objects in memory, in the process that measures, into maps of a loaded \
         object. `lb run` is a whole start: it reads manifests, loads and verifies the programs, fills the tables and \
         attaches. Its changes begin when a manifest is written, and the 50 ms for which a directory must be quiet \
         count.",
    );
    report.note(format!(
        "Peers' times are those of the commands alone, nothing that kube-proxy does besides. A peer has no figure where \
         loading would take over {} s if its time grew with the square of the services.",
        plan.peers_within.as_secs()
    ));
    report.note(
        "A change costs what changed, and a comparison of pointers for each object; letting go of the model before \
         comes after it and isn't counted.",
    );
    Ok(report)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
