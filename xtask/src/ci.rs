//! `cargo xtask ci`: what must hold before a change goes in.

use anyhow::Result;
use clap::Args;

use crate::{lint, test};

/// Everything that must pass: lint, tests, and some suites on the oldest and the newest kernel
#[derive(Args)]
pub struct Options {}

/// Runs the verb.
pub fn run(_: &Options) -> Result<()> {
    lint::run(&lint::Options {})?;
    test::run(&test::Options::default())?;
    test::run_few_in_machines()
}
