//! How much of the kernel's memory a service, an endpoint and a connection take.

use std::{fs, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use bytemuck::Zeroable as _;
use lb_common::{
    addr::{Ipv4, Port},
    hook::Hook,
    tables::{Flow, FlowKey},
    wire::L4,
};
use lb_userspace::{
    compile::{Compiler, NodeFacts},
    dataplane::{Sizes, Tables},
};

use super::{
    data::Size,
    maps::{Maps, sizes},
};

/// Connections that are put into a table.
const CONNECTIONS: u32 = 1 << 18;
/// Elements of one call.
const TOGETHER: usize = 1 << 14;

const SERVICES: [&str; 5] = ["SERVICES", "FOLDED", "TURNS", "FRONTENDS_V4", "FRONTENDS_V6"];
const ENDPOINTS: [&str; 5] = ["BACKENDS", "BACKEND_STATS", "ACCOUNTS", "LOADS", "SLOTS"];

/// Bytes for each.
pub struct Memory {
    /// A service with one frontend: its lines, what is counted for it on every CPU, and its share of the tables of
    /// frontends.
    pub service: f64,
    /// An endpoint, with room for its slots.
    pub endpoint: f64,
    /// A connection, by the kernel's account of the map: both entries, and their share of the table's buckets.
    pub connection: f64,
    /// A connection, by what the kernel's allocator gave out meanwhile, whoever asked for it.
    pub connection_allocated: f64,
    /// Room for a connection that isn't established yet.
    pub new_connection: f64,
}

/// Fills tables of a size, adds connections, and reads what the kernel says.
pub fn measure(size: Size) -> Result<Memory> {
    let sizes = sizes(size);
    let mut maps = Maps::new(&sizes)?;
    let mut compiler = Compiler::default();
    let touched = compiler.follow(&Arc::new(size.model()?), &NodeFacts::default());
    maps.apply(&compiler, &touched)?;
    let least = Maps::new(&Sizes { services: 1, frontends: 1, backends: 1, slots: 1, ..sizes })?;
    // What every map has, however small, is not the elements'.
    let elements = |tables: &[&str]| -> Result<u64> {
        Ok(maps.memory(tables)?.saturating_sub(least.memory(tables)?))
    };
    let service = each(elements(&SERVICES)?, size.services);
    let endpoint = each(elements(&ENDPOINTS)?, sizes.backends);
    let new_connection = each(maps.memory(&["NEW_FLOWS_V4"])?, sizes.new_flows / 2);

    let empty = maps.memory(&["FLOWS_V4"])?;
    let allocated = unreclaimable()?;
    add_connections(&maps.tables)?;
    let added = maps.memory(&["FLOWS_V4"])?.saturating_sub(empty);
    ensure!(added > 0, "this kernel doesn't say how much memory a map that grows has");
    let allocated = unreclaimable()?.saturating_sub(allocated);
    let buckets = each(empty, sizes.flows / 2);
    Ok(Memory {
        service,
        endpoint,
        connection: buckets + each(added, CONNECTIONS),
        connection_allocated: buckets + each(allocated, CONNECTIONS),
        new_connection,
    })
}

fn each(bytes: u64, count: u32) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
    let bytes = bytes as f64;
    bytes / f64::from(count)
}

/// Puts both halves of connections into the table of established ones.
fn add_connections(tables: &Tables) -> Result<()> {
    let mut elements = Vec::with_capacity(TOGETHER);
    for connection in 0..CONNECTIONS {
        let client = (Ipv4::from_wire(connection), Port::from_host(40_000));
        let service = (Ipv4::from_wire(u32::MAX), Port::from_host(80));
        for (hook, source, destination) in
            [(Hook::WorkloadIn, client, service), (Hook::WorkloadOut, service, client)]
        {
            let key = FlowKey::new(hook, L4::Tcp, source, destination);
            elements.push((key, Flow::zeroed()));
        }
        if elements.len() == TOGETHER {
            tables.flows_v4.update(&elements)?;
            elements.clear();
        }
    }
    tables.flows_v4.update(&elements)?;
    Ok(())
}

/// What the kernel's allocators have given out for good, in bytes.
fn unreclaimable() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("SUnreclaim:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kibibytes.context("/proc/meminfo has no SUnreclaim")?.parse::<u64>()? << 10)
}
