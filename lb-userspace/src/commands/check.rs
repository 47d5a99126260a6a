//! `lb check`: whether `lb run` would take the manifests, and what in them is hardly meant. Changes nothing, needs
//! no root, and asks no instance.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;

use super::{
    Output,
    settings::{Cluster, ConfigArgument},
};
use crate::{
    control::ControlPlane,
    doubts::{self, Facts},
    model::Problem,
    source::manifests,
};

/// Check manifests as lb run would, and warn of what is hardly meant
///
/// Exits with 0 if there are no problems, and with --strict no warnings either; else with 1. What Services leave
/// open is chosen from the same ranges and pools as lb run has: give it the same flags or file. Node ports are
/// compared with this machine's sockets, and traffic policies only with --node-name.
#[derive(Debug, Args)]
pub struct Check {
    /// Directory of manifests
    #[arg(value_name = "DIR")]
    manifests: PathBuf,

    /// Let warnings count as problems
    #[arg(long)]
    strict: bool,

    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    _file: ConfigArgument,

    #[command(flatten)]
    cluster: Cluster,
}

/// All that is found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// What `lb run` would not take.
    problems: Vec<Finding>,
    /// What it would take.
    warnings: Vec<Finding>,
    /// How many objects of each kind are right by themselves.
    objects: BTreeMap<&'static str, usize>,
}

/// A problem or a doubt.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    file: Option<PathBuf>,
    line: Option<u64>,
    column: Option<u64>,
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    field: Option<String>,
    message: String,
    #[serde(skip)]
    text: String,
}

impl Check {
    /// Prints what was found.
    pub fn execute(self) -> Result<ExitCode> {
        let report = self.examine()?;
        match self.output {
            Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
            Output::Table => print!("{}", report.render()),
        }
        let wrong = !report.problems.is_empty() || (self.strict && !report.warnings.is_empty());
        Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn examine(&self) -> Result<Report> {
        let mut control = ControlPlane::new(self.cluster.control()?);
        let examined = manifests::examine(&self.manifests, &mut control)?;
        let (node, ranges) = (self.cluster.node_name.as_deref(), &self.cluster.service_ranges[..]);
        let desired = doubts::desired(&examined.snapshot, node, ranges);
        let conflicts = desired
            .conflicts
            .iter()
            .map(|one| examined.place(Problem::of_object(one.object.clone(), &one.invalid)));
        let mut problems: Vec<Problem> =
            examined.snapshot.problems.iter().cloned().chain(conflicts).collect();
        problems.sort();
        let listening = doubts::listening().context("can't read which ports sockets have")?;
        let warnings = doubts::doubts(&Facts {
            objects: &examined.objects,
            snapshot: &examined.snapshot,
            desired: &desired,
            node,
            ranges,
            listening: &listening,
        });
        let objects = &examined.objects;
        Ok(Report {
            problems: problems.into_iter().map(Finding::from).collect(),
            warnings: warnings.into_iter().map(|one| examined.place(one).into()).collect(),
            objects: BTreeMap::from([
                ("services", objects.services.len()),
                ("endpointSlices", objects.slices.len()),
                ("endpoints", objects.endpoints.len()),
                ("pods", objects.pods.len()),
                ("nodes", objects.nodes.len()),
            ]),
        })
    }
}

impl Report {
    fn render(&self) -> String {
        let line = |word: &'static str| move |one: &Finding| format!("{word}: {}\n", one.text);
        let problems = self.problems.iter().map(line("problem"));
        let mut text: String = problems.chain(self.warnings.iter().map(line("warning"))).collect();
        let count = |number: usize, word: &str| {
            let s = if number == 1 { "" } else { "s" };
            format!("{number} {word}{s}")
        };
        let objects = |kind: &str| self.objects.get(kind).copied().unwrap_or_default();
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "{}, {}, {}: {}, {}",
            count(objects("services"), "Service"),
            count(objects("endpointSlices"), "EndpointSlice"),
            count(objects("pods"), "Pod"),
            count(self.problems.len(), "problem"),
            count(self.warnings.len(), "warning"),
        );
        text
    }
}

impl From<Problem> for Finding {
    fn from(problem: Problem) -> Self {
        let text = problem.to_string();
        let object = problem.object;
        let (namespace, name) =
            object.as_ref().map(|one| (one.namespace.clone(), one.name.clone())).unzip();
        Self {
            file: problem.file,
            line: problem.position.map(|at| at.line),
            column: problem.position.map(|at| at.column),
            kind: object.map(|one| one.kind.to_string()),
            namespace,
            name,
            field: problem.field,
            message: problem.message,
            text,
        }
    }
}
