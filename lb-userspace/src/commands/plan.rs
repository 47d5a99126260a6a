//! `lb plan`: what would change in an instance's tables if these were its manifests. Reads its maps and its state
//! file, as `lb status` does; takes no lock, and writes nothing.

mod given;
mod render;

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use lb_common::tables::Selection;
use serde::Serialize;

use super::{Instance, Output, settings::ConfigArgument};
use crate::{
    compile::{self, NodeFacts, ServiceKey},
    control::{Config, ControlPlane},
    dataplane::{self, FoundService, Pins, Tables, algorithm_named, read_back},
    model::{Family, Problem, Protocol, ServiceName},
    plan::{Choice, Difference, Served, differences},
    source::manifests,
    state::{ServiceObject, ServiceState, SettingsState, State},
};
use given::Given;

/// Show what would change in the running tables with these manifests, without changing anything
///
/// Compares with the instance's tables as they are, service by service. Ranges, pools, the node's name and addresses
/// are the instance's own. What Services would be given is shown as such; it is not kept for them.
#[derive(Debug, Args)]
pub struct Plan {
    /// Directory of manifests
    #[arg(value_name = "DIR")]
    manifests: PathBuf,

    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    _file: ConfigArgument,

    #[command(flatten)]
    instance: Instance,
}

/// All that would change.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    instance: String,
    services: Vec<Difference>,
    /// How many services stay as they are.
    unchanged: usize,
    /// What Services would be given that they don't have yet.
    given: Vec<Given>,
    /// Addresses that would not be served because another Service has them.
    conflicts: Vec<String>,
    /// Whose load balancer would have no address, and why.
    pending: BTreeMap<String, String>,
}

impl Plan {
    /// Prints the plan.
    pub fn execute(self) -> Result<()> {
        let report = self.compare()?;
        match self.output {
            Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
            Output::Table => print!("{}", report.render()),
        }
        Ok(())
    }

    fn compare(&self) -> Result<Report> {
        let pins = Pins::of(&self.instance.bpffs, &self.instance.instance);
        self.instance.must_be_loaded(&pins)?;
        let file = self.instance.state_file();
        let state = State::read(&file)?.with_context(|| {
            format!("{} is not there, where the instance tells its services' names; is --run-dir right?", file.display())
        })?;
        let before = served(&Tables::open(&pins)?, &state)?;

        let config = config(&state.settings)?;
        let facts = NodeFacts {
            node_addresses: state.settings.node_addresses.clone(),
            name: state.settings.node_name.clone(),
            node_ports_on: state.settings.nodeport_addresses.parse().context(OTHER_VERSION)?,
            primary: state.settings.primary_addresses.clone(),
            service_ranges: config.ranges.clone(),
        };
        let ledger = state.objects.iter().filter_map(ServiceObject::record).collect();
        let mut control = ControlPlane::knowing(config, ledger);
        let examined = manifests::examine(&self.manifests, &mut control)?;
        let snapshot = examined.snapshot.clone().without_problems();
        let snapshot = snapshot.context("the manifests are not right; lb check tells more")?;
        let desired = compile::compile(&snapshot.model, &facts);
        let after: BTreeMap<ServiceKey, Served> =
            desired.services.iter().map(|(key, one)| (key.clone(), Served::from(one))).collect();
        let services = differences(&before, &after);
        let unchanged = after.iter().filter(|(key, one)| before.get(*key) == Some(*one)).count();
        let conflict = |one: &crate::model::Conflict| {
            examined.place(Problem::of_object(one.object.clone(), &one.invalid)).to_string()
        };
        Ok(Report {
            instance: self.instance.instance.clone(),
            unchanged,
            services,
            given: given::new(&examined.objects, &snapshot, &state.objects),
            conflicts: desired.conflicts.iter().map(conflict).collect(),
            pending: snapshot
                .pending
                .iter()
                .map(|(who, why)| (who.to_string(), why.clone()))
                .collect(),
        })
    }
}

const OTHER_VERSION: &str =
    "the instance's state file is of another version; restart it with this one";

/// What an instance gives from, as it told.
fn config(settings: &SettingsState) -> Result<Config> {
    let what = OTHER_VERSION;
    let ranges = settings.service_cidrs.iter().map(|text| text.parse());
    let pools = settings.lb_pools.iter().map(|text| text.parse());
    Ok(Config {
        ranges: ranges.collect::<Result<_, _>>().context(what)?,
        node_ports: settings.node_port_range.parse().context(what)?,
        pools: pools.collect::<Result<_, _>>().context(what)?,
    })
}

/// The services in the maps, by the names that the instance told.
fn served(tables: &Tables, state: &State) -> Result<BTreeMap<ServiceKey, Served>> {
    let mut ranges: BTreeMap<u32, Vec<_>> = BTreeMap::new();
    for (id, range) in dataplane::source_ranges(tables)? {
        ranges.entry(id).or_default().push(range);
    }
    let found = read_back(tables)?;
    let names = state.services.iter().filter_map(|one| Some((one.id, key(one)?)));
    let mut served = BTreeMap::new();
    for (id, key) in names {
        let Some(found) = found.get(&id) else { continue };
        let choice = |selection: Selection| Choice {
            endpoints: found.chosen(tables, selection),
            dropped: selection == Selection::NONE_HERE,
        };
        let FoundService { frontends, backends, line } = found;
        let one = Served {
            frontends: frontends.keys().copied().collect(),
            endpoints: backends.iter().map(|one| one.key).collect(),
            all: choice(line.all),
            internal: choice(line.internal),
            external: choice(line.external),
            affinity: line.affinity.seconds,
            algorithm: [line.all, line.internal, line.external]
                .into_iter()
                .find(|selection| !selection.is_empty())
                .and_then(|selection| algorithm_named(selection.algorithm())),
            source_ranges: ranges.remove(&id).unwrap_or_default().into_iter().collect(),
        };
        served.insert(key, one);
    }
    Ok(served)
}

fn key(state: &ServiceState) -> Option<ServiceKey> {
    let (namespace, name) = state.service.split_once('/')?;
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    Some(ServiceKey {
        service: ServiceName::new(namespace, name),
        port: state.port.clone(),
        protocol: protocols.into_iter().find(|one| one.to_string() == state.protocol)?,
        family: [Family::V4, Family::V6].into_iter().find(|one| one.to_string() == state.family)?,
    })
}
