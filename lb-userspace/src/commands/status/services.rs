//! Services with their endpoints, and what was counted for each.

use comfy_table::{Cell, Table};
use lb_common::tables::Traffic;
use serde::Serialize;

use super::{number, rules::Rules, table};
use crate::{
    dataplane::{Counted, FoundService, census::Census},
    state::ServiceState,
};

/// A service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceReport {
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
    /// Of all its endpoints, those that are gone included.
    #[serde(flatten)]
    figures: Figures,
}

/// An endpoint.
#[derive(Debug, Serialize)]
struct BackendReport {
    backend: String,
    #[serde(flatten)]
    figures: Figures,
}

/// What was counted for either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Figures {
    /// Flows that neither side has ended.
    open: u32,
    /// Flows that were begun.
    flows: u64,
    /// Packets translated, both ways.
    packets: u64,
    /// Bytes of their frames.
    bytes: u64,
    /// Connections that went elsewhere because an endpoint did not answer their first SYN.
    unanswered: u64,
}

impl Figures {
    const HEADER: [&'static str; 5] = ["OPEN", "FLOWS", "PACKETS", "BYTES", "NOT ANSWERED"];

    fn of(traffic: Traffic, open: u32) -> Self {
        let Traffic { packets, bytes, flows, unanswered } = traffic;
        Self { open, flows, packets, bytes, unanswered }
    }

    fn cells(self) -> impl Iterator<Item = Cell> {
        [self.open.into(), self.flows, self.packets, self.bytes, self.unanswered]
            .into_iter()
            .map(number)
    }
}

impl ServiceReport {
    /// What was found, and counted.
    pub fn of(
        id: u32,
        found: &FoundService,
        name: Option<&ServiceState>,
        source_ranges: &[String],
        counted: &Counted,
        census: &Census,
    ) -> Self {
        let backend_counters: Vec<BackendReport> = found
            .backends
            .iter()
            .map(|one| {
                let traffic = counted.backends.get(&one.reference.id).copied().unwrap_or_default();
                let open = census.open(one.reference);
                BackendReport { backend: one.key.to_string(), figures: Figures::of(traffic, open) }
            })
            .collect();
        let open = backend_counters.iter().map(|one| one.figures.open).sum();
        let traffic = counted.services.get(&id).copied().unwrap_or_default();
        Self {
            id,
            name: name.cloned(),
            frontends: found.frontends.keys().map(ToString::to_string).collect(),
            backends: found.backends.iter().map(|one| one.key.to_string()).collect(),
            backend_counters,
            slots: found.line.all.len(),
            rules: Rules::of(found, source_ranges),
            figures: Figures::of(traffic, open),
        }
    }

    fn name(&self, field: fn(&ServiceState) -> &String) -> String {
        self.name.as_ref().map_or("-", |name| field(name)).to_owned()
    }
}

/// Services, a row each.
pub fn services(services: &[ServiceReport]) -> Table {
    let named = ["ID", "SERVICE", "PORT", "PROTOCOL", "FRONTENDS", "RULES"];
    let mut table = table(&[&named[..], &Figures::HEADER].concat());
    for service in services {
        let row = [
            service.id.to_string(),
            service.name(|name| &name.service),
            service.name(|name| &name.port),
            service.name(|name| &name.protocol),
            service.frontends.join("\n"),
            service.rules.lines(service.slots).join("\n"),
        ];
        table.add_row(row.into_iter().map(Cell::new).chain(service.figures.cells()));
    }
    table
}

/// Endpoints, a row for each and service.
pub fn endpoints(services: &[ServiceReport]) -> Table {
    let mut table = table(&[&["ID", "SERVICE", "ENDPOINT"], &Figures::HEADER[..]].concat());
    for service in services {
        for backend in &service.backend_counters {
            let row = [
                service.id.to_string(),
                service.name(|name| &name.service),
                backend.backend.clone(),
            ];
            table.add_row(row.into_iter().map(Cell::new).chain(backend.figures.cells()));
        }
    }
    table
}
