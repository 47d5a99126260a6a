//! `cargo xtask test`: all tests, those without root as the user, those that need it as root.
//!
//! Everything is compiled as the user, so that no file in `target` belongs to root.

use std::{collections::BTreeMap, env, ffi::OsStr, num::NonZero};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    build,
    root::Root,
    setup,
    tally::Tally,
    vm::{
        self,
        matrix::{Manner, Plan},
    },
    workspace,
};

/// What the benchmarks measure with; measured is here, not in machines, whose kernels may lack live frames.
const OF_BENCHMARKS: [&str; 3] = ["benchmarks", "peers", "rig"];

/// Run the tests, then (through sudo if needed) the suites that need root
#[derive(Args, Default)]
pub struct Options {
    /// Only the suites that need root
    #[arg(long, conflicts_with = "no_root")]
    root_only: bool,
    /// Only the tests that need no root
    #[arg(long)]
    no_root: bool,
    /// The suites that need root, in virtual machines, on each kernel
    #[arg(long, conflicts_with_all = ["no_root", "root_only"])]
    vm: bool,
    /// Only this suite, in virtual machines; may be given several times
    #[arg(long, requires = "vm", value_name = "NAME")]
    suite: Vec<String>,
    /// How many virtual machines at the same time [default: what memory and processors allow]
    #[arg(long, requires = "vm", value_name = "NUMBER")]
    at_once: Option<NonZero<usize>>,
    #[command(flatten)]
    choice: vm::Choice,
    /// Names of tests and options, handed to every test program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    filter: Vec<String>,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<()> {
    if options.vm {
        return run_in_machines(options);
    }
    options.choice.ensure_none()?;
    // Before half an hour of tests, not after it.
    let root = if options.no_root { None } else { Some(reach_root()?) };
    setup::for_build()?;
    let mut tally = Tally::default();
    if !options.root_only {
        let mut cargo = workspace::cargo();
        cargo.args(["test", "--no-fail-fast", "--"]).args(&options.filter);
        tally.run("without root", &mut cargo)?;
    }
    let rooted = root.map_or(Ok(()), |root| run_root_suites(root, options, &mut tally));
    tally.print();
    rooted?;
    let unsuccessful = tally.unsuccessful();
    if !unsuccessful.is_empty() {
        bail!("not successful: {}", unsuccessful.join(", "));
    }
    let total = tally.total();
    if total.passed + total.failed == 0 {
        bail!("no test ran; is there one whose name contains {:?}?", options.filter);
    }
    Ok(())
}

fn run_in_machines(options: &Options) -> Result<()> {
    let lb = build::lb(false, &[])?;
    let mut suites = root_suites()?;
    if let Some(unknown) =
        options.suite.iter().find(|name| !suites.iter().any(|s| s.name == **name))
    {
        bail!("there is no suite {unknown} in tests/tests");
    }
    suites.retain(|suite| match options.suite.as_slice() {
        [] => !OF_BENCHMARKS.contains(&&*suite.name),
        named => named.contains(&suite.name),
    });
    let all: Vec<_> = vm::kernel::lines().collect();
    let lines = vm::lines_of(&options.choice, &all);
    let plans: Vec<_> =
        lines.into_iter().map(|line| Plan { line, suites: suites.iter().collect() }).collect();
    let manner = Manner {
        at_once: options.at_once.map(NonZero::get),
        limit: options.choice.limit(),
        filter: &options.filter,
    };
    vm::matrix::run(&plans, &lb, &manner)
}

/// Some suites in virtual machines, in minutes: what differs most between kernels, on the oldest and on the
/// newest.
pub fn run_few_in_machines() -> Result<()> {
    let lb = build::lb(false, &[])?;
    let suites = root_suites()?;
    let named = |name: &&str| {
        let found = suites.iter().find(|suite| suite.name == *name);
        found.with_context(|| format!("there is no suite {name} in tests/tests"))
    };
    let plan = |line: &str, names: &[&str]| -> Result<Plan<'_>> {
        let suites = names.iter().map(named).collect::<Result<_>>()?;
        Ok(Plan { line: line.to_owned(), suites })
    };
    let plans =
        [plan("5.10", &["operation", "test_run"])?, plan(vm::kernel::NEWEST, &["operation"])?];
    let manner = Manner { at_once: None, limit: vm::Choice::default().limit(), filter: &[] };
    vm::matrix::run(&plans, &lb, &manner)
}

fn root_suites() -> Result<Vec<workspace::Executable>> {
    let mut cargo = workspace::cargo();
    workspace::executables(cargo.args([
        "test",
        "--package",
        "lb-tests",
        "--lib",
        "--tests",
        "--no-run",
    ]))
}

fn reach_root() -> Result<Root> {
    Root::attended().context(
        "the suites that work on network namespaces need root, and sudo can't be used here: \
         run this as root, or `cargo xtask test --no-root` for the others",
    )
}

fn run_root_suites(root: Root, options: &Options, tally: &mut Tally) -> Result<()> {
    setup::for_lab()?;
    // The end-to-end suites start the real program, those of the benchmarks load what they measure with.
    let lb = build::lb(false, &[])?;
    let rig = build::rig()?;
    for suite in root_suites()? {
        // As cargo sets it; the suites call the lab's tools; the others tests are known to read.
        let mut variables = BTreeMap::from([
            ("CARGO_MANIFEST_DIR", suite.package_dir.clone().into()),
            ("PATH", setup::lab::search_path()),
            ("LB_BINARY", lb.clone().into_os_string()),
            ("LB_RIG", rig.clone().into_os_string()),
        ]);
        for name in [
            "RUST_BACKTRACE",
            "RUST_LOG",
            "PROPTEST_CASES",
            "CI",
            "LB_AGREEMENT_PACKETS",
            "LB_PATIENCE",
            "LB_CONNECTIONS",
            "LB_MEGABYTES",
        ] {
            variables.extend(env::var_os(name).map(|value| (name, value)));
        }
        let variables = variables.iter().map(|(name, value)| (*name, OsStr::new(value)));
        let mut tests = root.command(&suite.path, variables);
        tests.current_dir(&suite.package_dir).args(&options.filter);
        tally.run(&format!("{} (root)", suite.name), &mut tests)?;
    }
    Ok(())
}
