//! `lb status`: what is attached where, which services there are, and what was counted. Reads the
//! pinned maps, so it also tells what the kernel does while no `lb run` is running.

mod rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use comfy_table::{Cell, CellAlignment, Table, presets};
use lb_common::verdict::COUNTER_INFO;
use serde::Serialize;

use super::Instance;
use crate::{
    dataplane::{self, Attached, FoundService, Pins, Point, Tables, read_back},
    state::{ServiceState, State},
};
use rules::Rules;

/// Show what is attached, served and counted
#[derive(Debug, Args)]
pub struct Status {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    instance: Instance,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
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
    notes: Vec<String>,
    problems: Vec<String>,
    services: Vec<ServiceReport>,
    flows: FlowReport,
    counters: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceReport {
    id: u32,
    /// Absent when the kernel serves it but no state file tells its name.
    #[serde(flatten)]
    name: Option<ServiceState>,
    frontends: Vec<String>,
    backends: Vec<String>,
    backend_counters: Vec<BackendReport>,
    /// How many slots there are in all; 0: nobody answers.
    slots: u32,
    /// What clients are given, by the kind of address and client.
    #[serde(flatten)]
    rules: Rules,
    packets: u64,
    bytes: u64,
    flows: u64,
}

#[derive(Debug, Serialize)]
struct BackendReport {
    backend: String,
    /// Flows that were begun with it.
    flows: u64,
    /// Connections that went elsewhere because it did not answer their first SYN.
    unanswered: u64,
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
        if !pins.hold_maps() {
            bail!(
                "no lb named {} is loaded here ({} has no pins); start one with lb run, or say which with --instance",
                instance.instance,
                pins.maps().display()
            );
        }
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
        let services = read_back(&tables)?
            .into_iter()
            .map(|(id, found)| {
                let ranges = source_ranges.remove(&id).unwrap_or_default();
                ServiceReport::of(&tables, id, &found, names.get(&id), &ranges)
            })
            .collect::<Result<_>>()?;
        let mut counters = BTreeMap::new();
        for info in COUNTER_INFO {
            counters.insert(info.name, tables.counter(info.index)?);
        }
        let state = state.unwrap_or_default();
        Ok(Self {
            instance: instance.instance.clone(),
            running,
            pid: running.then_some(state.pid),
            version: running.then_some(state.version),
            attached: state.attached,
            notes: state.notes,
            problems: state.problems,
            services,
            flows: FlowReport::of(&tables)?,
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
        let _ = writeln!(text, "{}\n", self.service_table());
        let _ = writeln!(
            text,
            "flow entries: {} new, {} established\n",
            self.flows.new, self.flows.established
        );
        let _ = writeln!(text, "{}", self.counter_table());
        text
    }

    fn interfaces(&self) -> Table {
        let mut table = table(&["INTERFACE", "INDEX", "ROLE", "XDP", "TC INGRESS", "TC EGRESS"]);
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
            table.add_row(vec![
                here().next().map_or(String::new(), |one| one.interface.clone()),
                index.to_string(),
                if is_uplink { "uplink" } else { "workload" }.to_owned(),
                mode([Point::UplinkXdp, Point::UplinkXdp]),
                mode([Point::UplinkIn, Point::WorkloadIn]),
                mode([Point::UplinkOut, Point::WorkloadOut]),
            ]);
        }
        table
    }

    fn service_table(&self) -> Table {
        let mut table = table(&[
            "ID",
            "SERVICE",
            "PORT",
            "PROTOCOL",
            "FRONTENDS",
            "BACKENDS",
            "RULES",
            "FLOWS",
            "PACKETS",
            "BYTES",
        ]);
        for service in &self.services {
            let name = |field: fn(&ServiceState) -> &String| {
                service.name.as_ref().map_or("-", |name| field(name)).to_owned()
            };
            let mut row: Vec<Cell> = [
                service.id.to_string(),
                name(|name| &name.service),
                name(|name| &name.port),
                name(|name| &name.protocol),
                service.frontends.join("\n"),
                lines(service.backend_counters.iter().map(BackendReport::line)),
                service.rules.lines(service.slots).join("\n"),
            ]
            .map(Cell::new)
            .into();
            row.extend([service.flows, service.packets, service.bytes].map(number));
            table.add_row(row);
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

impl ServiceReport {
    fn of(
        tables: &Tables,
        id: u32,
        found: &FoundService,
        name: Option<&ServiceState>,
        source_ranges: &[String],
    ) -> Result<Self> {
        let counters = tables.service_counters(id)?;
        let frontends = found.frontends.keys().map(ToString::to_string).collect();
        let backends = found.backends.iter().map(|one| one.key.to_string()).collect();
        let backend_counters = found
            .backends
            .iter()
            .map(|one| {
                let counters = tables.backend_counters(one.reference.id)?;
                Ok(BackendReport {
                    backend: one.key.to_string(),
                    flows: counters.flows,
                    unanswered: counters.unanswered,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            id,
            name: name.cloned(),
            frontends,
            backends,
            backend_counters,
            slots: found.line.all.len(),
            rules: Rules::of(found, source_ranges),
            packets: counters.packets,
            bytes: counters.bytes,
            flows: counters.flows,
        })
    }
}

impl BackendReport {
    /// What people are shown of it.
    fn line(&self) -> String {
        if self.unanswered == 0 {
            return self.backend.clone();
        }
        format!("{} ({} not answered)", self.backend, self.unanswered)
    }
}

fn lines(all: impl Iterator<Item = String>) -> String {
    all.collect::<Vec<_>>().join("\n")
}

impl FlowReport {
    fn of(tables: &Tables) -> Result<Self> {
        let mut report = Self::default();
        tables.new_flows_v4.for_each(|_, _| report.new += 1)?;
        tables.new_flows_v6.for_each(|_, _| report.new += 1)?;
        tables.flows_v4.for_each(|_, _| report.established += 1)?;
        tables.flows_v6.for_each(|_, _| report.established += 1)?;
        Ok(report)
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    table
}

fn number(value: u64) -> Cell {
    Cell::new(value).set_alignment(CellAlignment::Right)
}
