//! `cargo xtask test`: all tests, those without root as the user, those that need it as root.
//!
//! Everything is compiled as the user, so that no file in `target` belongs to root.

use std::{collections::BTreeMap, env, ffi::OsStr};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{build, root::Root, setup, tally::Tally, workspace};

/// Run the tests, then (through sudo if needed) the suites that need root
#[derive(Args, Default)]
pub struct Options {
    /// Only the suites that need root
    #[arg(long, conflicts_with = "no_root")]
    root_only: bool,
    /// Only the tests that need no root
    #[arg(long)]
    no_root: bool,
    /// Names of tests and options, handed to every test program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    filter: Vec<String>,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<()> {
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

fn reach_root() -> Result<Root> {
    Root::attended().context(
        "the suites that work on network namespaces need root, and sudo can't be used here: \
         run this as root, or `cargo xtask test --no-root` for the others",
    )
}

fn run_root_suites(root: Root, options: &Options, tally: &mut Tally) -> Result<()> {
    setup::for_lab()?;
    // The end-to-end suites start the real program.
    build::lb(false, &[])?;
    let mut cargo = workspace::cargo();
    let suites = workspace::executables(cargo.args(["test", "--package", "lb-tests", "--no-run"]))?;
    for suite in suites {
        // As cargo sets it; the suites call the lab's tools; the others tests are known to read.
        let mut variables = BTreeMap::from([
            ("CARGO_MANIFEST_DIR", suite.package_dir.clone().into()),
            ("PATH", setup::lab::search_path()),
        ]);
        for name in ["RUST_BACKTRACE", "RUST_LOG", "PROPTEST_CASES", "CI"] {
            variables.extend(env::var_os(name).map(|value| (name, value)));
        }
        let variables = variables.iter().map(|(name, value)| (*name, OsStr::new(value)));
        let mut tests = root.command(&suite.path, variables);
        tests.current_dir(&suite.package_dir).args(&options.filter);
        tally.run(&format!("{} (root)", suite.name), &mut tests)?;
    }
    Ok(())
}
