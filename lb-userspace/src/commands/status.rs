//! `lb status`: what is attached where, which services there are, and what was counted. Reads the
//! pinned maps, so it also tells what the kernel does while no `lb run` is running.

mod health;
mod listeners;
mod objects;
mod rules;
mod services;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use anyhow::Result;
use clap::Args;
use comfy_table::{Cell, CellAlignment, Table, presets};
use lb_common::verdict::COUNTER_INFO;
use serde::Serialize;

use super::{Instance, Output, settings::ConfigArgument};
use crate::{
    dataplane::{
        self, Attached, Pins, Point, Tables,
        census::{Census, Headroom},
        read_back,
    },
    health::Told,
    sockets::Listening,
    state::{ServiceObject, ServiceState, SocketState, State, UplinkState},
};
use services::ServiceReport;

/// Show what is attached, served and counted
#[derive(Debug, Args)]
pub struct Status {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    _file: ConfigArgument,

    #[command(flatten)]
    instance: Instance,
}

/// All that is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    instance: String,
    running: bool,
    pid: Option<u32>,
    version: Option<String>,
    attached: Vec<Attached>,
    /// Who answers health checks.
    health: Vec<Told>,
    /// Who listens on a node port that is served.
    listeners: Vec<Listening>,
    /// Why each uplink is one.
    uplinks: Vec<UplinkState>,
    sockets: Option<SocketState>,
    notes: Vec<String>,
    problems: Vec<String>,
    services: Vec<ServiceReport>,
    /// Services as objects, with what they were given.
    objects: Vec<ServiceObject>,
    /// The ways to endpoints that have the fewest source ports left.
    source_ports: Vec<Headroom>,
    flows: FlowReport,
    counters: BTreeMap<&'static str, u64>,
}

/// Entries, two for each connection.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct FlowReport {
    new: usize,
    established: usize,
}

impl Status {
    /// Prints the report.
    pub fn execute(self) -> Result<()> {
        let report = Report::collect(&self.instance)?;
        match self.output {
            Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
            Output::Table => print!("{}", report.render()),
        }
        Ok(())
    }
}

impl Report {
    fn collect(instance: &Instance) -> Result<Self> {
        let pins = Pins::of(&instance.bpffs, &instance.instance);
        instance.must_be_loaded(&pins)?;
        let tables = Tables::open(&pins)?;
        let state = State::read(&instance.state_file())?;
        let running = pins.is_locked();
        let names: BTreeMap<u32, ServiceState> = state
            .iter()
            .flat_map(|state| &state.services)
            .map(|one| (one.id, one.clone()))
            .collect();
        let mut source_ranges: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for (id, range) in dataplane::source_ranges(&tables)? {
            source_ranges.entry(id).or_default().push(range.to_string());
        }
        let (census, flows) = walk(&tables)?;
        let counted = tables.counted()?;
        let found = read_back(&tables)?;
        let services = found
            .iter()
            .map(|(id, found)| {
                let ranges = source_ranges.remove(id).unwrap_or_default();
                ServiceReport::of(*id, found, names.get(id), &ranges, &counted, &census)
            })
            .collect();
        let mut counters = BTreeMap::new();
        for info in COUNTER_INFO {
            counters.insert(info.name, tables.counter(info.index)?);
        }
        let mut state = state.unwrap_or_default();
        let pid = running.then_some(state.pid);
        let listeners = listeners::listeners(pid, &state.objects, found.values());
        let listeners = listeners.unwrap_or_else(|error| {
            state.notes.push(format!("who listens on node ports is not known: {error}"));
            Vec::new()
        });
        Ok(Self {
            instance: instance.instance.clone(),
            running,
            pid,
            version: running.then_some(state.version),
            attached: state.attached,
            health: state.health,
            listeners,
            uplinks: state.uplinks,
            sockets: state.sockets,
            notes: state.notes,
            problems: state.problems,
            services,
            objects: state.objects,
            source_ports: census.fullest(FULLEST),
            flows,
            counters,
        })
    }

    fn render(&self) -> String {
        let mut text = String::new();
        let who = match (self.running, self.pid) {
            (true, Some(pid)) => format!("running, process {pid}"),
            (true, None) => "running".to_owned(),
            (false, _) => "not running; the kernel goes on with what is there".to_owned(),
        };
        // Writing to a string can't fail.
        let _ = writeln!(text, "instance {}: {who}\n", self.instance);
        for (title, lines) in [("Problems", &self.problems), ("Notes", &self.notes)] {
            if !lines.is_empty() {
                let _ = writeln!(text, "{title}:\n  {}\n", lines.join("\n  "));
            }
        }
        let _ = writeln!(text, "{}\n", self.interfaces());
        let _ = writeln!(text, "{}\n", sockets(self.sockets.as_ref()));
        if !self.objects.is_empty() {
            let _ = writeln!(text, "{}\n", objects::objects(&self.objects));
        }
        if !self.health.is_empty() {
            let _ = writeln!(text, "{}\n", health::health(&self.health));
        }
        if !self.listeners.is_empty() {
            let _ = writeln!(text, "{}\n", listeners::rows(&self.listeners));
        }
        let _ = writeln!(text, "{}\n", services::services(&self.services));
        let _ = writeln!(text, "{}\n", services::endpoints(&self.services));
        if !self.source_ports.is_empty() {
            let _ = writeln!(text, "source ports, the fullest:\n{}\n", self.port_table());
        }
        let _ = writeln!(
            text,
            "flow entries: {} new, {} established\n",
            self.flows.new, self.flows.established
        );
        let _ = writeln!(text, "{}", self.counter_table());
        text
    }

    fn interfaces(&self) -> Table {
        let mut table =
            table(&["INTERFACE", "INDEX", "ROLE", "XDP", "TC INGRESS", "TC EGRESS", "WHY"]);
        let indices: BTreeSet<u32> = self.attached.iter().map(|one| one.ifindex).collect();
        for index in indices {
            let here = || self.attached.iter().filter(move |one| one.ifindex == index);
            let mode = |points: [Point; 2]| {
                here()
                    .find(|one| points.contains(&one.point))
                    .map_or("-".to_owned(), |one| one.mode.to_string())
            };
            let is_uplink =
                here().any(|one| !matches!(one.point, Point::WorkloadIn | Point::WorkloadOut));
            let why = self.uplinks.iter().find(|uplink| uplink.ifindex == index);
            table.add_row(vec![
                here().next().map_or(String::new(), |one| one.interface.clone()),
                index.to_string(),
                if is_uplink { "uplink" } else { "workload" }.to_owned(),
                mode([Point::UplinkXdp, Point::UplinkXdp]),
                mode([Point::UplinkIn, Point::WorkloadIn]),
                mode([Point::UplinkOut, Point::WorkloadOut]),
                why.map_or(String::new(), |uplink| uplink.why.clone()),
            ]);
        }
        table
    }

    fn port_table(&self) -> Table {
        let mut table = table(&["SOURCE", "ENDPOINT", "PROTOCOL", "USED", "OF", "PERCENT"]);
        for one in &self.source_ports {
            let names = [one.source.to_string(), one.remote.to_string(), one.protocol.to_string()];
            let numbers = [one.used, one.size, one.percent].map(|value| number(value.into()));
            table.add_row(names.into_iter().map(Cell::new).chain(numbers));
        }
        table
    }

    fn counter_table(&self) -> Table {
        let mut table = table(&["COUNTER", "COUNT", "MEANING"]);
        for info in COUNTER_INFO {
            let count = self.counters.get(info.name).copied().unwrap_or_default();
            if count > 0 {
                table.add_row(vec![Cell::new(info.name), number(count), Cell::new(info.help)]);
            }
        }
        table
    }
}

/// Where sockets are given an endpoint when they connect.
fn sockets(state: Option<&SocketState>) -> String {
    let Some(SocketState { cgroup, host_only, programs, destroyed }) = state else {
        return "sockets: not seen when they connect".to_owned();
    };
    let whose = if *host_only { "of the node's own network namespace" } else { "of all processes" };
    let count = programs.len();
    let lost = match destroyed {
        0 => String::new(),
        some => format!(", {some} destroyed because their endpoint was removed"),
    };
    format!("sockets: {whose} at the cgroup {cgroup}, {count} programs{lost}")
}

/// How many ways to endpoints are shown with their source ports.
const FULLEST: usize = 5;

/// Counts the flows as they are now.
fn walk(tables: &Tables) -> Result<(Census, FlowReport)> {
    let mut census = Census::new(tables.source_ports().0);
    let (mut new, mut established) = (0, 0);
    tables.new_flows_v4.for_each(|key, flow| {
        new += 1;
        census.add(key, flow);
    })?;
    tables.new_flows_v6.for_each(|key, flow| {
        new += 1;
        census.add(key, flow);
    })?;
    tables.flows_v4.for_each(|key, flow| {
        established += 1;
        census.add(key, flow);
    })?;
    tables.flows_v6.for_each(|key, flow| {
        established += 1;
        census.add(key, flow);
    })?;
    Ok((census, FlowReport { new, established }))
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    table
}

fn number(value: u64) -> Cell {
    Cell::new(value).set_alignment(CellAlignment::Right)
}
